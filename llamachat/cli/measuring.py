"""Runs what measures on a thread of its own, so that signals are heard and nothing measured is lost."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import TYPE_CHECKING, TypeVar

from llamachat.cli.failures import ended_by, soft_signals

if TYPE_CHECKING:
    from llamachat.engine.core import StopFlag

_STOP_SECONDS = 2.0

Event = TypeVar("Event")


def measure(
    name: str, work: Callable[[Callable[[Event], None], StopFlag], None], show: Callable[[Event], None]
) -> None:
    """Calls ``work(tell, stop)`` on a thread called ``name``, and shows here what it tells.

    No signal reaches Python inside the C core; here it does, and stops the work softly: what is told until it has
    ended is still shown, and then the signal goes on; a second signal does not wait. What ``work`` raises is raised.
    """
    from llamachat.engine.core import StopFlag

    stop = StopFlag()
    events: SimpleQueue[Event | None] = SimpleQueue()
    failures: list[Exception] = []

    def run() -> None:
        try:
            work(events.put, stop)
        except Exception as error:  # raised again where it can be told
            failures.append(error)
        finally:
            events.put(None)

    thread = threading.Thread(target=run, name=name, daemon=True)
    signals: list[int] = []

    def end_softly(number: int) -> None:
        signals.append(number)
        stop.set()

    thread.start()
    try:
        with soft_signals(end_softly):
            while (event := events.get()) is not None:
                show(event)
    finally:
        stop.set()
        thread.join(_STOP_SECONDS)
    if signals:
        raise ended_by(signals[0])
    if failures:
        raise failures[0]
