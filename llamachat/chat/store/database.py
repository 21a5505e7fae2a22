"""Opening the database: sound, in the newest version, and without ever destroying what was there."""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from llamachat.chat.store.backups import Backups
from llamachat.chat.store.failures import reason_of
from llamachat.chat.store.salvage import Recovered, recover
from llamachat.chat.store.schema import APPLICATION_ID, MIGRATIONS, migrate, schema_version
from llamachat.chat.store.writers import Writer, opening

_log = logging.getLogger(__name__)

FILE_NAME = "sessions.db"

_BUSY_MS = 10_000
# The whole check (with indexes) reads a 20 MB database in about 0.1 s; beyond this size the quick one must do.
_WHOLE_CHECK_BYTES = 32 << 20
_WAL_MAGIC = (0x377F0682, 0x377F0683)


class DamagedError(Exception):
    """The file is no sound database of ours; ``str()`` says what it is instead."""


@dataclass(slots=True)
class Database:
    """An open connection, who writes to it, and what a person should know about how it was opened."""

    connection: sqlite3.Connection
    writer: Writer | None = None
    notices: list[str] = field(default_factory=list)
    reason: str = ""  #: why nothing reaches a disk


def open_database(data_dir: Path) -> Database:
    """Opens or makes ``sessions.db`` in a folder.

    What is damaged is moved aside, and what still reads is taken over. Where the folder cannot be
    written the database is a copy in memory. ``StoreError`` for one that a newer version wrote.
    """
    path = data_dir / FILE_NAME
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        writer = Writer(data_dir)
    except OSError as error:
        return _in_memory(path, data_dir, reason_of(error))
    try:
        with opening(data_dir):
            return _open(path, writer)
    except (OSError, sqlite3.OperationalError) as error:
        writer.close()
        return _in_memory(path, path, reason_of(error))
    except BaseException:
        writer.close()
        raise


def memory_database() -> sqlite3.Connection:
    """An empty database that lives in memory."""
    connection = _connect(":memory:")
    _set_up(connection)
    migrate(connection)
    return connection


def _open(path: Path, writer: Writer) -> Database:
    notices = _set_wal_aside(path)
    _finish_replacing(path)
    try:
        connection = _open_sound(path)
    except DamagedError as damage:
        _log.warning("%s is damaged: %s", path, damage)
        notices.append(_replace(path))
        connection = _open_sound(path)
    return Database(connection, writer, notices)


def _replace(damaged: Path) -> str:
    """Puts what can be recovered in the place of a damaged database, which is kept; returns what to tell a person.

    Whenever this is cut short, the damaged database is still in its place, or what was recovered is whole.
    """
    recovered = _recovered_name(damaged)
    outcome: list[Recovered] = []
    _make(recovered, lambda connection: outcome.append(recover(damaged, Backups(damaged), connection)))
    aside = _move_aside(damaged)
    recovered.rename(damaged)
    return f"{outcome[0]}; it is kept as {aside.name}"


def _finish_replacing(path: Path) -> None:
    """Takes what a program that was killed had recovered, but not yet put in place."""
    recovered = _recovered_name(path)
    if os.path.lexists(path):
        recovered.unlink(missing_ok=True)
        return
    wal = Path(f"{path}-wal")
    if wal.exists():  # of the database that was here before: to another one it would do harm
        wal.rename(_free_name(wal))
    if recovered.exists():
        recovered.rename(path)


def _recovered_name(path: Path) -> Path:
    return path.with_name(f"{path.name}.recovered")


def _open_sound(path: Path) -> sqlite3.Connection:
    if path.is_dir():
        raise DamagedError("a folder is in its place")
    if path.exists() and path.stat().st_size == 0:
        raise DamagedError("the file is empty")
    if not path.exists():
        _make(path)
    connection = _connect(str(path))
    try:
        _set_up(connection)
        _check(connection, path)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA journal_size_limit = 4194304")
        version = schema_version(connection)
        if 0 < version < len(MIGRATIONS):
            Backups(path).make(f"schema{version}")  # as it was, for the version that could read it
        migrate(connection, MIGRATIONS)
        connection.execute("BEGIN IMMEDIATE")  # can it be written at all?
        connection.execute("ROLLBACK")
    except sqlite3.OperationalError as error:
        connection.close()
        if _means_damage(error):
            raise DamagedError(str(error)) from None
        raise
    except sqlite3.DatabaseError as error:
        connection.close()
        raise DamagedError(str(error)) from None
    except BaseException:
        connection.close()
        raise
    return connection


def _make(path: Path, fill: Callable[[sqlite3.Connection], object] = lambda _: None) -> None:
    """Makes a database elsewhere and renames it: an empty or half-made file always means damage."""
    new = path.with_name(f"{path.name}.new")
    new.unlink(missing_ok=True)
    Path(f"{new}-journal").unlink(missing_ok=True)
    try:
        with contextlib.closing(_connect(str(new))) as connection:
            new.chmod(0o600)  # what people say to a model is nobody else's; SQLite's files beside it follow suit
            _set_up(connection)
            migrate(connection, MIGRATIONS)
            fill(connection)
        new.rename(path)
    except BaseException:
        new.unlink(missing_ok=True)  # on a full disk its room is needed
        raise


def _connect(name: str) -> sqlite3.Connection:
    connection = sqlite3.connect(name, timeout=_BUSY_MS / 1000, isolation_level=None, check_same_thread=False)
    connection.row_factory = sqlite3.Row
    connection.text_factory = lambda raw: raw.decode("utf-8", "replace")
    return connection


def _set_up(connection: sqlite3.Connection) -> None:
    for pragma in ("synchronous = FULL", "trusted_schema = OFF", "cell_size_check = ON"):
        connection.execute(f"PRAGMA {pragma}")


def _check(connection: sqlite3.Connection, path: Path) -> None:
    (n_tables,) = connection.execute("SELECT COUNT(*) FROM sqlite_schema").fetchone()
    version = schema_version(connection)
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    if (n_tables or version) and application != APPLICATION_ID:
        raise DamagedError("it is not a database of this program")
    (page_bytes,) = connection.execute("PRAGMA page_size").fetchone()
    if path.stat().st_size % page_bytes:
        raise DamagedError("it is cut short")
    whole = path.stat().st_size <= _WHOLE_CHECK_BYTES
    (verdict,) = connection.execute("PRAGMA integrity_check(1)" if whole else "PRAGMA quick_check(1)").fetchone()
    if verdict != "ok":
        raise DamagedError(" ".join(str(verdict).split())[:100])
    if version and n_tables < 3:
        raise DamagedError("tables are missing")


def _means_damage(error: sqlite3.Error) -> bool:
    """Some damage is told as an operational error: a malformed schema, or a page that is not there."""
    code = getattr(error, "sqlite_errorcode", 0)
    return code & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR) or code in (
        sqlite3.SQLITE_IOERR_SHORT_READ,
        sqlite3.SQLITE_IOERR_READ,
    )


def _move_aside(path: Path) -> Path:
    """Renames the database and its WAL; ``OSError`` if that cannot be done."""
    aside = _free_name(path)
    path.rename(aside)
    wal, shm = Path(f"{path}-wal"), Path(f"{path}-shm")
    if wal.exists():
        wal.rename(f"{aside}-wal")
    shm.unlink(missing_ok=True)
    return aside


def _set_wal_aside(path: Path) -> list[str]:
    """A write-ahead log that is none would be overwritten without a word."""
    wal = Path(f"{path}-wal")
    try:
        with wal.open("rb") as file:
            head = file.read(4)
    except FileNotFoundError:
        return []
    if not head or int.from_bytes(head, "big") in _WAL_MAGIC:
        return []
    aside = _free_name(wal)
    wal.rename(aside)
    return [f"the last changes to the chats could not be read: kept as {aside.name}; everything before is here"]


def _free_name(path: Path) -> Path:
    stamp = f"{path.name}.corrupt-{time.strftime('%Y%m%d-%H%M%S')}"
    names = [stamp, *(f"{stamp}-{number}" for number in range(2, 1000))]
    return next(path.with_name(name) for name in names if not os.path.lexists(path.with_name(name)))


def _in_memory(path: Path, unwritable: Path, reason: str) -> Database:
    """A database in memory, with a copy of what can be read, so that old chats can still be looked at."""
    problem = f"{unwritable} cannot be written ({reason})"
    notices = [f"{problem}: chats are not saved this time; --data-dir names another folder"]
    connection = memory_database()
    if os.access(path, os.R_OK):
        try:
            with contextlib.closing(_read_only(path)) as source:
                _check(source, path)
                source.backup(connection)
            migrate(connection, MIGRATIONS)
        except (sqlite3.Error, OSError, DamagedError) as error:
            _log.warning("%s cannot be read: %s", path, error)
            connection.close()
            connection = memory_database()
            notices.append(str(recover(path, Backups(path), connection)))
    return Database(connection, None, notices, reason)


def _read_only(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True)
