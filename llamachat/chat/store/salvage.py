"""Taking over what still reads in a damaged database."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from llamachat.chat.store.rows import checksum

_ORDER = {"sessions": "rowid", "messages": "rowid", "choices": "session_id, parent_id"}


def salvage(damaged: Path, into: sqlite3.Connection) -> int:
    """Copies the readable sessions, messages and choices; returns the number of messages.

    Each table is read from both ends up to the first damaged page, and a message only counts with the
    right checksum. Nothing is written to the damaged file.
    """
    if not damaged.is_file() or damaged.stat().st_size == 0:
        return 0
    # Without a log beside it nothing else is needed, and nothing is put beside the file by reading it.
    mode = "mode=ro" if Path(f"{damaged}-wal").exists() else "immutable=1"
    with contextlib.closing(sqlite3.connect(f"{damaged.absolute().as_uri()}?{mode}", uri=True)) as source:
        source.row_factory = sqlite3.Row
        source.text_factory = into.text_factory
        into.execute("BEGIN IMMEDIATE")
        for table in _ORDER:
            columns = [str(row["name"]) for row in into.execute(f"PRAGMA table_info({table})")]
            names, marks = ", ".join(columns), ", ".join("?" * len(columns))
            for row in _readable(source, table, names):
                if table != "messages" or _sound(row):
                    with contextlib.suppress(sqlite3.IntegrityError):
                        into.execute(f"INSERT OR IGNORE INTO {table} ({names}) VALUES ({marks})", tuple(row))  # noqa: S608
        into.execute(
            "INSERT OR IGNORE INTO sessions (id, title) SELECT DISTINCT session_id, 'Recovered chat' FROM messages"
        )
        (n_messages,) = into.execute("SELECT COUNT(*) FROM messages").fetchone()
        into.execute("COMMIT")
    return int(n_messages)


def _readable(source: sqlite3.Connection, table: str, names: str) -> Iterator[sqlite3.Row]:
    for direction in ("ASC", "DESC"):
        with contextlib.suppress(sqlite3.Error):
            # NOT INDEXED: a broken index must not hide rows that read.
            yield from source.execute(
                f"SELECT {names} FROM {table} NOT INDEXED ORDER BY {_ORDER[table]} {direction}"  # noqa: S608
            )


def _sound(row: sqlite3.Row) -> bool:
    try:
        return checksum(dict(row)) == int(row["checksum"])
    except (TypeError, ValueError, AttributeError):
        return False
