"""A disk that takes its time, or that another program holds: nobody waits who need not, and nothing is lost."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from llamachat.chat.conversation import Conversation
from llamachat.chat.store import SessionStore
from llamachat.chat.store.database import FILE_NAME
from llamachat.chat.store.pending import Pending
from llamachat.errors import StoreError
from tests.support.sessions import PATIENCE_S


class SlowDisk:
    """Writing begins, and goes on when the test says so."""

    def __init__(self) -> None:
        self.begun, self.goes_on = threading.Event(), threading.Event()

    def hold(self, store: SessionStore) -> None:
        """Has the saver begin a write that does not end."""
        self.goes_on.clear()
        store.save_soon(Conversation(title="in the way"))
        assert self.begun.wait(PATIENCE_S)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> SlowDisk:
    disk, write = SlowDisk(), Pending.write

    def write_slowly(self: Pending, connection: sqlite3.Connection) -> None:
        if not disk.goes_on.is_set():
            disk.begun.set()
            assert disk.goes_on.wait(3 * PATIENCE_S)
        write(self, connection)

    disk.goes_on.set()
    monkeypatch.setattr(Pending, "write", write_slowly)
    return disk


@pytest.fixture
def store(data_dir: Path, disk: SlowDisk) -> Iterator[SessionStore]:
    store = SessionStore(data_dir)
    yield store
    disk.goes_on.set()
    store.close()


@pytest.fixture
def other(data_dir: Path, store: SessionStore) -> Iterator[sqlite3.Connection]:
    """Another program on the same database; ours gives way to it soon."""
    store._connection.execute("PRAGMA busy_timeout = 20")
    with closing(sqlite3.connect(data_dir / FILE_NAME, isolation_level=None)) as connection:
        yield connection


def _chat(title: str) -> Conversation:
    conversation = Conversation(title=title)
    conversation.add_user("hello", parent=None)
    return conversation


def _at_once(action: Callable[[], object]) -> None:
    """Does something that must not wait for the disk, which goes on only after it."""
    thread = threading.Thread(target=action, daemon=True)
    thread.start()
    thread.join(PATIENCE_S)
    assert not thread.is_alive()


def _titles(store: SessionStore) -> list[str]:
    return [summary.title for summary in store.sessions()]


# ---- nobody waits who need not -------------------------------------------------


@pytest.mark.parametrize("what", ["save_soon", "forget", "delete_soon", "take_notices", "changed", "questions"])
def test_the_screen_does_not_wait_for_a_write(store: SessionStore, disk: SlowDisk, what: str) -> None:
    chat = _chat("t")
    (message,) = chat.path
    disk.hold(store)
    both = (chat, message)
    arguments: dict[str, tuple[object, ...]] = {
        "save_soon": both, "forget": both, "delete_soon": (chat.id,), "questions": (9, chat.id),
    }  # fmt: skip
    _at_once(lambda: getattr(store, what)(*arguments.get(what, ())))
    assert not disk.goes_on.is_set()


def test_saving_and_deleting_soon_keep_their_order(store: SessionStore, disk: SlowDisk, data_dir: Path) -> None:
    gone, back = _chat("gone"), _chat("back")
    store.save(gone, *gone.path)
    store.save(back, *back.path)
    disk.hold(store)
    for chat in (gone, back):
        store.save_soon(chat, *chat.path)
        store.delete_soon(chat.id)
    store.save_soon(back, *back.path)
    disk.goes_on.set()
    assert sorted(_titles(store)) == ["back", "in the way"]
    assert len(store.load(back.id)) == 1
    with pytest.raises(StoreError):
        store.load(gone.id)
    assert store.questions(9, besides="") == ["hello"]


def test_a_look_during_a_write_is_made_up_for(store: SessionStore, disk: SlowDisk, data_dir: Path) -> None:
    with closing(SessionStore(data_dir)) as beside:
        beside.save(_chat("of another window"))
    disk.hold(store)
    assert not store.changed()
    disk.goes_on.set()
    store.flush()
    assert store.changed()
    assert not store.changed()


def test_a_chat_is_saved_as_it_was_then(store: SessionStore, disk: SlowDisk) -> None:
    """The face goes on with the very objects it handed over."""
    chat = _chat("then")
    (message,) = chat.path
    disk.hold(store)
    store.save_soon(chat, message)
    chat.title, chat.draft, message.text = "now", "now", "now"
    chat.add_user("not handed over", parent=message)
    disk.goes_on.set()
    stored = store.load(chat.id)
    assert (stored.title, stored.draft) == ("then", "")
    assert [m.text for m in stored.path] == ["hello"]


def test_the_newest_state_of_each_chat_is_saved(store: SessionStore, disk: SlowDisk, data_dir: Path) -> None:
    one, two = _chat("one"), _chat("two")
    disk.hold(store)
    for number in range(100):
        for chat in (one, one, two):
            chat.path[0].text += f" {number}"
            chat.draft = str(number)
            store.save_soon(chat, *chat.path)
    taken_back = one.add_answer(one.path[0])
    store.save_soon(one, taken_back)
    one.remove(taken_back)
    store.forget(one, taken_back)
    disk.goes_on.set()
    store.close()
    with closing(SessionStore(data_dir)) as again:
        for chat in (one, two):
            stored = again.load(chat.id)
            assert (stored.title, stored.draft) == (chat.title, "99")
            assert [m.text for m in stored.messages.values()] == [m.text for m in chat.messages.values()]


def test_a_long_wait_keeps_no_old_states(store: SessionStore, disk: SlowDisk) -> None:
    chat = _chat("t")
    disk.hold(store)
    for number in range(1000):
        chat.draft = str(number)
        store.save_soon(chat, *chat.path)
    waiting = store._inbox._snapshots
    assert [snapshot.session_id for snapshot in waiting] == [chat.id]


def test_what_is_deleted_after_it_was_to_be_saved_is_gone(store: SessionStore, data_dir: Path) -> None:
    now, later, kept = _chat("now"), _chat("later"), _chat("kept")
    for chat in (now, later, kept):
        store.save_soon(chat, *chat.path)
    store.delete_now(now.id)
    store.delete(later.id)
    store.close()
    with closing(SessionStore(data_dir)) as again:
        assert _titles(again) == ["kept"]


def test_closing_at_once_saves_everything(store: SessionStore, data_dir: Path) -> None:
    chat = _chat("t")
    store.save_soon(chat, *chat.path)
    store.close()
    with closing(SessionStore(data_dir)) as again:
        assert [m.text for m in again.load(chat.id).path] == ["hello"]


# ---- what cannot be written ----------------------------------------------------


def test_saving_is_tried_again_though_nothing_else_is_saved(store: SessionStore, other: sqlite3.Connection) -> None:
    other.execute("BEGIN IMMEDIATE")
    store.save(_chat("waits"))
    assert any("another program is writing" in notice for notice in store.take_notices())
    other.execute("ROLLBACK")
    deadline = time.monotonic() + PATIENCE_S
    while other.execute("SELECT title FROM sessions").fetchall() != [("waits",)]:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_deleting_tells_whether_it_was_written(store: SessionStore, other: sqlite3.Connection) -> None:
    chat = _chat("t")
    store.save(chat, *chat.path)
    other.execute("BEGIN IMMEDIATE")
    assert store.delete(chat.id) is False
    other.execute("ROLLBACK")
    assert store.flush()
    assert _titles(store) == []
    assert store.delete(chat.id) is True


def test_deleting_now_or_not_at_all(store: SessionStore, other: sqlite3.Connection) -> None:
    chat = _chat("t")
    store.save(chat, *chat.path)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreError, match=r"nothing was deleted.*another program is writing.*try again"):
        store.delete_now(chat.id)
    other.execute("ROLLBACK")
    assert store.flush()
    assert store.take_notices() == []  # nothing waits, so there is nothing to tell
    assert _titles(store) == ["t"]
    store.delete_now(chat.id)
    assert _titles(store) == []


def test_nothing_is_deleted_in_a_copy(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with closing(SessionStore(tmp_path / "file")) as store:
        for deleting in (lambda: store.check_changeable("deleted"), lambda: store.delete_now("a")):
            with pytest.raises(StoreError, match="nothing was deleted"):
                deleting()
    with closing(SessionStore(None)) as store:  # memory is what was asked for
        store.delete_now("a")


def test_closing_promises_nothing_for_later(
    store: SessionStore, other: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llamachat.chat.store.saver._COALESCE_S", 60)  # closing comes before the saver's turn
    other.execute("BEGIN IMMEDIATE")
    store.save_soon(_chat("t"))
    store.close()
    assert store.take_notices() == ["the last changes could not be saved: another program is writing"]


def test_what_cannot_be_read_is_one_kind_of_error(data_dir: Path) -> None:
    store = SessionStore(data_dir)
    chat = _chat("t")
    store.save(chat, *chat.path)
    store._connection.close()
    looks: list[Callable[[], object]] = [
        store.sessions,
        store.adopt_draft,
        store.changed,
        lambda: store.load(chat.id),
        lambda: store.update(chat),
    ]
    for look in looks:
        with pytest.raises(StoreError, match="cannot be read"):
            look()
    store.close()
