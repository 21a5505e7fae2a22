"""Files that are being written, and those that stayed behind because whoever wrote them was killed.

A file is locked while its writer lives: the system lets go of the lock however a process ends. Whoever starts to write
into the same folder removes the files that nobody has locked.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import stat
import tempfile
from pathlib import Path

_PREFIX, _SUFFIX = ".llamachat-", ".part"
_NAME = re.compile(rf"{re.escape(_PREFIX)}[a-z0-9_]{{8}}{re.escape(_SUFFIX)}")  # as mkstemp makes them
_TRIES = 100


def new_part(folder: Path) -> tuple[int, Path]:
    """A new file, open and locked, and its path. ``OSError`` where the system refuses."""
    for _ in range(_TRIES):
        descriptor, path = tempfile.mkstemp(prefix=_PREFIX, suffix=_SUFFIX, dir=folder)
        if _keeps(descriptor):
            return descriptor, Path(path)
        os.close(descriptor)
        Path(path).unlink(missing_ok=True)
    raise BlockingIOError(None, "something else locks every new file")


def _keeps(descriptor: int) -> bool:
    """Locks a new file; whether it is there to stay, since it may be swept between its making and its locking."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False  # whoever has it is about to remove it
    except OSError:
        return True  # a file system without locks: nobody can sweep it either
    return os.fstat(descriptor).st_nlink > 0


def sweep(folder: Path) -> None:
    """Removes the files that killed writers left in a folder, as far as they can be told and removed."""
    with contextlib.suppress(OSError):
        for path in folder.iterdir():
            if _NAME.fullmatch(path.name):
                with contextlib.suppress(OSError):  # another's, or locked: not ours to remove
                    _remove_unless_locked(path)


def _remove_unless_locked(path: Path) -> None:
    # For writing: over a network a lock for oneself alone takes that. Neither a link is followed nor a pipe waited for.
    descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()  # while it is locked, so that no new writer takes it for its own
    finally:
        os.close(descriptor)
