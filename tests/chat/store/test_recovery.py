"""What comes back from a damaged database: what reads in it, wherever that stands; the rest from the newest backup."""

from __future__ import annotations

import random
import shutil
import sqlite3
import time
import tracemalloc
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from llamachat.chat.conversation import Conversation
from llamachat.chat.store import SessionStore, database, pages, salvage
from llamachat.chat.store.backups import Backups
from llamachat.chat.store.database import FILE_NAME
from tests.support.sessions import stored_rows

PAGE = pages.PAGE_BYTES
N_CHATS, N_MESSAGES = 6, 30

Rows = dict[str, list[tuple[object, ...]]]


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with some chats, some of whose messages take several pages, and versions of messages."""
    folder = tmp_path_factory.mktemp("sound")
    with closing(SessionStore(folder)) as store:
        for number in range(N_CHATS):
            chat = Conversation(title=f"chat {number}", system="Be brief.")
            for place in range(N_MESSAGES):
                chat.add_user(f"{place} of {number}: " + "wörds " * (3000 if place == 7 else 30), parent=chat.leaf)
            beside = chat.add_user("another version", parent=chat.path[3])
            chat.select(beside)
            store.save(chat, *chat.messages.values())
    return folder


@pytest.fixture
def folder(sound: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(sound, tmp_path / "data"))


def _back_up(folder: Path) -> None:
    with closing(SessionStore(folder)):
        Backups(folder / FILE_NAME).make()
    assert len(Backups(folder / FILE_NAME).newest_first()) == 1


def _say(folder: Path, text: str) -> Conversation:
    with closing(SessionStore(folder)) as store:
        chat = Conversation(title=text)
        store.save(chat, chat.add_user(text, parent=None))
    return chat


def _fill(folder: Path, *numbers: int, content: bytes = b"\xff" * PAGE) -> None:
    with (folder / FILE_NAME).open("r+b") as file:
        for number in numbers:
            file.seek((number - 1) * PAGE)
            file.write(content)


def _n_pages(folder: Path) -> int:
    return (folder / FILE_NAME).stat().st_size // PAGE


def _root(folder: Path, table: str) -> int:
    with closing(sqlite3.connect(folder / FILE_NAME)) as connection:
        (page,) = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = ?", (table,)).fetchone()
    return int(page)


def _opened(folder: Path) -> tuple[str, Rows]:
    """What is told at the start, and what is there then."""
    with closing(SessionStore(folder)) as store:
        (notice,) = store.take_notices()
    assert not list(folder.glob("*.new*")) + list(folder.glob("*.recovered*"))
    assert (folder / FILE_NAME).stat().st_mode & 0o777 == 0o600
    return notice, stored_rows(folder / FILE_NAME)


def _everything(folder: Path) -> None:
    _fill(folder, *range(1, _n_pages(folder) + 1))


def _nothing_left(folder: Path) -> None:
    (folder / FILE_NAME).write_bytes(b"")


def _folder_in_place(folder: Path) -> None:
    (folder / FILE_NAME).unlink()
    (folder / FILE_NAME).mkdir()


def _foreign(folder: Path) -> None:
    (folder / FILE_NAME).unlink()
    with closing(sqlite3.connect(folder / FILE_NAME)) as connection:
        connection.execute("CREATE TABLE messages (url TEXT)")


@pytest.mark.parametrize("damage", [_everything, _nothing_left, _folder_in_place, _foreign])
def test_a_restore_drill(folder: Path, damage: Callable[[Path], None]) -> None:
    """Where nothing is left all comes back from the backup, and equals what there was."""
    before = stored_rows(folder / FILE_NAME)
    _back_up(folder)
    damage(folder)
    notice, after = _opened(folder)
    assert after == before
    (backup,) = Backups(folder / FILE_NAME).newest_first()
    assert notice.startswith(f"186 messages in 6 chats recovered from the backup of {backup.shown_day}, none from ")


@pytest.mark.parametrize("table", ["messages", "sessions", "choices", "sqlite_autoindex_messages_1", "sessions_by_use"])
def test_the_root_of_a_table_is_lost(folder: Path, table: str) -> None:
    """What was said since the backup is there too, and messages even without a backup."""
    _back_up(folder)
    chat = _say(folder, "since the backup")
    before = stored_rows(folder / FILE_NAME)
    _fill(folder, _root(folder, table))
    without = shutil.copytree(folder, folder.with_name("without"), ignore=shutil.ignore_patterns("*.backup-*"))
    _, after = _opened(folder)
    assert after["messages"] == before["messages"]
    assert len(after["sessions"]) == N_CHATS + 1
    if table == "choices":  # which version of a message is shown: the backup knows it for its chats
        assert len(after["choices"]) == len(before["choices"]) - 1
    elif table == "sessions":  # the one that was in no backup
        with closing(SessionStore(folder)) as store:
            assert next((s.id, s.title) for s in store.sessions()) == (chat.id, "Recovered chat")
    else:
        assert after == before
    notice, after = _opened(without)
    assert after["messages"] == before["messages"]
    assert notice.startswith("187 messages in 7 chats recovered from a damaged database; it is kept as ")


def _without_header(folder: Path) -> None:
    with (folder / FILE_NAME).open("r+b") as file:
        file.write(bytes(100))


def _without_first_page(folder: Path) -> None:
    _fill(folder, 1)


@pytest.mark.parametrize("damage", [_without_header, _without_first_page])
def test_the_header_is_no_loss(folder: Path, damage: Callable[[Path], None]) -> None:
    before = stored_rows(folder / FILE_NAME)
    damage(folder)
    _, after = _opened(folder)
    assert after == before


def test_a_new_header_takes_the_memory_of_one_copy() -> None:
    """A database may have a gigabyte."""
    image = bytes(1 << 24) + b"cut short"
    tracemalloc.start()
    try:
        made = pages.with_new_header(image, b"x" * PAGE)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(made) == (1 << 24) + PAGE
    assert made[100 : PAGE + 1] == b"x" * (PAGE - 100) + b"\0"
    assert most < 1.5 * len(image)


def test_half_a_file_gives_what_it_holds(folder: Path) -> None:
    before = stored_rows(folder / FILE_NAME)
    with (folder / FILE_NAME).open("r+b") as file:
        file.truncate(_n_pages(folder) // 2 * PAGE + 1234)
    notice, after = _opened(folder)
    assert "lost; it is kept as" in notice
    assert len(before["messages"]) // 4 < len(after["messages"]) < len(before["messages"])
    assert set(after["messages"]) < set(before["messages"])


def test_a_database_that_memory_does_not_hold_is_read_in_its_place(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trees that are whole are read to their ends, others from both ends."""
    before = stored_rows(folder / FILE_NAME)
    _fill(folder, _root(folder, "messages_of_session"))
    monkeypatch.setattr(salvage, "_IMAGE_BYTES", PAGE)
    notice, after = _opened(folder)
    assert after == before
    assert notice.startswith("186 messages in 6 chats recovered from a damaged database; ")


def test_random_pages_are_lost(folder: Path, tmp_path: Path) -> None:
    """Fifty times pages are overwritten: with a backup nothing is lost, without one nothing silently or by a crash."""
    _back_up(folder)
    before = stored_rows(folder / FILE_NAME)
    lost = 0
    for number in range(50):
        chance = random.Random(number)
        whole = Path(shutil.copytree(folder, tmp_path / str(number)))
        for _ in range(chance.choice((1, 1, 1, 5))):
            content = chance.choice((b"\xff" * PAGE, bytes(PAGE), chance.randbytes(PAGE)))
            _fill(whole, chance.randint(1, _n_pages(whole)), content=content)
        bare = Path(shutil.copytree(whole, tmp_path / f"{number} bare", ignore=shutil.ignore_patterns("*.backup-*")))
        _, after = _opened(whole)
        assert after == before, number
        _, after = _opened(bare)
        assert set(after["messages"]) <= set(before["messages"]), number
        lost += after != before
    assert lost > 10


def test_bits_flipped_in_a_row_of_pages_do_no_harm(folder: Path, tmp_path: Path) -> None:
    """Whatever numbers a page then has, it is read in a moment, and nothing is there that was not."""
    said = {str(row[5]) for row in stored_rows(folder / FILE_NAME)["messages"]}
    for number in range(50):
        chance = random.Random(number)
        spoiled = Path(shutil.copytree(folder, tmp_path / str(number)))
        data = bytearray((spoiled / FILE_NAME).read_bytes())
        for page in range(len(data) // PAGE):
            data[page * PAGE + chance.randrange(100 if page == 0 else 0, 140)] ^= 1 << chance.randrange(8)
        (spoiled / FILE_NAME).write_bytes(data)
        _, after = _opened(spoiled)
        assert {str(row[5]) for row in after["messages"]} <= said


def test_the_newer_text_stays(folder: Path) -> None:
    """A message that went on after the backup is not what the backup says."""
    with closing(SessionStore(folder)) as store:
        chat = store.load(store.sessions()[0].id)
        last = chat.add_user("begun", parent=chat.leaf)
        store.save(chat, last)
        Backups(folder / FILE_NAME).make()
        last.text = "begun and ended"
        chat.title = "renamed"
        store.save(chat, last)
    _fill(folder, _root(folder, "messages_of_session"), _root(folder, "choices"))
    _opened(folder)
    with closing(SessionStore(folder)) as store:
        again = store.load(chat.id)
    assert (again.title, again.messages[last.id].text) == ("renamed", "begun and ended")


def test_what_was_deleted_stays_deleted_in_what_still_reads(folder: Path) -> None:
    """Its rows stand on pages that are free now, and are no loss to be made good."""
    with closing(SessionStore(folder)) as store:
        store._connection.execute("PRAGMA secure_delete = OFF")  # which some builds of SQLite have on
        for summary in store.sessions()[1:]:
            store.delete_now(summary.id)
    assert b"0 of 3: w" in (folder / FILE_NAME).read_bytes()
    before = stored_rows(folder / FILE_NAME)
    _fill(folder, _root(folder, "messages_of_session"))
    _, after = _opened(folder)
    assert after == before


def test_the_log_counts_as_well(folder: Path, tmp_path: Path) -> None:
    """A program was killed, and what it wrote last is in the write-ahead log only."""
    store = SessionStore(folder)
    chat = Conversation(title="in the log")
    store.save(chat, chat.add_user("in the log", parent=None))
    killed = Path(shutil.copytree(folder, tmp_path / "killed"))
    before = stored_rows(folder / FILE_NAME)
    store.close()
    _fill(killed, _root(folder, "messages_being_written"))  # which that did not write
    _, after = _opened(killed)
    assert after["messages"] == before["messages"]


def test_a_damaged_backup_is_passed_over(folder: Path) -> None:
    _back_up(folder)
    before = stored_rows(folder / FILE_NAME)
    (good,) = Backups(folder / FILE_NAME).newest_first()
    bad = good.path.with_name(f"{good.path.name}.later")
    shutil.copy(good.path, bad)
    with bad.open("r+b") as file:
        file.seek(9 * PAGE)
        file.write(bytes(PAGE))
    (folder / f"{FILE_NAME}.backup-99990101-0").write_text("no database")
    (folder / f"{FILE_NAME}.backup-{time.strftime('%Y%m%d')}-unreadable").symlink_to("/proc/self/mem")
    _everything(folder)
    _, after = _opened(folder)
    assert after == before


def test_the_notice_is_short_and_begins_with_the_outcome(folder: Path) -> None:
    """It is read in three rows of a narrow screen, and in one line of a terminal."""
    _back_up(folder)
    _say(folder, "since the backup")
    _fill(folder, _root(folder, "messages"), 12, 13, 14)
    notice, _ = _opened(folder)
    (aside,) = folder.glob(f"{FILE_NAME}.corrupt-*")
    assert notice.startswith("187 messages in 7 chats recovered from a damaged database, ")
    assert notice.endswith(f" of them from the backup of {_day(folder)}; it is kept as {aside.name}")
    assert len(notice) < 170
    assert str(folder) not in notice


def _day(folder: Path) -> str:
    return Backups(folder / FILE_NAME).newest_first()[0].shown_day


def test_nothing_is_told_as_nothing(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_bytes(b"x" * 10_000)
    notice, _ = _opened(tmp_path)
    assert notice.startswith("nothing could be recovered from a damaged database of chats; it is kept as sessions.db.")


def test_cut_short_it_is_begun_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that is killed while it recovers has changed nothing, or is done but for the names."""
    before = stored_rows(folder / FILE_NAME)
    _fill(folder, _root(folder, "messages"))
    damaged = (folder / FILE_NAME).read_bytes()

    def die(*_arguments: object) -> None:
        raise KeyboardInterrupt

    for name in ("recover", "_move_aside"):
        with monkeypatch.context() as patch:
            patch.setattr(f"llamachat.chat.store.database.{name}", die)
            with pytest.raises(KeyboardInterrupt):
                SessionStore(folder)
        assert (folder / FILE_NAME).read_bytes() == damaged
    (folder / FILE_NAME).rename(folder / "moved aside")
    (folder / f"{FILE_NAME}-wal").write_bytes((sqlite_wal := b"\x37\x7f\x06\x82") + b"of the damaged one")
    with closing(SessionStore(folder)):
        pass
    assert stored_rows(folder / FILE_NAME) == before
    (aside,) = folder.glob(f"{FILE_NAME}-wal.corrupt-*")
    assert aside.read_bytes().startswith(sqlite_wal)


@pytest.mark.parametrize("n_pages", [4, 30], ids=["for its tables", "for its chats"])
def test_a_disk_that_is_full_meanwhile(folder: Path, n_pages: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """What can be recovered is in memory then, the damaged database still in its place, and no half-made one beside."""
    _fill(folder, _root(folder, "messages"))
    before = (folder / FILE_NAME).read_bytes()
    set_up = database._set_up

    def full(connection: sqlite3.Connection) -> None:
        set_up(connection)
        (place,) = [row["file"] for row in connection.execute("PRAGMA database_list")]
        if place.endswith(".new"):
            connection.execute(f"PRAGMA max_page_count = {n_pages}")

    monkeypatch.setattr(database, "_set_up", full)
    with closing(SessionStore(folder)) as store:
        notices = store.take_notices()
        assert "the disk is full" in notices[0]
        assert notices[1] == "186 messages in 6 chats recovered from a damaged database"
        assert [s.n_messages for s in store.sessions()] == [N_MESSAGES + 1] * N_CHATS
    assert (folder / FILE_NAME).read_bytes() == before
    assert not list(folder.glob("*.corrupt-*"))
    assert not list(folder.glob("*.new*"))
