"""Rows that wait to be written: the newest state of each, all written in one transaction."""

from __future__ import annotations

import sqlite3
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from llamachat.chat.store.rows import MESSAGE_COLUMNS, Row


def _upsert(table: str, names: Iterable[str]) -> str:
    """A statement with named values. Table and column names are this program's own."""
    names = list(names)
    marks = ", ".join(f":{name}" for name in names)
    updates = ", ".join(f"{name} = excluded.{name}" for name in names if name != "id")
    return f"INSERT INTO {table} ({', '.join(names)}) VALUES ({marks}) ON CONFLICT (id) DO UPDATE SET {updates}"  # noqa: S608


_UPSERT_MESSAGE = _upsert("messages", MESSAGE_COLUMNS)


class Pending:
    """What is to be written. It also answers for rows that could not be written yet."""

    def __init__(self) -> None:
        self._sessions: dict[str, Row] = {}
        self._inserts: set[str] = set()
        self._touched: dict[str, None] = {}  # in the order of use
        self._messages: dict[str, Row] = {}
        self._choices: dict[tuple[str, str], str] = {}
        self._dropped_messages: set[str] = set()
        self._dropped_sessions: set[str] = set()

    def __bool__(self) -> bool:
        return any((self._sessions, self._messages, self._choices, self._dropped_messages, self._dropped_sessions))

    def clear(self) -> None:
        """Everything is written."""
        for waiting in (self._sessions, self._inserts, self._touched, self._messages, self._choices):
            waiting.clear()
        self._dropped_messages.clear()
        self._dropped_sessions.clear()

    # ---- taking down ----------------------------------------------------------

    def session(self, row: Row, *, insert: bool, touch: bool = False) -> None:
        """Columns of a session. Without ``insert`` a session that is gone stays gone."""
        session_id = row["id"]
        self._sessions[session_id] = self._sessions.get(session_id, {}) | row
        if insert:
            self._inserts.add(session_id)
        if touch:
            self._touched.pop(session_id, None)
            self._touched[session_id] = None
        self._dropped_sessions.discard(session_id)

    def message(self, row: Row) -> None:
        """A whole message."""
        self._messages[row["id"]] = row
        self._dropped_messages.discard(row["id"])

    def choices(self, session_id: str, choices: Mapping[str | None, str]) -> None:
        """Choices at forks."""
        for parent_id, child_id in choices.items():
            self._choices[session_id, parent_id or ""] = child_id

    def drop_message(self, message_id: str) -> None:
        """A message that is to be deleted."""
        self._messages.pop(message_id, None)
        self._dropped_messages.add(message_id)

    def drop_session(self, session_id: str) -> None:
        """A session that is to be deleted with all it has."""
        self.withdraw_session(session_id)
        self._dropped_sessions.add(session_id)

    def withdraw_session(self, session_id: str) -> None:
        """A session of which nothing is to be written."""
        self._sessions.pop(session_id, None)
        self._inserts.discard(session_id)
        self._touched.pop(session_id, None)
        self._messages = {i: row for i, row in self._messages.items() if row["session_id"] != session_id}
        self._choices = {key: child for key, child in self._choices.items() if key[0] != session_id}

    # ---- answering for what is not written yet ----------------------------------

    def over_session(self, stored: Row | None, session_id: str) -> Row | None:
        """A stored session row with what waits laid over it; None if there is no such session."""
        waiting = self._sessions.get(session_id)
        if stored is None:
            return waiting if session_id in self._inserts else None
        return stored | waiting if waiting else stored

    def unwritten_sessions(self) -> list[Row]:
        """Sessions that are in no database yet, the last used first, as rows of the list."""
        counts = Counter(row["session_id"] for row in self._messages.values())
        return [
            self._sessions[i] | {"updated": time.time(), "n_messages": counts[i]}
            for i in reversed(self._sessions)
            if i in self._inserts
        ]

    def over_messages(self, stored: Iterable[Mapping[str, Any]], session_id: str) -> list[Row]:
        """Stored message rows of a session with what waits laid over them."""
        rows = {row["id"]: dict(row) for row in stored if row["id"] not in self._dropped_messages}
        rows |= {i: row for i, row in self._messages.items() if row["session_id"] == session_id}
        return list(rows.values())

    def choices_of(self, session_id: str) -> dict[str | None, str]:
        """The choices of a session that wait."""
        return {key[1] or None: child for key, child in self._choices.items() if key[0] == session_id}

    # ---- writing ------------------------------------------------------------------

    def write(self, connection: sqlite3.Connection) -> None:
        """Writes all of it in one transaction. Raises ``sqlite3.Error``, and has then written nothing."""
        connection.execute("BEGIN IMMEDIATE")
        try:
            for session_id, row in self._sessions.items():
                _write_session(connection, row, insert=session_id in self._inserts)
            for session_id in self._touched:
                connection.execute(
                    "UPDATE sessions SET updated = ?, touched = (SELECT MAX(touched) + 1 FROM sessions) WHERE id = ?",
                    (time.time(), session_id),
                )
            connection.executemany(_UPSERT_MESSAGE, self._messages.values())
            connection.executemany(
                "INSERT INTO choices VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET child_id = excluded.child_id",
                [(*key, child) for key, child in self._choices.items()],
            )
            connection.executemany("DELETE FROM messages WHERE id = ?", [(i,) for i in self._dropped_messages])
            for table, column in (("messages", "session_id"), ("choices", "session_id"), ("sessions", "id")):
                connection.executemany(
                    f"DELETE FROM {table} WHERE {column} = ?",  # noqa: S608 - names from the line above
                    [(i,) for i in self._dropped_sessions],
                )
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise


def _write_session(connection: sqlite3.Connection, row: Row, *, insert: bool) -> None:
    names = [name for name in row if name != "id"]
    if insert:
        connection.execute(_upsert("sessions", row), row)
    elif names:
        updates = ", ".join(f"{name} = :{name}" for name in names)
        connection.execute(f"UPDATE sessions SET {updates} WHERE id = :id", row)  # noqa: S608
