"""What is stored comes back, whole and in order, and two windows never overwrite each other."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path

import pytest

from llamachat.chat.conversation import Conversation, Message, Status
from llamachat.chat.session import ChatSession
from llamachat.chat.store import SessionStore
from llamachat.chat.store.database import FILE_NAME
from llamachat.engine.events import Timings
from llamachat.engine.settings import SamplingSettings
from llamachat.errors import LlamachatError, StoreError
from tests.chat.conftest import Open
from tests.support.scripted_engine import ScriptedEngine
from tests.support.sessions import finish, said, texts, until


@contextmanager
def _store(folder: Path) -> Iterator[SessionStore]:
    store = SessionStore(folder)
    try:
        yield store
    finally:
        store.close()


def _full_conversation() -> Conversation:
    conversation = Conversation(
        title="Titel – 题",
        system="Be\nbrief.",
        settings=SamplingSettings(temperature=0.25, seed=2**63 - 1, max_tokens=7),
        model_path="/models/a b.gguf",
        prompt_format="llama2",
        draft="half a sent",
    )
    question = conversation.add_user("what?\n\0 ok \x1b[2J", parent=None)
    answer = conversation.add_answer(question, model="Tiny")
    answer.text, answer.status, answer.note = "because 🦙", Status.LENGTH, "n"
    answer.ids, answer.vocabulary, answer.seed, answer.dropped = (0, 1, 2**32 - 1), "key", 2**63 - 1, 4
    answer.timings = Timings(10, 5, 12.5, 3, 20.25)
    answer.settings = {"temperature": 0.25, "seed": None} | SamplingSettings().to_dict()
    other = conversation.add_answer(question)
    other.status = Status.STOPPED
    conversation.add_user("deeper", parent=other)
    conversation.select(answer)
    return conversation


def test_everything_comes_back(data_dir: Path) -> None:
    conversation = _full_conversation()
    with _store(data_dir) as store:
        store.save(conversation, *conversation.messages.values())
    with _store(data_dir) as store:
        again = store.load(conversation.id)
        assert store.take_notices() == []
    for name in ("id", "title", "system", "settings", "model_path", "prompt_format", "draft", "created"):
        assert getattr(again, name) == getattr(conversation, name), name
    assert list(again.messages) == list(conversation.messages)
    for message_id, message in conversation.messages.items():
        for field in fields(Message):
            assert getattr(again.messages[message_id], field.name) == getattr(message, field.name), field.name
    assert [m.id for m in again.path] == [m.id for m in conversation.path]
    assert again.choices == conversation.choices


def test_lone_surrogates_are_stored_as_what_they_look_like(data_dir: Path) -> None:
    conversation = Conversation()
    conversation.add_user("a\ud83dz \ud83e\udd99", parent=None)
    with _store(data_dir) as store:
        store.save(conversation, *conversation.path)
        assert store.load(conversation.id).path[0].text == "a\ufffdz 🦙"


def test_the_list_is_by_use_whatever_the_clock_says(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chats = [Conversation(title=f"chat {number}") for number in range(3)]
    with _store(data_dir) as store:
        for clock, chat in zip((5e9, 100.0, 3e9), chats, strict=True):  # 2128, 1970, 2065
            monkeypatch.setattr(time, "time", lambda clock=clock: clock)
            message = chat.add_user("hello", parent=None)
            store.save(chat, message)
        monkeypatch.undo()
        assert [s.title for s in store.sessions()] == ["chat 2", "chat 1", "chat 0"]
        store.save(chats[1])
        assert [s.title for s in store.sessions()] == ["chat 1", "chat 2", "chat 0"]
        assert [s.n_messages for s in store.sessions()] == [1, 1, 1]


def test_filter_wants_every_word(data_dir: Path) -> None:
    with _store(data_dir) as store:
        for title in ("Gravity and apples", "Straße nach Süden", "apples"):
            store.save(Conversation(title=title))
        assert [s.title for s in store.sessions("APPLES grav")] == ["Gravity and apples"]
        assert [s.title for s in store.sessions("strasse")] == ["Straße nach Süden"]
        assert len(store.sessions("  ")) == 3
        assert store.sessions("%") == []


def _chat_with(store: SessionStore, title: str, *texts: str) -> Conversation:
    chat = Conversation(title=title)
    parent = None
    for text in texts:
        parent = chat.add_user(text, parent=parent)
    store.save(chat, *chat.messages.values())
    return chat


def test_what_was_said_is_found_after_titles(data_dir: Path) -> None:
    with _store(data_dir) as store:
        _chat_with(store, "fruit", "What of an Apple?", "and gravity")
        _chat_with(store, "moons", "Do apples know GRAVITY?")
        _chat_with(store, "gravity of apples", "nothing else")
        _chat_with(store, "streets", "Die Straße nach Süden", "100 % of it_all")
        _chat_with(store, "others", "100 percent of it all")

        def found(words: str) -> list[tuple[str, bool]]:
            return [(s.title, s.by_text) for s in store.sessions(words)]

        assert found("gravity apple") == [("gravity of apples", False), ("moons", True)]  # in one message, all of them
        assert found("STRASSE süd") == [("streets", True)]
        assert found("% it_") == [("streets", True)]
        assert found("of") == [("gravity of apples", False)]  # too short to look for in every message
        assert found("o") == [("others", False), ("gravity of apples", False), ("moons", False)]
        assert found("\\' OR 1") == []


def test_a_word_of_two_characters_is_found_where_it_is_one(data_dir: Path) -> None:
    with _store(data_dir) as store:
        _chat_with(store, "one", "什么是重力?")
        _chat_with(store, "another", "什么是重?")
        assert [s.title for s in store.sessions("重力")] == ["one"]
        assert [s.title for s in store.sessions("重")] == ["another", "one"]
        assert store.sessions("\udcff") == []


def test_a_text_that_is_damaged_hides_no_other(data_dir: Path) -> None:
    """Bits of a text may change without the database noticing, and then it is no UTF-8."""
    with _store(data_dir) as store:
        _chat_with(store, "damaged", "all about gravity")
        _chat_with(store, "sound", "more about gravity")
        store._connection.execute("UPDATE messages SET text = CAST(x'ff20' || text AS TEXT) WHERE text LIKE 'all%'")
        assert [s.title for s in store.sessions("gravity")] == ["sound", "damaged"]


def test_rename_and_delete(data_dir: Path) -> None:
    keep, drop = _full_conversation(), _full_conversation()
    with _store(data_dir) as store:
        for chat in (keep, drop):
            store.save(chat, *chat.messages.values())
        store.rename(keep.id, "kept")
        store.delete(drop.id)
    with _store(data_dir) as store:
        assert [(s.title, s.n_messages) for s in store.sessions()] == [("kept", 4)]
        with pytest.raises(StoreError, match="no chat"):
            store.load(drop.id)


def test_the_saver_writes_by_itself(data_dir: Path) -> None:
    """What is taken down for later is on disk half a second later, without anybody asking."""
    conversation = Conversation(title="t")
    message = conversation.add_user("later", parent=None)
    with _store(data_dir) as store, _store(data_dir) as looking:
        store.save_soon(conversation, message)
        deadline = time.monotonic() + 10
        while not looking.sessions():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert looking.load(conversation.id).path[0].text == "later"


def test_chats_are_nobody_elses(data_dir: Path) -> None:
    with _store(data_dir) as store:
        conversation = _full_conversation()
        store.save(conversation, *conversation.messages.values())
        files = list(data_dir.glob(f"{FILE_NAME}*"))
        assert len(files) == 3  # the database, its log, and the log's index
        assert [path.stat().st_mode & 0o777 for path in files] == [0o600] * 3


def test_in_memory(tmp_path: Path) -> None:
    store = SessionStore(None)
    conversation = _full_conversation()
    store.save(conversation, *conversation.messages.values())
    assert [m.text for m in store.load(conversation.id).path] == [m.text for m in conversation.path]
    assert store.in_memory
    assert store.take_notices() == []
    store.close()
    assert list(tmp_path.iterdir()) == []


# ---- two windows ---------------------------------------------------------------


def test_two_windows_on_one_chat_lose_nothing(open_session: Open) -> None:
    one = open_session(ScriptedEngine(["from one"], loaded=True))
    one.send("first")
    finish(one)
    one.store.flush()
    two = open_session(ScriptedEngine(["from two"], loaded=True))
    two.open(one.conversation.id)
    one.send("one goes on")
    two.send("two goes on")
    for session in (one, two):
        finish(session)
        session.store.flush()
    assert one.refresh()
    assert two.refresh()
    assert set(one.conversation.messages) == set(two.conversation.messages)
    assert len(one.conversation) == 6
    assert texts(one) == ["first", "from one", "one goes on", "from one"]
    assert texts(two) == ["first", "from one", "two goes on", "from two"]
    assert one.conversation.siblings(one.conversation.path[2])[1] == 2
    assert not one.refresh()


def test_a_window_follows_the_answer_of_another(open_session: Open) -> None:
    engine = ScriptedEngine(["a b c d e f"], loaded=True, gated=True)
    one, two = open_session(engine), open_session()
    one.send("go")
    engine.release(3 + 3)
    until(one, lambda: said(one, 3))
    one.store.flush()
    two.open(one.conversation.id)
    shown = two.conversation.path[1]
    assert (shown.text, shown.status) == ("a b c", Status.STREAMING)  # its writer lives: not interrupted
    engine.release(100)
    finish(one)
    one.store.flush()
    assert two.refresh()
    assert (shown.text, shown.status) == ("a b c d e f", Status.COMPLETE)
    assert shown.timings is not None


def test_a_rename_in_another_window_stays(open_session: Open) -> None:
    one, two = open_session(), open_session()
    one.send("question")
    finish(one)
    one.store.flush()
    two.open(one.conversation.id)
    two.rename(two.conversation.id, "a better title")
    two.store.flush()
    one.set_system("changed here")
    one.send("more")
    finish(one)
    one.store.flush()
    two.refresh()
    assert two.conversation.title == "a better title"
    assert one.sessions()[0].title == "a better title"
    assert one.refresh()
    assert one.conversation.title == "a better title"


def test_a_chat_deleted_elsewhere_comes_back_whole_when_it_goes_on(talk: ChatSession, open_session: Open) -> None:
    talk.store.flush()
    other = open_session()
    other.delete(talk.conversation.id)
    talk.save_draft("typing")  # alone this brings nothing back
    talk.store.flush()
    assert other.sessions() == []
    talk.send("third")
    finish(talk)
    talk.store.flush()
    assert [s.n_messages for s in other.sessions()] == [6]


# ---- drafts ----------------------------------------------------------------------


def test_each_chat_keeps_its_draft(talk: ChatSession) -> None:
    first = talk.conversation.id
    talk.save_draft("unsent")
    talk.new()
    assert talk.draft == ""
    talk.open(first)
    assert talk.draft == "unsent"
    talk.send("sent")
    assert talk.draft == ""


def test_a_draft_of_a_new_chat_is_taken_up_after_a_crash(data_dir: Path, open_session: Open) -> None:
    store = SessionStore(data_dir)
    crashed = ChatSession(store, ScriptedEngine())
    crashed.save_draft("half a thought")
    store.flush()
    beside = open_session()
    assert beside.draft == ""  # its writer lives
    assert store._writer is not None
    store._writer.close()  # what the system does for a program that died
    restarted = open_session()
    assert restarted.draft == "half a thought"
    assert restarted.conversation.id == crashed.conversation.id
    assert open_session().draft == ""  # it is in use again
    store._writer = None
    crashed.close()


def test_a_draft_that_is_cleared_leaves_nothing(session: ChatSession) -> None:
    session.save_draft("x")
    session.store.flush()
    assert len(session.sessions()) == 1
    session.save_draft("")
    assert session.sessions() == []


# ---- what a person sees of it ------------------------------------------------------


def test_reopened_chats_go_on(open_session: Open) -> None:
    """Quit, start again, open, go on: nothing has to be read anew but by the model."""
    first = open_session(ScriptedEngine(["One."], loaded=True))
    first.send("q1")
    finish(first)
    chat_id = first.conversation.id
    first.close()
    engine = ScriptedEngine(["Two."], loaded=True)
    second = open_session(engine)
    assert [s.title for s in second.sessions()] == ["q1"]
    second.open(chat_id)
    assert second.context_used > 0
    second.send("q2")
    finish(second)
    assert texts(second) == ["q1", "One.", "q2", "Two."]


def test_titles_need_words(talk: ChatSession) -> None:
    with pytest.raises(LlamachatError, match="needs a word"):
        talk.rename(talk.conversation.id, " \n ")
    talk.rename(talk.conversation.id, " my\n chat ")
    assert talk.conversation.title == "my chat"
    assert talk.sessions()[0].title == "my chat"
