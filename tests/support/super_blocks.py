"""Blocks of 256 weights (Q2_K to Q6_K, IQ4_XS) in plain numpy, element by element, and IQ4_NL's table.

``b`` is [blocks][bytes], ``E`` the number of an element in its block; each expression is that of the format's
description, so that nothing is shared with the core but the meaning.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

_Array = NDArray[Any]

SUPER = 256
E = np.arange(SUPER)

#: By type: bytes of a block, and the offsets of its float16 scale and of the one of its minima, if it has them.
SUPER_BLOCKS = {
    "Q2_K": (84, (80, 82)),
    "Q3_K": (110, (108,)),
    "Q4_K": (144, (0, 2)),
    "Q5_K": (176, (0, 2)),
    "Q6_K": (210, (208,)),
    "IQ4_XS": (136, (0,)),
}

IQ4_VALUES = np.array([-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113])


def half(b: _Array, at: int) -> _Array:
    """[blocks][1]: the float16 at an offset, as float32."""
    return np.asarray(b[:, at : at + 2].copy().view("<f2"), np.float32)


def _q2_k(b: _Array) -> _Array:
    h, j, at = E // 128, E % 128 // 32, E % 32
    q, scales = b[:, 16 + 32 * h + at] >> 2 * j & 3, b[:, E // 16]
    return np.asarray(half(b, 80) * _f(scales & 15) * _f(q) - half(b, 82) * _f(scales >> 4))


def _q3_k(b: _Array) -> _Array:
    h, j, at, s = E // 128, E % 128 // 32, E % 32, E // 16
    scales = (b[:, 96 + s % 8] >> 4 * (s // 8) & 15 | (b[:, 104 + s % 4] >> 2 * (s // 4) & 3) << 4).astype(int) - 32
    q = (b[:, 32 + 32 * h + at] >> 2 * j & 3).astype(int)
    q -= np.where(b[:, at] >> (4 * h + j) & 1, 0, 4)
    return half(b, 108) * _f(scales) * _f(q)


def _six_bits(b: _Array, at: int) -> tuple[_Array, _Array]:
    """Scale and minimum of each element's 32."""
    packed, s = b[:, at : at + 12].astype(int), E // 32
    near, far = s % 4, s % 4 + 4
    scale = np.where(s < 4, packed[:, near] & 63, packed[:, near + 8] & 15 | packed[:, near] >> 6 << 4)
    minimum = np.where(s < 4, packed[:, far] & 63, packed[:, near + 8] >> 4 | packed[:, far] >> 6 << 4)
    return scale, minimum


def _q4_k(b: _Array) -> _Array:
    s = E // 32
    scale, minimum = _six_bits(b, 4)
    q = b[:, 16 + 32 * (s // 2) + E % 32] >> 4 * (s % 2) & 15
    return np.asarray(half(b, 0) * _f(scale) * _f(q) - half(b, 2) * _f(minimum))


def _q5_k(b: _Array) -> _Array:
    s = E // 32
    scale, minimum = _six_bits(b, 4)
    q = b[:, 48 + 32 * (s // 2) + E % 32] >> 4 * (s % 2) & 15 | (b[:, 16 + E % 32] >> s & 1) << 4
    return np.asarray(half(b, 0) * _f(scale) * _f(q) - half(b, 2) * _f(minimum))


def _q6_k(b: _Array) -> _Array:
    h, g, at = E // 128, E % 128 // 32, E % 32
    low, high = b[:, 64 * h + 32 * (g % 2) + at] >> 4 * (g // 2) & 15, b[:, 128 + 32 * h + at] >> 2 * g & 3
    return half(b, 208) * _f(b[:, 192 + E // 16].view(np.int8)) * _f((low | high << 4).astype(int) - 32)


def _iq4_xs(b: _Array) -> _Array:
    s, high = E // 32, b[:, 2:4].copy().view("<u2").astype(int)
    scale = (b[:, 4 + s // 2] >> 4 * (s % 2) & 15) | (high >> 2 * s & 3) << 4
    q = b[:, 8 + 16 * s + E % 16] >> 4 * (E % 32 // 16) & 15
    return half(b, 0) * _f(scale - 32) * _f(IQ4_VALUES[q])


def _f(integers: _Array) -> _Array:
    return np.asarray(integers, np.float32)


_DECODERS: dict[str, Callable[[_Array], _Array]] = {
    "Q2_K": _q2_k,
    "Q3_K": _q3_k,
    "Q4_K": _q4_k,
    "Q5_K": _q5_k,
    "Q6_K": _q6_k,
    "IQ4_XS": _iq4_xs,
}


def expand_super(label: str, data: bytes) -> _Array:
    """[blocks][256]: the values of whole blocks."""
    return _DECODERS[label](np.frombuffer(data, np.uint8).reshape(-1, SUPER_BLOCKS[label][0]))


def random_super(rng: np.random.Generator, label: str, n: int) -> _Array:
    """[n][bytes]: blocks with any bits, and scales of 1: of the minima so large that weights are of both signs."""
    size, halves = SUPER_BLOCKS[label]
    blocks = rng.integers(0, 256, (n, size), dtype=np.uint8)
    for at, scale in zip(halves, (1.0, {"Q2_K": 1.5, "Q4_K": 7.5, "Q5_K": 15.5}.get(label)), strict=False):
        blocks[:, at : at + 2] = np.array([scale], "<f2").view(np.uint8)
    return blocks


def stand_in(label: str, values: _Array) -> bytes:
    """Blocks of random bits, as large as ``values`` on average: weights for models whose values do not matter."""
    _, halves = SUPER_BLOCKS[label]
    blocks = random_super(np.random.default_rng(values.size), label, values.size // SUPER)
    factor = values.std() / expand_super(label, blocks.tobytes()).std()
    for at in halves:
        blocks[:, at : at + 2] = (half(blocks, at) * factor).astype("<f2").view(np.uint8)
    return blocks.tobytes()
