"""The log file: what went wrong in full, since the screen is never written to."""

from __future__ import annotations

import contextlib
import logging
from pathlib import Path

from llamachat import paths

_MOST_BYTES = 1 << 20
_FORMAT = "%(asctime)s %(process)d %(levelname)s %(name)s: %(message)s"


def start() -> Path | None:
    """Sends the log to the user's log folder; returns the file, or None where it cannot be written."""
    root = logging.getLogger()
    path = paths.log_dir() / "llamachat.log"
    if any(isinstance(handler, _LogFile) for handler in root.handlers):
        return path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_file() and path.stat().st_size > _MOST_BYTES:
            path.replace(path.with_suffix(".old.log"))
        handler: logging.Handler = _LogFile(path, encoding="utf-8", errors="backslashreplace")
    except OSError:
        root.addHandler(logging.NullHandler())
        return None
    handler.setFormatter(logging.Formatter(_FORMAT))
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    logging.captureWarnings(capture=True)
    return path


def exception() -> str:
    """Logs the exception being handled; says where, for the one line that a person sees."""
    with contextlib.suppress(Exception):
        path = start()
        if path is not None:
            logging.getLogger("llamachat").exception("unexpected")
            return f"details in {path}"
    return "the log cannot be written"


class _LogFile(logging.FileHandler):
    """A file handler that keeps quiet when the disk is full."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        """A log that cannot be written must not write to the screen instead."""
