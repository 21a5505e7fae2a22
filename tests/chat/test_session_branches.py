"""Regenerate, continue, edit, siblings: nothing is ever lost."""

from __future__ import annotations

from pathlib import Path

import pytest

from llamachat.chat.conversation import Status
from llamachat.chat.session import ChatSession, Phase
from llamachat.engine.settings import SamplingSettings
from llamachat.engine.source import ModelSource
from llamachat.errors import LlamachatError
from tests.chat.conftest import Open
from tests.support.scripted_engine import ScriptedEngine
from tests.support.sessions import finish, texts

MODEL = ModelSource(Path("/models/tiny.gguf"))
LONG = "one two three four five six seven eight nine ten"


def test_regenerate_adds_a_sibling(talk: ChatSession) -> None:
    before = talk.conversation.path[-1]
    talk.regenerate()
    finish(talk)
    answer = talk.conversation.path[-1]
    assert texts(talk) == ["first question", "One.", "second question", "Three."]
    assert talk.conversation.siblings(answer) == (1, 2)
    assert answer.timings is not None
    assert before.timings is not None
    assert answer.timings.reused_tokens == before.timings.prompt_tokens - 1
    assert talk.select_sibling(answer.id, -1) is before
    assert texts(talk)[-1] == "Two."


def test_regenerate_in_the_middle_starts_a_branch(talk: ChatSession) -> None:
    talk.regenerate(talk.conversation.path[1].id)
    finish(talk)
    assert texts(talk) == ["first question", "Three."]
    talk.select_sibling(talk.conversation.path[1].id, -1)
    assert texts(talk) == ["first question", "One.", "second question", "Two."]


def test_edit_a_question(talk: ChatSession) -> None:
    question = talk.conversation.path[2]
    copy = talk.edit(question.id, "second, changed")
    finish(talk)
    assert texts(talk) == ["first question", "One.", "second, changed", "Three."]
    assert talk.conversation.siblings(copy) == (1, 2)
    talk.select_sibling(copy.id, -1)
    assert texts(talk) == ["first question", "One.", "second question", "Two."]


def test_a_message_that_was_not_changed_is_no_branch(open_session: Open) -> None:
    session = open_session(ScriptedEngine(["a\r\nb"], loaded=True))
    session.send("question")
    finish(session)
    for message in session.conversation.path:
        shown = message.text.replace("\r\n", "\n")  # as every face shows it
        assert session.edit(message.id, shown) is message
        assert session.conversation.siblings(message) == (0, 1)
    assert texts(session) == ["question", "a\r\nb"]


def test_a_question_without_an_answer_is_asked_again_as_it_is(open_session: Open) -> None:
    session = open_session(ScriptedEngine(["Here."]))
    question = session.send("question")
    session.stop()
    assert session.queued is None
    assert session.edit(question.id, "question") is question
    assert session.queued is question


def test_edit_an_answer_and_go_on_from_it(open_session: Open) -> None:
    engine = ScriptedEngine(["The sky is green.", " and wide."], loaded=True)
    session = open_session(engine)
    session.send("sky?")
    finish(session)
    session.edit(session.conversation.path[1].id, "The sky is blue")
    assert session.phase is Phase.READY
    session.continue_answer()
    finish(session)
    assert texts(session) == ["sky?", "The sky is blue and wide."]
    assert session.conversation.siblings(session.conversation.path[1]) == (1, 2)
    tokenizer = engine.tokenizer
    assert tokenizer is not None
    assert tokenizer.decode(engine.requests[1].prompt_ids).endswith("assistant\nThe sky is blue")


def test_continue_from_the_exact_tokens(open_session: Open) -> None:
    """Not a token is read anew: the answer goes on where it was, and only its last one is evaluated again."""
    engine = ScriptedEngine(["one two three four", " five six"], loaded=True)
    session = open_session(engine, settings=SamplingSettings(max_tokens=3))
    session.send("count")
    finish(session)
    answer = session.conversation.path[1]
    assert (answer.text, answer.status) == ("one two three", Status.LENGTH)
    assert answer.ids is not None
    before, ids = engine.requests[0].prompt_ids, answer.ids
    assert session.continue_answer() is answer
    finish(session)
    request = engine.requests[1]
    assert request.prompt_ids == before + ids
    assert request.at_start is False
    assert (answer.text, answer.status) == ("one two three five six", Status.COMPLETE)
    assert answer.ids[: len(ids)] == ids
    assert answer.timings is not None
    assert answer.timings.reused_tokens == len(request.prompt_ids) - 1
    assert len(session.conversation) == 2


def test_continue_in_the_middle_of_a_character(open_session: Open) -> None:
    """A llama is four tokens here; stopped after two of them, continued with the others."""
    whole = "🦙!".encode()
    engine = ScriptedEngine(lambda _: "🦙!", loaded=True)
    session = open_session(engine, settings=SamplingSettings(max_tokens=2))
    session.send("llama?")
    finish(session)
    answer = session.conversation.path[1]
    assert answer.text == "\ufffd"
    tokenizer = engine.tokenizer
    assert tokenizer is not None
    rest = tokenizer.encode("🦙!")[2:]
    tokenizer.encode = lambda text: rest if text == "rest" else type(tokenizer).encode(tokenizer, text)  # type: ignore[method-assign]
    engine._answers = lambda _: "rest"
    session.set_parameter("max_tokens", 20)
    session.continue_answer()
    finish(session)
    assert answer.text.encode() == whole
    assert answer.status is Status.COMPLETE


def test_continue_where_others_follow_grows_a_copy(talk: ChatSession) -> None:
    first = talk.conversation.path[1]
    grown = talk.continue_answer(first.id)
    finish(talk)
    assert grown is not first
    assert first.text == "One."
    assert texts(talk) == ["first question", "One.Three."]
    assert talk.conversation.siblings(grown) == (1, 2)


def test_nothing_to_continue(session: ChatSession) -> None:
    with pytest.raises(LlamachatError, match="ask something first"):
        session.continue_answer()
    with pytest.raises(LlamachatError, match="ask something first"):
        session.regenerate()
