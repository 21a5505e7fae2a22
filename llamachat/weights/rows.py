"""Where the rows of a tensor come from: one place in a file, several files, or another layout.

Each source gives whole rows in blocks as the C core takes them, a few at a time, and reads no more of the file than
those need.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from llamachat.weights.files import RegularFile


class Rows(Protocol):
    """The rows of one tensor; any thread may read them."""

    def read(self, first: int, count: int) -> bytes:
        """``count`` rows from ``first`` on, one after another. ``WeightsError`` if the file no longer has them."""
        ...


@dataclass(frozen=True, slots=True)
class StoredRows:
    """Rows that stand in a file one after another, as they are."""

    file: RegularFile
    offset: int
    row_bytes: int

    def read(self, first: int, count: int) -> bytes:  # noqa: D102  (see Rows)
        return self.file.read(self.offset + first * self.row_bytes, count * self.row_bytes)

    def read_into(self, buffer: memoryview, first: int) -> memoryview:
        """Fills ``buffer`` with rows from ``first`` on and returns it."""
        self.file.read_into(buffer, self.offset + first * self.row_bytes)
        return buffer


@dataclass(frozen=True, slots=True)
class ConvertedRows:
    """Rows in a layout that is no longer used, converted by the named function of ``conversions``."""

    stored: Rows
    conversion: str

    def read(self, first: int, count: int) -> bytes:  # noqa: D102
        from llamachat.weights.conversions import CONVERSIONS  # and with it numpy, which no header needs

        return CONVERSIONS[self.conversion](self.stored.read(first, count))


_BLOCK = 32  # weights that share a scale in the C core


@dataclass(frozen=True, slots=True)
class GroupedRows:
    """int8 rows with a float32 scale for each group of weights, counted through the whole matrix.

    A group may begin in one row and end in the next. Rows are Q8_0 with float32 scales where groups and rows are whole
    blocks (``in_blocks``), and float32 where not.
    """

    file: RegularFile
    offset: int
    scales: int  #: where they are
    cols: int
    group: int

    @property
    def in_blocks(self) -> bool:  # noqa: D102
        return self.group % _BLOCK == 0 and self.cols % _BLOCK == 0

    def read(self, first: int, count: int) -> bytes:  # noqa: D102
        from llamachat.weights.conversions import blocks_of_groups, expand_groups

        start, end = first * self.cols, (first + count) * self.cols
        group, last = start // self.group, -(-end // self.group)
        q = self.file.read(self.offset + start, end - start)
        scales = self.file.read(self.scales + 4 * group, 4 * (last - group))
        convert = blocks_of_groups if self.in_blocks else expand_groups
        return convert(q, scales, self.group, start - group * self.group)


@dataclass(frozen=True, slots=True)
class BlockRows:
    """int8 rows with a float32 inverse scale for each 32 weights of a row, of which the last may be fewer.

    Rows are Q8_0 with float32 scales where all are 32 (``in_blocks``), and float32 where not.
    """

    file: RegularFile
    offset: int
    scales: int  #: where they are
    cols: int

    @property
    def in_blocks(self) -> bool:  # noqa: D102
        return self.cols % _BLOCK == 0

    @property
    def row_bytes(self) -> int:
        """Bytes of one row in the file."""
        return self.cols + 4 * -(-self.cols // _BLOCK)

    def read(self, first: int, count: int) -> bytes:  # noqa: D102
        from llamachat.weights.conversions import blocks_of_inverse, expand_inverse

        per_row = -(-self.cols // _BLOCK)
        q = self.file.read(self.offset + first * self.cols, count * self.cols)
        scales = self.file.read(self.scales + 4 * first * per_row, 4 * count * per_row)
        return blocks_of_inverse(q, scales) if self.in_blocks else expand_inverse(q, scales, self.cols, _BLOCK)


@dataclass(frozen=True, slots=True)
class StackedRows:
    """The rows of several parts, one part after another: (rows of it, how many)."""

    parts: Sequence[tuple[Rows, int]]

    def read(self, first: int, count: int) -> bytes:  # noqa: D102
        pieces = []
        for rows, n in self.parts:
            if first < n and count:
                taken = min(count, n - first)
                pieces.append(rows.read(first, taken))
                count -= taken
                first += taken
            first -= n
        return b"".join(pieces)


@dataclass(frozen=True, slots=True)
class JoinedColumns:
    """Rows that were cut into equal columns: each is the parts' rows side by side."""

    parts: Sequence[Rows]

    def read(self, first: int, count: int) -> bytes:  # noqa: D102
        pieces = [part.read(first, count) for part in self.parts]
        width = len(pieces[0]) // max(count, 1)
        return b"".join(piece[i * width : (i + 1) * width] for i in range(count) for piece in pieces)


@dataclass(frozen=True, slots=True)
class UnpermutedRows:
    """Query or key rows of Hugging Face, back in Meta's order.

    A head's rows are stored with all first halves of RoPE's pairs before all second ones: row ``2i + p`` of a head
    is ``p * half + i`` there.
    """

    stored: Rows
    head_dim: int

    def read(self, first: int, count: int) -> bytes:  # noqa: D102
        head, half = self.head_dim, self.head_dim // 2
        start = first // head * head
        n = -(-(first + count) // head) * head - start
        data = self.stored.read(start, n)
        width = len(data) // n
        at = (
            row // head * head + row % 2 * half + row % head // 2 for row in range(first - start, first - start + count)
        )
        return b"".join(data[i * width : (i + 1) * width] for i in at)


@dataclass(frozen=True, slots=True)
class ComputedRow:
    """One row that no file holds."""

    data: bytes

    def read(self, first: int, count: int) -> bytes:  # noqa: D102
        return self.data if (first, count) == (0, 1) else b""
