"""Products of every instruction set against float64, within bounds that the types and formats give."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from tests.native.random_weights import random_bytes
from tests.support.blocks import BLOCK, IDS, QUANTIZED, Floats, block_size, dequantize, scale_places
from tests.support.core import Matrix, Pool, chosen_cache, chosen_isa, ffi, lib, ok, supported_isas
from tests.support.rounding import rounded_like_llama_cpp

EPSILON = float(np.finfo(np.float32).eps)
ISAS = supported_isas()
TOKENS = (1, 2, 3, 4, 5, 7, 8, 11, 12, 13, 23, 24, 64)
#: From so many tokens on products are fast unless they shall be exact (LC_FAST_TOKENS).
FAST = 64
#: The largest integer that an activation of a block becomes, exact and fast (LC_Q_MAX, LC_BYTE_MAX).
Q_MAX, BYTE_MAX = 127 * 128, 127
#: The largest relative error of a number rounded to bf16.
BF16 = 2.0**-8


def activations(rng: np.random.Generator, n: int, cols: int) -> Floats:
    """Of sizes from 1e-4 to 1e3 side by side, with an all-zero row and a row of one spike."""
    x = (rng.standard_normal((n, cols)) * 10.0 ** rng.integers(-4, 4, (n, cols))).astype(np.float32)
    x[rng.random((n, cols)) < 0.1] = 0.0
    if n > 2:
        x[1] = 0.0
        x[2] = 0.0
        x[2, rng.integers(cols)] = 1e6
    return x


#: By type: the largest q of a kernel (bytes from zero up) times what multiplies it beside d; and the largest multiple
#: that is taken off, of the second scale, or of d where there is no second one.
LARGEST = {
    "Q4_0": (15, 8),
    "Q4_1": (15, 1),
    "Q5_0": (31, 16),
    "Q5_1": (31, 1),
    "Q8_0": (255, 128),
    "IQ4_NL": (255, 128),
    "Q2_K": (15 * 3, 15),
    "Q3_K": (32 * 7, 32 * 4),
    "Q4_K": (63 * 15, 63),
    "Q5_K": (63 * 31, 63),
    "Q6_K": (128 * 63, 128 * 32),
    "IQ4_XS": (32 * 255, 32 * 128),
    "Q4_0 (f32 scales)": (15, 8),
    "Q4_1 (f32 scales)": (15, 1),
    "Q8_0 (f32 scales)": (255, 128),
    "Q4_2": (15, 8),
    "Q4_3": (15, 1),
}


def numbers_at(blocks: np.ndarray, at: int, number: str) -> np.ndarray:
    """One number of every block of [..][bytes], as float64."""
    part = blocks[..., at : at + np.dtype(number).itemsize].copy()
    return np.asarray(part.view(number)[..., 0], np.float64)


def block_magnitudes(label: str, data: bytes, rows: int) -> np.ndarray:
    """[rows][blocks of 32]: the largest that d * q (q unsigned) and the offset beside it can be."""
    elements, size = block_size(label)
    blocks = np.frombuffer(data, np.uint8).reshape(rows, -1, size)
    scales = [
        np.max([np.abs(numbers_at(blocks, at, number)) for at in offsets], axis=0)
        for offsets, number in scale_places(label).values()
    ]
    quants, offset = LARGEST[label]
    return np.repeat(quants * scales[0] + offset * scales[-1], elements // BLOCK, axis=1)


def error_bound(label: str, data: bytes, weights: Floats, x: Floats, *, fast: bool = False) -> np.ndarray:
    """The largest error that y[n][rows] may have.

    Rounding: a product or sum on the way is off by at most EPSILON / 2 of its magnitude, which stays below the sum of
    the magnitudes of all that is summed; so a sum of n terms, in any order, is off by at most n * EPSILON of that.
    Activations of blocks: off by half a step of a 15-bit integer (fast: an 8-bit one), times the weights of the block.
    Fast products of F16 and BF16 weights round both factors to bf16.
    """
    w, a = np.abs(weights.astype(np.float64)), np.abs(x.astype(np.float64))
    cols = w.shape[1]
    if label not in QUANTIZED:
        rounded = 2 * BF16 + BF16**2 if fast and label != "F32" else 0.0
        return np.asarray(((cols + 2) * EPSILON + rounded) * (a @ w.T) + 1e-30)
    n_blocks = cols // BLOCK
    w_blocks, a_blocks = w.reshape(-1, n_blocks, BLOCK), a.reshape(-1, n_blocks, BLOCK)
    step = a_blocks.max(axis=2) / (BYTE_MAX if fast else Q_MAX)
    quantization = 0.501 * step @ w_blocks.sum(axis=2).T
    # In generic C the 32 columns of a block are terms of their own.
    rounding = (cols + 8) * EPSILON * (a_blocks.sum(axis=2) @ block_magnitudes(label, data, len(w)).T)
    return np.asarray(quantization + rounding + 1e-30)


SHAPES = [(1, 32), (5, 64), (16, 96), (33, 160), (100, 576), (172, 1536)]
SUPER_SHAPES = [(1, 256), (33, 512), (172, 1536)]
ODD_SHAPES = [(1, 1), (3, 7), (64, 172), (172, 64), (17, 1031)]


def shapes_of(label: str) -> list[tuple[int, int]]:
    if label not in QUANTIZED:
        return SHAPES + ODD_SHAPES
    return SHAPES if block_size(label)[0] == BLOCK else SUPER_SHAPES


def some_cols(label: str) -> int:
    """Columns of a small matrix: three blocks."""
    return block_size(label)[0] * 3 if label in QUANTIZED else 75


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("label", IDS)
def test_products(isa: str, label: str) -> None:
    with Pool(2) as pool, chosen_isa(isa):
        for rows, cols in shapes_of(label):
            rng = np.random.default_rng([rows, cols])
            data = random_bytes(rng, label, rows, cols)
            weights = dequantize(label, data, (rows, cols))
            matrix = Matrix(label, rows, cols)
            ok(matrix.write(data))
            for n in TOKENS:
                x = activations(rng, n, cols)
                y = matrix.multiply(pool, x)
                exact = x.astype(np.float64) @ weights.astype(np.float64).T
                assert np.all(np.abs(y - exact) <= error_bound(label, data, weights, x)), (rows, cols, n)
            with chosen_cache(1):
                passing = Matrix(label, rows, cols)
            ok(passing.write(data))
            assert passing.multiply(pool, x[:1]).tobytes() == matrix.multiply(pool, x[:1]).tobytes()


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("label", IDS)
def test_fast_products(isa: str, label: str) -> None:
    """Of many tokens, by activations of 8 bits or bf16: tiles that are not full, slices of columns, odd panels; and the
    same tokens exactly."""
    elements = block_size(label)[0]
    shapes = [(1, 256), (5, 512), (49, 1280)] if elements == 256 else [(1, 32), (5, 64), (49, 1056), (172, 576)]
    shapes += [(1, 1), (3, 7), (47, 1031)] if label not in QUANTIZED else []
    with Pool(2) as pool, chosen_isa(isa):
        for (rows, cols), n in itertools.product(shapes, (FAST, FAST + 1, 130, 515)):
            rng = np.random.default_rng([rows, cols, n])
            data = random_bytes(rng, label, rows, cols)
            weights = dequantize(label, data, (rows, cols))
            matrix = Matrix(label, rows, cols)
            ok(matrix.write(data))
            x = activations(rng, n, cols)
            expected = x.astype(np.float64) @ weights.astype(np.float64).T
            fast = np.abs(matrix.multiply(pool, x, rounding="fast") - expected)
            assert np.all(fast <= error_bound(label, data, weights, x, fast=True)), (rows, cols, n)
            exact = np.abs(matrix.multiply(pool, x) - expected)
            assert np.all(exact <= error_bound(label, data, weights, x)), (rows, cols, n)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("label", IDS)
def test_rounded_like_llama_cpp(isa: str, label: str) -> None:
    """Any number of tokens meets weights as bytes in blocks of the weights' own length, and then as exactly as ever."""
    elements = block_size(label)[0]
    with Pool(2) as pool, chosen_isa(isa):
        for rows, cols in [(5, elements), (33, 3 * elements), (17, 1280 if label in QUANTIZED else 1031)]:
            rng = np.random.default_rng([rows, cols, 9])
            data = random_bytes(rng, label, rows, cols)
            weights = dequantize(label, data, (rows, cols))
            matrix = Matrix(label, rows, cols)
            ok(matrix.write(data))
            for n in (1, 2, 13, FAST + 2):
                x = activations(rng, n, cols)
                if n > 3:
                    x[-1] *= np.float32(1e6)  # scales that are too large for float16
                    x[3] *= np.float32(1e-34)  # and some too small for an inverse
                rounded = rounded_like_llama_cpp(label, x)
                y = matrix.multiply(pool, x, rounding="llama.cpp")
                difference = np.abs(y - rounded.astype(np.float64) @ weights.astype(np.float64).T)
                assert np.all(difference <= error_bound(label, data, weights, rounded) + 1e-25), (rows, cols, n)
                if label != "F32":
                    unrounded = np.abs(y[0] - x[0].astype(np.float64) @ weights.astype(np.float64).T)
                    assert unrounded.max() > 5 * difference[0].max()


def test_fewer_tokens_are_exact() -> None:
    rng = np.random.default_rng(12)
    matrix = Matrix("Q4_0", 64, 256)
    ok(matrix.write(random_bytes(rng, "Q4_0", 64, 256)))
    x = activations(rng, FAST, 256)
    with Pool(1) as pool:
        few, many = x[:-1], x
        assert matrix.multiply(pool, few, rounding="fast").tobytes() == matrix.multiply(pool, few).tobytes()
        if "avx2" in ISAS:  # generic C knows one precision
            assert matrix.multiply(pool, many, rounding="fast").tobytes() != matrix.multiply(pool, many).tobytes()


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("label", IDS)
def test_a_token_does_not_see_its_neighbours(isa: str, label: str) -> None:
    """Whatever tile a token is in, its result is the same up to the order of sums: NaN beside it does not leak."""
    rng = np.random.default_rng(3)
    rows, cols = 40, some_cols(label)
    with Pool(1) as pool, chosen_isa(isa):
        matrix = Matrix(label, rows, cols)
        data = random_bytes(rng, label, rows, cols)
        ok(matrix.write(data))
        for n, rounding in ((20, "exact"), (FAST + 2, "fast"), (20, "llama.cpp")):
            x = activations(rng, n, cols)
            bound = error_bound(label, data, dequantize(label, data, (rows, cols)), x, fast=rounding == "fast")
            one_by_one = "llama.cpp" if rounding == "llama.cpp" else "exact"
            alone = np.concatenate([matrix.multiply(pool, x[i : i + 1], rounding=one_by_one) for i in range(n)])
            x[4] = np.nan
            x[9, 5] = np.inf
            together = matrix.multiply(pool, x, rounding=rounding)
            keep = [i for i in range(n) if i not in (4, 9)]
            assert np.all(np.abs(together - alone)[keep] <= 2 * bound[keep])
            assert not np.isfinite(together[4]).any()
            assert not np.isfinite(together[9]).all()


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("label", IDS)
def test_rows_read_back_exactly(isa: str, label: str) -> None:
    rng = np.random.default_rng(4)
    rows, cols = 37, some_cols(label)
    data = random_bytes(rng, label, rows, cols)
    expected = dequantize(label, data, (rows, cols))
    with chosen_isa(isa):
        for chunks in ([(30, 7), (0, 1), (1, 17), (18, 12)], [(16, 21), (0, 16)], [(0, 37)]):  # any chunking and order
            matrix = Matrix(label, rows, cols)
            for first, n in chunks:
                ok(matrix.write(data, first, n))
            for row in range(rows):
                np.testing.assert_array_equal(matrix.row(row), expected[row])


@pytest.mark.parametrize("isa", ISAS)
def test_threads_do_not_change_a_bit(isa: str) -> None:
    rng = np.random.default_rng(5)
    with chosen_isa(isa):
        for label in IDS:
            cols = some_cols(label)
            matrix = Matrix(label, 200, cols)
            ok(matrix.write(random_bytes(rng, label, 200, cols)))
            for n in (1, 30, 100):
                x = activations(rng, n, cols)
                results = []
                for n_threads in (1, 2, 3):
                    with Pool(n_threads) as pool:
                        results.append(matrix.multiply(pool, x, rounding="fast").tobytes())
                assert results[0] == results[1] == results[2], (label, n)


def test_instruction_sets_agree() -> None:
    """Sets differ by rounding alone, so results of the best one are within two bounds of the generic one's."""
    rng = np.random.default_rng(6)
    for label in IDS:
        data, x = random_bytes(rng, label, 48, 256), activations(rng, 13, 256)
        results = []
        for isa in (ISAS[0], ISAS[-1]):
            with chosen_isa(isa), Pool(1) as pool:
                matrix = Matrix(label, 48, 256)
                ok(matrix.write(data))
                results.append(matrix.multiply(pool, x))
        bound = 2 * error_bound(label, data, dequantize(label, data, (48, 256)), x)
        assert np.all(np.abs(results[0] - results[1]) <= bound), label


def test_more_tokens_than_a_batch() -> None:
    rng = np.random.default_rng(7)
    matrix = Matrix("F32", 20, 30)
    weights = rng.standard_normal((20, 30)).astype(np.float32)
    ok(matrix.write(weights.tobytes()))
    x = rng.standard_normal((700, 30)).astype(np.float32)
    with Pool(2) as pool:
        np.testing.assert_allclose(matrix.multiply(pool, x), x @ weights.T, rtol=1e-4, atol=1e-4)


def test_choosing_a_set() -> None:
    assert ISAS[0] == "generic"
    before = lib.lc_isa_selected()
    assert lib.lc_isa_select(b"sse9") == lib.LC_ERR_ARGUMENT
    assert lib.lc_isa_supported(b"sse9") == 0
    assert lib.lc_isa_supported(ffi.NULL) == 0
    assert lib.lc_isa_name(-1) == ffi.NULL
    assert lib.lc_isa_name(100) == ffi.NULL
    assert lib.lc_isa_selected() == before
    for empty in (b"", ffi.NULL):
        ok(lib.lc_isa_select(empty))
        assert ffi.string(lib.lc_isa_selected()).decode() == ISAS[-1]
