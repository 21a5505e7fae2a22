"""Waiting for sessions, for tests without a face."""

from __future__ import annotations

import time
from collections.abc import Callable

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
