"""Chats out of files into the store: all or none, once however often they come, and whatever the file tries."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from llamachat.chat.conversation import Status
from llamachat.chat.exchange.portable import dumps, to_portable
from llamachat.chat.exchange.reading import import_text
from llamachat.chat.store import SessionStore
from llamachat.chat.store.database import FILE_NAME
from llamachat.errors import FileError, StoreError
from tests.support.exchanged_chats import add, all_stored, dialogue, gpt, node, rich_chat, saved, texts, told
from tests.support.sessions import stored_rows

# ---- there and back ------------------------------------------------------------


def test_a_chat_goes_whole_from_one_store_to_another(store: SessionStore, tmp_path: Path) -> None:
    with closing(SessionStore(tmp_path / "other")) as other:
        chat = saved(other, rich_chat())
    (arrival,) = import_text(store, dumps(chat).encode(), "x.json").arrivals
    assert (arrival.title, arrival.n_added, arrival.is_new) == ("Tïtle 🦙", len(chat), True)
    assert told(store.load(arrival.session_id)) == told(chat)
    assert list(store.load(arrival.session_id).messages) == list(chat.messages)


@pytest.mark.parametrize("again", ["the same", "where it came from"])
def test_a_second_time_changes_nothing(store: SessionStore, data_dir: Path, again: str) -> None:
    chat = rich_chat()
    if again == "the same":
        import_text(store, dumps(chat).encode(), "x.json")
    else:
        saved(store, chat)
    before = stored_rows(data_dir / FILE_NAME)
    for _ in range(2):
        (arrival,) = import_text(store, dumps(chat).encode(), "x.json").arrivals
        assert (arrival.title, arrival.n_added, arrival.is_new) == ("Tïtle 🦙", 0, False)
        assert arrival.session_id == store.sessions()[0].id
    assert stored_rows(data_dir / FILE_NAME) == before


def test_a_second_time_changes_nothing_where_no_branch_was_chosen(store: SessionStore, data_dir: Path) -> None:
    whole = gpt("Tea", "q", "a", current_node=None)
    whole["mapping"]["other"] = node("other", "n0", "assistant", "b")
    add(store, whole)
    before = stored_rows(data_dir / FILE_NAME)
    assert before["choices"] == []
    assert add(store, whole).arrivals[0].n_added == 0
    assert stored_rows(data_dir / FILE_NAME) == before


def test_a_chat_that_was_deleted_comes_back(store: SessionStore) -> None:
    chat = saved(store, rich_chat())
    store.delete(chat.id)
    import_text(store, dumps(chat).encode(), "x.json")
    assert [told(one) for one in all_stored(store)] == [told(chat)]


def test_one_that_has_grown_elsewhere_gets_what_it_lacks(store: SessionStore) -> None:
    chat = saved(store, dialogue("q", "a"))
    old = to_portable(chat)
    chat.add_user("more", parent=chat.leaf)
    other = chat.add_answer(next(iter(chat.messages.values())))
    other.text, other.status = "beside", Status.STOPPED
    chat.select(chat.children(chat.children(chat.path[0])[0])[0])
    (arrival,) = add(store, to_portable(chat)).arrivals
    assert (arrival.n_added, arrival.is_new) == (2, False)
    assert told(store.load(chat.id)) == told(chat)
    assert add(store, old).arrivals[0].n_added == 0


def test_what_was_visible_stays_visible(store: SessionStore) -> None:
    chat = dialogue("q", "first", "then", "yes")
    other = chat.add_answer(chat.path[0])
    other.text, other.status = "second", Status.COMPLETE
    chat.select(chat.path_to(chat.children(chat.path[0])[0])[-1])
    saved(store, chat)
    elsewhere = to_portable(chat)
    elsewhere["messages"].append({"id": "f" * 32, "parent": chat.path[0].id, "role": "assistant", "text": "third"})
    elsewhere["messages"].append({"id": "e" * 32, "parent": other.id, "role": "user", "text": "deeper"})
    elsewhere["choices"] = {"": chat.path[0].id, chat.path[0].id: "f" * 32}
    add(store, elsewhere)
    now = store.load(chat.id)
    assert texts(now) == ["q", "first", "then", "yes"]
    assert [one.text for one in now.children(now.path[0])] == ["first", "second", "third"]
    assert [one.text for one in now.children(now.messages[other.id])] == ["deeper"]


def test_what_was_edited_in_the_file_becomes_another_version(store: SessionStore, data_dir: Path) -> None:
    chat = saved(store, dialogue("q", "a", "more", "b"))
    edited = to_portable(chat)
    edited["messages"][1]["text"] = "A!"
    (arrival,) = add(store, edited).arrivals
    assert (arrival.session_id, arrival.n_added, arrival.is_new) == (chat.id, 3, False)
    now = store.load(chat.id)
    assert texts(now) == ["q", "a", "more", "b"]
    now.select(now.children(now.path[0])[1])
    assert texts(now) == ["q", "A!", "more", "b"]
    before = stored_rows(data_dir / FILE_NAME)
    assert add(store, edited).arrivals[0].n_added == 0
    assert stored_rows(data_dir / FILE_NAME) == before


def test_an_answer_that_was_continued_here_is_the_same_answer(store: SessionStore) -> None:
    chat = saved(store, dialogue("q", "half"))
    old = to_portable(chat)
    chat.path[1].text = "half and half"
    saved(store, chat)
    assert add(store, old).arrivals[0].n_added == 0
    old["messages"][1]["text"] = "half an hour"
    assert add(store, old).arrivals[0].n_added == 1
    question = to_portable(chat)
    question["messages"][0]["text"] = ""  # a beginning, too, but nobody continues questions
    assert add(store, question).arrivals[0].n_added == 2
    assert texts(store.load(chat.id)) == ["q", "half and half"]


def test_no_file_takes_messages_from_another_chat(store: SessionStore) -> None:
    one, two = saved(store, dialogue("q", "a")), saved(store, dialogue("r", "b", title="Coffee"))
    mixed = to_portable(one)
    mixed["messages"] += [
        {"id": id_, "parent": one.path[-1].id, "role": "user", "text": text} for id_, text in
        [(two.path[0].id, "r"), ("d" * 32, "new")]
    ]  # fmt: skip
    for n_added in (2, 0):
        (arrival,) = add(store, mixed).arrivals
        assert (arrival.session_id, arrival.n_added) == (one.id, n_added)
    assert told(store.load(two.id)) == told(two)
    assert sorted(m.text for m in store.load(one.id).messages.values()) == ["a", "new", "q", "r"]


def test_messages_that_belong_to_no_chat_hold_nothing_up(store: SessionStore, data_dir: Path) -> None:
    chat = saved(store, dialogue("q", "a"))
    with closing(sqlite3.connect(data_dir / FILE_NAME, isolation_level=None)) as connection:
        connection.execute("DELETE FROM sessions")
    (arrival,) = add(store, to_portable(chat)).arrivals
    assert arrival.is_new
    assert texts(store.load(arrival.session_id)) == ["q", "a"]


def test_ids_that_people_write(store: SessionStore) -> None:
    """They say nothing about other files: those of one file mean the same chat while nothing in it changes."""
    messages = [{"id": "1", "role": "user", "text": "q"}, {"id": "2", "parent": "1", "role": "assistant", "text": "a"}]
    for title, is_new in (("One", True), ("One", False), ("Two", True), ("Two", False)):
        (arrival,) = add(store, {"llamachat": 1, "title": title, "messages": messages}).arrivals
        assert (arrival.is_new, arrival.n_added) == (is_new, 2 if is_new else 0)
    assert [one.title for one in store.sessions()] == ["Two", "One"]


def test_the_same_chat_twice_in_a_file(store: SessionStore) -> None:
    chat = to_portable(dialogue("q", "a"))
    longer = chat | {"messages": [*chat["messages"], {"id": "x", "parent": None, "role": "user", "text": "new"}]}
    arrivals = add(store, chat, chat, longer).arrivals
    assert [(one.is_new, one.n_added) for one in arrivals] == [(True, 2), (False, 0), (False, 1)]
    assert len(store.sessions()) == 1


# ---- several -------------------------------------------------------------------


@pytest.mark.parametrize("at_once", [True, False])
def test_chats_stand_in_the_list_by_their_time(store: SessionStore, at_once: bool) -> None:
    now = time.time()
    for title, ago in (("draft", now), ("old", 3e6), ("clock was wrong", 1e3), ("recent", 5e4)):
        there = saved(store, dialogue("q", "a", title=title))
        store._connection.execute("UPDATE sessions SET updated = ? WHERE id = ?", (now - ago, there.id))
    times = {"yesterday": now - 9e4, "then": now - 2e6, "long ago": 1e9, "as long ago": 1e9, "no time": None,
             "before": now - 2e6 - 5, "future": 4e9, "oldest": 9e8}  # fmt: skip
    chats = [gpt(title, "q", "a", create_time=1.0 if when else None) for title, when in times.items()]
    for chat, when in zip(chats, times.values(), strict=True):
        for key in ("n0", "n1"):
            chat["mapping"][key]["message"]["create_time"] = when
    if at_once:
        assert [one.title for one in add(store, *chats).arrivals] == list(times)
    else:
        for chat in chats[::-1]:
            add(store, chat)
    titles = [one.title for one in store.sessions()]
    assert sorted(titles[:2]) == ["future", "no time"]  # both are of now
    assert titles[2:] == [
        "recent", "clock was wrong", "yesterday", "then", "before", "old", "long ago", "as long ago", "oldest", "draft",
    ]  # fmt: skip
    assert all(0 <= one.updated <= time.time() for one in store.sessions())
    saved(store, dialogue("q", title="used last"))
    assert store.sessions()[0].title == "used last"


def test_those_without_a_word_are_left_out_and_counted(store: SessionStore) -> None:
    imported = add(store, gpt("One", "q", "a"), gpt("Empty"), {"llamachat": 1, "messages": []})
    assert ([one.title for one in imported.arrivals], imported.n_empty) == (["One"], 2)
    for values in ([gpt("Empty")], gpt("Empty"), {"llamachat": 1, "messages": []}):
        with pytest.raises(FileError, match=r"x\.json: nothing is said in its chats"):
            add(store, values)
    with pytest.raises(FileError, match=r"x\.json: it holds no chat"):
        add(store, [])


def test_both_kinds_and_both_forms(store: SessionStore) -> None:
    ours = to_portable(dialogue("q", "a", title="Ours"))
    assert [one.title for one in add(store, ours, gpt("Theirs", "q")).arrivals] == ["Ours", "Theirs"]
    assert [one.title for one in add(store, gpt("Alone", "q")).arrivals] == ["Alone"]


def test_all_or_none_where_one_cannot_be_read(store: SessionStore, data_dir: Path) -> None:
    before = stored_rows(data_dir / FILE_NAME)
    broken = gpt("Broken", "q")
    broken["mapping"]["n0"]["parent"] = "n0"
    for bad, reason in (
        (broken, "chat 3: its messages follow one another in a circle"),
        ({"llamachat": 1, "messages": [{}]}, "chat 3: message 1 has no 'id'"),
        ({"chat_messages": []}, "chat 3: it is no chat of llamachat or ChatGPT"),
        (None, "chat 3: it is no chat of llamachat or ChatGPT"),
    ):
        with pytest.raises(FileError, match=rf"^x\.json: {reason}"):
            add(store, gpt("One", "q"), to_portable(dialogue("q")), bad)
    assert stored_rows(data_dir / FILE_NAME) == before


def test_all_or_none_where_one_cannot_be_written(
    store: SessionStore, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store._connection.execute(
        "CREATE TRIGGER full BEFORE INSERT ON messages WHEN new.text = 'third' BEGIN SELECT RAISE(ABORT, 'no'); END"
    )
    with pytest.raises(StoreError, match=r"^nothing was added: the chats cannot be written now \(no\)"):
        add(store, gpt("One", "first"), gpt("Two", "second"), gpt("Three", "third"))
    assert store.sessions() == []
    assert not any(stored_rows(data_dir / FILE_NAME).values())
    monkeypatch.setattr("llamachat.chat.store.database._BUSY_MS", 20)
    with closing(SessionStore(data_dir)) as waiting, closing(sqlite3.connect(data_dir / FILE_NAME)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match=r"nothing was added: .*another program is writing"):
            add(waiting, gpt("One", "first"))
    assert add(store, gpt("One", "first")).arrivals[0].is_new


def test_a_window_that_has_the_chat_open_sees_what_came(store: SessionStore, data_dir: Path) -> None:
    chat = saved(store, dialogue("q", "a"))
    grown = to_portable(chat)
    grown["messages"].append({"id": "c" * 32, "parent": chat.path[-1].id, "role": "user", "text": "more"})
    with closing(SessionStore(data_dir)) as other:
        add(other, grown)
    assert store.changed()
    assert store.update(chat)
    assert texts(chat) == ["q", "a", "more"]
    store.save(chat, *chat.messages.values())
    assert texts(store.load(chat.id)) == ["q", "a", "more"]
