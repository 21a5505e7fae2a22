"""Weight types: block sizes, and the scalar expansion that all kernels are compared with."""

from __future__ import annotations

import numpy as np
import pytest

from tests.native.random_weights import random_bytes
from tests.support.blocks import IDS, block_size, dequantize
from tests.support.core import ffi, floats, lib


@pytest.mark.parametrize("label", IDS)
def test_block_sizes(label: str) -> None:
    elements, size = ffi.new("int32_t *"), ffi.new("int32_t *")
    assert lib.lc_type_block(IDS[label], elements, size) == lib.LC_OK
    assert (elements[0], size[0]) == block_size(label)


@pytest.mark.parametrize("label", IDS)
def test_expansion_is_exact(label: str) -> None:
    cols = block_size(label)[0] * 3
    data = random_bytes(np.random.default_rng(1), label, 100, cols)
    out = np.empty((100, cols), np.float32)
    assert lib.lc_dequantize(IDS[label], ffi.from_buffer(data), out.size, floats(out)) == lib.LC_OK
    np.testing.assert_array_equal(out, dequantize(label, data, out.shape))


def test_every_half_precision_number() -> None:
    halves = np.arange(1 << 16, dtype=np.uint16)
    out = np.empty(halves.size, np.float32)
    for label, expected in (
        ("F16", halves.view(np.float16).astype(np.float32)),
        ("BF16", (halves.astype(np.uint32) << 16).view(np.float32)),
    ):
        lib.lc_dequantize(IDS[label], ffi.from_buffer(halves.tobytes()), halves.size, floats(out))
        np.testing.assert_array_equal(out, expected)


def test_refusals() -> None:
    out = np.empty(64, np.float32)
    n, data = ffi.new("int32_t *"), ffi.from_buffer(bytes(256))
    assert lib.lc_type_block(4, n, n) == lib.LC_ERR_TYPE
    assert lib.lc_type_block(0, ffi.NULL, n) == lib.LC_ERR_ARGUMENT
    assert lib.lc_dequantize(-1, data, 32, floats(out)) == lib.LC_ERR_TYPE
    assert lib.lc_dequantize(lib.LC_Q4_0, data, 33, floats(out)) == lib.LC_ERR_SHAPE
    assert lib.lc_dequantize(lib.LC_Q4_0, ffi.NULL, 32, floats(out)) == lib.LC_ERR_ARGUMENT
    assert lib.lc_dequantize(lib.LC_Q4_0, data, 32, ffi.NULL) == lib.LC_ERR_ARGUMENT
    assert lib.lc_dequantize(lib.LC_F32, data, 0, floats(out)) == lib.LC_OK
