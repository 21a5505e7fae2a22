"""What is stored, as it is read: with what waits to be written laid over it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Any

from llamachat.chat.conversation import Message
from llamachat.chat.store.pending import Pending
from llamachat.chat.store.rows import Row, checksum, message_from
from llamachat.chat.store.search import matching
from llamachat.chat.store.summary import DRAFT_CHARS, SessionSummary, summary_from
from llamachat.display import LONG_CHARS, counted
from llamachat.errors import StoreError


class Reader:
    """Everything that is asked of the database. ``StoreError`` where it cannot be read."""

    def __init__(self, connection: sqlite3.Connection, pending: Pending, tell: Callable[[str], object]) -> None:
        """``tell`` takes what a person should know about what was read."""
        self._connection = connection
        self._pending = pending
        self._tell = tell

    # ---- one chat -------------------------------------------------------------

    def session(self, session_id: str) -> Row | None:
        """The row of a chat; None if there is no such chat."""
        stored = self._query("SELECT * FROM sessions WHERE id = ?", session_id)
        return self._pending.over_session(stored[0] if stored else None, session_id)

    def messages(self, session_id: str) -> list[Message]:
        """All messages of a chat, on every branch, in the order in which they came."""
        rows = self._query("SELECT * FROM messages WHERE session_id = ? ORDER BY sequence, id", session_id)
        damaged = sum(checksum(row) != row["checksum"] for row in rows)
        if damaged:
            were = "was" if damaged == 1 else "were"
            self._tell(f"{counted(damaged, 'message')} of this chat {were} changed by a failing disk")
        return [message_from(row) for row in self._pending.over_messages(rows, session_id)]

    def choices(self, session_id: str) -> dict[str | None, str]:
        """Which message is shown after which, in a chat."""
        rows = self._query("SELECT parent_id, child_id FROM choices WHERE session_id = ?", session_id)
        stored: dict[str | None, str] = {row["parent_id"] or None: row["child_id"] for row in rows}
        return stored | self._pending.choices_of(session_id)

    # ---- all chats ------------------------------------------------------------

    def summaries(self, words: list[str], *, unwritten: bool) -> list[SessionSummary]:
        """The chats with all of some casefolded words, as a list shows them: see :meth:`SessionStore.sessions`.

        ``unwritten`` says whether there may be chats that are in no database yet.
        """
        rows = self._pending.unwritten_sessions() if unwritten else []
        rows += self._query(
            f"SELECT s.id, s.title, s.updated, s.model_path, substr(s.draft, 1, {DRAFT_CHARS}) AS draft,"  # noqa: S608
            " COALESCE(m.n, 0) AS n_messages FROM sessions AS s"
            " LEFT JOIN (SELECT session_id, COUNT(*) AS n FROM messages GROUP BY session_id) AS m"
            " ON m.session_id = s.id ORDER BY s.touched DESC, s.rowid DESC"
        )
        try:
            return matching(map(summary_from, rows), words, self._connection)
        except sqlite3.Error as error:
            raise _unreadable(error) from None

    def questions(self, most: int, besides: str) -> list[str]:
        """The last questions of all chats but one, oldest first, without those too long to be edited."""
        rows = self._query(
            "SELECT text FROM messages WHERE role = 'user' AND session_id <> ? AND length(text) <= ?"
            " ORDER BY rowid DESC LIMIT ?",
            besides,
            LONG_CHARS,
            most,
        )
        return [row["text"] for row in reversed(rows)]

    def drafts(self) -> list[Row]:
        """Chats that are nothing but an unsent text, the newest first: ``id``, and ``writer``, who wrote it."""
        return self._query(
            "SELECT id, writer FROM sessions WHERE draft <> ''"
            " AND NOT EXISTS (SELECT 1 FROM messages WHERE session_id = sessions.id) ORDER BY rowid DESC"
        )

    def answering(self) -> list[str]:
        """The writers of all answers that are said to be being written."""
        # The status is spelled out so that the small index over running answers serves.
        rows = self._query("SELECT DISTINCT writer FROM messages WHERE status = 'streaming'")
        return [row["writer"] for row in rows]

    def data_version(self) -> int:
        """A number that another program's writing changes."""
        return int(self._query("PRAGMA data_version")[0]["data_version"])

    # ---- inside ---------------------------------------------------------------

    def _query(self, sql: str, *values: Any) -> list[Row]:
        try:
            return [dict(row) for row in self._connection.execute(sql, values)]
        except sqlite3.Error as error:
            raise _unreadable(error) from None


def _unreadable(error: sqlite3.Error) -> StoreError:
    return StoreError(f"the chats cannot be read: {error}")
