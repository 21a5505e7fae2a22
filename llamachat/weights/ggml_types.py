"""Tensor types of ggml files: which numbers and block layouts each version of the container had.

Until version 2 of ggjt the scales of Q4_0, Q4_1 and Q8_0 were float32, and Q4_2 and Q4_3 had one in float16 for each 16
weights. A block's scale is a weight divided by 7 or 127, which float16 would round: these are types of their own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from llamachat.weights.tensors import TYPES_BY_ID, TensorType


@dataclass(frozen=True, slots=True)
class Layout:
    """How a file stores a type, and what it is read as: ``conversion`` names the way, empty for "as it is"."""

    label: str
    block_elements: int
    block_bytes: int
    current: TensorType
    conversion: str = ""

    def of_rows(self, cols: int) -> Layout:
        """The same for rows of so many columns: as F32 where they do not fill blocks of the current type."""
        if cols % self.current.block_elements == 0:
            return self
        return replace(self, current=TensorType.F32, conversion=f"{self.label} to F32")


def _interleaved(kind: TensorType) -> Layout:
    """Blocks that differ from the current ones in the order of their nibbles."""
    return Layout(kind.label, kind.block_elements, kind.block_bytes, kind, f"interleaved {kind.label}")


def _current(kind: TensorType) -> Layout:
    return Layout(kind.label, kind.block_elements, kind.block_bytes, kind)


_F32, _F16 = _current(TensorType.F32), _current(TensorType.F16)
_Q8_0 = _current(TensorType.Q8_0_F32)

#: ggml without a version, ggmf, and ggjt version 1: March to May 2023.
_FIRST: Mapping[int, Layout] = {
    0: _F32,
    1: _F16,
    2: _interleaved(TensorType.Q4_0_F32),
    3: _interleaved(TensorType.Q4_1_F32),
    4: Layout("Q4_2", 16, 10, TensorType.Q4_2, "interleaved Q4_2"),
    5: Layout("Q4_3", 16, 12, TensorType.Q4_3, "interleaved Q4_3"),
    6: _interleaved(TensorType.Q5_0),
    7: _interleaved(TensorType.Q5_1),
    8: _Q8_0,
}

#: A week of May 2023.
_SECOND: Mapping[int, Layout] = {
    0: _F32,
    1: _F16,
    2: _current(TensorType.Q4_0_F32),
    3: _current(TensorType.Q4_1_F32),
    6: _current(TensorType.Q5_0),
    7: _current(TensorType.Q5_1),
    8: _Q8_0,
}

_BY_VERSION = {1: _FIRST, 2: _SECOND, 3: {number: _current(kind) for number, kind in TYPES_BY_ID.items()}}

_FTYPE_Q8_0 = 7


def layout_of(version: int, ftype: int, number: int) -> Layout | None:
    """The layout of a type's number in a version (1 for all before ggjt); None if it had none.

    For two days in April 2023 the number of Q8_0 was 6, which then became Q5_0's. Such a file calls itself "mostly
    Q8_0" and holds no Q5_0.
    """
    if version == 1 and (ftype, number) == (_FTYPE_Q8_0, 6):
        return _Q8_0
    return _BY_VERSION[version].get(number)
