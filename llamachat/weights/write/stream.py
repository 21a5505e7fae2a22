"""Writes the parts of new files: tensors a few rows at a time, encoded by several threads, in the file's order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import BinaryIO

from llamachat.errors import Cancelled
from llamachat.weights.base import WeightFile
from llamachat.weights.write.parts import Computed, Encoded, NewFile, Part

#: Weights that a thread encodes at once: as floats 2 MB, so that few such pieces are little memory beside a tensor.
_PIECE = 1 << 19

_Work = Callable[[], tuple[bytes, bytes]]
#: Encodes a piece; whether it is the last one of its part.
_Job = tuple[_Work, bool]


def write_files(
    weights: WeightFile,
    files: Sequence[tuple[NewFile, BinaryIO]],
    n_threads: int,
    progress: Callable[[int, int], None],
    cancelled: Callable[[], bool],
) -> None:
    """Writes each file's parts.

    ``progress(done_bytes, total_bytes)`` is called after each piece. ``Cancelled`` soon after ``cancelled()`` is
    true; ``WeightsError`` for weights that cannot be written so, ``OSError`` from the files.
    """
    total = sum(file.n_bytes for file, _ in files)
    done = 0
    with ThreadPoolExecutor(n_threads, "convert") as threads:
        for new, out in files:
            for data in _encoded(weights, new.parts, threads, 2 * n_threads):
                if cancelled():
                    raise Cancelled
                out.write(data)
                done += len(data)
                progress(done, total)


def _encoded(weights: WeightFile, parts: Sequence[Part], threads: ThreadPoolExecutor, ahead: int) -> Iterator[bytes]:
    """The bytes of the parts in order; up to ``ahead`` pieces are in the making at a time."""
    pending: deque[tuple[Future[tuple[bytes, bytes]], bool]] = deque()
    behind: list[bytes] = []
    jobs = _jobs(weights, parts)
    try:
        while True:
            while len(pending) < ahead and (job := next(jobs, None)):
                pending.append((threads.submit(job[0]), job[1]))
            if not pending:
                return
            future, last = pending.popleft()
            data, trailer = future.result()
            yield data
            behind.append(trailer)
            if last:
                yield from filter(None, behind)
                behind.clear()
    finally:
        for future, _ in pending:
            future.cancel()


def _jobs(weights: WeightFile, parts: Sequence[Part]) -> Iterator[_Job]:
    for part in parts:
        if isinstance(part, Encoded):
            tensor, encoding = part.tensor, part.encoding
            together = encoding.rows_together
            step = max(1, _PIECE // (tensor.cols * together)) * together
            for first in range(0, tensor.rows, step):
                count = min(step, tensor.rows - first)
                yield partial(encoding.encode, weights, tensor, first, count), first + count == tensor.rows
        elif isinstance(part, Computed):
            for data in part.chunks():
                yield partial(_as_it_is, data), True
        elif part.data:
            yield partial(_as_it_is, part.data), True


def _as_it_is(data: bytes) -> tuple[bytes, bytes]:
    return data, b""
