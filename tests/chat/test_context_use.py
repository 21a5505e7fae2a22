"""How much of the context a chat takes, where nobody evaluated it."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest

from llamachat.chat import context_use
from llamachat.chat.answer import ModelInUse
from llamachat.chat.context_use import COUNTED_CHARS, TextCount
from llamachat.chat.jinja_template import TemplateWriter
from llamachat.chat.session import ChatSession
from llamachat.engine.source import ModelSource
from llamachat.tokenizer import load_tokenizer
from tests.chat.conftest import Open
from tests.support.scripted_engine import ScriptedEngine, ScriptedTokenizer
from tests.support.sessions import finish
from tests.support.tiny_vocabularies import bpe_vocabulary, spm_vocabulary


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


def test_a_template_of_a_files_own_is_not_run_for_it(open_session: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    template = "{% for m in messages %}{{ m.role }} says {{ m.content }}\n{% endfor %}"
    session = open_session(ScriptedEngine(["One."], loaded=True, chat_template=template))
    session.send("question")
    finish(session)
    session.edit(session.conversation.path[-1].id, "A quite different answer")
    monkeypatch.setattr(TemplateWriter, "render", lambda *_: pytest.fail("the template was run"))
    assert session.context_used == 0  # nothing of this path was evaluated


# ---- the text that is not sent -----------------------------------------------------


def test_the_draft_is_counted(session: ChatSession) -> None:
    for text, tokens in (
        ("", 0),
        ("one two three", 3),
        ("one two three ", 3),
        ("/set seed 1", 0),
        ("//one two", 3),
        ("one two three\n/read x", 3),
    ):
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


# ---- a text that grows --------------------------------------------------------------


@pytest.fixture(params=[spm_vocabulary, bpe_vocabulary], ids=["spm", "bpe"])
def model(request: pytest.FixtureRequest) -> ModelInUse:
    return ModelInUse("tiny", 100_000, load_tokenizer(request.param()))


def test_a_text_is_counted_as_a_whole_however_it_grows(model: ModelInUse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(context_use, "_PART", 16)
    some, count = random.Random(7), TextCount()
    words = ("the", " and", "on ", "\n", " ", "1", "é", "中", "<s>", ".", "\ud83d", "'s")
    text = ""
    for _ in range(300):
        text = text[: some.choice((len(text), len(text), some.randrange(len(text) + 1)))]
        text += "".join(some.choices(words, k=some.randrange(12)))
        assert count.of(text, model) == len(model.tokenizer.encode(text)), repr(text)


def test_of_a_text_that_goes_on_only_what_is_new_is_encoded(model: ModelInUse, monkeypatch: pytest.MonkeyPatch) -> None:
    count, text = TextCount(), "the and on. " * (COUNTED_CHARS // 6)
    assert count.of(text, model) == 0  # very long
    whole = count.of(text, model, most=None)
    assert whole == len(model.tokenizer.encode(text))
    encoded: list[int] = []
    encode = model.tokenizer.encode_behind

    def noting(text: str, start: int, end: int) -> list[int]:
        encoded.append(end - start)
        return encode(text, start, end)

    monkeypatch.setattr(model.tokenizer, "encode_behind", noting)
    assert count.of(f"{text}the and", model) > whole
    assert sum(encoded) < 10_000
    assert count.of("x" + text, model) == 0


def test_another_model_counts_anew(model: ModelInUse) -> None:
    count, text = TextCount(), "the and on. " * 2000
    other = ModelInUse("other", model.n_ctx, ScriptedTokenizer())
    assert count.of(text, model) == len(model.tokenizer.encode(text))
    assert count.of(text + "on", other) == len(other.tokenizer.encode(text + "on"))
