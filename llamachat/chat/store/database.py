"""Opening the database: sound, in the newest version, and without ever destroying what was there."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from dataclasses import dataclass, field
from pathlib import Path

from llamachat.chat.store.backups import Backups
from llamachat.chat.store.failures import reason_of
from llamachat.chat.store.salvage import salvage
from llamachat.chat.store.schema import APPLICATION_ID, MIGRATIONS, migrate, schema_version
from llamachat.chat.store.writers import Writer, opening
from llamachat.display import counted

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
    try:
        connection = _open_sound(path)
    except DamagedError as damage:
        aside = _move_aside(path)
        connection = _open_sound(path)
        n_messages = salvage(aside, connection)
        rescued = (
            f"{counted(n_messages, 'message')} could be read from it" if n_messages else "nothing could be read from it"
        )
        notices.append(f"the chats in {path} were damaged ({damage}): kept as {aside.name}; {rescued}")
    return Database(connection, writer, notices)


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


def _make(path: Path) -> None:
    """Makes an empty database elsewhere and renames it: an empty or half-made file always means damage."""
    new = path.with_name(f"{path.name}.new")
    new.unlink(missing_ok=True)
    with contextlib.closing(_connect(str(new))) as connection:
        _set_up(connection)
        migrate(connection)
    new.chmod(0o600)  # what people say to a model is nobody else's; SQLite's files beside it follow suit
    new.rename(path)


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
    connection = memory_database()
    with contextlib.suppress(sqlite3.Error), contextlib.closing(_read_only(path)) as source:
        if schema_version(source) == schema_version(connection):
            source.backup(connection)
    problem = f"{unwritable} cannot be written ({reason})"
    notice = f"{problem}: chats are not saved this time; --data-dir names another folder"
    return Database(connection, None, [notice], reason)


def _read_only(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True)
