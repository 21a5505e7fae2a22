"""Waiting for sessions and looking at what is stored, for tests without a face."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from llamachat.chat.session import ChatSession
from llamachat.engine.events import Event

PATIENCE_S = 20.0


def until(session: ChatSession, predicate: Callable[[], bool]) -> list[Event]:
    """Drains the session until the predicate holds; returns the events."""
    events: list[Event] = session.drain()
    deadline = time.monotonic() + PATIENCE_S
    while not predicate():
        assert time.monotonic() < deadline, f"still {session.phase} after {PATIENCE_S} s"
        session.wait(0.05)
        events += session.drain()
    return events


def finish(session: ChatSession) -> list[Event]:
    """Drains the session until nothing runs."""
    return until(session, lambda: not session.busy)


def texts(session: ChatSession) -> list[str]:
    """The texts on the visible path."""
    return [message.text for message in session.conversation.path]


def said(session: ChatSession, n_tokens: int) -> bool:
    """Whether the running answer has this many tokens."""
    return session.answering is not None and len(session.answering.ids or ()) >= n_tokens


def stored_rows(database: Path) -> dict[str, list[tuple[object, ...]]]:
    """All that a database of chats holds, by table."""
    with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)) as connection:
        return {
            table: sorted(connection.execute(f"SELECT * FROM {table}"), key=repr)  # noqa: S608 - names from below
            for table in ("sessions", "messages", "choices")
        }
