"""Opening a file that may be anything: a pipe, a device, a folder, four sparse terabytes."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from llamachat.display import clean_line
from llamachat.errors import WeightsError
from llamachat.files.reasons import reason_of

_SHORTER = "got shorter while it was being read"


class Refusal(Exception):  # noqa: N818  (a verdict about a file, not a failure of the program)
    """A file cannot be used, and why. Parsers raise it; whoever knows the path makes a ``WeightsError`` of it.

    ``path`` is the file that is to blame, where that is another than the one that was to be opened.
    """

    def __init__(self, reason: str, path: Path | None = None) -> None:
        super().__init__(reason)
        self.path = path


@contextmanager
def blaming(path: Path) -> Iterator[None]:
    """What is refused inside is refused because of this file, unless another is already to blame."""
    try:
        yield
    except Refusal as refusal:
        refusal.path = refusal.path or path
        raise


def quoted(text: str | bytes) -> str:
    """A name out of a file, fit for an error message: on one line, harmless to a terminal, not endless."""
    return f"'{clean_line(text.decode(errors='replace') if isinstance(text, bytes) else text, 60)}'"


class RegularFile:
    """An open regular file of known size. Reads are by place, so that threads can share it."""

    def __init__(self, path: Path, descriptor: int, size: int) -> None:
        self.path = path
        self.size = size
        self._descriptor = descriptor
        self._written = os.fstat(descriptor).st_mtime_ns

    def read(self, offset: int, n_bytes: int) -> bytes:
        """Exactly ``n_bytes`` from ``offset``, both within ``size``. ``WeightsError`` if the file has changed."""
        parts = []
        try:
            while n_bytes:
                part = os.pread(self._descriptor, n_bytes, offset)
                if not part:
                    raise WeightsError(self.path, _SHORTER)
                parts.append(part)
                offset += len(part)
                n_bytes -= len(part)
        except OSError as error:
            raise WeightsError(self.path, reason_of(error)) from None
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def read_into(self, buffer: memoryview, offset: int) -> None:
        """Fills ``buffer`` from ``offset``, as ``read`` does."""
        done = 0
        try:
            while done < len(buffer):
                n = os.preadv(self._descriptor, [buffer[done:]], offset + done)
                if not n:
                    raise WeightsError(self.path, _SHORTER)
                done += n
        except OSError as error:
            raise WeightsError(self.path, reason_of(error)) from None

    def check_unchanged(self) -> None:
        """``WeightsError`` if somebody has written to the file since it was opened."""
        status = os.fstat(self._descriptor)
        if (status.st_size, status.st_mtime_ns) != (self.size, self._written):
            raise WeightsError(self.path, "was changed while it was being read")

    def close(self) -> None:
        """Closes the file; twice is fine."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def open_regular(path: Path) -> RegularFile:
    """Opens a regular file and nothing else, without ever waiting for one. ``WeightsError`` says what is wrong."""
    try:
        mode = path.stat().st_mode  # looked at first: opening a device can have effects
        if not stat.S_ISREG(mode):
            raise WeightsError(path, _other_kind(mode))
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    except OSError as error:
        raise WeightsError(path, reason_of(error, path)) from None
    except ValueError:  # a NUL in the name
        raise WeightsError(quoted(str(path)), "is no file name") from None
    status = os.fstat(descriptor)  # again: it may have been replaced in between
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        raise WeightsError(path, _other_kind(status.st_mode))
    return RegularFile(path, descriptor, status.st_size)


_KINDS = {
    stat.S_IFIFO: "is a pipe",
    stat.S_IFSOCK: "is a socket",
    stat.S_IFCHR: "is a device",
    stat.S_IFBLK: "is a device",
}


def _other_kind(mode: int) -> str:
    if stat.S_ISDIR(mode):
        return "is a folder, not a weight file"
    return _KINDS.get(stat.S_IFMT(mode), "is no regular file") + ", not a weight file"
