"""Weights out of a file into the C core: read and repacked by several threads at once, no page of the file kept."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Any, NamedTuple, Self

from llamachat.engine.core import check, ffi, lib
from llamachat.errors import Cancelled
from llamachat.weights import Tensor, WeightFile

# A piece that was read stays in a core's own cache until it is repacked; smaller ones cost more calls.
_CHUNK_BYTES = 1 << 20
# Rows that are converted in Python come in larger pieces: whole heads are put in order at a time.
_CONVERTED_CHUNK_BYTES = 4 << 20
# Rows of the widest panel: whole panels are repacked several times as fast.
_PANEL_ROWS = 16
_MOST_READERS = 16
# Less than this is read while a thread would still be starting.
_SMALL_BYTES = 1 << 20
_PROGRESS_SECONDS = 0.02

#: A tensor of the file, and its (slot, layer) in the core.
Placed = tuple[Tensor, tuple[int, int]]


class _Chunk(NamedTuple):
    """Some rows of a tensor."""

    number: int  #: in the order of the file
    tensor: Tensor
    place: tuple[int, int]
    first: int
    rows: int


class Loading:
    """The filling of a model of the core, by threads that run while the block does; after it none is left. A small
    model is filled by the thread that waits for it.

    ``handle`` is the core's model, to which ``wanted`` is added here; ``EngineError`` where the core refuses that.
    """

    def __init__(self, handle: Any, weights: WeightFile, wanted: Sequence[Placed], n_threads: int) -> None:
        for tensor, place in wanted:
            check(
                lib.lc_model_add(handle, *place, tensor.type.id, tensor.rows, tensor.cols),
                f"{weights.path}: {tensor.name}",
            )
        self._handle = handle
        self._weights = weights
        self._chunks = _chunks(wanted, weights)
        self._total = sum(tensor.n_bytes for tensor, _ in wanted)
        self._done = 0
        self._running = min(n_threads, _MOST_READERS) if self._total > _SMALL_BYTES else 1
        self._stopped = False
        self._errors: list[tuple[int, Exception]] = []
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._readers = [threading.Thread(target=self._read, name=f"llamachat-reader-{i}", daemon=True)
                         for i in range(self._running)] if self._total > _SMALL_BYTES else []  # fmt: skip

    def __enter__(self) -> Self:
        for reader in self._readers:
            reader.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stopped = True
        for reader in self._readers:
            reader.join()

    def wait(self, progress: Callable[[int, int], None], cancelled: Callable[[], bool]) -> None:
        """Returns when every row is written.

        ``progress(done_bytes, total_bytes)`` is called on this thread, now, some 50 times a second and at the end.
        ``Cancelled`` soon after ``cancelled()`` is true; ``WeightsError`` where the file cannot be read and
        ``EngineError`` where the core refuses it: of several the one that comes first in the file.
        """
        ended = False
        while not ended:
            progress(self._done, self._total)
            if cancelled():
                raise Cancelled
            if not self._readers:
                self._read()
            ended = self._ended.wait(_PROGRESS_SECONDS)
        if self._errors:
            raise min(self._errors, key=lambda failed: failed[0])[1]
        progress(self._done, self._total)

    # -- on the readers' threads ---------------------------------------------

    def _read(self) -> None:
        buffer = bytearray()
        while (chunk := self._next()) is not None:
            size = chunk.rows * chunk.tensor.row_bytes
            try:
                if len(buffer) < size:
                    buffer = bytearray(size)
                self._write(chunk, memoryview(buffer)[:size])
            except Exception as error:
                with self._lock:
                    self._errors.append((chunk.number, error))
            else:
                with self._lock:
                    self._done += size
        with self._lock:
            self._running -= 1
            if not self._running:
                self._ended.set()

    def _next(self) -> _Chunk | None:
        with self._lock:
            return None if self._stopped or self._errors else next(self._chunks, None)

    def _write(self, chunk: _Chunk, buffer: memoryview) -> None:
        tensor = chunk.tensor
        data = self._weights.read_into(buffer, tensor.name, chunk.first, chunk.rows)
        check(
            lib.lc_model_write(self._handle, *chunk.place, chunk.first, chunk.rows, ffi.from_buffer(data), len(data)),
            f"{self._weights.path}: {tensor.name}",
        )


def _chunks(wanted: Sequence[Placed], weights: WeightFile) -> Iterator[_Chunk]:
    """All rows in the order of the file, in pieces of whole panels."""
    number = 0
    for tensor, place in wanted:
        target = _CHUNK_BYTES if weights.is_stored(tensor.name) else _CONVERTED_CHUNK_BYTES
        step = max(1, target // (tensor.row_bytes * _PANEL_ROWS)) * _PANEL_ROWS
        for first in range(0, tensor.rows, step):
            yield _Chunk(number, tensor, place, first, min(step, tensor.rows - first))
            number += 1
