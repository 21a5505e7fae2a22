"""Backups: one a day, whole or not there, private, and nobody waits for them."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from llamachat import __version__
from llamachat.chat.conversation import Conversation
from llamachat.chat.store import SessionStore, backups
from llamachat.chat.store.backups import Backups
from llamachat.chat.store.database import FILE_NAME
from llamachat.chat.store.schema import MIGRATIONS, schema_version
from tests.support.sessions import PATIENCE_S, stored_rows

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def store(data_dir: Path) -> Iterator[SessionStore]:
    """A store with one chat in it."""
    with closing(SessionStore(data_dir)) as store:
        _say(store, "first")
        yield store


@pytest.fixture
def day(monkeypatch: pytest.MonkeyPatch) -> Day:
    return Day(monkeypatch)


class Day:
    """The calendar, as the test has it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = time.mktime((2025, 3, 1, 12, 0, 0, 0, 0, -1))
        real = time.strftime
        monkeypatch.setattr("llamachat.chat.store.backups.time.time", lambda: self.now)
        monkeypatch.setattr(
            "llamachat.chat.store.backups.time.strftime",
            lambda form, moment=None: real(form, moment or time.localtime(self.now)),
        )

    def passes(self, n: int = 1) -> None:
        """Days go by."""
        self.now += n * 86_400


def _say(store: SessionStore, text: str) -> Conversation:
    conversation = Conversation(title=text)
    store.save(conversation, conversation.add_user(text, parent=None))
    return conversation


def _names(folder: Path) -> list[str]:
    return sorted(path.name.removeprefix(f"{FILE_NAME}.backup-") for path in folder.glob(f"{FILE_NAME}.backup-*"))


def _until(folder: Path, n: int) -> None:
    end = time.monotonic() + PATIENCE_S
    while len(_names(folder)) != n or "part" in _names(folder):
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_backup_equals_its_database_and_is_private(store: SessionStore, data_dir: Path) -> None:
    """Also what is only in the write-ahead log yet."""
    assert (data_dir / f"{FILE_NAME}-wal").stat().st_size > 0
    Backups(data_dir / FILE_NAME).make()
    (backup,) = Backups(data_dir / FILE_NAME).newest_first()
    assert stored_rows(backup.path) == stored_rows(data_dir / FILE_NAME)
    assert backup.path.stat().st_mode & 0o777 == 0o600
    assert backup.path.name.endswith(f"-{__version__}")
    with Backups(data_dir / FILE_NAME).newest_good() as good:
        assert good is not None
    assert len(_names(data_dir)) == 1  # reading it put nothing beside it
    backup.path.with_name(f"{backup.path.name}-wal").touch()
    assert Backups(data_dir / FILE_NAME).newest_first() == [backup]


def test_one_a_day_and_only_of_what_changed(store: SessionStore, data_dir: Path, day: Day) -> None:
    kept = Backups(data_dir / FILE_NAME)
    kept.make("1")
    _say(store, "second")
    kept.make("1")  # the same day
    assert _names(data_dir) == ["20250301-1"]
    day.passes()
    kept.make("1")
    assert _names(data_dir) == ["20250301-1", "20250302-1"]
    day.passes(3)
    kept.make("1")  # nothing changed: that of the second is that of the fifth as well
    assert _names(data_dir) == ["20250301-1", "20250305-1"]
    _say(store, "third")
    kept.make("2")  # a new version's first start
    assert _names(data_dir) == ["20250301-1", "20250305-1", "20250305-2"]
    assert kept.newest_first()[0].path.name.endswith("20250305-2")


def test_the_newest_five_stay(store: SessionStore, data_dir: Path, day: Day) -> None:
    kept = Backups(data_dir / FILE_NAME)
    for number in range(8):
        _say(store, f"day {number}")
        kept.make("1")
        day.passes()
    assert _names(data_dir) == [f"202503{number:02}-1" for number in range(4, 9)]


def test_a_clock_that_was_wrong_does_not_push_out_the_new(store: SessionStore, data_dir: Path, day: Day) -> None:
    kept = Backups(data_dir / FILE_NAME)
    day.passes(10_000)
    for _ in range(5):
        day.passes()
        _say(store, "in the future")
        kept.make("1")
    day.passes(-10_005)
    _say(store, "now")
    kept.make("1")
    assert len(_names(data_dir)) == 5
    assert kept.newest_first()[0].shown_day == "2025-03-01"


def test_before_the_first_chat_there_is_nothing_to_keep(data_dir: Path) -> None:
    with closing(SessionStore(data_dir)):
        Backups(data_dir / FILE_NAME).make()
    assert _names(data_dir) == []


def test_leftovers_are_removed_and_never_taken_for_a_backup(store: SessionStore, data_dir: Path) -> None:
    part = data_dir / f"{FILE_NAME}.backup-part"
    part.write_bytes((data_dir / FILE_NAME).read_bytes()[:5000])
    kept = Backups(data_dir / FILE_NAME)
    assert kept.newest_first() == []
    kept.make()
    assert len(_names(data_dir)) == 1
    assert not part.exists()


def test_killed_at_any_moment_a_backup_is_whole_or_not_there(store: SessionStore, data_dir: Path) -> None:
    for number in range(400):
        _say(store, f"{number} " + "words " * 2000)
    program = f"""
from llamachat.chat.store import backups
backups._STEP_PAGES = 4
print("begins", flush=True)
backups.Backups(__import__("pathlib").Path({str(data_dir / FILE_NAME)!r})).make()
"""
    before = stored_rows(data_dir / FILE_NAME)
    for number in range(8):
        command = [sys.executable, "-c", program]
        with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT) as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(number * 0.01)
            process.kill()
        for backup in Backups(data_dir / FILE_NAME).newest_first():
            assert stored_rows(backup.path) == before
            backup.path.unlink()
    Backups(data_dir / FILE_NAME).make()
    assert len(_names(data_dir)) == 1


def test_one_program_at_a_time(store: SessionStore, data_dir: Path) -> None:
    kept = Backups(data_dir / FILE_NAME)
    with kept._alone() as alone, kept._alone() as another:
        assert (alone, another) == (True, False)
        kept.make()
        assert _names(data_dir) == []
    together = [threading.Thread(target=Backups(data_dir / FILE_NAME).make) for _ in range(4)]
    for thread in together:
        thread.start()
    for thread in together:
        thread.join()
    assert len(_names(data_dir)) == 1


def test_nothing_waits_for_a_backup(store: SessionStore, data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While one is half made, chats are written as ever, and it holds what there was when it began."""
    for number in range(40):
        _say(store, f"{number} " + "words " * 1000)
    monkeypatch.setattr(backups, "_STEP_PAGES", 4)
    before = stored_rows(data_dir / FILE_NAME)
    steps = 0

    def write_meanwhile() -> bool:
        nonlocal steps
        steps += 1
        if steps % 10 == 1:
            began = time.monotonic()
            _say(store, f"meanwhile {steps}")
            assert time.monotonic() - began < 1.0
        return steps < 1000

    kept = Backups(data_dir / FILE_NAME)
    kept.make(go_on=write_meanwhile)
    assert steps > 10
    (backup,) = kept.newest_first()
    assert stored_rows(backup.path) == before


def test_the_store_makes_it_once_it_is_up(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backups, "_AFTER_START_S", 0.3)
    with closing(SessionStore(data_dir)) as store:
        _say(store, "first")
        store.keep_backups()
        assert _names(data_dir) == []  # not at once: a start is a bad moment
        _until(data_dir, 1)
    assert len(_names(data_dir)) == 1


def test_a_program_that_stays_open_makes_one_on_each_day(
    store: SessionStore, data_dir: Path, day: Day, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backups, "_AFTER_START_S", 0.01)
    monkeypatch.setattr(backups, "_LOOK_S", 0.01)
    store.keep_backups()
    _until(data_dir, 1)
    _say(store, "second")
    day.passes()
    _until(data_dir, 2)


def test_a_short_chat_makes_it_at_its_end(store: SessionStore, data_dir: Path) -> None:
    store.keep_backups()
    began = time.monotonic()
    store.close()
    assert time.monotonic() - began < 0.9  # the second after the start is not waited for
    assert len(_names(data_dir)) == 1
    assert not any(thread.name == "llamachat-backup" for thread in threading.enumerate())


def test_the_end_of_the_program_waits_for_a_moment_at_most(
    store: SessionStore, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backups, "_AFTER_START_S", 0.0)
    monkeypatch.setattr(backups, "_STEP_PAGES", 1)
    monkeypatch.setattr(backups, "_REST_S", 5.0)  # a disk that takes forever
    monkeypatch.setattr(backups, "_AT_END_S", 0.0)
    _say(store, "words " * 10_000)
    store.keep_backups()
    time.sleep(0.1)
    began = time.monotonic()
    store.close()
    assert time.monotonic() - began < 2.0
    assert _names(data_dir) == []


@pytest.mark.parametrize("where", ["room", "copy", "folder"])
def test_a_full_disk_disturbs_nobody(
    store: SessionStore, data_dir: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, where: str
) -> None:
    if where == "room":
        real = os.statvfs(data_dir)
        full = os.statvfs_result([*real[:4], 0, *real[5:]])
        monkeypatch.setattr("llamachat.chat.store.backups.os.statvfs", lambda _: full)
    elif where == "copy":
        connect = sqlite3.connect

        def small(*arguments: object, **options: object) -> sqlite3.Connection:
            connection: sqlite3.Connection = connect(*arguments, **options)  # type: ignore[call-overload]
            connection.execute("PRAGMA max_page_count = 2")
            return connection

        monkeypatch.setattr("llamachat.chat.store.backups.sqlite3.connect", small)
    else:
        monkeypatch.setattr("llamachat.chat.store.backups.os.open", _no_space)
    store.keep_backups()
    store.close()
    assert _names(data_dir) == []
    assert store.take_notices() == []
    assert "no backup of the chats" in caplog.text


def _no_space(*_arguments: object) -> int:
    raise OSError(28, "No space left on device")


def test_none_where_nothing_reaches_a_disk(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for folder in (None, tmp_path / "file"):
        store = SessionStore(folder)
        _say(store, "words")
        store.keep_backups()
        store.close()
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@contextmanager
def _a_later_version(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    later = (*MIGRATIONS, ("ALTER TABLE sessions ADD COLUMN pinned INTEGER NOT NULL DEFAULT 0",))
    with monkeypatch.context() as patch:
        patch.setattr("llamachat.chat.store.database.MIGRATIONS", later)
        yield


def test_before_the_tables_change_there_is_a_backup(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(SessionStore(data_dir)) as store:
        _say(store, "first")
    before = stored_rows(data_dir / FILE_NAME)
    with _a_later_version(monkeypatch), closing(SessionStore(data_dir)):
        pass
    (backup,) = Backups(data_dir / FILE_NAME).newest_first()
    assert backup.path.name.endswith("-schema1")
    assert stored_rows(backup.path) == before
    with closing(sqlite3.connect(data_dir / FILE_NAME)) as connection:
        assert schema_version(connection) == 2
