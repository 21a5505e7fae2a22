"""Blocks of weights as ggml files had them before version 3 of ggjt, element by element.

``v1`` stands for all files up to May 2023, ``v2`` for a week in that month. Scales are float32 but in Q4_2, Q4_3, Q5_0
and Q5_1; Q4_2 and Q4_3 have 16 elements. Nibbles are interleaved in v1 (element i in byte i // 2, the even ones in the
low half), and split in v2 (element i in byte i % 16, the first 16 in the low half).
"""

from __future__ import annotations

import struct

import numpy as np

from tests.support.blocks import Floats

#: Old types that have a type of the core's own, which holds all of them.
KEPT_AS = {label: f"{label} (f32 scales)" for label in ("Q4_0", "Q4_1", "Q8_0")} | {"Q4_2": "Q4_2", "Q4_3": "Q4_3"}

OLD_IDS = {"Q4_0": 2, "Q4_1": 3, "Q4_2": 4, "Q4_3": 5, "Q5_0": 6, "Q5_1": 7, "Q8_0": 8}

#: By type: elements, format of the scale and offset, the quant that means zero (None: there is an offset), bits.
_TYPES: dict[str, tuple[int, str, int | None, int]] = {
    "Q4_0": (32, "f", 8, 4),
    "Q4_1": (32, "ff", None, 4),
    "Q4_2": (16, "e", 8, 4),
    "Q4_3": (16, "ee", None, 4),
    "Q5_0": (32, "e", 16, 5),
    "Q5_1": (32, "ee", None, 5),
    "Q8_0": (32, "f", 0, 8),
}


def _byte_of(element: int, version: int) -> tuple[int, int]:
    """(byte, shift) of a nibble."""
    return (element // 2, 4 * (element % 2)) if version == 1 else (element % 16, 4 * (element // 16))


def quantize_old(label: str, version: int, values: Floats) -> bytes:
    """The bytes of ``values`` in an old type."""
    elements, scales, zero, bits = _TYPES[label]
    out = bytearray()
    for block in values.reshape(-1, elements):
        low, top = (float(block.min()), (1 << bits) - 1) if zero is None else (0.0, (1 << (bits - 1)) - 1)
        spread = float(block.max()) - low if zero is None else float(np.abs(block).max())
        numbers = [spread / top, low][: len(scales)]
        head = struct.pack("<" + scales, *numbers)
        d, *m = struct.unpack("<" + scales, head)
        q = [round((float(x) - (m[0] if m else 0.0)) / d) if d else 0 for x in block]
        if bits == 8:
            out += head + struct.pack("<32b", *[max(-127, min(127, n)) for n in q])
            continue
        nibbles, high = bytearray(elements // 2), 0
        for i, n in enumerate(q):
            n = max(0, min((1 << bits) - 1, n + (zero or 0)))
            byte, shift = _byte_of(i, version)
            nibbles[byte] |= (n & 15) << shift
            high |= (n >> 4) << i
        out += head + (struct.pack("<I", high) if bits == 5 else b"") + nibbles
    return bytes(out)


def dequantize_old(label: str, version: int, data: bytes, shape: tuple[int, ...]) -> Floats:
    """The float32 values that the bytes hold, in float32 arithmetic: d * (q - zero), or d * q + m."""
    elements, scales, zero, bits = _TYPES[label]
    n_head = struct.calcsize("<" + scales)
    size = n_head + (4 if bits == 5 else 0) + (32 if bits == 8 else elements // 2)
    values = []
    for at in range(0, len(data), size):
        block = data[at : at + size]
        d, *m = (np.float32(x) for x in struct.unpack_from("<" + scales, block))
        high = struct.unpack_from("<I", block, n_head)[0] if bits == 5 else 0
        q = block[-32:] if bits == 8 else block[-(elements // 2) :]
        for i in range(elements):
            if bits == 8:
                n = struct.unpack_from("b", q, i)[0]
            else:
                byte, shift = _byte_of(i, version)
                n = q[byte] >> shift & 15 | (high >> i & 1) << 4
            values.append(d * np.float32(n) + m[0] if m else d * np.float32(n - (zero or 0)))
    return np.array(values, np.float32).reshape(shape)
