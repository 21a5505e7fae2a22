"""How fast this machine reads memory: what answers can at most be bound by."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from llamachat.engine.core import Pool, StopFlag, check, ffi, lib, select_isa
from llamachat.engine.memory import available_bytes
from llamachat.errors import Cancelled

_COLUMNS = 4096
_ROW_BYTES = 4 * _COLUMNS
_ROWS_AT_ONCE = 256
# Many times the last-level cache, or part of every pass comes from there: four times as large reads faster (63 GB/s on
# one machine) than sixteen times as large (51).
_CACHES = 16
_LEAST_BYTES, _MOST_BYTES = 256 << 20, 1 << 30
_LEAST_PASSES, _SECONDS = 5, 0.5


def read_bandwidth(pool: Pool, stop: StopFlag, clock: Callable[[], float] = time.perf_counter) -> float:
    """Bytes read per second from a large buffer by the threads of ``pool``: the fastest of some passes.

    A pass is the product of a float32 matrix and one vector, which does two operations per four bytes and so waits
    for memory and for nothing else. Raises ``EngineError`` where memory is short, ``Cancelled`` when stopped.
    """
    n_bytes = buffer_bytes()
    rows = n_bytes // _ROW_BYTES
    with _best_isa(), _matrix(rows, stop) as matrix:
        x: Any = ffi.new("float[]", _COLUMNS)
        y: Any = ffi.new("float[]", rows)
        fastest, passes, ends = float("inf"), 0, clock() + _SECONDS
        while passes < _LEAST_PASSES or clock() < ends:
            if stop:
                raise Cancelled
            started = clock()
            check(lib.lc_matrix_multiply(matrix, pool.handle, x, 1, 0, y), "reading memory")
            fastest = min(fastest, clock() - started)
            passes += 1
    return rows * _ROW_BYTES / max(fastest, 1e-9)


def buffer_bytes() -> int:
    """How much is read: several last-level caches, within what memory allows; a multiple of a chunk of rows."""
    wanted = min(max(_CACHES * last_level_cache(), _LEAST_BYTES), _MOST_BYTES, available_bytes() // 8)
    chunk = _ROWS_AT_ONCE * _ROW_BYTES
    return max(wanted // chunk, 1) * chunk


def last_level_cache() -> int:
    """Bytes of the largest cache of the first processor; 0 where the system does not tell."""
    sizes = [0]
    for path in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*/size"):
        try:
            sizes.append(int(path.read_text().strip().removesuffix("K")) << 10)
        except (OSError, ValueError):
            continue
    return max(sizes)


@contextmanager
def _best_isa() -> Iterator[None]:
    """Matrices made inside use the best kernels, also where others were forced: memory is as fast as it is."""
    selected = select_isa()
    check(lib.lc_isa_select(b""), "choosing an instruction set")
    try:
        yield
    finally:
        check(lib.lc_isa_select(selected.encode()), "choosing an instruction set")


@contextmanager
def _matrix(rows: int, stop: StopFlag) -> Iterator[Any]:
    """A float32 matrix of zeros whose pages are all its own."""
    out: Any = ffi.new("lc_matrix **")
    check(lib.lc_matrix_create(lib.LC_F32, rows, _COLUMNS, out), "a buffer to probe memory with")
    try:
        zeros = bytes(_ROWS_AT_ONCE * _ROW_BYTES)
        for first in range(0, rows, _ROWS_AT_ONCE):
            if stop:
                raise Cancelled
            check(lib.lc_matrix_write(out[0], first, _ROWS_AT_ONCE, zeros, len(zeros)), "filling a buffer")
        yield out[0]
    finally:
        lib.lc_matrix_free(out[0])
