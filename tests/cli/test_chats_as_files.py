"""``llamachat sessions export`` and ``import``, and ``/export`` and ``/import`` in line mode."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

import pytest

from llamachat.chat.conversation import Conversation
from llamachat.chat.exchange.portable import dumps, loads
from llamachat.chat.exchange.readable import as_markdown, as_titled_text
from llamachat.chat.exchange.writing import Form
from llamachat.chat.store import SessionStore
from llamachat.chat.store.database import FILE_NAME
from llamachat.cli.sessions import FORMS
from tests.cli.program import Run, assert_one_line
from tests.cli.talks import CTRL_C, CTRL_D, ENTER, TAB, Stored, Talk, ready
from tests.support.exchanged_chats import dialogue, gpt, rich_chat, told
from tests.support.sessions import stored_rows
from tests.support.tiny_models import random_model, write_gguf


@pytest.fixture
def data(own_home: Path) -> Path:
    return own_home / ".local/share/llamachat"


@pytest.fixture
def chat(data: Path) -> Conversation:
    """A chat that is stored, as it is stored."""
    with closing(SessionStore(data)) as store:
        one = rich_chat()
        store.save(one, *one.messages.values())
    (stored,) = _stored(data)  # only now: the answer that was being written has been cut with its program
    return stored


def _stored(data: Path) -> list[Conversation]:
    with closing(SessionStore(data)) as store:
        return [store.load(summary.id) for summary in store.sessions()]


# ---- export --------------------------------------------------------------------


def test_the_forms_are_all_told() -> None:
    assert tuple(Form) == FORMS


def test_export_to_standard_output(llamachat: Run, chat: Conversation) -> None:
    for arguments, written in (
        ((), dumps(chat)),
        (("-o", "-"), dumps(chat)),
        (("--format", "json"), dumps(chat)),
        (("--format", "Markdown"), as_markdown(chat)),
        (("--output", "-", "--format", "text"), as_titled_text(chat)),
    ):
        done = llamachat("sessions", "export", "last", *arguments)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout == written


def test_export_to_a_file(llamachat: Run, chat: Conversation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, arguments, written in (
        ("chat.json", (), dumps(chat)),
        ("a chat.md", (), as_markdown(chat)),
        ("chat.txt", (), as_titled_text(chat)),
        ("chat", (), dumps(chat)),
        ("chat.html", ("--format", "text"), as_titled_text(chat)),
    ):
        done = llamachat("sessions", "export", chat.id[:8], "-o", name, *arguments)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        assert (tmp_path / name).read_text(encoding="utf-8") == written
    assert told(loads((tmp_path / "chat.json").read_bytes())) == told(chat)


def test_export_overwrites_only_what_it_may(
    llamachat: Run, chat: Conversation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.md").write_text("mine")
    (tmp_path / "folder").mkdir()
    for arguments, reason in (
        (("-o", "mine.md"), "mine.md: is there already; --force replaces it"),
        (("-o", "folder"), "folder: is a folder; name a file to write"),
        (("-o", "folder", "--force"), "folder: is a folder; name a file to write"),
        (("-o", "new/"), "new/: is the name of a folder"),
        (("-o", "none/x.md"), "none: no such folder"),
        (("-o", "/dev/null", "--force"), "/dev/null: is a device, a pipe or a socket"),
    ):
        done = llamachat("sessions", "export", "last", *arguments)
        assert (done.returncode, done.stdout) == (1, "")
        assert_one_line(done.stderr, reason)
    assert (tmp_path / "mine.md").read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == ["mine.md"]
    assert llamachat("sessions", "export", "last", "-o", "mine.md", "--force").returncode == 0
    assert (tmp_path / "mine.md").read_text(encoding="utf-8") == as_markdown(chat)


@pytest.mark.usefixtures("chat")
def test_export_says_what_it_cannot_do(llamachat: Run) -> None:
    for arguments, status, reason in (
        (("nope",), 1, "nope: no such chat"),
        ((), 2, "missing argument 'SESSION'"),
        (("last", "--format", "pdf"), 2, "--format takes one of json, markdown, text, not 'pdf'"),
        (("last", "-o", ""), 2, "--output takes a file, not ''"),
    ):
        done = llamachat("sessions", "export", *arguments)
        assert (done.returncode, done.stdout) == (status, "")
        assert_one_line(done.stderr, reason)


# ---- import --------------------------------------------------------------------


def test_import_lists_what_it_added(llamachat: Run, data: Path, tmp_path: Path) -> None:
    (tmp_path / "ours.json").write_text(dumps(dialogue("q", "a", title="Ours \x1b[31m")))
    (tmp_path / "conversations.json").write_text(json.dumps([gpt("One", "q", "a"), gpt("Two", "q"), gpt("None")]))
    done = llamachat("sessions", "import", tmp_path / "ours.json", tmp_path / "conversations.json")
    ids = {chat.title: chat.id[:8] for chat in _stored(data)}
    shown = [f"{ids['Ours ' + chr(27) + '[31m']}  Ours \ufffd[31m", f"{ids['One']}  One", f"{ids['Two']}  Two"]
    assert done.stdout.splitlines() == shown
    assert done.stderr == f"llamachat: {tmp_path}/conversations.json: 1 chat without a message was left out\n"
    assert done.returncode == 0
    assert llamachat("sessions", "show", ids["One"]).stdout == "You\nq\n\nAnswer\na\n"


def test_import_of_what_is_there(llamachat: Run, data: Path, chat: Conversation, tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text(dumps(chat))
    before = stored_rows(data / FILE_NAME)
    done = llamachat("sessions", "import", path)
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == f"llamachat: {path}: 1 chat was there already\n"
    assert stored_rows(data / FILE_NAME) == before
    chat.add_user("more", parent=chat.leaf)
    done = llamachat("sessions", "import", "-", stdin=dumps(chat))
    assert (done.stdout, done.stderr) == (f"{chat.id[:8]}  Tïtle 🦙  1 more message\n", "")
    done = llamachat("sessions", "import", "-", path, stdin=json.dumps([gpt("One", "q"), gpt("One", "q")]))
    assert done.stderr == (
        f"llamachat: standard input: 1 chat was there already\nllamachat: {path}: 1 chat was there already\n"
    )
    assert llamachat("sessions", "export", "One").stdout != ""


def test_export_into_import(llamachat: Run, data: Path, chat: Conversation, tmp_path: Path) -> None:
    written = llamachat("sessions", "export", "last").stdout
    elsewhere = tmp_path / "elsewhere"
    done = llamachat("sessions", "import", "-", "--data-dir", elsewhere, stdin=written)
    assert (done.returncode, done.stderr) == (0, "")
    (there,) = _stored(elsewhere)
    assert told(there) == told(chat)


def test_one_bad_file_holds_no_other_up(llamachat: Run, data: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.json").write_text(json.dumps([gpt("One", "q"), {}]))
    (tmp_path / "good.json").write_text(json.dumps(gpt("Two", "q")))
    done = llamachat("sessions", "import", tmp_path / "bad.json", tmp_path / "none.json", tmp_path / "good.json", "-",
                     stdin=b"\0")  # fmt: skip
    assert done.returncode == 1
    lines = done.stderr.splitlines(keepends=True)
    assert_one_line(lines[0], "bad.json: chat 2: it is no chat of llamachat or ChatGPT")
    assert_one_line(lines[1], "none.json: no such file")
    assert_one_line(lines[2], "standard input: not a text: it holds zero bytes")
    assert len(lines) == 3
    assert [chat.title for chat in _stored(data)] == ["Two"]
    assert done.stdout.endswith("  Two\n")


def test_import_needs_a_place_to_keep_chats(llamachat: Run, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "x.json").write_text(json.dumps(gpt("One", "q")))
    done = llamachat("sessions", "import", tmp_path / "x.json", "--data-dir", tmp_path / "file")
    assert (done.returncode, done.stdout) == (1, "")
    assert_one_line(done.stderr, "nothing was added: the chats cannot be written now")
    done = llamachat("sessions", "import")
    assert done.returncode == 2
    assert_one_line(done.stderr, "missing argument 'FILE...'")


# ---- line mode -----------------------------------------------------------------


def test_export_and_import_in_line_mode(talk: Talk, tmp_path: Path) -> None:
    here = tmp_path / "here"
    here.mkdir()
    terminal = ready(talk(answers=["Green."], folder=str(here)))
    terminal.press("Which tea?" + ENTER)
    terminal.wait_for("Green.")
    ready(terminal).press("/export" + ENTER)
    terminal.wait_for("Which tea.md")
    terminal.press(ENTER)
    terminal.wait_for("exported to")
    terminal.wait_for(f"{here}/Which tea.md")
    written = "# Which tea?\n\n## You\n\nWhich tea?\n\n## Scripted 1B\n\nGreen.\n"
    assert (here / "Which tea.md").read_text(encoding="utf-8") == written
    ready(terminal)
    for answer, replaced in (("n", False), ("y", True)):
        (here / "Which tea.md").write_text("mine")
        terminal.press("/export Which tea.md" + ENTER)
        terminal.wait_for("Which tea.md is there already: replace it? [y/N]")
        terminal.press(answer + ENTER)
        ready(terminal)
        assert ((here / "Which tea.md").read_text() != "mine") == replaced
    (here / "c.json").write_text(json.dumps([gpt("Coffee", "How?", "Hot.")]))
    terminal.press("/import c")
    terminal.wait_for(" c.json ")  # in the menu
    terminal.press(TAB)
    terminal.wait_for("c.json")
    terminal.press(ENTER)
    terminal.wait_for("added “Coffee”")
    terminal.wait_for("Coffee (2 messages)")
    terminal.wait_for("Hot.")
    ready(terminal).press("/import none.json" + ENTER)
    terminal.wait_for("error: none.json: no such file")
    ready(terminal).press(CTRL_D)
    assert terminal.wait() == 0


def test_an_import_that_takes_long_can_be_given_up(talk: Talk, stored: Stored, tmp_path: Path) -> None:
    terminal = ready(talk(answers=["Green.", "Yes."], slow_import=True))
    (tmp_path / "c.json").write_text(json.dumps([gpt("Coffee", "How?", "Hot.")]))
    terminal.press(f"/import {tmp_path}/c.json" + ENTER)
    terminal.wait_for("taking its time")
    terminal.press(CTRL_C)
    terminal.wait_for("was given up")
    ready(terminal).press("Still there?" + ENTER)
    terminal.wait_for("Green.")
    ready(terminal).press(CTRL_D)
    assert terminal.wait() == 0
    assert stored().title == "Still there?"


def test_in_a_pipe_nobody_is_asked(llamachat: Run, data: Path, tmp_path: Path) -> None:
    write_gguf(tmp_path / "tiny.gguf", random_model())
    (tmp_path / "mine.md").write_text("mine")
    (tmp_path / "c.json").write_text(json.dumps([gpt("Coffee", "How?", "Hot.")]))
    (tmp_path / "d.json").write_text(json.dumps([gpt("One", "q"), gpt("Two", "q"), gpt("Three", "q"), gpt("Four", "q"),
                                                 gpt("Coffee", "How?", "Hot."), gpt("None")]))  # fmt: skip
    lines = (
        f"/import {tmp_path}/c.json", f"/export {tmp_path}/new.txt", f"/export {tmp_path}/mine.md", "/export",
        f"/import {tmp_path}/c.json", f"/import {tmp_path}/d.json", f"/import {tmp_path}/mine.md",
    )  # fmt: skip
    done = llamachat("-m", tmp_path / "tiny.gguf", stdin="\n".join(lines))
    assert done.returncode == 1
    said = done.stdout.splitlines()
    assert [line for line in said if "Hot" not in line and "How" not in line] == [
        "added “Coffee”",
        f"exported to {tmp_path}/new.txt",
        "“Coffee” was there already",
        "added 4 chats: “One”, “Two”, “Three” and 1 more; “Coffee” was there already; "
        "1 chat without a message left out",
    ]
    told = [line for line in done.stderr.splitlines() if line.startswith("llamachat: error: ")]
    assert "nobody is here to answer" in told[0]
    assert "nobody is here to answer “Export to" in told[1]
    assert "mine.md: it is not JSON" in told[2]
    assert (tmp_path / "mine.md").read_text() == "mine"
    (coffee,) = [chat for chat in _stored(data) if chat.title == "Coffee"]
    assert (tmp_path / "new.txt").read_text(encoding="utf-8") == as_titled_text(coffee)
