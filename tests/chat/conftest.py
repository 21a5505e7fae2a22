"""Sessions on scripted engines, closed after each test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from llamachat.chat.session import ChatSession
from llamachat.chat.store import SessionStore
from tests.support.noting_face import NotingFace
from tests.support.scripted_engine import ScriptedEngine
from tests.support.sessions import finish

Open = Callable[..., ChatSession]


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def open_session(data_dir: Path) -> Iterator[Open]:
    """Opens a session in the test's data folder on an engine that has its model (or the one given)."""
    opened: list[ChatSession] = []

    def open_one(engine: ScriptedEngine | None = None, **options: object) -> ChatSession:
        store = SessionStore(data_dir)
        session = ChatSession(store, engine or ScriptedEngine(loaded=True), **options)  # type: ignore[arg-type]
        opened.append(session)
        return session

    yield open_one
    for session in opened:
        session.close()


@pytest.fixture
def engine() -> ScriptedEngine:
    """An engine that answers "One.", "Two.", "Three."."""
    return ScriptedEngine(["One.", "Two.", "Three."], loaded=True)


@pytest.fixture
def session(open_session: Open, engine: ScriptedEngine) -> ChatSession:
    """A session on that engine."""
    return open_session(engine)


@pytest.fixture
def talk(session: ChatSession) -> ChatSession:
    """A session with two questions and their answers."""
    for question in ("first question", "second question"):
        session.send(question)
        finish(session)
    return session


@pytest.fixture
def face() -> NotingFace:
    """A face that notes what commands ask of it."""
    return NotingFace()
