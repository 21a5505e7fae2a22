"""kill -9 at any moment, and two programs that write at the same time."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from llamachat.chat.conversation import Status
from llamachat.chat.store import SessionStore
from llamachat.chat.store.database import FILE_NAME
from llamachat.chat.store.schema import MIGRATIONS, migrate, schema_version
from tests.support.chatting_process import ANSWER, QUESTION

ROOT = Path(__file__).resolve().parents[3]


def _start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.support.chatting_process", str(folder), *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)


def _kill(process: subprocess.Popen[str]) -> list[str]:
    """Ends a program as a power cut would; returns what it had said."""
    os.kill(process.pid, signal.SIGKILL)
    said, _ = process.communicate()
    return said.splitlines()


def _is_sound(folder: Path) -> bool:
    with closing(sqlite3.connect(folder / FILE_NAME)) as connection:
        (verdict,) = connection.execute("PRAGMA integrity_check").fetchone()
    return bool(verdict == "ok")


def test_killed_while_streaming(tmp_path: Path) -> None:
    """The question is there, and the answer up to at most a second before, marked as interrupted."""
    moments = [random.Random(number).uniform(0.0, 1.6) for number in range(5)]
    running = [_start(tmp_path / str(number), "stream") for number in range(len(moments))]
    for process in running:
        assert process.stdout is not None
        assert process.stdout.readline() == "asked\n"
    began = time.monotonic()
    killed_at: dict[int, float] = {}
    said: dict[int, list[str]] = {}
    for number in sorted(range(len(moments)), key=moments.__getitem__):
        time.sleep(max(0.0, began + moments[number] - time.monotonic()))
        killed_at[number] = time.monotonic()
        said[number] = _kill(running[number])
    for number in range(len(moments)):
        folder = tmp_path / str(number)
        store = SessionStore(folder)
        (summary,) = store.sessions()
        path = store.load(summary.id).path
        assert store.take_notices() == []
        store.close()
        assert path[0].text == QUESTION
        shown_before = [int(line.split()[1]) for line in said[number] if line.count(" ") == 1]
        times = [float(line.split()[0]) for line in said[number] if line.count(" ") == 1]
        owed = max((n for t, n in zip(times, shown_before, strict=True) if t < killed_at[number] - 1.0), default=0)
        answer = path[1].text if len(path) > 1 else ""
        assert len(answer) >= owed
        assert ANSWER.startswith(answer)
        if len(path) > 1:
            assert path[1].status is Status.INTERRUPTED
        assert _is_sound(folder)


def test_killed_while_typing(tmp_path: Path) -> None:
    process = _start(tmp_path, "draft", "a half-typed thought")
    assert process.stdout is not None
    assert "typed" in process.stdout.readline()
    time.sleep(1.0)  # the promise: on disk a second after the last key
    _kill(process)
    store = SessionStore(tmp_path)
    adopted = store.adopt_draft()
    assert adopted is not None
    assert adopted.draft == "a half-typed thought"
    store.close()


def test_two_programs_write_at_once(tmp_path: Path) -> None:
    each = 250
    running = [_start(tmp_path, "write", str(each)) for _ in range(2)]
    for process in running:
        said, _ = process.communicate(timeout=60)
        assert said == f"wrote {each} []\n"
        assert process.returncode == 0
    store = SessionStore(tmp_path)
    assert [s.n_messages for s in store.sessions()] == [each, each]
    for summary in store.sessions():
        assert [m.text for m in store.load(summary.id).path] == [f"message {n}" for n in range(each)]
    store.close()
    assert _is_sound(tmp_path)


def test_no_locks_are_left_behind(tmp_path: Path) -> None:
    process = _start(tmp_path, "draft", "x")
    assert process.stdout is not None
    process.stdout.readline()
    store = SessionStore(tmp_path)
    assert len(list((tmp_path / "locks").iterdir())) == 2
    _kill(process)
    store.close()
    store = SessionStore(tmp_path)
    assert len(list((tmp_path / "locks").iterdir())) == 1
    store.close()
    assert list((tmp_path / "locks").iterdir()) == []
    assert not (tmp_path / f"{FILE_NAME}-wal").exists()


@pytest.mark.parametrize("place", range(len(MIGRATIONS[0]) + 1))
def test_a_migration_is_whole_or_not_at_all(tmp_path: Path, place: int) -> None:
    """Cut off before any of its statements, a migration leaves the version before."""
    statements = [*MIGRATIONS[0][:place], "SELECT no_such_function()", *MIGRATIONS[0][place:]]
    cut_off = pytest.raises(sqlite3.OperationalError)
    with closing(sqlite3.connect(tmp_path / "x.db", isolation_level=None)) as connection, cut_off:
        migrate(connection, (tuple(statements),))
    with closing(sqlite3.connect(tmp_path / "x.db", isolation_level=None)) as connection:
        assert schema_version(connection) == 0
        assert connection.execute("SELECT COUNT(*) FROM sqlite_schema").fetchone() == (0,)
        migrate(connection)
        assert schema_version(connection) == len(MIGRATIONS)


def test_an_old_database_is_brought_up_step_by_step(tmp_path: Path) -> None:
    """What a later version will do: old rows stay, and only the missing steps run."""
    with closing(sqlite3.connect(tmp_path / "x.db", isolation_level=None)) as connection:
        migrate(connection)
        connection.execute("INSERT INTO sessions (id, title) VALUES ('a', 'old')")
        migrate(connection, (*MIGRATIONS, ("ALTER TABLE sessions ADD COLUMN pinned INTEGER NOT NULL DEFAULT 0",)))
        assert schema_version(connection) == len(MIGRATIONS) + 1
        assert connection.execute("SELECT title, pinned FROM sessions").fetchall() == [("old", 0)]
