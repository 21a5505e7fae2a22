"""K-quants: as near to the weights as ggml's own search comes, or nearer, and whole in every bit."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support.blocks import IDS, OLD_SCALES, Floats, block_size, dequantize
from tests.support.core import ffi, floats, lib, ok

LABELS = ("Q4_K", "Q5_K", "Q6_K")


def quantized(label: str, values: Floats) -> bytes:
    elements, size = block_size(label)
    values = np.ascontiguousarray(values)
    out = bytearray(values.size // elements * size)
    ok(lib.lc_quantize(IDS[label], floats(values), values.size, ffi.from_buffer(out)))
    return bytes(out)


def samples() -> dict[str, Floats]:
    rng = np.random.default_rng(7)
    shape = (512, 256)
    drawn = {
        "normal": rng.standard_normal(shape),
        "heavy tails": rng.standard_t(4, shape),
        "outliers": rng.standard_normal(shape) * np.where(rng.random(shape) < 0.01, 8, 1),
        "off centre": rng.standard_normal(shape) + rng.uniform(-3, 3, (512, 1)),
    }
    return {name: np.ascontiguousarray(values, np.float32) for name, values in drawn.items()}


#: Root of squared error over squared weights that ggml's quantize_q4_K, q5_K and q6_K leave of the samples above.
REFERENCE = {
    "Q4_K": {"normal": 0.071419, "heavy tails": 0.086496, "outliers": 0.088986, "off centre": 0.035888},
    "Q5_K": {"normal": 0.036193, "heavy tails": 0.043616, "outliers": 0.044746, "off centre": 0.018220},
    "Q6_K": {"normal": 0.017740, "heavy tails": 0.022508, "outliers": 0.025305, "off centre": 0.013792},
}


def relative_error(label: str, values: Floats) -> float:
    held = dequantize(label, quantized(label, values), values.shape)
    return float(np.sqrt(((held - values) ** 2).sum() / (values**2).sum()))


@pytest.mark.parametrize("kind", samples())
@pytest.mark.parametrize("label", LABELS)
def test_errors_are_no_larger_than_the_reference_leaves(label: str, kind: str) -> None:
    assert relative_error(label, samples()[kind]) <= REFERENCE[label][kind]


@pytest.mark.parametrize("label", LABELS)
@pytest.mark.parametrize("size", [1e-12, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1.0, 1000.0])
def test_the_size_of_weights_does_not_matter(label: str, size: float) -> None:
    """Down to where the scale leaves float16."""
    values = samples()["normal"] * np.float32(size)
    error = relative_error(label, values)
    assert error <= (REFERENCE[label]["normal"] * 1.05 if size >= 1e-2 else 0.2 if size >= 1e-6 else 1.0)


@pytest.mark.parametrize("label", LABELS)
def test_blocks_that_are_hard_to_fit(label: str) -> None:
    rng = np.random.default_rng(9)
    zeros = np.zeros(256)
    one = zeros.copy()
    one[77] = -3.0
    half = np.where(np.arange(256) < 128, rng.standard_normal(256), 0.0)
    for values, bound in (
        (zeros, 0.0),
        (-zeros, 0.0),
        (one, 0.02),
        (np.full(256, 0.7), 0.01),
        (np.full(256, -0.7), 0.01),
        (np.abs(rng.standard_normal(256)), 0.09),
        (-np.abs(rng.standard_normal(256)), 0.09),
        (half, 0.08),
        (np.repeat(rng.standard_normal(8) * 10.0 ** np.arange(-4, 4), 32), 0.03),
    ):
        block = np.ascontiguousarray(values, np.float32)
        held = dequantize(label, quantized(label, block), block.shape)
        assert np.abs(held - block).max() <= bound * np.abs(block).max()


@pytest.mark.parametrize("label", LABELS)
def test_every_super_block_stands_alone(label: str) -> None:
    """So that rows can be quantised in any pieces, by any thread."""
    values = samples()["outliers"][:8]
    whole = quantized(label, values)
    assert whole == b"".join(quantized(label, np.ascontiguousarray(row)) for row in values)


@pytest.mark.parametrize("label", LABELS)
def test_what_was_quantised_hardly_changes(label: str) -> None:
    values = samples()["normal"]
    once = dequantize(label, quantized(label, values), values.shape)
    assert relative_error(label, once) <= 0.2 * REFERENCE[label]["normal"]


@pytest.mark.parametrize("label", LABELS)
@pytest.mark.parametrize("large", [1e9, 1e15, 1e20, -1e20, 3e38])
def test_what_is_too_large_is_refused(label: str, large: float) -> None:
    """However far above what the type can hold: never as zeros."""
    out = ffi.from_buffer(bytearray(256))
    for values in (np.ones(256, np.float32), np.full(256, large, np.float32)):
        values[3] = large
        assert lib.lc_quantize(IDS[label], floats(values), values.size, out) == lib.LC_ERR_NONFINITE


def test_types_that_are_only_read() -> None:
    values, out = np.ones(256, np.float32), ffi.from_buffer(bytearray(300))
    for label in ("Q2_K", "Q3_K", "IQ4_NL", "IQ4_XS", *OLD_SCALES):
        assert lib.lc_quantize(IDS[label], floats(values), 256, out) == lib.LC_ERR_TYPE
    assert lib.lc_quantize(IDS["Q4_K"], floats(values), 128, out) == lib.LC_ERR_SHAPE
    values[200] = np.nan
    assert lib.lc_quantize(IDS["Q6_K"], floats(values), 256, out) == lib.LC_ERR_NONFINITE
