"""``llamachat sessions`` and the end of a chat while another program holds the database: what was not done is said."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from llamachat.chat.conversation import Conversation
from llamachat.chat.session import ChatSession
from llamachat.chat.store import SessionStore
from llamachat.chat.store.database import FILE_NAME
from llamachat.chat.store.pending import Pending
from llamachat.cli import chat, failures, line_mode, log, main, sessions
from tests.cli.program import assert_one_line


@pytest.fixture
def data_dir(own_home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a chat named "a"; nobody waits long for another program, and nothing is logged."""
    monkeypatch.setattr("llamachat.chat.store.database._BUSY_MS", 20)
    monkeypatch.setattr(log, "start", lambda: None)
    folder = own_home / ".local/share/llamachat"
    conversation = Conversation(title="a")
    with closing(SessionStore(folder)) as store:
        store.save(conversation, conversation.add_user("hello", parent=None))
    return folder


@pytest.fixture
def other(data_dir: Path) -> Iterator[sqlite3.Connection]:
    """Another program on the same database."""
    with closing(sqlite3.connect(data_dir / FILE_NAME, isolation_level=None)) as connection:
        yield connection


@pytest.fixture
def writes(monkeypatch: pytest.MonkeyPatch) -> list[Pending]:
    """What was tried to be written."""
    tried, write = [], Pending.write

    def count(self: Pending, connection: sqlite3.Connection) -> None:
        tried.append(self)
        write(self, connection)

    monkeypatch.setattr(Pending, "write", count)
    return tried


def _llamachat(*arguments: str) -> int:
    return failures.run(lambda: main._invoke(list(arguments)))


def test_a_chat_that_cannot_be_deleted_is_told_at_once(
    data_dir: Path, other: sqlite3.Connection, writes: list[Pending], capsys: pytest.CaptureFixture[str]
) -> None:
    other.execute("BEGIN IMMEDIATE")
    assert _llamachat("sessions", "delete", "--yes", "a") == 1
    assert_one_line(capsys.readouterr().err, "nothing was deleted", "another program is writing", "try again")
    assert writes == []  # opening has waited already
    other.execute("ROLLBACK")
    with closing(SessionStore(data_dir)) as store:
        assert [summary.title for summary in store.sessions()] == ["a"]


def test_a_lock_that_comes_while_the_question_stands_is_waited_for_once(
    data_dir: Path,
    other: sqlite3.Connection,
    writes: list[Pending],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sessions, "_agreed", lambda *_: bool(other.execute("BEGIN IMMEDIATE")))
    assert _llamachat("sessions", "delete", "a") == 1
    assert_one_line(capsys.readouterr().err, "nothing was deleted", "another program is writing", "try again")
    assert len(writes) == 1
    other.execute("ROLLBACK")
    with closing(SessionStore(data_dir)) as store:
        assert [summary.title for summary in store.sessions()] == ["a"]
    assert _llamachat("sessions", "delete", "--yes", "a") == 0
    assert capsys.readouterr().err == ""


def test_what_looking_brought_up_is_said(other: sqlite3.Connection, capsys: pytest.CaptureFixture[str]) -> None:
    other.execute("UPDATE messages SET text = 'jello'")
    assert _llamachat("sessions", "show", "a") == 0
    done = capsys.readouterr()
    assert "jello" in done.out
    assert done.err == "llamachat: 1 message of this chat was changed by a failing disk\n"


@pytest.mark.parametrize(("status", "ends_with"), [(0, 1), (3, 3)])
@pytest.mark.parametrize("screen", [True, False], ids=["full screen", "line mode"])
def test_what_the_end_of_a_chat_could_not_save_is_said(
    other: sqlite3.Connection,
    screen: bool,
    status: int,
    ends_with: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("llamachat.chat.store.store._COALESCE_S", 60)  # closing comes before the saver's turn

    def talk(session: ChatSession, *_: object) -> int:
        session.save_draft("half a thought")
        other.execute("BEGIN IMMEDIATE")
        return status

    monkeypatch.setattr(chat, "_someone_types", lambda: screen)
    monkeypatch.setattr(chat, "is_terminal", lambda _: screen)
    monkeypatch.setattr(chat, "_full_screen", talk)
    monkeypatch.setattr(line_mode, "run", talk)
    assert _llamachat() == ends_with
    assert capsys.readouterr().err == "llamachat: the last changes could not be saved: another program is writing\n"


def test_chats_are_found_by_words(data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _llamachat("sessions", "list", "HELLO") == 0
    assert "  a  " in capsys.readouterr().out
    assert _llamachat("sessions", "list", "hello", "nobody") == 0
    assert capsys.readouterr().out == ""


def test_a_text_that_was_not_sent_has_no_day(data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with closing(SessionStore(data_dir)) as store:
        store.save_soon(Conversation(draft="not sent yet"))
    assert _llamachat("sessions", "list") == 0
    line = next(line for line in capsys.readouterr().out.splitlines() if "not sent yet" in line)
    assert line.split()[-2:] == ["yet", "0"]
