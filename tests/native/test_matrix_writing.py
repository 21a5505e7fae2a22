"""Making and writing matrices: what is refused, and threads that write at once."""

from __future__ import annotations

import itertools
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from tests.native.random_weights import random_bytes
from tests.support.blocks import IDS, OLD_SCALES, QUANTIZED, block_size, dequantize, scale_places
from tests.support.core import Matrix, Pool, chosen_isa, ffi, floats, lib, ok, supported_isas

ISAS = supported_isas()


def test_creating() -> None:
    out = ffi.new("lc_matrix **")
    for kind, rows, cols, code in (
        (lib.LC_Q4_0, 8, 48, lib.LC_ERR_SHAPE),
        (4, 8, 32, lib.LC_ERR_TYPE),
        (lib.LC_F32, 0, 8, lib.LC_ERR_ARGUMENT),
        (lib.LC_F32, 8, -1, lib.LC_ERR_ARGUMENT),
        (lib.LC_F32, 2**31, 8, lib.LC_ERR_ARGUMENT),
        (lib.LC_F32, 8, 2**62, lib.LC_ERR_ARGUMENT),
        (lib.LC_F32, 2**31 - 1, 2**31 - 1, lib.LC_ERR_MEMORY),
    ):
        assert lib.lc_matrix_create(kind, rows, cols, out) == code, (kind, rows, cols)
    assert out[0] == ffi.NULL
    assert lib.lc_matrix_create(lib.LC_F32, 8, 8, ffi.NULL) == lib.LC_ERR_ARGUMENT
    lib.lc_matrix_free(ffi.NULL)
    assert lib.lc_matrix_bytes(ffi.NULL) == 0


def test_writing() -> None:
    matrix = Matrix("Q4_0", 4, 64)
    data = random_bytes(np.random.default_rng(8), "Q4_0", 4, 64)
    buffer = ffi.from_buffer(data)
    write = lib.lc_matrix_write
    assert write(ffi.NULL, 0, 1, buffer, 36) == lib.LC_ERR_ARGUMENT
    assert write(matrix.handle, 0, 1, ffi.NULL, 36) == lib.LC_ERR_ARGUMENT
    assert write(matrix.handle, -1, 1, buffer, 36) == lib.LC_ERR_ARGUMENT
    assert write(matrix.handle, 0, 0, buffer, 0) == lib.LC_ERR_ARGUMENT
    assert write(matrix.handle, 0, 5, buffer, 180) == lib.LC_ERR_SHAPE
    assert write(matrix.handle, 2**62, 1, buffer, 36) == lib.LC_ERR_SHAPE
    assert write(matrix.handle, 1, 2**62, buffer, 36) == lib.LC_ERR_SHAPE
    assert write(matrix.handle, 0, 1, buffer, 35) == lib.LC_ERR_SHAPE
    ok(matrix.write(data, 1, 2))
    assert matrix.write(data, 0, 2) == lib.LC_ERR_STATE  # row 1 twice
    x, y = np.zeros((1, 64), np.float32), np.zeros((1, 4), np.float32)
    with Pool(1) as pool:
        assert lib.lc_matrix_multiply(matrix.handle, pool.handle, floats(x), 1, 1, floats(y)) == lib.LC_ERR_STATE
        assert lib.lc_matrix_row(matrix.handle, 0, floats(x)) == lib.LC_ERR_STATE
        ok(matrix.write(data, 0, 1))
        ok(matrix.write(data, 3, 1))
        for arguments in (
            (ffi.NULL, pool.handle, floats(x), 1, 0, floats(y)),
            (matrix.handle, ffi.NULL, floats(x), 1, 0, floats(y)),
            (matrix.handle, pool.handle, ffi.NULL, 1, 0, floats(y)),
            (matrix.handle, pool.handle, floats(x), 0, 0, floats(y)),
            (matrix.handle, pool.handle, floats(x), 2**62, 0, floats(y)),
            (matrix.handle, pool.handle, floats(x), 1, 0, ffi.NULL),
            (matrix.handle, pool.handle, floats(x), 1, lib.LC_N_ROUNDINGS, floats(y)),
            (matrix.handle, pool.handle, floats(x), 1, -1, floats(y)),
        ):
            assert lib.lc_matrix_multiply(*arguments) == lib.LC_ERR_ARGUMENT
    for row in (-1, 4):
        assert lib.lc_matrix_row(matrix.handle, row, floats(x)) == lib.LC_ERR_ARGUMENT
    assert lib.lc_matrix_row(matrix.handle, 0, ffi.NULL) == lib.LC_ERR_ARGUMENT
    assert lib.lc_matrix_row(ffi.NULL, 0, floats(x)) == lib.LC_ERR_ARGUMENT


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("label", IDS)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_weights_that_are_no_numbers(isa: str, label: str, bad: float) -> None:
    """Refused wherever they stand, in a whole panel or in the rows behind it; the rows can still be written after."""
    elements, size = block_size(label)
    rows, cols = 19, 2 * elements if label in QUANTIZED else 75
    good = random_bytes(np.random.default_rng(9), label, rows, cols)
    code = scale_places(label)["d"][1] if label in QUANTIZED else {"F32": "<f4", "BF16": "<u2"}.get(label, "<f2")
    value = np.array([bad], np.float32)
    encoded = (value.view(np.uint32) >> 16).astype("<u2") if label == "BF16" else value.astype(code)
    row = cols // elements  # blocks
    blocks = (0, rows * row // 2, 16 * row - 1, 16 * row, rows * row - 1)
    places = [at for offsets, _ in scale_places(label).values() for at in offsets] if label in QUANTIZED else [0]
    offsets = [block * size + at for block in blocks for at in places]
    with chosen_isa(isa):
        matrix = Matrix(label, rows, cols)
    for at in offsets:
        data = bytearray(good)
        data[at : at + encoded.itemsize] = encoded.tobytes()
        assert matrix.write(bytes(data)) == lib.LC_ERR_NONFINITE, at
    ok(matrix.write(good))
    np.testing.assert_array_equal(matrix.row(0), dequantize(label, good, (rows, cols))[0])


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("label", [label for label in OLD_SCALES if "f32" in label])
def test_scales_too_large_for_their_weights(isa: str, label: str) -> None:
    """A float32 scale can be finite where a byte times it is not: refused from 2^120 on, and exact below."""
    rows, cols, size = 17, 32, block_size(label)[1]
    good = bytes(range(3, 3 + size)) * rows
    for name, ((at,), number) in scale_places(label).items():
        for row in (3, 16):
            for value in (2.0**120, -(2.0**127), 1.5 * 2.0**119, -(2.0**119)):
                data = bytearray(good)
                data[row * size + at : row * size + at + 4] = np.array([value], number).tobytes()
                with chosen_isa(isa):
                    matrix = Matrix(label, rows, cols)
                if abs(value) >= 2.0**120:
                    assert matrix.write(bytes(data)) == lib.LC_ERR_NONFINITE, (name, row, value)
                    continue
                ok(matrix.write(bytes(data)))
                expected = dequantize(label, bytes(data), (rows, cols))[row]
                assert np.isfinite(expected).all()
                np.testing.assert_array_equal(matrix.row(row), expected)


def test_threads_write_at_once() -> None:
    """Every thread its own rows, cut so that neighbours share panels and words of the list of written rows."""
    rng = np.random.default_rng(10)
    rows, cols, n_threads = 1000, 64, 4
    data = random_bytes(rng, "Q4_1", rows, cols)
    expected = dequantize("Q4_1", data, (rows, cols))
    for _ in range(20):
        matrix = Matrix("Q4_1", rows, cols)
        cuts = [0, *sorted(rng.choice(np.arange(1, rows), 99, replace=False).tolist()), rows]
        chunks = [(first, last - first) for first, last in itertools.pairwise(cuts)]
        statuses = write_at_once(matrix, data, [chunks[i::n_threads] for i in range(n_threads)])
        assert set(statuses) == {lib.LC_OK}
        for row in range(rows):
            np.testing.assert_array_equal(matrix.row(row), expected[row])


def test_of_threads_that_write_the_same_rows_one_may() -> None:
    rows, cols = 4000, 512
    data = random_bytes(np.random.default_rng(11), "Q8_0", rows, cols)
    bad = data[:-34] + np.array([np.inf], "<f2").tobytes() + data[-32:]  # found in the last row, the others being taken
    for _ in range(20):
        matrix = Matrix("Q8_0", rows, cols)
        statuses = write_at_once(matrix, data, [[(10 * i, rows - 20 * i)] for i in range(4)])
        assert sorted(statuses) == [lib.LC_OK] + [lib.LC_ERR_STATE] * 3
        matrix = Matrix("Q8_0", rows, cols)
        statuses = write_at_once(matrix, bad, [[(0, rows)]] * 4)
        assert lib.LC_ERR_NONFINITE in statuses
        assert set(statuses) <= {lib.LC_ERR_NONFINITE, lib.LC_ERR_STATE}
        ok(matrix.write(data))  # none of them left anything taken


def write_at_once(matrix: Matrix, data: bytes, chunks: list[list[tuple[int, int]]]) -> list[int]:
    """The statuses of writing (first row, rows), each list of them in a thread of its own, all begun together."""
    gate = threading.Barrier(len(chunks))

    def write(own: list[tuple[int, int]]) -> list[int]:
        gate.wait()
        return [matrix.write(data, first, n) for first, n in own]

    with ThreadPoolExecutor(len(chunks)) as threads:
        return [status for statuses in threads.map(write, chunks) for status in statuses]
