"""Stored chats are listed, shown and deleted; while another program holds the database, what was not done is said."""

from __future__ import annotations

import json
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
from tests.cli.program import COMMAND, QUICK, Run, assert_one_line
from tests.cli.terminal import Terminal


def test_stored_chats_are_listed_shown_and_deleted(llamachat: Run, model: Path) -> None:
    assert llamachat("sessions", "list").stdout == ""
    for question in ("the first", "on the second", "on the third"):
        llamachat("-m", model, *QUICK, "--system", "Be.", stdin=question + "\n")
    lines = llamachat("sessions", "list").stdout.splitlines()
    assert [line.split("  ")[1] for line in lines] == ["on the third", "on the second", "the first"]
    rows = json.loads(llamachat("sessions", "list", "--json").stdout)
    assert [row["title"] for row in rows] == ["on the third", "on the second", "the first"]
    assert rows[0].keys() == {"id", "title", "updated", "messages", "model"}
    assert [row["messages"] for row in rows] == [2, 2, 2]

    shown = llamachat("sessions", "show", "the fir").stdout
    assert shown.startswith("System\nBe.\n\nYou\nthe first\n\ntiny\n")
    assert json.loads(llamachat("sessions", "show", "last", "--json").stdout)["title"] == "on the third"
    for wanted, reason in (("on the", "several chats"), ("nope", "no such chat")):
        done = llamachat("sessions", "show", wanted)
        assert done.returncode == 1
        assert_one_line(done.stderr, reason)

    done = llamachat("sessions", "delete", "last")
    assert done.returncode == 2
    assert_one_line(done.stderr, "--yes")
    assert llamachat("sessions", "delete", "--yes", rows[0]["id"][:8]).returncode == 0
    assert [row["id"] for row in json.loads(llamachat("sessions", "list", "--json").stdout)] == [
        row["id"] for row in rows[1:]
    ]


def test_chatting_makes_a_backup_and_looking_does_not(llamachat: Run, model: Path, own_home: Path) -> None:
    folder = own_home / ".local/share/llamachat"
    with closing(SessionStore(folder)) as store:
        conversation = Conversation(title="before")
        store.save(conversation, conversation.add_user("before", parent=None))
    for command in (("list",), ("show", "last")):
        assert llamachat("sessions", *command).returncode == 0
    assert list(folder.glob("*.backup-*")) == []
    done = llamachat("-m", model, *QUICK, stdin="a question\n")
    assert (done.returncode, done.stderr) == (0, "")
    assert len(list(folder.glob("sessions.db.backup-*"))) == 1


def test_what_was_recovered_fits_on_a_line(llamachat: Run, own_home: Path) -> None:
    folder = own_home / ".local/share/llamachat"
    with closing(SessionStore(folder)) as store:
        conversation = Conversation(title="before")
        store.save(conversation, conversation.add_user("before", parent=None))
    with (folder / "sessions.db").open("r+b") as file:
        file.write(bytes(100))
    done = llamachat("sessions", "list")
    (kept,) = folder.glob("sessions.db.corrupt-*")
    told = f"llamachat: 1 message in 1 chat recovered from a damaged database; it is kept as {kept.name}\n"
    assert done.stderr == told
    assert "before" in done.stdout


def test_deleting_asks_first(llamachat: Run, model: Path) -> None:
    llamachat("-m", model, *QUICK, stdin="the question\n")
    for answer, left in (("n", 1), ("", 1), ("y", 0)):
        with Terminal([str(COMMAND), "sessions", "delete", "last"]) as terminal:
            terminal.wait_for("Delete 'the question' (2 messages)? [y/N]")
            terminal.press(answer + "\r")
            assert terminal.wait() == 0
        assert len(json.loads(llamachat("sessions", "list", "--json").stdout)) == left


def test_a_title_cannot_steer_the_terminal(llamachat: Run, model: Path) -> None:
    llamachat("-m", model, *QUICK, stdin=b"evil \x1b[2J \x1b]0;t\x07 title\n")
    for arguments in (("list",), ("show", "last"), ("show", "evil")):
        done = llamachat("sessions", *arguments)
        assert "evil" in done.stdout
        assert "\x1b" not in done.stdout


# ---- while another program holds the database ----


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
    monkeypatch.setattr("llamachat.chat.store.saver._COALESCE_S", 60)  # closing comes before the saver's turn

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
