"""Rows of tensors in the ways that files hold them, computed by the C core."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llamachat._native import ffi as native_ffi
from llamachat._native import lib
from llamachat.errors import WeightsError
from llamachat.weights.base import WeightFile
from llamachat.weights.tensors import Tensor, TensorType

Floats = NDArray[np.float32]

ffi: Any = native_ffi  # whose types know no arrays


@dataclass(frozen=True, slots=True)
class Blocks:
    """Rows in a type of GGUF, one after another; those of the same type are copied.

    ``head_dim``, unless 0, puts query or key rows into Hugging Face's order: a head's rows have all first halves of
    RoPE's pairs before all second ones.
    """

    type: TensorType
    head_dim: int = 0

    @property
    def rows_together(self) -> int:  # noqa: D102  (see Encoding)
        return self.head_dim or 1

    def size(self, tensor: Tensor) -> int:  # noqa: D102
        return tensor.rows * (tensor.cols // self.type.block_elements * self.type.block_bytes)

    def encode(self, weights: WeightFile, tensor: Tensor, first: int, count: int) -> tuple[bytes, bytes]:  # noqa: D102
        data = weights.read(tensor.name, first, count)
        if self.head_dim:
            data = _permuted(data, count, self.head_dim)
        if tensor.type is self.type:
            return data, b""
        values = _expanded(weights, tensor, data, count)
        n_bytes = values.size // self.type.block_elements * self.type.block_bytes
        out = np.empty(n_bytes, np.uint8)
        status = lib.lc_quantize(self.type.id, _pointer(values), values.size, ffi.from_buffer(out))
        if status != lib.LC_OK:
            raise _failure(weights, tensor, self.type, values, status)
        return out.tobytes(), b""


@dataclass(frozen=True, slots=True)
class GroupedBytes:
    """int8 weights, and after all of them the float32 scale of each group of neighbours: llama2.c's version 2.

    A weight is its int8 times the scale, which takes the largest magnitude of the group to 127; halves are rounded to
    even. A group may begin in one row and end in the next: ``rows_together`` are whole groups.
    """

    group: int
    rows_together: int

    def size(self, tensor: Tensor) -> int:  # noqa: D102
        n = tensor.rows * tensor.cols
        return n + 4 * (n // self.group)

    def encode(self, weights: WeightFile, tensor: Tensor, first: int, count: int) -> tuple[bytes, bytes]:  # noqa: D102
        values = expanded(weights, tensor, first, count)
        q, scales = grouped(values.reshape(-1, self.group))
        return q.tobytes(), scales.astype("<f4", copy=False).tobytes()


def grouped(values: Floats) -> tuple[NDArray[np.int8], Floats]:
    """int8 rows and their scales, for rows of floats.

    A row that already is int8 times a scale comes back to the bit: dividing by 127 what was multiplied by it may miss
    the scale by the last bit, and the neighbour that meets the largest weight is taken where it meets all.
    """
    largest = np.abs(values).max(axis=1)
    scales = largest / np.float32(127)
    missed = np.flatnonzero(scales * np.float32(127) != largest)
    q = _rounded(values, scales)
    for direction in (np.float32(0), np.float32(np.inf)) if missed.size else ():
        other = np.nextafter(scales[missed], direction)
        again = _rounded(values[missed], other)
        exact = (again.astype(np.float32) * other[:, None] == values[missed]).all(axis=1)
        scales[missed[exact]], q[missed[exact]] = other[exact], again[exact]
    return q, scales


def _rounded(values: Floats, scales: Floats) -> NDArray[np.int8]:
    safe = np.where(scales > 0, scales, np.float32(1))
    return np.clip(np.rint(values / safe[:, None]), -127, 127).astype(np.int8)


def expanded(weights: WeightFile, tensor: Tensor, first: int, count: int) -> Floats:
    """Rows as float32, all finite; ``WeightsError`` otherwise."""
    values = _expanded(weights, tensor, weights.read(tensor.name, first, count), count)
    if not np.isfinite(values).all():
        raise _failure(weights, tensor, TensorType.F32, values, lib.LC_ERR_NONFINITE)
    return values.reshape(count, tensor.cols)


def _expanded(weights: WeightFile, tensor: Tensor, data: bytes, count: int) -> Floats:
    if tensor.type is TensorType.F32:
        return np.frombuffer(data, "<f4")
    values = np.empty(count * tensor.cols, np.float32)
    status = lib.lc_dequantize(tensor.type.id, ffi.from_buffer(data), values.size, _pointer(values))
    if status != lib.LC_OK:
        raise _failure(weights, tensor, tensor.type, values, status)
    return values


def _pointer(values: Floats) -> Any:
    return ffi.from_buffer("float[]", values, require_writable=False)


def _permuted(data: bytes, count: int, head_dim: int) -> bytes:
    rows = np.frombuffer(data, np.uint8).reshape(count // head_dim, head_dim // 2, 2, -1)
    return rows.swapaxes(1, 2).tobytes()


def _failure(weights: WeightFile, tensor: Tensor, kind: TensorType, values: Floats, status: int) -> WeightsError:
    if status != lib.LC_ERR_NONFINITE:
        return WeightsError(weights.path, f"tensor {tensor.name}: the C core cannot make {kind.label} of it ({status})")
    if np.isfinite(values).all():
        return WeightsError(weights.path, f"has weights in tensor {tensor.name} that are too large for {kind.label}")
    return WeightsError(weights.path, f"has a NaN or an infinity in tensor {tensor.name}")
