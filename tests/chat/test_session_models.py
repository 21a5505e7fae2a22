"""Models that load, fail and change; settings; operations that meet a running answer."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from llamachat.chat.conversation import Status
from llamachat.chat.session import ChatSession, Phase
from llamachat.engine.events import Finished, Loaded, LoadFailed, LoadProgress
from llamachat.engine.source import ModelSource
from llamachat.errors import LlamachatError, StoreError
from tests.chat.conftest import Open
from tests.support.scripted_engine import ScriptedEngine
from tests.support.sessions import finish, said, texts, until

MODEL = ModelSource(Path("/models/tiny.gguf"))
LONG = "one two three four five six seven eight nine ten"


# ---- settings ------------------------------------------------------------------


def test_settings_change_in_the_middle_of_an_answer(open_session: Open) -> None:
    engine = ScriptedEngine([LONG], loaded=True, gated=True)
    session = open_session(engine)
    session.send("count")
    engine.release(3 + 4)
    until(session, lambda: said(session, 4))
    session.set_parameter("temperature", "1.5")
    engine.release(100)
    finish(session)
    used = [settings.temperature for settings in engine.sampled]
    assert used[:4] == [0.8] * 4
    assert used[5:] == [1.5] * (len(used) - 5)
    assert session.settings.temperature == 1.5
    with pytest.raises(LlamachatError, match=r"temperature takes 0\.00 to 5\.00"):
        session.set_parameter("temperature", 9)


def test_each_chat_has_its_settings(talk: ChatSession, engine: ScriptedEngine) -> None:
    first = talk.conversation.id
    talk.set_parameter("top-k", 7)
    talk.new()
    assert talk.settings.top_k == 7  # a new chat starts as the one before was
    talk.set_parameter("top-k", 9)
    talk.open(first)
    assert talk.settings.top_k == 7
    assert engine.settings.top_k == 7


# ---- models ----------------------------------------------------------------------


def test_a_tokenizer_file_belongs_to_one_model(open_session: Open) -> None:
    """All files are opened as the command line says, but for the tokenizer file that came with the first."""
    engine = ScriptedEngine(load_error="no such file")
    words, first, other = Path("/models/words.bin"), Path("/models/model.bin"), Path("/models/chat.gguf")
    session = open_session(engine, source_of=lambda path: ModelSource(path, tokenizer=words, n_ctx=77))
    session.open_file(Path("/models/typo.bin"))  # which does not take it away
    finish(session)
    engine.load_error = ""
    for path in (first, other, first):
        session.open_file(path)
        finish(session)
    assert engine.loads[1:] == [
        ModelSource(first, tokenizer=words, n_ctx=77),
        ModelSource(other, n_ctx=77),
        ModelSource(first, tokenizer=words, n_ctx=77),
    ]


def test_a_question_waits_for_the_model(open_session: Open) -> None:
    engine = ScriptedEngine(["Here."])
    session = open_session(engine)
    question = session.send("early")
    assert (session.phase, session.queued) == (Phase.NO_MODEL, question)
    session.open_model(MODEL)
    events = until(session, lambda: len(texts(session)) == 2 and not session.busy)
    assert [type(event) for event in events[:6]] == [LoadProgress] * 5 + [Loaded]
    assert texts(session) == ["early", "Here."]
    assert session.queued is None
    assert session.source == MODEL
    assert session.conversation.model_path == "/models/tiny.gguf"


def test_two_questions_while_loading(open_session: Open) -> None:
    engine = ScriptedEngine(["Both."], gated=True)
    session = open_session(engine)
    session.open_model(MODEL)
    session.send("one")
    session.send("two")
    engine.release(100)
    until(session, lambda: len(texts(session)) == 3 and not session.busy)
    assert texts(session) == ["one", "two", "Both."]
    tokenizer = engine.tokenizer
    assert tokenizer is not None
    assert tokenizer.decode(engine.requests[0].prompt_ids) == "user\none\n\ntwo\nassistant\n"


def test_a_load_that_fails_is_told(open_session: Open) -> None:
    session = open_session(ScriptedEngine(load_error="x.gguf: not a model file"))
    session.send("early")
    session.open_model(MODEL)
    events = finish(session)
    assert isinstance(events[-1], LoadFailed)
    assert session.error == "x.gguf: not a model file"
    assert session.phase is Phase.NO_MODEL
    assert session.queued is not None  # it waits for another model
    assert session.source is None


def test_a_load_that_fails_leaves_the_old_model(session: ChatSession, engine: ScriptedEngine) -> None:
    engine.load_error = "broken"
    session.open_model(MODEL)
    finish(session)
    assert session.error == "broken"
    session.send("still there?")
    assert session.error is None
    finish(session)
    assert texts(session) == ["still there?", "One."]


def test_loading_can_be_stopped(open_session: Open) -> None:
    engine = ScriptedEngine(gated=True)
    session = open_session(engine)
    session.open_model(MODEL)
    engine.release(2)
    until(session, lambda: session.progress.total > 0)
    assert session.progress.done < session.progress.total
    session.stop()
    finish(session)
    assert (session.phase, session.error) == (Phase.NO_MODEL, None)


def test_another_model_while_one_loads(open_session: Open) -> None:
    engine = ScriptedEngine(gated=True)
    session = open_session(engine)
    session.open_model(MODEL)
    engine.release(2)
    other = ModelSource(Path("/models/other.gguf"))
    session.open_model(other)
    engine.release(100)
    until(session, lambda: session.model is not None and not session.busy)
    assert engine.loads == [MODEL, other]
    assert session.source == other
    assert session.error is None


def test_another_model_in_the_middle_of_an_answer(open_session: Open) -> None:
    engine = ScriptedEngine([LONG, "after"], loaded=True, gated=True)
    session = open_session(engine)
    session.send("count")
    engine.release(3 + 2)
    until(session, lambda: said(session, 2))
    session.open_model(MODEL)
    answer = session.conversation.path[1]
    assert (answer.text, answer.status) == ("one two", Status.STOPPED)
    engine.release(100)
    until(session, lambda: not session.busy and session.source == MODEL)
    session.send("next")
    finish(session)
    assert texts(session) == ["count", "one two", "next", "after"]


def test_the_ids_of_another_vocabulary_are_not_used(talk: ChatSession, engine: ScriptedEngine) -> None:
    for answer in talk.conversation.path[1::2]:
        answer.vocabulary, answer.ids = "another", (1, 2, 3)
    talk.send("third")
    finish(talk)
    tokenizer = engine.tokenizer
    assert tokenizer is not None
    assert "One." in tokenizer.decode(engine.requests[-1].prompt_ids)


# ---- operations that meet ----------------------------------------------------------


def _answering(open_session: Open) -> tuple[ChatSession, ScriptedEngine]:
    engine = ScriptedEngine([LONG, "second answer"], loaded=True, gated=True)
    session = open_session(engine)
    session.send("count")
    engine.release(3 + 3)
    until(session, lambda: said(session, 3))
    return session, engine


def test_sending_stops_the_answer_and_goes_on(open_session: Open) -> None:
    session, engine = _answering(open_session)
    session.send("enough")
    assert texts(session) == ["count", "one two three", "enough"]
    assert session.conversation.path[1].status is Status.STOPPED
    assert session.phase is Phase.STOPPING
    assert session.answering is None
    engine.release(100)
    until(session, lambda: len(texts(session)) == 4 and not session.busy)
    assert texts(session)[-1] == "second answer"


def test_regenerating_stops_the_answer_and_goes_on(open_session: Open) -> None:
    session, engine = _answering(open_session)
    session.regenerate()
    engine.release(100)
    until(session, lambda: not session.busy and session.queued is None)
    assert texts(session) == ["count", "second answer"]
    assert session.conversation.siblings(session.conversation.path[1]) == (1, 2)


def test_a_new_chat_in_the_middle_of_an_answer(open_session: Open) -> None:
    session, engine = _answering(open_session)
    old = session.conversation
    session.new()
    session.send("elsewhere")
    engine.release(100)
    until(session, lambda: len(texts(session)) == 2 and not session.busy)
    assert texts(session) == ["elsewhere", "second answer"]
    reopened = session.open(old.id)
    assert [m.text for m in reopened.path] == ["count", "one two three"]
    assert reopened.path[1].status is Status.STOPPED


def test_deleting_the_open_chat_in_the_middle_of_an_answer(open_session: Open) -> None:
    session, engine = _answering(open_session)
    session.delete(session.conversation.id)
    engine.release(100)
    finish(session)
    assert len(session.conversation) == 0
    assert session.sessions() == []


def test_what_an_ended_answer_still_says_is_left_out(open_session: Open) -> None:
    session, engine = _answering(open_session)
    session.new()
    engine.release(100)
    assert finish(session) == []


def test_looking_at_siblings_lets_the_answer_run(open_session: Open) -> None:
    engine = ScriptedEngine(["first", LONG], loaded=True, gated=True)
    session = open_session(engine)
    session.send("q")
    engine.release(5)
    finish(session)
    session.regenerate()
    engine.release(3)
    until(session, lambda: session.answering is not None)
    running = session.answering
    assert running is not None
    session.select_sibling(running.id, -1)
    engine.release(100)
    finish(session)
    assert texts(session) == ["q", "first"]
    assert running.text == LONG


def test_continuing_an_answer_without_a_word(open_session: Open) -> None:
    """It is taken out when it is stopped, and there is nothing to continue then."""
    engine = ScriptedEngine([LONG], loaded=True, gated=True)
    session = open_session(engine)
    session.send("count")
    until(session, lambda: session.answering is not None)
    assert session.answering is not None
    for message_id in (session.answering.id, None):
        with pytest.raises(LlamachatError, match=r"no message|no answer here"):
            session.continue_answer(message_id)
    engine.release(100)
    finish(session)
    assert texts(session) == ["count"]
    session.regenerate()
    finish(session)
    assert texts(session) == ["count", LONG]


def test_a_format_nobody_knows(open_session: Open) -> None:
    session = open_session()
    session.conversation.prompt_format = "klingon"
    session.send("hello")
    finish(session)
    assert texts(session) == ["hello", "Hello there."]
    assert session.take_notices() == ["this chat's prompt format 'klingon' is not known here"]
    assert session.prompt_format == "chatml"


def test_what_a_file_has_to_say_is_handed_on(open_session: Open) -> None:
    session = open_session(ScriptedEngine(notices=("its vocabulary is an old one",)))
    session.open_model(MODEL)
    finish(session)
    assert session.take_notices() == ["its vocabulary is an old one"]


def test_an_answer_that_is_over_before_anybody_looked(open_session: Open) -> None:
    """The engine is done, the face has not drained yet, and a person sends: nothing of the answer is lost."""
    engine = ScriptedEngine([LONG, "second"], loaded=True, tokens_per_second=1000)
    session = open_session(engine)
    over = threading.Event()
    engine.subscribe(lambda event: over.set() if isinstance(event, Finished) else None)
    session.send("count")
    assert over.wait(10)
    session.send("next")
    assert session.wait(0)  # what was taken in meanwhile is still to be handed out
    first = session.conversation.path[1]
    assert (first.text, first.status) == (LONG, Status.COMPLETE)
    events = finish(session)
    assert sum(isinstance(event, Finished) for event in events) == 2
    assert texts(session) == ["count", LONG, "next", "second"]


def test_a_chat_that_is_gone_stops_nothing(open_session: Open) -> None:
    session, engine = _answering(open_session)
    with pytest.raises(StoreError, match="no chat"):
        session.open("nowhere")
    engine.release(100)
    finish(session)
    assert texts(session) == ["count", LONG]
