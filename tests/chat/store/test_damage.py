"""Damaged databases, folders that cannot be written, full disks: nothing is destroyed, and the chat goes on."""

from __future__ import annotations

import random
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from llamachat.chat.conversation import Conversation
from llamachat.chat.session import ChatSession
from llamachat.chat.store import SessionStore
from llamachat.chat.store.database import FILE_NAME
from llamachat.errors import StoreError
from tests.support.scripted_engine import ScriptedEngine
from tests.support.sessions import finish, texts

N_CHATS, N_MESSAGES = 6, 30


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with some chats in it."""
    folder = tmp_path_factory.mktemp("sound")
    store = SessionStore(folder)
    for number in range(N_CHATS):
        chat = _chat(number)
        store.save(chat, *chat.path)
    store.close()
    return folder


def _chat(number: int) -> Conversation:
    conversation = Conversation(title=f"chat {number}")
    for place in range(N_MESSAGES):
        conversation.add_user(f"message {place} of chat {number}: " + "words " * 30, parent=conversation.leaf)
    return conversation


def _copy(sound: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    shutil.copytree(sound, folder)
    return folder


def _opened(folder: Path) -> tuple[list[str], list[str]]:
    """The notices and titles that a store gives; it must work whatever is there."""
    store = SessionStore(folder)
    notices = store.take_notices()
    titles = [summary.title for summary in store.sessions()]
    for summary in store.sessions():
        store.load(summary.id)
    notices += store.take_notices()
    fresh = Conversation(title="after")
    store.save(fresh, fresh.add_user("new", parent=None))
    store.close()
    store = SessionStore(folder)
    assert "after" in [summary.title for summary in store.sessions()]
    store.close()
    return notices, titles


def _zero_header(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(bytes(100))


def _halve(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)


def _cut_a_little(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - 100)


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _garbage(path: Path) -> None:
    path.write_bytes(random.Random(1).randbytes(20_000))


def _text(path: Path) -> None:
    path.write_text("these are not the chats you are looking for\n" * 50)


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()
    (path / "something").write_text("of somebody's")


def _foreign(path: Path) -> None:
    path.unlink()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE bookmarks (url TEXT)")


@pytest.mark.parametrize("damage", [_zero_header, _halve, _cut_a_little, _empty, _garbage, _text, _folder, _foreign])
def test_what_is_damaged_is_moved_aside(sound: Path, tmp_path: Path, damage: object) -> None:
    assert callable(damage)
    folder = _copy(sound, tmp_path)
    damage(folder / FILE_NAME)
    before = (folder / FILE_NAME).read_bytes() if (folder / FILE_NAME).is_file() else None
    notices, _ = _opened(folder)
    (aside,) = folder.glob(f"{FILE_NAME}.corrupt-*")
    assert len(notices) == 1
    assert aside.name in notices[0]
    assert "\n" not in notices[0]
    if before is not None:
        assert aside.read_bytes() == before
    else:
        assert (aside / "something").read_text() == "of somebody's"


def test_what_still_reads_is_taken_over(sound: Path, tmp_path: Path) -> None:
    folder = _copy(sound, tmp_path)
    path = folder / FILE_NAME
    with path.open("r+b") as file:  # the page of a table in the middle of the file
        file.seek(path.stat().st_size // 2 // 4096 * 4096)
        file.write(random.Random(2).randbytes(4096))
    notices, titles = _opened(folder)
    assert len(titles) == N_CHATS
    assert "messages in 6 chats recovered from a damaged database" in notices[0]
    store = SessionStore(folder)
    rescued = sum(summary.n_messages for summary in store.sessions())
    store.close()
    assert N_CHATS * N_MESSAGES * 3 // 4 < rescued < N_CHATS * N_MESSAGES + 1


def test_flipped_bytes_are_found_or_harmless(sound: Path, tmp_path: Path) -> None:
    """Fifty times a byte somewhere is wrong: either that is told, or every message reads right."""
    whole = {message.text for number in range(N_CHATS) for message in _chat(number).path}
    found = 0
    for number in range(50):
        chance = random.Random(number)
        folder = _copy(sound, tmp_path / str(number))
        path = folder / FILE_NAME
        data = bytearray(path.read_bytes())
        place = chance.randrange(len(data))
        data[place] ^= chance.randrange(1, 256)
        path.write_bytes(data)
        if 60 <= place < 64:  # the version's own bytes: that is a newer database, which is refused
            continue
        store = SessionStore(folder)
        read = {message.text for s in store.sessions() for message in store.load(s.id).path}
        told = store.take_notices()
        store.close()
        assert told or read == whole, f"flip {number} at {place}"
        found += bool(told)
    assert found > 10


@pytest.mark.parametrize("suffix", ["-wal", "-shm"])
def test_garbage_beside_the_database(sound: Path, tmp_path: Path, suffix: str) -> None:
    folder = _copy(sound, tmp_path)
    (folder / f"{FILE_NAME}{suffix}").write_bytes(random.Random(3).randbytes(40_000))
    notices, titles = _opened(folder)
    assert len(titles) == N_CHATS
    assert len(list(folder.glob(f"{FILE_NAME}-wal.corrupt-*"))) == (suffix == "-wal")
    assert len(notices) == (suffix == "-wal")


def test_a_newer_database_is_left_alone(sound: Path, tmp_path: Path) -> None:
    folder = _copy(sound, tmp_path)
    with closing(sqlite3.connect(folder / FILE_NAME)) as connection:
        connection.execute("PRAGMA user_version = 99")
    before = (folder / FILE_NAME).read_bytes()
    with pytest.raises(StoreError, match=r"newer llamachat \(version 99") as caught:
        SessionStore(folder)
    assert "\n" not in str(caught.value)
    assert (folder / FILE_NAME).read_bytes() == before
    assert list(folder.glob("*.corrupt-*")) == []
    assert not list((folder / "locks").iterdir())


def test_a_changed_message_is_told(sound: Path, tmp_path: Path) -> None:
    """A disk that gives back other letters than it was given."""
    folder = _copy(sound, tmp_path)
    with closing(sqlite3.connect(folder / FILE_NAME)) as connection:
        connection.execute("UPDATE messages SET text = 'wordz' WHERE rowid = 3")
        connection.commit()
    notices, _ = _opened(folder)
    assert notices == ["1 message of this chat was changed by a failing disk"]


# ---- where nothing can be written ------------------------------------------------


def test_a_folder_that_cannot_be(tmp_path: Path) -> None:
    """A file is where the data folder should be, or nothing can be told of what is there."""
    (tmp_path / "file").write_text("")
    nameless = tmp_path / ("x" * 300)  # as of a folder that may not be entered, the system says nothing of it
    for folder in (tmp_path / "file", tmp_path / "file" / "deeper", Path("/proc/llamachat"), nameless):
        store = SessionStore(folder)
        (notice,) = store.take_notices()
        assert "chats are not saved this time" in notice
        assert store.in_memory
        conversation = Conversation(title="t")
        store.save(conversation, conversation.add_user("q", parent=None))
        assert [s.title for s in store.sessions()] == ["t"]
        assert [m.text for m in store.load(conversation.id).path] == ["q"]
        store.close()


def test_a_read_only_folder_shows_its_chats(sound: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Old chats can be looked at and gone on with; nothing reaches the disk."""
    folder = _copy(sound, tmp_path)
    before = (folder / FILE_NAME).read_bytes()

    def refuse(*_arguments: object, **_options: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("llamachat.chat.store.writers.Writer.__init__", refuse)
    store = SessionStore(folder)
    (notice,) = store.take_notices()
    assert "permission denied" in notice
    session = ChatSession(store, ScriptedEngine(["Yes."], loaded=True))
    assert len(session.sessions()) == N_CHATS
    session.open(session.sessions()[0].id)
    session.send("goes on?")
    finish(session)
    assert texts(session)[-1] == "Yes."
    session.close()
    assert (folder / FILE_NAME).read_bytes() == before


def _fill(store: SessionStore) -> None:
    (pages,) = store._connection.execute("PRAGMA page_count").fetchone()
    store._connection.execute(f"PRAGMA max_page_count = {pages}")


def test_a_full_disk(session: ChatSession, data_dir: Path) -> None:
    """The chat goes on, a notice comes once, and all is saved as soon as there is space."""
    session.send("before")
    finish(session)
    session.store.flush()
    first = session.conversation.id
    _fill(session.store)
    session.send("x" * 50_000)
    finish(session)
    session.send("y" * 50_000)
    finish(session)
    (notice,) = session.take_notices()
    assert "the disk is full" in notice
    assert len(session.conversation) == 6
    # Still there when looked at again, and other chats can be begun, listed and opened.
    session.new()
    session.send("z" * 50_000)
    finish(session)
    second = session.conversation.id
    session.open(first)
    assert [len(text) for text in texts(session)] == [6, 4, 50_000, 4, 50_000, 6]
    assert {summary.id for summary in session.sessions()} == {first, second}
    assert session.take_notices() == []
    session.store._connection.execute("PRAGMA max_page_count = 100000")
    assert session.store.flush()
    assert session.take_notices() == ["chats are saved again"]
    other = SessionStore(data_dir)
    assert [len(message.text) for message in other.load(first).path] == [6, 4, 50_000, 4, 50_000, 6]
    assert len(other.load(second).path) == 2
    other.close()


def test_a_full_disk_at_the_end_is_told(data_dir: Path) -> None:
    store = SessionStore(data_dir)
    conversation = Conversation(title="t")
    store.save(conversation)
    _fill(store)
    store.save(conversation, conversation.add_user("x" * 50_000, parent=None))
    store.close()
    assert store.take_notices()[-1] == "the last changes could not be saved: the disk is full"
    again = SessionStore(data_dir)
    assert [s.title for s in again.sessions()] == ["t"]  # old data is whole
    again.close()


def test_a_database_that_breaks_while_open(session: ChatSession, data_dir: Path) -> None:
    """It is overwritten behind our back: the chat goes on in memory, and the next start finds the damage."""
    session.send("before")
    finish(session)
    session.store.flush()
    session.store._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    _garbage(data_dir / FILE_NAME)
    session.store._connection.execute("PRAGMA shrink_memory")
    session.send("after")
    finish(session)
    assert texts(session) == ["before", "One.", "after", "Two."]
    (notice,) = session.take_notices()
    assert "go on in memory" in notice
    with pytest.raises(StoreError):
        session.sessions()
