"""Weights as blocks and back, in plain numpy: what the tests hold the program to.

Block layouts are those of GGUF: a row is cut into blocks of 32 elements, each with its own scale (and, for the
``_1`` types, minimum) in float16. Nibbles are split: element i < 16 is the low half of byte i, element i >= 16 the
high half of byte i - 16. Blocks of 256 are in ``super_blocks``. Those of older files, which GGUF cannot hold, are as
the core takes them: scales are float32, or one in float16 for each 16 elements.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from tests.support.super_blocks import IQ4_VALUES, SUPER, SUPER_BLOCKS, expand_super, stand_in

Floats = NDArray[np.float32]

BLOCK = 32
#: By label, ggml's number of each type that the core computes with: what a GGUF can hold.
GGUF_IDS = {"F32": 0, "F16": 1, "Q4_0": 2, "Q4_1": 3, "Q5_0": 6, "Q5_1": 7, "Q8_0": 8, "BF16": 30}
GGUF_IDS |= {"Q2_K": 10, "Q3_K": 11, "Q4_K": 12, "Q5_K": 13, "Q6_K": 14, "IQ4_NL": 20, "IQ4_XS": 23}
#: All types of the core, by its own numbers.
OLD_SCALES = {"Q4_0 (f32 scales)": 256, "Q4_1 (f32 scales)": 257, "Q8_0 (f32 scales)": 258, "Q4_2": 259, "Q4_3": 260}
IDS = GGUF_IDS | OLD_SCALES
QUANTIZED = tuple(label for label in IDS if label not in ("F32", "F16", "BF16"))

_LAYOUTS = {
    "Q4_0": np.dtype([("d", "<f2"), ("q", "u1", 16)]),
    "Q4_1": np.dtype([("d", "<f2"), ("m", "<f2"), ("q", "u1", 16)]),
    "Q5_0": np.dtype([("d", "<f2"), ("h", "<u4"), ("q", "u1", 16)]),
    "Q5_1": np.dtype([("d", "<f2"), ("m", "<f2"), ("h", "<u4"), ("q", "u1", 16)]),
    "Q8_0": np.dtype([("d", "<f2"), ("q", "i1", 32)]),
    "IQ4_NL": np.dtype([("d", "<f2"), ("q", "u1", 16)]),
    "Q4_0 (f32 scales)": np.dtype([("d", "<f4"), ("q", "u1", 16)]),
    "Q4_1 (f32 scales)": np.dtype([("d", "<f4"), ("m", "<f4"), ("q", "u1", 16)]),
    "Q8_0 (f32 scales)": np.dtype([("d", "<f4"), ("q", "i1", 32)]),
    "Q4_2": np.dtype([("d", "<f2", 2), ("q", "u1", 16)]),
    "Q4_3": np.dtype([("d", "<f2", 2), ("m", "<f2", 2), ("q", "u1", 16)]),
}
#: The q that means zero, of types without minima.
_ZEROS = {"Q4_0": 8, "Q5_0": 16, "Q4_0 (f32 scales)": 8, "Q4_2": 8}


def block_size(label: str) -> tuple[int, int]:
    """(elements, bytes) of one block of a type."""
    if label in _LAYOUTS:
        return BLOCK, _LAYOUTS[label].itemsize
    if label in SUPER_BLOCKS:
        return SUPER, SUPER_BLOCKS[label][0]
    return 1, {"F32": 4, "F16": 2, "BF16": 2}[label]


def scale_places(label: str) -> dict[str, tuple[tuple[int, ...], str]]:
    """Where a block of a type has scales ("d"), and offsets ("m") if it has them: at which bytes, in which numbers."""
    if label in SUPER_BLOCKS:
        return {name: ((at,), "<f2") for name, at in zip("dm", SUPER_BLOCKS[label][1], strict=False)}
    layout = _LAYOUTS[label]
    places = {}
    for name in ("d", "m"):
        if name in layout.names:  # type: ignore[operator]
            part, first = layout.fields[name][:2]  # type: ignore[index]
            number = part.base
            places[name] = tuple(range(first, first + part.itemsize, number.itemsize)), str(number.str)
    return places


def quantize(label: str, values: Floats) -> bytes:
    """The bytes of ``values`` (rows along the last axis, whole blocks each) in a tensor type.

    Blocks of 256 are random, of the same size on average: ``stand_in``.
    """
    values = np.ascontiguousarray(values, np.float32)
    if label in _LAYOUTS:
        return _QUANTIZERS[label](values.reshape(-1, BLOCK)).tobytes()
    if label in SUPER_BLOCKS:
        return stand_in(label, values)
    if label == "BF16":
        bits = values.view(np.uint32)
        return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2").tobytes()  # to nearest, ties to even
    return values.astype({"F32": "<f4", "F16": "<f2"}[label]).tobytes()


def dequantize(label: str, data: bytes, shape: tuple[int, ...]) -> Floats:
    """The float32 values that ``data`` holds."""
    if label in _LAYOUTS:
        blocks = np.frombuffer(data, _LAYOUTS[label])
        d, has_m = _scales(blocks["d"]), "m" in _LAYOUTS[label].fields  # type: ignore[operator]  # numpy: or None
        if label.startswith("Q8_0"):
            values = d * blocks["q"].astype(np.float32)
        else:
            q = np.concatenate([blocks["q"] & 15, blocks["q"] >> 4], axis=1).astype(np.int32)
            if "h" in blocks.dtype.fields:  # type: ignore[operator]
                q |= (((blocks["h"][:, None] >> np.arange(BLOCK, dtype=np.uint32)) & 1) << 4).astype(np.int32)
            if label == "IQ4_NL":
                values = d * IQ4_VALUES[q].astype(np.float32)
            elif has_m:
                values = d * q.astype(np.float32) + _scales(blocks["m"])
            else:
                values = d * (q - _ZEROS[label]).astype(np.float32)
    elif label in SUPER_BLOCKS:
        values = expand_super(label, data)
    elif label == "BF16":
        values = (np.frombuffer(data, "<u2").astype(np.uint32) << 16).view(np.float32)
    else:
        values = np.frombuffer(data, {"F32": "<f4", "F16": "<f2"}[label]).astype(np.float32)
    return np.asarray(values, np.float32).reshape(shape)


def _scales(numbers: NDArray[np.floating]) -> Floats:
    """[blocks] or [blocks][groups] as [blocks][1 or 32]."""
    one_each = numbers.astype(np.float32).reshape(len(numbers), -1)
    return one_each if one_each.shape[1] == 1 else np.repeat(one_each, BLOCK // one_each.shape[1], axis=1)


def _symmetric(label: str, bits: int) -> Callable[[Floats], NDArray[np.void]]:
    """Q4_0 and Q5_0: the value of largest magnitude becomes the most negative quant."""
    half = 1 << (bits - 1)

    def make(x: Floats) -> NDArray[np.void]:
        x = _groups(label, x)
        extreme = np.take_along_axis(x, np.abs(x).argmax(axis=2)[..., None], axis=2)
        return _pack(label, x, extreme / -half, None, half + 0.5, 2 * half - 1)

    return make


def _affine(label: str, bits: int) -> Callable[[Floats], NDArray[np.void]]:
    """Q4_1 and Q5_1: quants count up from the block's minimum."""
    top = (1 << bits) - 1

    def make(x: Floats) -> NDArray[np.void]:
        x = _groups(label, x)
        low, high = x.min(axis=2, keepdims=True), x.max(axis=2, keepdims=True)
        return _pack(label, x, (high - low) / top, low, 0.5, top)

    return make


def _groups(label: str, x: Floats) -> Floats:
    """[blocks][32] as [blocks][groups][weights that share a scale]."""
    return x.reshape(len(x), np.zeros(1, _LAYOUTS[label])["d"].size, -1)


def _pack(
    label: str, x: Floats, d: NDArray[np.floating], low: Floats | None, offset: float, top: int
) -> NDArray[np.void]:
    """x is [blocks][groups][weights], d and low [blocks][groups][1]."""
    blocks = np.zeros(len(x), _LAYOUTS[label])
    q = np.clip((x - (0 if low is None else low)) * _inverse(d) + offset, 0, top).astype(np.uint32).reshape(-1, BLOCK)
    blocks["d"] = d.reshape(blocks["d"].shape)
    if low is not None:
        blocks["m"] = low.reshape(blocks["m"].shape)
    if "h" in _LAYOUTS[label].fields:  # type: ignore[operator]
        blocks["h"] = ((q >> 4) << np.arange(BLOCK, dtype=np.uint32)).sum(axis=1, dtype=np.uint32)
    blocks["q"] = ((q[:, :16] & 15) | ((q[:, 16:] & 15) << 4)).astype(np.uint8)
    return blocks


def _q8_0(label: str) -> Callable[[Floats], NDArray[np.void]]:
    def make(x: Floats) -> NDArray[np.void]:
        blocks = np.zeros(len(x), _LAYOUTS[label])
        d = np.abs(x).max(axis=1, keepdims=True) / 127
        blocks["d"] = d[:, 0]
        blocks["q"] = np.rint(x * _inverse(d)).astype(np.int8)
        return blocks

    return make


def _iq4_nl(x: Floats) -> NDArray[np.void]:
    blocks = np.zeros(len(x), _LAYOUTS["IQ4_NL"])
    d = np.abs(x).max(axis=1, keepdims=True) / 113
    q = np.abs((x * _inverse(d))[..., None] - IQ4_VALUES).argmin(axis=2).astype(np.uint8)
    blocks["d"] = d[:, 0].astype("<f2")
    blocks["q"] = q[:, :16] | q[:, 16:] << 4
    return blocks


def _inverse(d: NDArray[np.floating]) -> Floats:
    out = np.zeros(d.shape, np.float32)
    np.divide(1.0, d, out=out, where=d != 0)
    return out


_QUANTIZERS: dict[str, Callable[[Floats], NDArray[np.void]]] = {
    "Q4_0": _symmetric("Q4_0", 4),
    "Q4_1": _affine("Q4_1", 4),
    "Q5_0": _symmetric("Q5_0", 5),
    "Q5_1": _affine("Q5_1", 5),
    "Q8_0": _q8_0("Q8_0"),
    "IQ4_NL": _iq4_nl,
    "Q4_0 (f32 scales)": _symmetric("Q4_0 (f32 scales)", 4),
    "Q4_1 (f32 scales)": _affine("Q4_1 (f32 scales)", 4),
    "Q8_0 (f32 scales)": _q8_0("Q8_0 (f32 scales)"),
    "Q4_2": _symmetric("Q4_2", 4),
    "Q4_3": _affine("Q4_3", 4),
}
