"""Quantising: ggml's reference to the bit, held to an independent implementation and to vectors of its own."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.support.blocks import IDS, Floats, block_size, dequantize, quantize
from tests.support.core import ffi, floats, lib, ok

QUANTIZED = ("Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0")


def quantized(label: str, values: Floats) -> bytes:
    elements, size = block_size(label)
    out = bytearray(values.size // elements * size)
    ok(lib.lc_quantize(IDS[label], floats(values), values.size, ffi.from_buffer(out)))
    return bytes(out)


def samples() -> dict[str, NDArray[np.float64]]:
    rng = np.random.default_rng(3)
    shape = (4096, 32)
    return {
        "as weights are": rng.standard_normal(shape) * 0.02,
        "blocks of all sizes": rng.standard_normal(shape) * 10.0 ** rng.uniform(-30, 4, (4096, 1)),
        "one large among small": rng.standard_normal(shape) * np.where(rng.random(shape) < 0.03, 1000, 0.1),
        "equal magnitudes": rng.choice([-1.0, 1.0], shape) * rng.uniform(0.1, 2, (4096, 1)),
        "constant": np.repeat(rng.standard_normal((64, 1)), 32, axis=1),
    }


@pytest.mark.parametrize("label", QUANTIZED)
@pytest.mark.parametrize("kind", samples())
def test_blocks_are_those_of_the_definition(label: str, kind: str) -> None:
    values = np.ascontiguousarray(samples()[kind], np.float32)
    assert quantized(label, values) == quantize(label, values)


#: By ggml's own quantize_row_*_ref, of the weights below.
GOLDEN = {
    "Q4_0": (
        "b7b56c6c5c5b4b4a4a3a3929282818170706f04780878787878787879798989898989898cda800ff00ff00ff00ff00ff00ff"
        "00ff00ff02805a5a4a49493938382827271716160605008088888888888888888888888888888888"
    ),
    "Q4_1": (
        "b93449be80809191a2a2b3b3c4c4d5d5e6e6f7f7bc44f0d3d0ecececececececedededfdfdfdfdfd1f29cdb4ff00ff00ff00"
        "ff00ff00ff00ff00ff000100038080809191a2a2b3b3c4c4d5d5e6e6f7f70000008000000000000000000000000000000000"
    ),
    "Q5_0": (
        "b7b1ff0f0000c9b8a7a696857463625241302f2e1e0df04300e0ffff000e0e0e1e1f1f1f1f1f1f1f2f202020cda4aaaaaaaa"
        "00ff00ff00ff00ff00ff00ff00ff00ff0180ff000000a4949382727160505f4e3e3d2c1c1b0b0080ffffffff000000000000"
        "00000000000000000000"
    ),
    "Q5_1": (
        "923049be0000ffff00112233445566778899aabbccddeeff9540f0d3feffffffc0c8c9c9d9d9dadadaeaeaebebfbfbfcf424"
        "cdb455555555ff00ff00ff00ff00ff00ff00ff00ff00010003800000ffff00112233445566778899aabbccddeeff00000080"
        "0000000000000000000000000000000000000000"
    ),
    "Q8_0": (
        "c225bac0c7cdd4dae0e7edf3fa00060d131920262c333940464c53595f666c72797f003881f1f2f3f4f5f6f7f8f9fafbfcfd"
        "feff000102030405060708090a0b0c0d0e0fd6187f817f817f817f817f817f817f817f817f817f817f817f817f817f817f81"
        "7f810000dde2e8edf2f7fd02070c11171c21262b31363b40464b50555a60656a6f757a7f0000000000000000000000000000"
        "0000000000000000000000000000000000000000"
    ),
}


def golden_weights() -> Floats:
    """Halves between two quants, equal extremes of both signs, subnormals of float16, zeros of both signs."""
    step = np.arange(32, dtype=np.float32)
    ramp = (step - 11) / 7
    halves = (step - 16) / 2
    halves[0] = -127 / 2
    equal = np.where(step % 2 == 0, np.float32(0.3), np.float32(-0.3)).astype(np.float32)
    tiny = (step * np.float32(3e-8) - np.float32(2e-7)).astype(np.float32)
    zeros = np.where(step % 3 == 1, np.float32(0.0), np.float32(-0.0)).astype(np.float32)
    return np.concatenate([ramp, halves, equal, tiny, zeros]).astype(np.float32)


@pytest.mark.parametrize("label", GOLDEN)
def test_vectors_of_the_reference(label: str) -> None:
    assert quantized(label, golden_weights()).hex() == GOLDEN[label]


@pytest.mark.parametrize("label", QUANTIZED)
def test_what_was_quantised_stays_as_it_is(label: str) -> None:
    """A converted file can be converted again without getting worse."""
    values = np.random.default_rng(4).standard_normal((512, 32), np.float32)
    once = dequantize(label, quantized(label, values), values.shape)
    twice = dequantize(label, quantized(label, once), values.shape)
    error, change = np.abs(once - values).max(), np.abs(twice - once).max()
    assert change <= 0.02 * error


def test_half_precisions_round_to_nearest_even() -> None:
    bits = np.random.default_rng(5).integers(0, 1 << 32, 1 << 18, dtype=np.uint32)
    values = bits.view(np.float32)
    values = np.ascontiguousarray(values[np.isfinite(values) & (np.abs(values) < 65504)])
    assert quantized("F16", values) == values.astype("<f2").tobytes()
    assert quantized("F32", values) == values.tobytes()
    assert quantized("BF16", values) == quantize("BF16", values)


@pytest.mark.parametrize("label", ["F32", "F16", "BF16", *QUANTIZED])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_is_refused(label: str, bad: float) -> None:
    values = np.ones((3, 32), np.float32)
    values[1, 31] = bad
    out = bytearray(4 * values.size)
    assert lib.lc_quantize(IDS[label], floats(values), values.size, ffi.from_buffer(out)) == lib.LC_ERR_NONFINITE


@pytest.mark.parametrize(("label", "largest"), [("F16", 65519.0), ("Q4_0", 8 * 65519.0), ("Q8_0", 127 * 65519.0)])
def test_what_is_too_large_is_refused(label: str, largest: float) -> None:
    values = np.ones(32, np.float32)
    values[7] = largest
    assert np.isfinite(dequantize(label, quantized(label, values), (32,))).all()
    values[7] = largest * 1.01
    out = bytearray(4 * values.size)
    assert lib.lc_quantize(IDS[label], floats(values), values.size, ffi.from_buffer(out)) == lib.LC_ERR_NONFINITE


def test_refusals() -> None:
    values, out = np.ones(64, np.float32), ffi.from_buffer(bytearray(256))
    assert lib.lc_quantize(4, floats(values), 32, out) == lib.LC_ERR_TYPE
    assert lib.lc_quantize(lib.LC_Q4_0, floats(values), 33, out) == lib.LC_ERR_SHAPE
    assert lib.lc_quantize(lib.LC_Q4_0, ffi.NULL, 32, out) == lib.LC_ERR_ARGUMENT
    assert lib.lc_quantize(lib.LC_Q4_0, floats(values), 32, ffi.NULL) == lib.LC_ERR_ARGUMENT
