"""How much of the context a chat takes, where nobody evaluated it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from llamachat.chat.context_use import COUNTED_CHARS
from llamachat.chat.session import ChatSession
from llamachat.engine.source import ModelSource
from tests.chat.conftest import Open
from tests.support.scripted_engine import ScriptedEngine
from tests.support.sessions import finish


def test_an_evaluated_answer_takes_what_was_evaluated(talk: ChatSession) -> None:
    timings = talk.conversation.path[-1].timings
    assert timings is not None
    assert talk.context_used == timings.prompt_tokens + timings.answer_tokens


def test_a_corrected_answer_takes_what_going_on_with_it_reads(talk: ChatSession, engine: ScriptedEngine) -> None:
    talk.edit(talk.conversation.path[-1].id, "Two and a half, or so")
    counted = talk.context_used
    talk.continue_answer()
    finish(talk)
    assert counted == len(engine.requests[-1].prompt_ids)
    assert counted > 20


def test_a_question_without_an_answer_takes_its_prompt(open_session: Open) -> None:
    engine = ScriptedEngine(["One."], loaded=True, gated=True)
    session = open_session(engine)
    session.send("first question")
    session.stop()
    engine.release(100)
    finish(session)
    assert len(session.conversation.path) == 1
    counted = session.context_used
    session.regenerate()
    engine.release(100)
    finish(session)
    assert counted == len(engine.requests[-1].prompt_ids) > 0


def test_another_models_answer_is_counted_anew(talk: ChatSession) -> None:
    leaf = talk.conversation.path[-1]
    assert leaf.timings is not None
    evaluated = talk.context_used
    leaf.model, leaf.timings = "Another 7B", replace(leaf.timings, prompt_tokens=5000)
    assert talk.context_used == pytest.approx(evaluated, abs=3)  # its end is not told


def test_an_empty_chat_takes_nothing(session: ChatSession) -> None:
    assert session.context_used == 0


def test_without_a_model_the_last_figures_stay(talk: ChatSession, open_session: Open) -> None:
    used = talk.context_used
    talk.store.flush()
    session = open_session(ScriptedEngine())
    session.open(session.sessions()[0].id)
    assert session.context_used == used


def test_what_does_not_fit_fills_the_context(talk: ChatSession) -> None:
    talk.edit(talk.conversation.path[-1].id, "Two")
    talk.set_system("word " * 3000)
    assert talk.context_used == talk.context_total


def test_very_long_chats_and_templates_of_files_are_not_counted_in_passing(talk: ChatSession) -> None:
    talk.edit(talk.conversation.path[-1].id, "Two " * COUNTED_CHARS)
    evaluated = next(message.timings for message in talk.conversation.path if message.timings)
    assert talk.context_used == evaluated.prompt_tokens + evaluated.answer_tokens


def test_a_template_of_a_files_own_is_not_run_for_it(open_session: Open) -> None:
    template = "{% for m in messages %}{{ m.role }} says {{ m.content }}\n{% endfor %}"
    session = open_session(ScriptedEngine(["One."], loaded=True, chat_template=template))
    session.send("question")
    finish(session)
    evaluated = session.context_used
    session.edit(session.conversation.path[-1].id, "A quite different answer")
    assert session.context_used in (0, evaluated)


# ---- the text that is not sent -----------------------------------------------------


def test_the_draft_is_counted(session: ChatSession) -> None:
    for text, tokens in (("", 0), ("one two three", 3), ("one two three ", 3), ("/set seed 1", 0), ("//one two", 3)):
        session.save_draft(text)
        assert session.draft_tokens == tokens, text


def test_a_draft_is_counted_once(session: ChatSession, monkeypatch: pytest.MonkeyPatch) -> None:
    assert session._model is not None
    tokenizer = session._model.tokenizer
    encode, calls = tokenizer.encode, []

    def noting(text: str) -> list[int]:
        calls.append(text)
        return encode(text)

    monkeypatch.setattr(tokenizer, "encode", noting)
    session.save_draft("one two three")
    assert [session.draft_tokens for _ in range(5)] == [3] * 5
    assert len(calls) == 1


def test_a_draft_of_megabytes_is_not(session: ChatSession) -> None:
    session.save_draft("word " * COUNTED_CHARS)
    assert session.draft_tokens == 0


def test_no_draft_is_counted_without_a_model(open_session: Open) -> None:
    session = open_session(ScriptedEngine())
    session.save_draft("one two three")
    assert session.draft_tokens == 0
    session.open_model(ModelSource(Path("/models/tiny.gguf")))
    finish(session)
    assert session.draft_tokens == 3
