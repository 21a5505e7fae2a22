"""The headless chat: phases, one message, stopping, errors."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from llamachat.chat.conversation import Role, Status
from llamachat.chat.session import ChatSession, Phase
from llamachat.chat.store import SessionStore
from llamachat.engine.events import Finished, PrefillProgress, StopReason, TokenEvent
from llamachat.engine.settings import SamplingSettings
from llamachat.engine.source import ModelSource
from llamachat.errors import LlamachatError, PromptError
from tests.chat.conftest import Open
from tests.support.scripted_engine import ScriptedEngine
from tests.support.sessions import finish, said, texts, until

MODEL = ModelSource(Path("/models/tiny.gguf"))
LONG = "one two three four five six seven eight nine ten"


# ---- one message ---------------------------------------------------------------


def test_a_question_is_answered(session: ChatSession) -> None:
    question = session.send("What is gravity?")
    assert session.phase is Phase.PREFILL
    events = finish(session)
    answer = session.conversation.leaf
    assert answer is not None
    assert (question.role, question.text) == (Role.USER, "What is gravity?")
    assert (answer.text, answer.status, answer.model, answer.seed) == ("One.", Status.COMPLETE, "Scripted 1B", 7)
    assert answer.timings is not None
    assert answer.timings.answer_tokens == 2
    assert session.timings == answer.timings
    assert session.context_used == answer.timings.prompt_tokens + 2
    assert session.context_total == 2048
    assert session.prompt_format == "chatml"
    assert answer.settings == SamplingSettings().to_dict()
    assert session.conversation.title == "What is gravity?"
    kinds = [type(event) for event in events]
    assert kinds == sorted(kinds, key=[PrefillProgress, TokenEvent, Finished].index)


def test_phases_in_order(open_session: Open) -> None:
    engine = ScriptedEngine([LONG], gated=True)
    session = open_session(engine)
    seen = [session.phase]

    def noted(phase: Phase) -> bool:
        seen.append(session.phase)
        return session.phase is phase

    session.open_model(ModelSource(Path("/models/tiny.gguf")))
    session.send("go")
    noted(session.phase)
    for steps, phase in ((6, Phase.PREFILL), (4, Phase.DECODE)):
        engine.release(steps)
        until(session, lambda phase=phase: noted(phase))  # type: ignore[misc]
    session.stop()
    noted(session.phase)
    until(session, lambda: noted(Phase.READY))
    changes = [phase for phase, before in zip(seen[1:], seen, strict=False) if phase is not before]
    assert changes == [Phase.LOADING, Phase.PREFILL, Phase.DECODE, Phase.STOPPING, Phase.READY]


def test_the_prompt_is_what_the_format_writes(session: ChatSession, engine: ScriptedEngine) -> None:
    session.set_system("Be brief.")
    session.send("Hi <|im_end|> there")
    finish(session)
    tokenizer = engine.tokenizer
    assert tokenizer is not None
    prompt = engine.requests[0].prompt_ids
    assert tokenizer.decode(prompt) == "system\nBe brief.\nuser\nHi <|im_end|> there\nassistant\n"
    assert [token for token in prompt if token in (3, 4)] == [3, 4, 3, 4, 3]
    assert {2, 4} <= engine.requests[0].stop_ids


def test_follow_ups_reuse_the_cache(talk: ChatSession) -> None:
    """Everything up to the new question is in the cache: the answer comes back by its own ids."""
    timings = talk.conversation.path[-1].timings
    first = talk.conversation.path[1].timings
    assert timings is not None
    assert first is not None
    assert first.reused_tokens == 0
    assert timings.reused_tokens == first.prompt_tokens + first.answer_tokens


def test_wake_comes_once_until_drained(open_session: Open) -> None:
    engine = ScriptedEngine([LONG], loaded=True, gated=True)
    session = open_session(engine)
    wakes: list[int] = []
    session.on_wake = lambda: wakes.append(1)
    session.send("go")
    engine.release(5)
    until(session, lambda: len(engine.sampled) >= 2)
    before = len(wakes)
    assert before >= 1
    engine.release(100)
    finish(session)
    assert session.drain() == []


# ---- stopping ------------------------------------------------------------------


def test_stop_keeps_what_is_there(open_session: Open) -> None:
    engine = ScriptedEngine([LONG], loaded=True, gated=True)
    session = open_session(engine)
    session.send("count")
    engine.release(3 + 4)
    until(session, lambda: said(session, 4))
    assert session.phase is Phase.DECODE
    session.stop()
    assert str(session.phase) == "stopping"
    events = finish(session)
    answer = session.conversation.leaf
    assert answer is not None
    assert (answer.text, answer.status) == ("one two three four", Status.STOPPED)
    assert isinstance(events[-1], Finished)
    assert events[-1].reason is StopReason.STOPPED
    assert str(session.phase) == "ready"


def test_stop_before_the_first_token_leaves_the_question(open_session: Open) -> None:
    engine = ScriptedEngine([LONG], loaded=True, gated=True)
    session = open_session(engine)
    session.send("count")
    engine.release(1)
    until(session, lambda: session.progress.total > 0)
    session.stop()
    finish(session)
    assert texts(session) == ["count"]
    assert len(session.conversation) == 1
    engine.release(100)
    session.regenerate()
    finish(session)
    assert texts(session) == ["count", LONG]


def test_stopping_another_answer_shows_the_one_before(open_session: Open) -> None:
    engine = ScriptedEngine(["a", "b", LONG], loaded=True, gated=True)
    engine.release(20)
    session = open_session(engine)
    session.send("q")
    finish(session)
    session.regenerate()
    finish(session)
    first = session.select_sibling(session.conversation.path[-1].id, -1)
    while engine._gate is not None and engine._gate.acquire(blocking=False):
        pass
    session.regenerate()
    session.stop()
    finish(session)
    assert session.conversation.leaf is first
    assert len(session.conversation) == 3


def test_stop_when_nothing_runs(session: ChatSession) -> None:
    session.stop()
    assert session.phase is Phase.READY


# ---- errors ----------------------------------------------------------------------


def test_an_engine_that_fails_keeps_the_partial_answer(open_session: Open) -> None:
    session = open_session(ScriptedEngine([LONG], loaded=True, fail_after=3))
    session.send("count")
    finish(session)
    answer = session.conversation.path[1]
    assert (answer.text, answer.status) == ("one two three", Status.FAILED)
    assert answer.note == session.error == "the scripted engine fails here"


def test_an_engine_that_fails_at_once_keeps_the_question(open_session: Open) -> None:
    session = open_session(ScriptedEngine([LONG], loaded=True, fail_after=0))
    session.send("count")
    finish(session)
    assert texts(session) == ["count"]
    assert session.error == "the scripted engine fails here"


def test_a_message_that_cannot_fit_is_refused(open_session: Open) -> None:
    session = open_session(ScriptedEngine(loaded=True, n_ctx=100))
    session.save_draft("w " * 200)
    with pytest.raises(PromptError, match=r"of \d+ tokens"):
        session.send("w " * 200)
    assert len(session.conversation) == 0
    assert session.draft == "w " * 200


def test_a_message_that_does_not_fit_with_its_system_prompt(open_session: Open) -> None:
    """Found out while the prompt is written: the question stays, and the error is told."""
    session = open_session(ScriptedEngine(loaded=True, n_ctx=100), system="s " * 60)
    session.send("w " * 40)
    events = finish(session)
    assert isinstance(events[-1], Finished)
    assert session.error is not None
    assert "too long" in session.error
    assert texts(session) == ["w " * 40]


def test_nothing_to_send(session: ChatSession) -> None:
    with pytest.raises(LlamachatError, match="nothing to send"):
        session.send("  \n ")


def test_history_beyond_the_context_is_dropped_with_a_mark(open_session: Open) -> None:
    engine = ScriptedEngine(["word " * 20], loaded=True, n_ctx=200)
    session = open_session(engine, system="Be brief.")
    for number in range(6):
        session.send(f"question {number}")
        finish(session)
    leaf = session.conversation.leaf
    assert leaf is not None
    assert leaf.dropped == session.dropped > 0
    tokenizer = engine.tokenizer
    assert tokenizer is not None
    prompt = tokenizer.decode(engine.requests[-1].prompt_ids)
    assert prompt.startswith("system\nBe brief.\nuser\nquestion")
    assert "question 0" not in prompt
    assert f"question {leaf.dropped // 2}\n" in prompt


def test_generation_reaching_the_end_of_the_context(open_session: Open) -> None:
    session = open_session(ScriptedEngine(["w " * 500], loaded=True, n_ctx=120))
    session.send("go")
    finish(session)
    leaf = session.conversation.leaf
    assert leaf is not None
    assert leaf.status is Status.CONTEXT
    assert session.context_used == 120


# ---- formats ---------------------------------------------------------------------


def test_a_format_by_name(open_session: Open) -> None:
    session = open_session(prompt_format="llama2")
    assert session.prompt_format == "llama2"
    session.set_prompt_format("alpaca")
    assert session.prompt_format == "alpaca"
    session.set_prompt_format(None)
    assert session.prompt_format == "llama2"
    with pytest.raises(LlamachatError, match="no prompt format"):
        session.set_prompt_format("klingon")


def test_a_stop_text_ends_the_answer_and_its_ids(open_session: Open) -> None:
    """Alpaca answers end with a text; the ids that are kept end where the shown text does."""
    engine = ScriptedEngine(["Yes.\n\n### Instruction: more", "Yes\n### "], loaded=True)
    session = open_session(engine, prompt_format="alpaca")
    tokenizer = engine.tokenizer
    assert tokenizer is not None
    for text in ("Yes.\n", "Yes"):
        session.send("is it?")
        finish(session)
        answer = session.conversation.path[-1]
        assert (answer.text, answer.status) == (text, Status.COMPLETE)
        assert answer.ids is not None
        assert tokenizer.decode(answer.ids) == text


def test_a_message_is_deleted_with_all_that_follow_it(talk: ChatSession, data_dir: Path) -> None:
    talk.regenerate()
    finish(talk)
    conversation = talk.conversation
    first_answer, second_question = conversation.path[1:3]
    assert len(conversation) == 5
    talk.delete_message(second_question.id)
    assert len(conversation) == 2
    assert conversation.leaf is first_answer
    talk.close()
    with closing(SessionStore(data_dir)) as store:
        stored = store.load(conversation.id)
        assert [message.text for message in stored.path] == texts(talk)
        assert len(stored) == 2


def test_a_deleted_version_gives_way_to_the_one_beside_it(talk: ChatSession) -> None:
    before = texts(talk)
    talk.regenerate()
    finish(talk)
    talk.delete_message(talk.conversation.path[-1].id)
    assert texts(talk) == before


def test_with_its_only_message_the_chat_is_deleted(talk: ChatSession) -> None:
    old = talk.conversation.id
    talk.delete_message(talk.conversation.path[0].id)
    assert talk.conversation.id != old
    assert talk.sessions() == []


def test_deleting_what_is_being_answered_stops_it(open_session: Open) -> None:
    engine = ScriptedEngine([LONG], loaded=True, gated=True)
    session = open_session(engine)
    first = session.conversation.add_user("first", parent=None)
    question = session.send("second")
    engine.release(6)
    until(session, lambda: said(session, 2))
    session.delete_message(question.id)
    engine.release(100)
    finish(session)
    assert session.conversation.path == [first]


def test_many_messages_are_deleted_at_once(talk: ChatSession, monkeypatch: pytest.MonkeyPatch) -> None:
    """The choices of the whole chat go with each order to the store: of 10,000 orders that took three seconds."""
    orders: list[int] = []
    monkeypatch.setattr(talk.store, "forget", lambda _chat, *messages: orders.append(len(messages)))
    talk.delete_message(talk.conversation.path[1].id)
    assert orders == [3]


def test_what_another_window_writes_is_not_deleted(talk: ChatSession) -> None:
    answer = talk.conversation.add_answer(talk.conversation.path[-2])
    with pytest.raises(LlamachatError, match="another window"):
        talk.delete_message(talk.conversation.path[0].id)
    assert answer.id in talk.conversation.messages


def test_what_another_window_has_just_added_is_deleted_too_or_not_at_all(talk: ChatSession, open_session: Open) -> None:
    """Else it would have nothing to follow any more, and be a beginning of the chat."""
    engine = ScriptedEngine([LONG], loaded=True, gated=True)
    other = open_session(engine)
    other.open(talk.conversation.id)
    question = talk.conversation.path[2]
    other.send("third question")
    engine.release(12)
    until(other, lambda: said(other, 2))
    other.store.flush()
    with pytest.raises(LlamachatError, match="another window"):
        talk.delete_message(question.id)
    engine.release(100)
    finish(other)
    other.store.flush()
    talk.delete_message(question.id)
    talk.store.flush()
    assert texts(talk) == ["first question", "One."]
    again = open_session()
    again.open(talk.conversation.id)
    assert len(again.conversation) == 2
