"""Which running programs write to the store, so that a dead one's half-written answers can be told.

Every program holds a lock on a file of its own in ``locks/``. The system drops the lock when the program
ends, however it ends, so a file that can be locked belongs to a dead one. Process numbers would lie: they
come again.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_FOLDER = "locks"


class Writer:
    """This program's sign of life in a data folder, until :meth:`close`."""

    def __init__(self, data_dir: Path) -> None:
        """``OSError`` where the folder cannot be written or knows no locks."""
        self.id = uuid.uuid4().hex
        self._folder = data_dir / _FOLDER
        self._folder.mkdir(exist_ok=True)
        unlocked = self._folder / f"{self.id}.new"
        self._file = os.open(unlocked, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            unlocked.rename(self._path(self.id))  # seen by others only once it is locked
        except OSError:
            os.close(self._file)
            raise

    def alive(self, writer_id: str) -> bool:
        """Whether the program that wrote under this id still runs."""
        return writer_id == self.id or (writer_id != "" and not _is_free(self._path(writer_id)))

    def sweep(self) -> None:
        """Removes the files of dead programs."""
        for path in self._folder.glob("*.lock"):
            if path.stem != self.id and _is_free(path):
                path.unlink(missing_ok=True)

    def close(self) -> None:
        """Ends this program's sign of life."""
        with contextlib.suppress(OSError):
            self._path(self.id).unlink(missing_ok=True)
        os.close(self._file)

    def _path(self, writer_id: str) -> Path:
        return self._folder / f"{writer_id}.lock"


def _is_free(path: Path) -> bool:
    try:
        file = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)  # shared: two programs that look do not see each other
    except OSError:
        return False
    finally:
        os.close(file)
    return True


@contextmanager
def opening(data_dir: Path) -> Iterator[None]:
    """One program at a time looks at, repairs and migrates the database of a folder."""
    file = os.open(data_dir / "sessions.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
    finally:
        os.close(file)
