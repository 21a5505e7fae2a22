"""Getting chats back from a damaged database: what still reads in it, and what only the newest backup has."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from llamachat.chat.store.backups import Backups
from llamachat.chat.store.pages import PAGE_BYTES, leaf_rows, with_new_header
from llamachat.chat.store.rows import Row, checksum
from llamachat.display import counted

_ORDER = {"sessions": "rowid", "messages": "rowid", "choices": "session_id, parent_id"}
#: A file beyond this is not taken into memory; SQLite reads what it can of it in its place.
_IMAGE_BYTES = 1 << 30


@dataclass(frozen=True, slots=True)
class Recovered:
    """What was got back."""

    n_messages: int
    n_chats: int
    n_from_backup: int  #: how many of the messages only the backup had
    day: str = ""  #: of the backup, where something came from it
    n_lost: int = 0  #: messages that others follow and that are nowhere; how many more are lost nobody knows

    def __str__(self) -> str:
        """For a person, the outcome first."""
        if not self.n_chats:
            return "nothing could be recovered from a damaged database of chats"
        messages, chats = counted(self.n_messages, "message"), counted(self.n_chats, "chat")
        if self.day and self.n_from_backup == self.n_messages:
            return f"{messages} in {chats} recovered from the backup of {self.day}, none from the damaged database"
        source = f", {self.n_from_backup:,} of them from the backup of {self.day}" if self.n_from_backup else ""
        lost = f", at least {self.n_lost:,} lost" if self.n_lost else ""
        return f"{messages} in {chats} recovered from a damaged database{source}{lost}"


def recover(damaged: Path, backups: Backups, into: sqlite3.Connection) -> Recovered:
    """Puts into an empty database what reads in the damaged one, and from the newest good backup what is missing then.

    A message only counts with the right checksum, and nothing newer is replaced by something older. A chat or message
    that was deleted after the backup comes back with it: which is gone on purpose cannot be told from what was lost.
    Nothing is written to the damaged file. ``sqlite3.Error`` if the new database cannot be written.
    """
    into.execute("BEGIN IMMEDIATE")
    try:
        _take_readable(damaged, into)
        n_read = _count(into, "messages")
        day = ""
        with backups.newest_good() as good:
            if good is not None:
                backup, connection = good
                day = backup.shown_day
                _take_tables(connection, into)
        into.execute(  # chats whose own row is lost: newer than the backup, or it would be in there
            "INSERT OR IGNORE INTO sessions (id, title, created, updated, touched)"
            " SELECT session_id, 'Recovered chat', MIN(created), MAX(created),"
            " (SELECT COALESCE(MAX(touched), 0) + 1 FROM sessions) FROM messages GROUP BY session_id"
        )
        n_messages, n_chats = _count(into, "messages"), _count(into, "sessions")
        (n_lost,) = into.execute(
            "SELECT COUNT(DISTINCT parent_id) FROM messages WHERE parent_id NOT IN (SELECT id FROM messages)"
        ).fetchone()
        into.execute("COMMIT")
    except BaseException:
        if into.in_transaction:  # not where the disk is full: SQLite has rolled back by itself
            into.execute("ROLLBACK")
        raise
    return Recovered(n_messages, n_chats, n_messages - n_read, day if n_messages > n_read else "", n_lost)


def _count(connection: sqlite3.Connection, table: str) -> int:
    return int(connection.execute(f"SELECT COUNT(*) FROM {table}").fetchone()[0])  # noqa: S608


def _take_readable(damaged: Path, into: sqlite3.Connection) -> None:
    if not damaged.is_file():
        return
    try:
        opened = _open_damaged(damaged)
    except sqlite3.Error:  # not even that: it is somebody else's
        return
    with contextlib.closing(opened) as source:
        image = _image(damaged, source)
        if image is None:
            _take_tables(source, into)
            return
    # Where the file's own first page does not say where the tables begin: they do so where they do in a new database.
    for first_page in (b"", into.serialize()[:PAGE_BYTES]):
        with contextlib.closing(sqlite3.connect(":memory:")) as source:
            source.deserialize(with_new_header(image, first_page))
            if _take_tables(source, into):
                break
    names = _columns(into, "messages")
    for values in leaf_rows(image):
        _insert(into, "messages", dict(zip(names, values, strict=False)))


def _open_damaged(path: Path) -> sqlite3.Connection:
    # Without a log beside it nothing else is needed, and nothing is put beside the file by reading it.
    mode = "mode=ro" if Path(f"{path}-wal").exists() else "immutable=1"
    return sqlite3.connect(f"{path.absolute().as_uri()}?{mode}", uri=True)


def _image(damaged: Path, source: sqlite3.Connection) -> bytes | None:
    """The file with what its log says of it, or without where SQLite does not open it; None if it is too large."""
    size = damaged.stat().st_size
    if not PAGE_BYTES <= size <= _IMAGE_BYTES or not hasattr(source, "serialize"):  # which SQLite may be built without
        return None
    with contextlib.suppress(sqlite3.Error):
        return source.serialize()
    with contextlib.suppress(OSError):  # a disk that gives back a part of it only
        return damaged.read_bytes()
    return None


def _take_tables(source: sqlite3.Connection, into: sqlite3.Connection) -> bool:
    """Copies what reads, but no row that is there already; whether each table had something."""
    source.row_factory, source.text_factory = sqlite3.Row, into.text_factory
    n_rows = dict.fromkeys(_ORDER, 0)
    with contextlib.suppress(sqlite3.Error):
        source.execute("PRAGMA trusted_schema = OFF")
    for table in _ORDER:
        for row in _readable(source, table, _columns(into, table)):
            n_rows[table] += 1
            _insert(into, table, row)
    return 0 not in n_rows.values()


def _readable(source: sqlite3.Connection, table: str, wanted: list[str]) -> Iterator[Row]:
    """The rows of a table from both its ends up to the first damaged page."""
    for direction in ("ASC", "DESC"):
        with contextlib.suppress(sqlite3.Error):
            known = _columns(source, table)
            names = ", ".join(name for name in wanted if name in known)  # an older version has fewer
            # NOT INDEXED: a broken index must not hide rows that read.
            query = f"SELECT {names} FROM {table} NOT INDEXED ORDER BY {_ORDER[table]} {direction}"  # noqa: S608
            yield from map(dict, source.execute(query))


def _columns(connection: sqlite3.Connection, table: str) -> list[str]:
    return [str(row[1]) for row in connection.execute(f"PRAGMA table_info({table})")]


def _insert(into: sqlite3.Connection, table: str, row: Row) -> None:
    if table == "messages" and not _is_sound(row):
        return
    names, marks = ", ".join(row), ", ".join("?" * len(row))
    with contextlib.suppress(sqlite3.IntegrityError):
        into.execute(f"INSERT OR IGNORE INTO {table} ({names}) VALUES ({marks})", tuple(row.values()))  # noqa: S608


def _is_sound(row: Row) -> bool:
    try:
        return bool(checksum(row) == row["checksum"])
    except (KeyError, TypeError, AttributeError):
        return False
