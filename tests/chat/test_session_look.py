"""Looking at an answer's tokens, and going on with another one."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from llamachat.chat.commands import run_line
from llamachat.chat.conversation import Role, Status
from llamachat.chat.look import Look
from llamachat.chat.session import ChatSession, Phase
from llamachat.chat.store import SessionStore
from llamachat.engine.events import Looked, LookFailed
from llamachat.engine.source import ModelSource
from llamachat.errors import LlamachatError
from tests.chat.conftest import Open
from tests.support.noting_face import NotingFace
from tests.support.scripted_engine import LOOKED_AT, ScriptedEngine
from tests.support.sessions import finish, texts, until

MODEL = ModelSource(Path("/models/tiny.gguf"))
LONG = "one two three four five six seven eight nine ten"


def looked_at(session: ChatSession, message_id: str | None = None) -> Look:
    look = session.look_at(message_id)
    finish(session)
    assert look.done, look.error
    return look


@pytest.fixture
def engine() -> ScriptedEngine:
    return ScriptedEngine([LONG, " more", "Third."], loaded=True)


@pytest.fixture
def asked(session: ChatSession) -> ChatSession:
    """A session with a question and its answer."""
    session.send("count")
    finish(session)
    return session


# ---- looking ---------------------------------------------------------------------


def test_every_token_has_its_place(asked: ChatSession, engine: ScriptedEngine) -> None:
    look = looked_at(asked)
    answer = asked.conversation.path[-1]
    assert look is asked.look
    assert look.message is answer
    assert look.texts == ("one", *(f" {word}" for word in LONG.split()[1:]))
    assert [place.id for place in look.places] == [*(answer.ids or ()), 1]
    probabilities = [math.exp(place.logprob or 0) for place in look.places]
    assert probabilities == pytest.approx([LOOKED_AT[at % 4] for at in range(11)])
    assert look.perplexity == pytest.approx(math.exp(-sum(math.log(p) for p in probabilities) / 11))


def test_the_text_is_looked_at_behind_the_prompt_that_it_answered(asked: ChatSession, engine: ScriptedEngine) -> None:
    looked_at(asked)
    request = engine.looks[0]
    assert request.prompt_ids == engine.requests[0].prompt_ids
    assert request.ids == asked.conversation.path[-1].ids
    assert request.end_ids == engine.requests[0].stop_ids
    assert request.settings == asked.settings


def test_an_answer_in_the_middle_of_a_chat_can_be_looked_at(talk: ChatSession, engine: ScriptedEngine) -> None:
    look = looked_at(talk, talk.conversation.path[1].id)
    assert engine.looks[0].prompt_ids == engine.requests[0].prompt_ids
    assert "".join(look.texts) == LONG


def test_an_answer_that_was_cut_has_no_end(open_session: Open) -> None:
    engine = ScriptedEngine([LONG], loaded=True)
    session = open_session(engine)
    session.set_parameter("max_tokens", 4)
    session.send("count")
    finish(session)
    look = looked_at(session)
    assert engine.looks[0].end_ids == frozenset()
    assert [place.id is None for place in look.places] == [False] * 4 + [True]


def test_the_events_say_when_it_is_over(asked: ChatSession) -> None:
    asked.look_at()
    assert asked.phase is Phase.LOOKING
    events = finish(asked)
    assert isinstance(events[-1], Looked)
    assert str(asked.phase) == "ready"


def test_the_same_is_not_looked_at_twice(asked: ChatSession, engine: ScriptedEngine) -> None:
    look = looked_at(asked)
    assert asked.look_at() is look
    assert not asked.busy
    asked.set_parameter("temperature", 1.5)  # other shares
    assert looked_at(asked) is not look
    assert engine.looks[1].settings.temperature == 1.5
    again = looked_at(asked)
    asked.set_system("Be brief.")  # another prompt
    assert looked_at(asked) is not again
    assert len(engine.looks) == 3


def test_what_a_person_wrote_is_looked_at_as_the_model_reads_it(asked: ChatSession, engine: ScriptedEngine) -> None:
    copy = asked.edit(asked.conversation.path[-1].id, "one two 2")
    assert copy.ids is None
    look = looked_at(asked)
    assert look.texts == ("one", " two", " 2")
    assert engine.looks[0].prompt_ids == engine.requests[0].prompt_ids


def test_a_character_of_several_tokens(open_session: Open) -> None:
    session = open_session(ScriptedEngine(["a é!"], loaded=True))
    session.send("count")
    finish(session)
    look = looked_at(session)
    assert look.texts == ("a", " ", "", "é", "!")
    assert [look.word(token) for token in session.conversation.path[-1].ids or ()] == [
        '"a"', '" "', "bytes C3", "bytes A9", '"!"'
    ]  # fmt: skip


def test_words_of_tokens(asked: ChatSession, engine: ScriptedEngine) -> None:
    look = looked_at(asked)
    assert (look.word(2), look.word(4)) == ("end </s>", "end <|im_end|>")
    assert look.word(0) == "<unk>"
    newline, tab, backslash = (token for text in "\n\t\\" for token in engine._tokenizer.encode(text))
    assert (look.word(newline), look.word(tab), look.word(backslash)) == ('"\\n"', '"\\t"', '"\\\\"')


# ---- what cannot be looked at ------------------------------------------------------


def test_refusals(asked: ChatSession, open_session: Open) -> None:
    with pytest.raises(LlamachatError, match="only answers"):
        asked.look_at(asked.conversation.path[0].id)
    asked.new()
    with pytest.raises(LlamachatError, match="ask something first"):
        asked.look_at()


def test_without_a_model(asked: ChatSession, open_session: Open) -> None:
    asked.store.flush()
    session = open_session(ScriptedEngine())
    session.open(session.sessions()[0].id)
    with pytest.raises(LlamachatError, match="no model is loaded"):
        session.look_at()


def test_while_the_model_answers(open_session: Open) -> None:
    session = open_session(ScriptedEngine([LONG], loaded=True, gated=True))
    session.send("count")
    session._runner.engine.release(6)  # type: ignore[attr-defined]
    until(session, lambda: session.answering is not None and bool(session.answering.text))
    with pytest.raises(LlamachatError, match="the model is at work"):
        session.look_at()


def test_what_does_not_fit_is_said(open_session: Open) -> None:
    engine = ScriptedEngine([LONG], loaded=True, n_ctx=64)
    session = open_session(engine)
    session.send("count")
    finish(session)
    session.set_system("word " * 200)
    look = session.look_at()
    events = finish(session)
    assert isinstance(events[-1], LookFailed)
    assert "too long" in look.error
    assert look.over
    assert not look.done
    with pytest.raises(LlamachatError, match="/tokens"):
        session.take_alternative(0, 0)
    session.set_system("")
    assert looked_at(session).done


def test_the_window_of_a_long_chat_is_the_one_that_was_answered(open_session: Open) -> None:
    engine = ScriptedEngine([LONG], loaded=True, n_ctx=128)
    session = open_session(engine)
    for _ in range(6):
        session.send("words " * 20)
        finish(session)
    assert session.dropped > 0
    looked_at(session)
    assert engine.looks[-1].prompt_ids == engine.requests[-1].prompt_ids
    session.edit(session.conversation.path[-1].id, "another text")
    looked_at(session)
    assert "".join(session.look.texts if session.look else ()) == "another text"


# ---- stopping ----------------------------------------------------------------------


def test_stopping(open_session: Open) -> None:
    engine = ScriptedEngine([LONG], loaded=True, gated=True)
    session = open_session(engine)
    session.send("count")
    engine.release(100)
    finish(session)
    engine.hold()
    look = session.look_at()
    until(session, lambda: bool(engine.looks))
    session.stop()
    events = finish(session)
    assert isinstance(events[-1], LookFailed)
    assert events[-1].cancelled
    assert look.over
    assert not look.done
    engine.release(100)
    assert looked_at(session).done


def test_a_question_stops_a_look_and_is_answered(open_session: Open) -> None:
    engine = ScriptedEngine([LONG, "Yes."], loaded=True, gated=True)
    session = open_session(engine)
    session.send("count")
    engine.release(100)
    finish(session)
    engine.hold()
    look = session.look_at()
    until(session, lambda: bool(engine.looks))
    session.send("really?")
    assert session.queued is not None
    engine.release(100)
    until(session, lambda: not session.busy and session.queued is None)
    assert texts(session)[-1] == "Yes."
    assert not look.done


# ---- going on with another token ---------------------------------------------------


def test_another_token_makes_another_version_which_goes_on(asked: ChatSession, engine: ScriptedEngine) -> None:
    look = looked_at(asked)
    before = asked.conversation.path[-1]
    token = look.alternative(2, 2).id
    version = asked.take_alternative(2, token)
    finish(asked)
    assert texts(asked) == ["count", "one two spring more"]
    assert asked.conversation.siblings(version) == (1, 2)
    assert before.text == LONG
    assert version.ids is not None
    assert before.ids is not None
    assert version.ids[:3] == (*before.ids[:2], token)
    assert engine.requests[-1].prompt_ids == engine.requests[0].prompt_ids + version.ids[:3]
    assert version.status is Status.COMPLETE
    assert version.model == before.model
    assert version.timings is not None
    assert version.timings.reused_tokens == version.timings.prompt_tokens - 1


def test_the_same_token_draws_anew_from_there(asked: ChatSession) -> None:
    look = looked_at(asked)
    token = look.places[1].id
    assert token is not None
    asked.take_alternative(1, token)
    finish(asked)
    assert texts(asked)[-1] == "one two more"


def test_the_end_makes_a_shorter_answer(asked: ChatSession, engine: ScriptedEngine, data_dir: Path) -> None:
    look = looked_at(asked)
    version = asked.take_alternative(3, 4)
    assert not asked.busy
    assert len(engine.requests) == 1
    assert version.text == "one two three"
    assert version.status is Status.COMPLETE
    assert look.message.text == LONG
    asked.close()
    stored = SessionStore(data_dir)
    conversation = stored.load(stored.sessions()[0].id)
    assert [message.text for message in conversation.path] == ["count", "one two three"]
    assert conversation.path[-1].ids == version.ids
    stored.close()


def test_behind_the_end_it_can_go_on(asked: ChatSession) -> None:
    look = looked_at(asked)
    asked.take_alternative(10, look.alternative(10, 0).id)
    finish(asked)
    assert texts(asked)[-1] == f"{LONG} autumn more"


def test_an_answer_with_others_behind_it(talk: ChatSession, engine: ScriptedEngine) -> None:
    first = talk.conversation.path[1]
    look = looked_at(talk, first.id)
    talk.take_alternative(1, look.alternative(1, 1).id)
    finish(talk)
    assert texts(talk) == ["first question", "one autumnThird."]
    talk.select_sibling(talk.conversation.path[1].id, -1)
    assert texts(talk) == ["first question", LONG, "second question", " more"]


def test_what_a_person_wrote_gets_exact_tokens(asked: ChatSession, engine: ScriptedEngine) -> None:
    asked.edit(asked.conversation.path[-1].id, "one two 2")
    look = looked_at(asked)
    version = asked.take_alternative(2, look.alternative(2, 0).id)
    finish(asked)
    assert version.text == "one two autumn more"
    assert version.ids is not None
    assert version.vocabulary
    assert version.role is Role.ASSISTANT


@pytest.mark.parametrize(
    ("at", "token", "why"),
    [
        (0, 4, "cannot begin with end <|im_end|>"),
        (2, 0, "<unk> is no text"),
        (11, 5, "a place from 1 to 11, not 12"),
        (-1, 5, "a place from 1 to 11, not 0"),
    ],
)
def test_what_an_answer_cannot_go_on_with(asked: ChatSession, at: int, token: int, why: str) -> None:
    looked_at(asked)
    with pytest.raises(LlamachatError) as refused:
        asked.take_alternative(at, token)
    assert why in str(refused.value)
    assert len(asked.conversation) == 2


def test_a_message_that_was_deleted(talk: ChatSession) -> None:
    look = looked_at(talk)
    talk.delete_message(look.message.id)
    with pytest.raises(LlamachatError, match="/tokens"):
        talk.take_alternative(0, look.alternative(0, 0).id)


def test_a_version_whose_going_on_is_killed_can_go_on(open_session: Open, data_dir: Path) -> None:
    engine = ScriptedEngine([LONG], loaded=True, gated=True)
    session = open_session(engine)
    session.send("count")
    engine.release(100)
    finish(session)
    looked_at(session)
    engine.hold()
    session.take_alternative(2, 261)
    other = SessionStore(data_dir)  # what a crash would leave
    stored = other.load(other.sessions()[0].id).path[-1]
    assert stored.text.startswith("one two")
    assert stored.status.unfinished or stored.status is Status.STREAMING
    other.close()


# ---- /tokens -----------------------------------------------------------------------


def test_the_command(asked: ChatSession) -> None:
    face = NotingFace()
    run_line(asked, face, "/tokens")
    run_line(asked, face, "/tokens 3")
    assert face.done == [f"tokens of {LONG!r}", f"tokens of {LONG!r} at 2"]
    with pytest.raises(LlamachatError, match="/tokens 3 lists"):
        run_line(asked, face, "/tokens 3 2")
    looked_at(asked)
    for line, why in (
        ("/tokens x", "takes nothing, a place"),
        ("/tokens 0", "takes nothing, a place"),
        ("/tokens 1 2 3", "takes nothing, a place"),
        ("/tokens 12 1", "a place from 1 to 11"),
        ("/tokens 3 5", "an alternative from 1 to 4"),
        ("/tokens 3 99999999999", "takes nothing, a place"),
    ):
        with pytest.raises(LlamachatError, match=why):
            run_line(asked, face, line)
    run_line(asked, face, "/tokens 3 3")
    finish(asked)
    assert texts(asked)[-1] == "one two spring more"


def test_the_command_without_an_answer(session: ChatSession) -> None:
    with pytest.raises(LlamachatError, match="no answer here yet"):
        run_line(session, NotingFace(), "/tokens")
