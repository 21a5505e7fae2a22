"""Figures and states as words a person reads. Pure functions."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from functools import lru_cache
from pathlib import Path

from llamachat.chat.conversation import Message, Status
from llamachat.chat.session import Phase, Progress
from llamachat.display import clean_line

_BARS = "▁▂▃▄▅▆▇"


def sparkline(values: Sequence[float]) -> str:
    """One bar a value, scaled to the highest; a steady rate is a level line of full bars."""
    top = max(values, default=0.0)
    if top <= 0:
        return ""
    return "".join(_BARS[min(len(_BARS) - 1, int(value / top * len(_BARS)))] for value in values)


def rate(tokens_per_second: float) -> str:
    """Tokens per second: a decimal where it tells something."""
    return f"{tokens_per_second:,.1f} t/s" if tokens_per_second < 10 else f"{tokens_per_second:,.0f} t/s"


def seconds_left(progress: Progress, start: Progress) -> str:
    """``" (12 s left)"``, from the pace since ``start``; nothing before the pace is known or under a second."""
    done, elapsed = progress.done - start.done, progress.elapsed_ms - start.elapsed_ms
    if done <= 0 or elapsed < 300:
        return ""
    left = elapsed / done * (progress.total - progress.done) / 1000
    if left < 1:
        return ""
    return f" ({left:.0f} s left)" if left < 90 else f" ({left / 60:.0f} min left)"


ELSEWHERE = "answering in another window"


def phase_words(phase: Phase, progress: Progress, start: Progress, last: Message | None) -> str:
    """What is going on, in words, with how far it is and how long it takes. ``last`` is the last visible message."""
    if phase is Phase.LOADING:
        share = f" {100 * progress.done // progress.total} %" if progress.total else ""
        return f"loading{share}{seconds_left(progress, start)}"
    if phase in (Phase.PREFILL, Phase.LOOKING):
        if not progress.total:
            return str(phase)
        return f"{phase} {progress.done:,} of {progress.total:,}{seconds_left(progress, start)}"
    if phase is Phase.READY and last is not None and last.status is Status.STOPPED:
        return "stopped"
    if phase is Phase.READY and last is not None and last.status is Status.STREAMING:
        return ELSEWHERE
    return str(phase)


STATUS_NOTES = {
    Status.STOPPED: "stopped",
    Status.LENGTH: "cut at the reply length",
    Status.CONTEXT: "cut: the context is full",
    Status.INTERRUPTED: "interrupted when the program ended",
    Status.FAILED: "failed",
}


def ending(message: Message) -> str:
    """Why an answer is not whole, for the line under it; empty where it is."""
    note = STATUS_NOTES.get(message.status, "")
    return f"{note}: {message.note}" if note and message.note else note


@lru_cache(maxsize=1024)
def day_group(then: date, today: date) -> str:
    """The heading under which a chat last used on ``then`` stands."""
    days = (today - then).days
    if days <= 0:  # a clock that went backwards makes no group of its own
        return "Today"
    if days == 1:
        return "Yesterday"
    if days < 7:
        return then.strftime("%A")
    return then.strftime("%B" if then.year == today.year else "%B %Y")


def local_day(seconds: float) -> date:
    """The reader's own day of a time in seconds since 1970; that of 1970 where it is no time at all."""
    try:
        return date.fromtimestamp(seconds)
    except (ValueError, OverflowError, OSError):
        return date(1970, 1, 1)


def file_size(n_bytes: int) -> str:
    """Bytes in the unit a person would use (powers of 1,000, as shops and ``ls --si`` do)."""
    size = float(n_bytes)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit in ("B", "kB", "MB") else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def count(number: int) -> str:
    """A large number as it is spoken: ``135 M``."""
    for size, unit in ((10**9, "B"), (10**6, "M")):
        if number >= size:
            return f"{number / size:.1f} {unit}" if number < 10 * size else f"{number / size:.0f} {unit}"
    return f"{number:,}"


def short_path(path: Path) -> str:
    """A path with the home folder as ``~``, as one line for the screen."""
    try:
        return clean_line("~/" + str(path.relative_to(Path.home())))
    except (ValueError, RuntimeError):
        return clean_line(str(path))
