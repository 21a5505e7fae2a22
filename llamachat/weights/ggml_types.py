"""Tensor types of ggml files: which numbers and block layouts each version of the container had."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from llamachat.weights.base import TYPES_BY_ID, TensorType


@dataclass(frozen=True, slots=True)
class Layout:
    """How a file stores a type, and what it is read as: ``conversion`` names the way, empty for "as it is"."""

    label: str
    block_elements: int
    block_bytes: int
    current: TensorType
    conversion: str = ""


def _current(kind: TensorType) -> Layout:
    return Layout(kind.label, kind.block_elements, kind.block_bytes, kind)


_F32, _F16 = _current(TensorType.F32), _current(TensorType.F16)
_Q8_0 = Layout("Q8_0", 32, 36, TensorType.F32, "Q8_0 v1")

#: ggml without a version, ggmf, and ggjt version 1: March to May 2023.
_FIRST: Mapping[int, Layout] = {
    0: _F32,
    1: _F16,
    2: Layout("Q4_0", 32, 20, TensorType.F32, "Q4_0 v1"),
    3: Layout("Q4_1", 32, 24, TensorType.F32, "Q4_1 v1"),
    4: Layout("Q4_2", 16, 10, TensorType.F32, "Q4_2 v1"),
    5: Layout("Q4_3", 16, 12, TensorType.F32, "Q4_3 v1"),
    6: Layout("Q5_0", 32, 22, TensorType.Q5_0, "Q5_0 v1"),
    7: Layout("Q5_1", 32, 24, TensorType.Q5_1, "Q5_1 v1"),
    8: _Q8_0,
}

#: A week of May 2023.
_SECOND: Mapping[int, Layout] = {
    0: _F32,
    1: _F16,
    2: Layout("Q4_0", 32, 20, TensorType.F32, "Q4_0 v2"),
    3: Layout("Q4_1", 32, 24, TensorType.F32, "Q4_1 v2"),
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
