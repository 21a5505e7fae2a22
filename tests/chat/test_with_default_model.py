"""The whole way down to the C core, with the default model."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from llamachat.chat.conversation import Message, Status
from llamachat.chat.session import ChatSession
from llamachat.chat.store import SessionStore
from llamachat.engine.events import Request
from llamachat.engine.settings import SamplingSettings
from llamachat.engine.source import ModelSource
from llamachat.engine.worker import LocalEngine
from tests.support.default_model import DEFAULT_MODEL, needs_default_model
from tests.support.sessions import finish, said, until
from tests.support.shared import shared_model

pytestmark = needs_default_model

GREEDY = SamplingSettings(temperature=0.0, max_tokens=24)


class NotingEngine(LocalEngine):
    """Keeps what it was asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.requests: list[Request] = []

    def generate(self, request: Request) -> None:
        self.requests.append(request)
        super().generate(request)


@pytest.fixture(scope="module")
def engine() -> Iterator[NotingEngine]:
    """One engine for all tests here: loading takes longest."""
    engine = NotingEngine()
    session = ChatSession(SessionStore(None), engine)
    session.open_model(ModelSource(DEFAULT_MODEL, n_ctx=1024))
    finish(session)
    assert session.error is None
    yield engine
    session.close()


@pytest.fixture
def session(engine: NotingEngine, tmp_path: Path) -> Iterator[ChatSession]:
    engine.requests.clear()
    store = SessionStore(tmp_path)
    session = ChatSession(store, engine, settings=GREEDY, system="You are a helpful assistant.")
    yield session
    finish(session)
    engine._listeners.remove(session._runner._put)
    store.close()


def _answer(session: ChatSession) -> Message:
    leaf = session.conversation.leaf
    assert leaf is not None
    return leaf


def test_the_prompt_is_the_golden_one(session: ChatSession, engine: NotingEngine) -> None:
    golden = json.loads(shared_model("smollm2/smollm2-chat-prompt.ids.txt").read_text())
    session.send("What is gravity?")
    finish(session)
    assert list(engine.requests[0].prompt_ids) == golden
    answer = shared_model("smollm2/smollm2-135m-q4_1.chat-gravity.n60.txt").read_text()
    beginning = " ".join(_answer(session).text.split()[:4])
    assert beginning in " ".join(answer.split())


def test_an_answer_in_two_parts_is_the_same_answer(session: ChatSession) -> None:
    session.send("What is gravity?")
    finish(session)
    whole = _answer(session)
    session.set_parameter("max_tokens", 9)
    session.regenerate()
    finish(session)
    part = _answer(session)
    assert part.status is Status.LENGTH
    assert part.ids == (whole.ids or ())[:9]
    session.set_parameter("max_tokens", 15)
    session.continue_answer()
    finish(session)
    assert (part.text, part.ids) == (whole.text, whole.ids)
    assert part.timings is not None
    assert part.timings.reused_tokens >= part.timings.prompt_tokens - 2


def test_a_follow_up_reads_only_what_is_new(session: ChatSession) -> None:
    session.send("What is gravity?")
    finish(session)
    first = _answer(session).timings
    session.send("And light?")
    finish(session)
    second = _answer(session).timings
    assert first is not None
    assert second is not None
    assert second.reused_tokens >= first.prompt_tokens + first.answer_tokens - 1


def test_stopped_and_gone_on(session: ChatSession) -> None:
    session.set_parameter("max_tokens", 400)
    session.send("Tell me a story.")
    until(session, lambda: said(session, 5))
    session.stop()
    finish(session)
    answer = _answer(session)
    assert answer.status is Status.STOPPED
    before = answer.text
    session.set_parameter("max_tokens", 3)
    session.continue_answer()
    finish(session)
    assert answer.text.startswith(before)
    assert len(answer.text) > len(before)


def test_every_control_token_typed_stays_text(session: ChatSession, engine: NotingEngine) -> None:
    tokenizer = engine.tokenizer
    assert tokenizer is not None
    control = [text for text in tokenizer.vocabulary.pieces if tokenizer.special_id(text) is not None]
    assert len(control) > 10
    session.set_parameter("max_tokens", 1)
    session.send("x")
    finish(session)
    session.edit(session.conversation.path[0].id, "".join(control) + " " + " ".join(control))
    finish(session)
    specials = [[i for i in request.prompt_ids if tokenizer.piece(i) == ""] for request in engine.requests]
    assert specials[0] == specials[1] == [1, 2, 1, 2, 1]


def test_a_question_beyond_the_context_is_refused(session: ChatSession) -> None:
    with pytest.raises(Exception, match=r"tokens that fit the context"):
        session.send("word " * 5_000)
    assert len(session.conversation) == 0


def test_a_long_talk_goes_on_beyond_the_context(session: ChatSession) -> None:
    session.set_parameter("max_tokens", 8)
    for number in range(5):
        session.send(f"Remember the number {number}. " + "This is filler text to be read. " * 30)
        finish(session)
        assert session.error is None
    assert session.dropped > 0
    assert 0 < session.context_used <= session.context_total == 1024
