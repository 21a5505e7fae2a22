"""One line on stderr that says what is going on, and goes away."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import time
from types import TracebackType
from typing import TextIO

from llamachat.display import clean_line

_REDRAW_SECONDS = 0.1
_BAR_CELLS = 20
_ERASE = "\r\x1b[K"


def is_terminal(stream: TextIO) -> bool:
    """Whether ``stream`` is a terminal that understands escape sequences."""
    try:
        return stream.isatty() and os.environ.get("TERM", "dumb") not in ("", "dumb")
    except ValueError:  # closed
        return False


class StatusLine:
    """Shows progress on a terminal's stderr, from ``after_s`` seconds on; shows nothing elsewhere."""

    def __init__(self, after_s: float = 1.0) -> None:
        self._alive = is_terminal(sys.stderr)
        self._next_draw = time.monotonic() + after_s
        self._drawn = False

    def show(self, text: str) -> None:
        """Replaces the line, but not more often than can be read."""
        now = time.monotonic()
        if self._alive and now >= self._next_draw:
            self._next_draw = now + _REDRAW_SECONDS
            self._drawn = True
            width = shutil.get_terminal_size().columns - 1
            self._write(_ERASE + clean_line(text, max(width, 1)))

    def clear(self) -> None:
        """Takes the line away."""
        if self._drawn:
            self._drawn = False
            self._write(_ERASE)

    def _write(self, text: str) -> None:
        with contextlib.suppress(OSError):
            sys.stderr.write(text)
            sys.stderr.flush()

    def __enter__(self) -> StatusLine:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.clear()


def bar(done: int, total: int) -> str:
    """A bar and a percentage: ``━━━━━━──── 60 %``."""
    share = min(max(done / total, 0.0), 1.0) if total > 0 else 0.0
    filled = int(share * _BAR_CELLS)
    return f"{'━' * filled}{'─' * (_BAR_CELLS - filled)} {int(100 * share):3d} %"


def megabytes(n_bytes: int) -> str:
    """A size as a person reads it: ``98.4 MB``."""
    if n_bytes >= 10**9:
        return f"{n_bytes / 1e9:.2f} GB"
    if n_bytes >= 10**6:
        return f"{n_bytes / 1e6:.1f} MB"
    return f"{n_bytes / 1e3:.1f} kB"
