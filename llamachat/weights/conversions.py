"""Rows of layouts that are no longer used, made into those that the C core takes without losing a bit.

Nibbles were interleaved until version 2 of ggjt: element ``2i`` in the low half of byte ``i``, element ``2i + 1`` in
its high half. Since then they are split: element ``i`` and element ``i + 16`` of a block of 32.

Q4_2 and Q4_3 had blocks of 16 elements; two of them are one of 32 with two scales. Rows that do not fill such blocks,
and int8 whose scales do not serve whole blocks of 32, become F32, in the very arithmetic by which they are defined.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

_Array = NDArray[Any]

_Q8_0_F32 = np.dtype([("d", "<f4"), ("q", "i1", 32)])
_BLOCK = 32


_LOW = 0x0F0F0F0F0F0F0F0F


def _split(first: _Array, second: _Array) -> _Array:
    """[n] of 16 bytes of split nibbles, out of [n] of 8 bytes of interleaved ones of the first 16 elements, and of the
    second."""
    out = np.empty((8 * len(first), 2), np.uint8)
    out[:, 0] = (first & _LOW | (second & _LOW) << 4).view(np.uint8)
    out[:, 1] = (first >> 4 & _LOW | second & ~np.uint64(_LOW)).view(np.uint8)
    return out.reshape(-1).view("V16")


def _resplit(header_bytes: int) -> Callable[[bytes], bytes]:
    """Blocks that differ from the current ones in nothing but interleaved nibbles."""
    head = ("head", f"V{header_bytes}")
    layout, current = np.dtype([head, ("first", np.uint64), ("second", np.uint64)]), np.dtype([head, ("q", "V16")])

    def convert(data: bytes) -> bytes:
        blocks = np.frombuffer(data, layout)
        out = np.empty(len(blocks), current)
        out["head"] = blocks["head"]
        out["q"] = _split(blocks["first"], blocks["second"])
        return out.tobytes()

    return convert


def _pair(n_scales: int) -> Callable[[bytes], bytes]:
    """Two blocks of 16 as one of 32 with split nibbles: both scales, both offsets (if there are any), the quants."""
    layout = np.dtype([("scales", "<u2", (n_scales,)), ("q", np.uint64)])
    paired = np.dtype([("scales", "<u2", (n_scales, 2)), ("q", "V16")])

    def convert(data: bytes) -> bytes:
        pairs = np.frombuffer(data, layout).reshape(-1, 2)
        out = np.empty(len(pairs), paired)
        out["scales"] = pairs["scales"].swapaxes(1, 2)
        out["q"] = _split(pairs["q"][:, 0], pairs["q"][:, 1])
        return out.tobytes()

    return convert


def _expand_sixteens(n_scales: int) -> Callable[[bytes], bytes]:
    """The same blocks of 16 as float32: d * (q - 8), or d * q + m."""
    layout = np.dtype([("scales", "<f2", (n_scales,)), ("q", "u1", 8)])

    def expand(data: bytes) -> bytes:
        blocks = np.frombuffer(data, layout)
        d, *m = (blocks["scales"][:, i, None].astype(np.float32) for i in range(n_scales))
        q = np.stack([blocks["q"] & 15, blocks["q"] >> 4], axis=2).reshape(-1, 16).astype(np.float32)
        values = d * q + m[0] if m else d * (q - np.float32(8))
        return values.astype("<f4", copy=False).tobytes()

    return expand


def _widen(data: bytes) -> bytes:
    return np.frombuffer(data, "<f2").astype("<f4").tobytes()


def _widen_brain(data: bytes) -> bytes:
    return (np.frombuffer(data, "<u2").astype("<u4") << 16).tobytes()


def _swap(*widths: int) -> Callable[[bytes], bytes]:
    """Turns the bytes of each value of a block around; ``widths`` are those of a block's values, 1 where none turn."""
    order: list[int] = []
    for width in widths:
        order += range(len(order) + width - 1, len(order) - 1, -1)

    def swap(data: bytes) -> bytes:
        return np.frombuffer(data, np.uint8).reshape(-1, len(order))[:, np.array(order)].tobytes()

    return swap


#: By name: a function from whole old blocks to whole new ones.
CONVERSIONS: Mapping[str, Callable[[bytes], bytes]] = {
    "F16 to F32": _widen,
    "BF16 to F32": _widen_brain,
    "interleaved Q4_0 (f32 scales)": _resplit(4),
    "interleaved Q4_1 (f32 scales)": _resplit(8),
    "interleaved Q4_2": _pair(1),
    "interleaved Q4_3": _pair(2),
    "interleaved Q5_0": _resplit(6),
    "interleaved Q5_1": _resplit(8),
    "Q4_2 to F32": _expand_sixteens(1),
    "Q4_3 to F32": _expand_sixteens(2),
    "big-endian F32": _swap(4),
    "big-endian F16": _swap(2),
    "big-endian BF16": _swap(2),
    "big-endian Q4_0": _swap(2, *[1] * 16),
    "big-endian Q4_1": _swap(2, 2, *[1] * 16),
    "big-endian Q5_0": _swap(2, 4, *[1] * 16),
    "big-endian Q5_1": _swap(2, 2, 4, *[1] * 16),
    "big-endian Q8_0": _swap(2, *[1] * 32),
    "big-endian Q2_K": _swap(*[1] * 80, 2, 2),
    "big-endian Q3_K": _swap(*[1] * 108, 2),
    "big-endian Q4_K": _swap(2, 2, *[1] * 140),
    "big-endian Q5_K": _swap(2, 2, *[1] * 172),
    "big-endian Q6_K": _swap(*[1] * 208, 2),
    "big-endian IQ4_NL": _swap(2, *[1] * 16),
    "big-endian IQ4_XS": _swap(2, 2, *[1] * 132),
}


def expand_groups(q: bytes, scales: bytes, group: int, skipped: int) -> bytes:
    """int8 times the float32 scale of its group; ``q`` begins ``skipped`` weights into the first group."""
    weights = np.frombuffer(q, np.int8).astype("<f4")
    weights *= np.frombuffer(scales, "<f4")[np.arange(skipped, skipped + len(q)) // group]
    return weights.tobytes()


def blocks_of_groups(q: bytes, scales: bytes, group: int, skipped: int) -> bytes:
    """The same as blocks of 32, each with the scale of its group, where groups and ``skipped`` are whole blocks."""
    return _blocks(q, np.frombuffer(scales, "<f4")[np.arange(skipped, skipped + len(q), _BLOCK) // group])


def expand_inverse(q: bytes, inverse_scales: bytes, cols: int, block: int) -> bytes:
    """int8 rows of ``cols`` over the float32 inverse scale of each block of a row."""
    weights = np.frombuffer(q, np.int8).reshape(-1, cols).astype("<f4")
    with np.errstate(invalid="ignore"):  # what is not finite is refused when it is loaded
        weights *= np.repeat(_scales(inverse_scales).reshape(len(weights), -1), block, axis=1)[:, :cols]
    return weights.tobytes()


def blocks_of_inverse(q: bytes, inverse_scales: bytes) -> bytes:
    """The same as blocks of 32, of which rows are full."""
    return _blocks(q, _scales(inverse_scales))


def _scales(inverse: bytes) -> _Array:
    with np.errstate(divide="ignore", over="ignore"):
        return np.asarray(np.float32(1) / np.frombuffer(inverse, "<f4"))


def _blocks(q: bytes, scales: _Array) -> bytes:
    blocks = np.empty(len(scales), _Q8_0_F32)
    blocks["d"] = scales
    blocks["q"] = np.frombuffer(q, np.int8).reshape(-1, _BLOCK)
    return blocks.tobytes()
