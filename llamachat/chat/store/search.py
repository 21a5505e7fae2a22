"""Which chats hold what is looked for, in their titles or in what was said."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from dataclasses import replace

from llamachat.chat.store.summary import SessionSummary

#: Of words in UTF-8. Shorter than this in all they are in nearly every message, and are looked for in titles alone; but
#: not what is one character and three bytes, which is a word or most of one.
_LEAST_BYTES = 3


def matching(
    summaries: Iterable[SessionSummary], words: list[str], connection: sqlite3.Connection
) -> list[SessionSummary]:
    """Chats whose title holds all words, then those where one message does; both in the order given.

    Words are casefolded. Raises ``sqlite3.Error`` where messages cannot be read.
    """
    if not words:
        return list(summaries)
    by_title: list[SessionSummary] = []
    others: list[SessionSummary] = []
    for summary in summaries:
        title = summary.shown_title.casefold()
        (by_title if all(word in title for word in words) else others).append(summary)
    n_bytes = len("".join(words).encode("utf-8", "replace"))
    said = _said_in(words, connection) if others and n_bytes >= _LEAST_BYTES else set()
    return by_title + [replace(summary, by_text=True) for summary in others if summary.id in said]


def _said_in(words: list[str], connection: sqlite3.Connection) -> set[str]:
    """The chats that have a message with all words, on any branch."""

    def holds(text: bytes) -> bool:
        folded = text.decode("utf-8", "replace").casefold()
        return all(word in folded for word in words)

    connection.create_function("holds_words", 1, holds, deterministic=True)  # LIKE knows cases of ASCII alone
    # As bytes: of a text that a failing disk changed, the library would make none, and the whole search would fail.
    rows = connection.execute("SELECT DISTINCT session_id FROM messages WHERE holds_words(CAST(text AS BLOB))")
    return {session_id for (session_id,) in rows}
