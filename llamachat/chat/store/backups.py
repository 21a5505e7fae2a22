"""Backups of the database, in files beside it: one a day, and one before a new version's first change to its shape.

A backup is ``sessions.db.backup-DAY-LABEL``; the label is the program's version. The name says when the file was last
the same as the database: if nothing changed since, the newest backup gets the new day's name and no copy is kept.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import re
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from llamachat import __version__
from llamachat.chat.store.failures import reason_of
from llamachat.chat.store.schema import APPLICATION_ID, MIGRATIONS, schema_version

_log = logging.getLogger(__name__)

_KEPT = 5
_NAME = re.compile(r"(\d{8})-.+(?<!-wal)(?<!-shm)(?<!-journal)")  # which SQLite puts beside what a person opened
#: Pages copied at a time (1 MiB), and the rest after each: neither the disk nor the other threads are taken up.
_STEP_PAGES = 256
_REST_S = 0.005
#: A start is over by then: the default model has said its first words after a quarter of a second.
_AFTER_START_S = 1.0
#: How often a program that stays open looks whether a new day has begun.
_LOOK_S = 3600.0
#: How long leaving the program may wait for a backup.
_AT_END_S = 0.3
#: What a backup leaves free on the disk, beside the room of one more: chats come first.
_LEFT_FREE_BYTES = 1 << 20
#: Where a database file says, in two bytes, whether it goes with a write-ahead log.
_WAL_FLAGS_OFFSET = 18


class _StoppedError(Exception):
    """There is no time for a backup now."""


@dataclass(frozen=True, slots=True)
class Backup:
    """A finished backup."""

    path: Path
    day: str  #: YYYYMMDD

    @property
    def shown_day(self) -> str:
        """The day for people: YYYY-MM-DD."""
        return f"{self.day[:4]}-{self.day[4:6]}-{self.day[6:]}"


class Backups:
    """The backups of one database."""

    def __init__(self, database: Path) -> None:
        """Nothing is read or made yet."""
        self._database = database
        self._folder = database.parent
        self._part = self._named("part")

    def newest_first(self) -> list[Backup]:
        """All finished backups. One from the future (a clock was wrong) counts as the oldest."""
        tomorrow = time.strftime("%Y%m%d", time.localtime(time.time() + 86400))  # where it is already that day
        found: list[tuple[bool, str, int, Backup]] = []
        prefix = self._named("").name
        for path in self._folder.glob(f"{prefix}*"):
            match = _NAME.fullmatch(path.name.removeprefix(prefix))
            with contextlib.suppress(OSError):
                if match and path.is_file():
                    day = match[1]
                    found.append((day <= tomorrow, day, path.stat().st_mtime_ns, Backup(path, day)))
        return [backup for *_, backup in sorted(found, key=lambda one: one[:3], reverse=True)]

    @contextlib.contextmanager
    def newest_good(self) -> Iterator[tuple[Backup, sqlite3.Connection] | None]:
        """The newest backup that is sound and of a version known here, open for reading; None if there is none."""
        for backup in self.newest_first():
            connection = _open_good(backup.path)
            if connection is not None:
                with contextlib.closing(connection):
                    yield backup, connection
                return
            _log.warning("%s is no sound backup", backup.path.name)
        yield None

    def make(self, label: str = __version__, go_on: Callable[[], bool] = lambda: True) -> None:
        """Makes today's backup under a label, unless it is there; ``go_on`` is asked between steps.

        What goes wrong is logged, no more: chats go on without a backup. Where another program is making one, it is
        left to that.
        """
        target = self._named(f"{time.strftime('%Y%m%d')}-{label}")
        try:
            if target.exists():
                return
            with self._alone() as alone:
                if alone and not target.exists():
                    self._make(target, go_on)
        except _StoppedError:
            _log.info("no backup of the chats: the program ends")
        except (OSError, sqlite3.Error) as error:
            _log.warning("no backup of the chats: %s", reason_of(error))

    # ---- inside ---------------------------------------------------------------

    def _named(self, ending: str) -> Path:
        return self._database.with_name(f"{self._database.name}.backup-{ending}")

    @contextlib.contextmanager
    def _alone(self) -> Iterator[bool]:
        """Whether this program is the one that makes backups now. Its end, however it comes, lets another do so."""
        file = os.open(self._folder / "backup.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            yield _locked(file)
        finally:
            os.close(file)

    def _make(self, target: Path, go_on: Callable[[], bool]) -> None:
        self._part.unlink(missing_ok=True)  # of a program that was killed over it
        size = self._database.stat().st_size
        space = os.statvfs(self._folder)
        if space.f_bavail * space.f_frsize < 2 * size + _LEFT_FREE_BYTES:
            _log.warning("no backup of the chats: too little room on the disk")
            return
        try:
            os.close(os.open(self._part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
            if not _copy(self._database, self._part, go_on):
                return
            newest = next(iter(self.newest_first()), None)
            if newest is not None and _same(newest.path, self._part):
                newest.path.rename(target)
            else:
                _sync(self._part)
                self._part.rename(target)
            _sync(self._folder)
        finally:
            self._part.unlink(missing_ok=True)
        for backup in self.newest_first()[_KEPT:]:
            backup.path.unlink(missing_ok=True)


class BackupThread:
    """Makes a backup on each day that the program is open, once it is up."""

    def __init__(self, backups: Backups) -> None:
        """Starts it."""
        self._backups = backups
        self._ending = threading.Event()
        self._last_moment = 0.0
        self._thread = threading.Thread(target=self._run, name="llamachat-backup", daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Ends it, with a backup if that is due and done in a moment: many a chat through a pipe is a short one."""
        self._last_moment = time.monotonic() + _AT_END_S
        self._ending.set()
        self._thread.join()

    def _run(self) -> None:
        wait_s = _AFTER_START_S
        ended = False
        while not ended:
            ended = self._ending.wait(wait_s)
            self._backups.make(go_on=self._go_on)
            wait_s = _LOOK_S

    def _go_on(self) -> bool:
        return not self._ending.wait(_REST_S) or time.monotonic() < self._last_moment


def _locked(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _open_good(path: Path) -> sqlite3.Connection | None:
    try:
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True)
    except sqlite3.Error:  # it may not be read, say
        return None
    with contextlib.suppress(sqlite3.Error):
        if _is_good(connection):
            return connection
    connection.close()
    return None


def _is_good(connection: sqlite3.Connection) -> bool:
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    if application != APPLICATION_ID or not 0 < schema_version(connection) <= len(MIGRATIONS):
        return False
    (verdict,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
    return bool(verdict == "ok")


def _copy(database: Path, part: Path, go_on: Callable[[], bool]) -> bool:
    """Copies a database as it is now, in steps; False if there is no chat in it to keep."""

    def step(_status: int, _remaining: int, _total: int) -> None:
        if not go_on():
            raise _StoppedError

    # A connection of its own: with one snapshot over all steps nothing that is written meanwhile waits for the copy, or
    # makes it begin anew. Never a plain open() of the database: its close would take away SQLite's locks on the file.
    source = sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None)
    with contextlib.closing(source), contextlib.closing(sqlite3.connect(part, isolation_level=None)) as copy:
        (mode,) = source.execute("PRAGMA journal_mode").fetchone()
        if mode == "wal":  # else a reader would hold up who writes (some network file systems know no WAL)
            source.execute("BEGIN")
        if source.execute("SELECT 1 FROM sessions").fetchone() is None:
            return False
        copy.execute("PRAGMA journal_mode = OFF")  # a half-made copy is thrown away, and a whole one synced once
        copy.execute("PRAGMA synchronous = OFF")
        source.backup(copy, pages=_STEP_PAGES, progress=step)
    with part.open("r+b") as file:
        file.seek(_WAL_FLAGS_OFFSET)
        file.write(b"\1\1")  # "no write-ahead log": a file by itself, which reading it puts nothing beside
    return True


def _same(one: Path, other: Path) -> bool:
    """Whether two files hold the same bytes."""
    if one.stat().st_size != other.stat().st_size:
        return False
    with one.open("rb") as first, other.open("rb") as second:
        while block := first.read(1 << 20):
            if block != second.read(1 << 20):
                return False
    return True


def _sync(path: Path) -> None:
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(file)
    finally:
        os.close(file)
