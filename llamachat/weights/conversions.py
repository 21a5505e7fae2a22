"""Rows of layouts that are no longer used, made into current ones without losing a bit.

Nibbles were interleaved until version 2 of ggjt: element ``2i`` in the low half of byte ``i``, element ``2i + 1`` in
its high half. Since then they are split: element ``i`` and element ``i + 16`` of a block of 32.

Scales were float32 in the older Q4_0, Q4_1 and Q8_0, and float16 for each 16 elements in Q4_2 and Q4_3. No current
block holds such a scale: float16 would round most of them, since a block's scale is a weight divided by 7 or 127.
These weights therefore become F32, in the very arithmetic by which ggml expanded them, and lose nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

_Array = NDArray[Any]

_F32_D = ("d", "<f4")
_F32_M = ("m", "<f4")
_F16_D = ("d", "<f2")
_F16_M = ("m", "<f2")
_NIBBLES = ("q", "u1", 16)


def _interleaved(q: _Array) -> _Array:
    return np.stack([q & 15, q >> 4], axis=2).reshape(len(q), -1)


def _split(q: _Array) -> _Array:
    return np.concatenate([q & 15, q >> 4], axis=1)


def _expander(fields: list[Any], unpack: Callable[[_Array], _Array], zero: int = 0) -> Callable[[bytes], bytes]:
    """Blocks with these fields as float32: d * (q - zero), or d * q + m."""
    layout = np.dtype(fields)
    has_m = _F32_M in fields or _F16_M in fields

    def expand(data: bytes) -> bytes:
        blocks = np.frombuffer(data, layout)
        q = unpack(blocks["q"]).astype(np.float32)
        values = blocks["d"].astype(np.float32)[:, None] * (q - np.float32(zero))
        if has_m:
            values += blocks["m"].astype(np.float32)[:, None]
        return values.astype("<f4", copy=False).tobytes()

    return expand


def _resplit(header_bytes: int) -> Callable[[bytes], bytes]:
    """Blocks that differ from the current ones in nothing but interleaved nibbles."""

    def convert(data: bytes) -> bytes:
        blocks = np.frombuffer(data, np.uint8).reshape(-1, header_bytes + 16).copy()
        q = _interleaved(blocks[:, header_bytes:])
        blocks[:, header_bytes:] = q[:, :16] | q[:, 16:] << 4
        return blocks.tobytes()

    return convert


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
    "Q4_0 v1": _expander([_F32_D, _NIBBLES], _interleaved, 8),
    "Q4_0 v2": _expander([_F32_D, _NIBBLES], _split, 8),
    "Q4_1 v1": _expander([_F32_D, _F32_M, _NIBBLES], _interleaved),
    "Q4_1 v2": _expander([_F32_D, _F32_M, _NIBBLES], _split),
    "Q4_2 v1": _expander([_F16_D, ("q", "u1", 8)], _interleaved, 8),
    "Q4_3 v1": _expander([_F16_D, _F16_M, ("q", "u1", 8)], _interleaved),
    "Q5_0 v1": _resplit(6),
    "Q5_1 v1": _resplit(8),
    "Q8_0 v1": _expander([_F32_D, ("q", "i1", 32)], lambda q: q),
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


def expand_blocks(q: bytes, inverse_scales: bytes, cols: int, block: int) -> bytes:
    """int8 rows of ``cols`` over the float32 inverse scale of each block of a row."""
    weights = np.frombuffer(q, np.int8).reshape(-1, cols).astype("<f4")
    scales = np.frombuffer(inverse_scales, "<f4").reshape(len(weights), -1)
    with np.errstate(divide="ignore", invalid="ignore"):  # what is not finite is refused when it is loaded
        weights *= np.repeat(np.float32(1) / scales, block, axis=1)[:, :cols]
    return weights.tobytes()
