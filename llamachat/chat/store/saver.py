"""Saving in the background: changes gather for a moment, and a thread has them written."""

from __future__ import annotations

import threading
from collections.abc import Callable

#: How long a change may wait to be written with others: well under the half second that is promised.
_COALESCE_S = 0.25
#: How often writing is tried again while the disk is full.
_RETRY_S = 1.0


class Saver:
    """The thread, which starts when something waits for the first time. Any thread may call any method."""

    def __init__(self, flush: Callable[[], object], failing: Callable[[], bool]) -> None:
        """``flush`` writes what waits; ``failing`` says whether it could not the last time."""
        self._flush = flush
        self._failing = failing
        self._work = threading.Event()  # there is something to write
        self._ending = threading.Event()
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None

    @property
    def ended(self) -> bool:
        """Whether it has ended, or is about to."""
        return self._ending.is_set()

    def wake(self) -> None:
        """Something waits to be written."""
        with self._starting:
            if self._thread is None and not self._ending.is_set():
                self._thread = threading.Thread(target=self._run, name="llamachat-saver", daemon=True)
                self._thread.start()
        self._work.set()

    def end(self) -> bool:
        """Ends it without writing what still waits; False if it has been ended before."""
        with self._starting:
            if self._ending.is_set():
                return False
            self._ending.set()
            self._work.set()
        if self._thread is not None:
            self._thread.join()
        return True

    def _run(self) -> None:
        while not self._ending.is_set():
            self._work.wait()
            self._work.clear()
            # Gather for a moment; while writing fails, let some time pass before the next try.
            if not self._ending.wait(_RETRY_S if self._failing() else _COALESCE_S):
                self._flush()
