"""Pieces of a Markdown text as rows of a terminal: words, code, tables, rules.

A piece keeps its rows for the width they were made for. Rows are plain :class:`Content`; colours are names that the
widget resolves when it draws, so that another theme makes no rows anew.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import get_character_cell_size
from textual._wrap import compute_wrap_offsets
from textual.content import Content

from llamachat.tui.code_lines import ColouredCode

_LEAST = 10
"""Cells that text keeps beside bars and bullets, however deep it is nested."""
_TAB = 4
_COLUMN_GAP = 2
EMPTY = Content("")


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the screen."""

    content: Content
    glue: str | None = None  #: what joins it to the next row, of the same line; None where the line ends
    begin: int = 0  #: where the text begins, behind what stands before it on each row
    background: str = ""  #: a colour's name, from ``fill_from`` on
    fill_from: int = 0


class Piece(ABC):
    """What stands under bullets and beside bars. ``gap``: what stands in the empty row above it, None for no row."""

    def __init__(self, first: Content, rest: Content, gap: Content | None) -> None:
        self.first, self.rest, self.gap = first, rest, gap
        self._width = 0
        self._rows: list[Row] = []

    def rows(self, width: int) -> list[Row]:
        """Its rows, not to be changed."""
        if width != self._width:
            self._width = width
            self._rows = [] if self.gap is None else [Row(self.gap)]
            self._lay_out()
        return self._rows

    def take(self, other: Piece) -> int | None:
        """Becomes ``other``; returns the first row that changed. None, and nothing is done, where that is no gain."""
        same = type(self) is type(other) and self.first.is_same(other.first) and self.rest.is_same(other.rest)
        if (
            not same
            or (self.gap is None) != (other.gap is None)
            or (self.gap and not self.gap.is_same(other.gap or EMPTY))
        ):
            return None
        return self._take(other)

    @abstractmethod
    def _take(self, other: Piece) -> int | None:
        """As :meth:`take`, of a piece of the same kind in the same place."""

    @abstractmethod
    def _lay_out(self) -> None:
        """Appends its rows for ``_width``."""

    @property
    def _prefixes(self) -> tuple[Content, Content, int]:
        """What stands before the first row and the others, and the cells that are left."""
        most = max(0, self._width - _LEAST)
        first, rest = self.first[:most], self.rest[:most]
        return first, rest, max(1, self._width - max(first.cell_length, rest.cell_length))


def wrapped(content: Content, width: int) -> list[tuple[Content, str | None, int]]:
    """Rows of at most ``width`` cells: each with what joins it to the next one (None: its line ends), and its place."""
    rows: list[tuple[Content, str | None, int]] = []
    place = 0
    for line in content.split("\n", allow_blank=True) if "\n" in content.plain else [content]:
        offsets = compute_wrap_offsets(line.plain, max(1, width), _TAB)
        parts, begin = line.divide(offsets) if offsets else [line], 0
        for part, end in zip(parts, offsets, strict=False):
            rows.append((part.rstrip(), " " if line.plain[end - 1].isspace() else "", place + begin))
            begin = end
        rows.append((parts[-1].rstrip(), None, place + begin))
        place += len(line) + 1
    return rows


def folded(line: Content, width: int) -> list[Content]:
    """A line cut at every ``width`` cells."""
    if line.cell_length <= width:
        return [line]
    offsets, cells = [], 0
    for at, character in enumerate(line.plain):
        size = get_character_cell_size(character)
        if cells + size > width and cells:
            offsets.append(at)
            cells = 0
        cells += size
    return line.divide(offsets)


class Words(Piece):
    """A paragraph, a heading, or a text that is shown as it is."""

    def __init__(
        self, content: Content, first: Content = EMPTY, rest: Content = EMPTY, gap: Content | None = None
    ) -> None:
        super().__init__(first, rest, gap)
        self.content = content
        self._starts: list[int] = []  # the place in the text at which each row begins

    def _take(self, other: Piece) -> int | None:
        assert isinstance(other, Words)  # noqa: S101 - take() looked
        old, self.content = self.content, other.content
        if self.content.is_same(old) or not self._starts:
            return len(self._rows)
        # The row in which something differs is laid out anew, and the one before it, which may take a word back.
        keep = max(0, bisect_right(self._starts, _first_difference(old, self.content)) - 2)
        row = len(self._rows) - len(self._starts) + keep
        del self._rows[row:]
        self._fill(keep)
        return row

    def _lay_out(self) -> None:
        self._starts = []
        self._fill(0)

    def _fill(self, keep: int) -> None:
        """Lays out the rows after the first ``keep``."""
        first, rest, room = self._prefixes
        begin = self._starts[keep] if keep else 0
        del self._starts[keep:]
        content = self.content[begin:] if begin else self.content
        for part, glue, place in wrapped(content, room):
            lead = rest if self._starts else first
            marked = lead is first and first.plain != rest.plain  # a bullet or a number is copied with its words
            self._starts.append(begin + place)
            self._rows.append(Row(lead + part, glue, 0 if marked else len(lead)))


def _first_difference(old: Content, new: Content) -> int:
    """The first place at which two contents differ, in text or in looks."""
    count = min(len(old), len(new))
    if old.plain[:count] != new.plain[:count]:
        low = 0
        for step in (1024, 32, 1):
            while low + step <= count and old.plain[low : low + step] == new.plain[low : low + step]:
                low += step
        count = low
    here, there = set(old.spans), set(new.spans)
    return min([count, *(span.start for span in here ^ there)])


class Code(Piece):
    """A code block. What is added to it costs the same however long it is."""

    def __init__(
        self, language: str, code: str, first: Content = EMPTY, rest: Content = EMPTY, gap: Content | None = None,
        *, short: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(first, rest, gap)
        self.language = language
        self.code = code
        self._short = short  # the screen has no room for margins
        self._coloured: ColouredCode | None = None
        self._grew = False  # since it was coloured as a whole
        self._starts: list[int] = []  # the row at which each line begins

    def _take(self, other: Piece) -> int | None:
        assert isinstance(other, Code)  # noqa: S101 - take() looked
        if other.language != self.language or other._short is not self._short or not self._rows:
            return None
        if self._grew and other.code == self.code:  # it is whole: nothing that began in the middle stays
            self._grew = False
            coloured = ColouredCode(self.language)
            coloured.show(self.code)
            before, self._coloured = self._coloured, coloured
            pairs = zip(before.lines if before else (), coloured.lines, strict=False)
            same = next((at for at, (was, now) in enumerate(pairs) if not now.is_same(was)), None)
            if same is None:
                return len(self._rows)
            row = self._starts[same]
            self._fill(same)
            return row
        return self.show(other.code)

    def show(self, code: str) -> int:
        """Takes another text over; returns the first row that changed."""
        if code == self.code:
            return len(self._rows)
        self.code = code
        if self._coloured is None or not self._width:
            self._width = 0
            return 0
        self._grew = True
        first = min(self._coloured.show(code), len(self._starts) - 1)
        row = self._starts[first]
        self._fill(first)
        return row

    def _lay_out(self) -> None:
        if self._coloured is None:
            self._coloured = ColouredCode(self.language)
            self._coloured.show(self.code)
        self._starts = []
        if not self._short:
            begin = self._prefixes[0]
            self._rows.append(Row(begin, None, len(begin), "$pane", len(begin)))
        self._fill(0)

    def _fill(self, first: int) -> None:
        """Lays out the lines from ``first`` on."""
        assert self._coloured is not None  # noqa: S101 - _lay_out() made it
        if first < len(self._starts):
            del self._rows[self._starts[first] :], self._starts[first:]
        margin = 1 if self._short else 2
        rest, room = self._prefixes[1:]
        lead, room = rest + " " * margin, max(1, room - 2 * margin)
        for line in self._coloured.lines[first:]:
            self._starts.append(len(self._rows))
            parts = folded(line, room)  # nothing is out of sight
            for at, part in enumerate(parts, 1):
                glue = None if at == len(parts) else ""
                self._rows.append(Row(lead + part, glue, len(lead), "$pane", len(rest)))
        if not self._short:
            self._rows.append(Row(rest, None, len(rest), "$pane", len(rest)))


class Table(Piece):
    """A table. Rows are laid out once as long as no column needs another width."""

    def __init__(
        self, header: Sequence[Content], body: Sequence[Sequence[Content]], aligns: Sequence[str],
        first: Content = EMPTY, rest: Content = EMPTY, gap: Content | None = None,
    ) -> None:  # fmt: skip
        super().__init__(first, rest, gap)
        self.header, self.body, self.aligns = header, list(body), aligns
        self._widths: list[int] = []
        self._starts: list[int] = []  # the row at which each of the body's begins
        self._natural: list[int] = []  # the widest cell of each column

    def add_rows(self, keep: int, rows: Sequence[Sequence[Content]]) -> int:
        """Puts other rows after the first ``keep`` of the body; returns the first row of the screen that changed."""
        gone = self.body[keep:]
        self.body[keep:] = rows
        if not self._width:
            return 0
        if any(cell.cell_length >= widest for row in gone for cell, widest in zip(row, self._natural, strict=False)):
            self._natural = [1] * len(self.header)  # a cell that made its column wide is gone
            rows = [self.header, *self.body]
        self._measure(rows)
        if self._fitted() != self._widths:
            width, self._width = self._width, 0
            self.rows(width)
            return 0
        row = self._starts[keep] if keep < len(self._starts) else len(self._rows)
        self._fill(keep)
        return row

    def _take(self, other: Piece) -> int | None:
        assert isinstance(other, Table)  # noqa: S101 - take() looked
        if not self._rows or len(self.header) != len(other.header) or self.aligns != other.aligns:
            return None
        if not all(ours.is_same(theirs) for ours, theirs in zip(self.header, other.header, strict=True)):
            return None
        same = 0
        for ours, theirs in zip(self.body, other.body, strict=False):
            if not all(one.is_same(two) for one, two in zip(ours, theirs, strict=True)):
                break
            same += 1
        return self.add_rows(same, other.body[same:])

    def _measure(self, rows: Sequence[Sequence[Content]]) -> None:
        for row in rows:
            for at, cell in enumerate(row):
                self._natural[at] = max(self._natural[at], cell.cell_length)

    def _fitted(self) -> list[int]:
        """Widths of the columns: as they would like to be, or the wide ones cut to what there is."""
        room = self._prefixes[2] - _COLUMN_GAP * (len(self.header) - 1)
        widths = [max(1, natural) for natural in self._natural]
        if sum(widths) <= room:
            return widths
        fixed: dict[int, int] = {}
        while len(fixed) < len(widths):  # columns that need less than an equal share get what they need
            share = max(1, (room - sum(fixed.values())) // (len(widths) - len(fixed)))
            narrow = {at: width for at, width in enumerate(widths) if at not in fixed and width <= share}
            if not narrow:
                return [fixed.get(at, share) for at in range(len(widths))]
            fixed |= narrow
        return [fixed[at] for at in range(len(widths))]

    def _lay_out(self) -> None:
        self._natural, self._starts = [1] * len(self.header), []
        self._measure([self.header, *self.body])
        self._widths = self._fitted()
        first, rest, _ = self._prefixes
        self._rows += self._cells([cell.stylize("$soft") for cell in self.header], first)
        rule = (" " * _COLUMN_GAP).join("─" * width for width in self._widths)
        self._rows.append(Row(rest + Content.styled(rule, "$faint"), None, len(rest)))
        self._fill(0)

    def _fill(self, keep: int) -> None:
        if keep < len(self._starts):
            del self._rows[self._starts[keep] :], self._starts[keep:]
        for row in self.body[keep:]:
            self._starts.append(len(self._rows))
            self._rows += self._cells(row, self._prefixes[1])

    def _cells(self, cells: Sequence[Content], first: Content) -> list[Row]:
        pairs = zip(cells, self._widths, strict=False)
        columns = [[part for part, *_ in wrapped(cell, width)] for cell, width in pairs]
        rows = []
        for at in range(max(map(len, columns), default=0)):
            parts = []
            for column, width, align in zip(columns, self._widths, self.aligns, strict=False):
                part = column[at] if at < len(column) else EMPTY
                space = max(0, width - part.cell_length)
                left = space if align == "right" else space // 2 if align == "center" else 0
                parts.append(part.pad(left, space - left))
            lead = first if at == 0 else self._prefixes[1]
            rows.append(Row(lead + Content(" " * _COLUMN_GAP).join(parts), None, len(lead)))
        return rows


class Rule(Piece):
    """A line across."""

    def _take(self, other: Piece) -> int | None:  # noqa: ARG002
        return len(self._rows)

    def _lay_out(self) -> None:
        first, _, room = self._prefixes
        self._rows.append(Row(first + Content.styled("─" * room, "$raised"), None, len(first)))
