"""``/export`` and ``/import`` on the screen: files are proposed, asked about, written; chats come in and open."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from llamachat.chat.exchange import reading
from llamachat.chat.exchange.readable import as_markdown
from llamachat.chat.store import SessionStore
from llamachat.tui.dialogs import ConfirmScreen, LineScreen
from llamachat.tui.row_list import RowList
from tests.support.chat_app import Chat, open_chat
from tests.support.exchanged_chats import gpt, told


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a chat of ChatGPT's, two files that are none, and a folder; the program stands in it."""
    (tmp_path / "coffee.json").write_text(json.dumps([gpt("Coffee", "How?", "Hot.")]))
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "tiny.gguf").touch()
    (tmp_path / "cups").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def _proposals(chat: Chat) -> list[str]:
    menu = chat.app.chat_screen.query_one("#proposals", RowList)
    return [row.key for row in menu.rows] if menu.has_class("-open") else []


async def test_a_name_is_proposed(folder: Path) -> None:
    async with open_chat() as chat:
        await chat.ask("Which tea?")
        await chat.send("/export")
        await chat.until(lambda: isinstance(chat.app.screen, LineScreen))
        assert "Which tea.md" in chat.text
        assert "json" in chat.text
        await chat.press("enter")
        await chat.until(lambda: "exported to" in chat.trouble)
        assert chat.trouble == f"exported to {folder}/Which tea.md"
        assert (folder / "Which tea.md").read_text(encoding="utf-8") == as_markdown(chat.session.conversation)


async def test_what_is_there_is_asked_about(folder: Path) -> None:
    async with open_chat() as chat:
        await chat.ask("Which tea?")
        for key, replaced in (("escape", False), ("enter", False), ("n", False), ("y", True)):
            await chat.send("/export notes.txt")
            await chat.until(lambda: isinstance(chat.app.screen, ConfirmScreen), "a question")
            assert "notes.txt is there already: replace it?" in chat.text
            await chat.press(key, "escape")
            await chat.until(lambda: chat.app.screen is chat.app.chat_screen)
            await chat.settle()
            assert ((folder / "notes.txt").read_text() != "mine") == replaced, key
        assert chat.trouble == ""  # escape took it away


async def test_what_cannot_be_written_is_said_and_can_be_mended(folder: Path) -> None:
    async with open_chat() as chat:
        await chat.ask("Which tea?")
        for name, reason in (("cups", "is a folder"), ("none/x.md", "no such folder"), ("/dev/null", "is a device")):
            await chat.send(f"/export {name}")
            await chat.until(lambda reason=reason: reason in chat.trouble)  # type: ignore[misc]
            assert chat.composer.text == f"/export {name}"
            await chat.press("ctrl+u")


async def test_paths_are_proposed_as_each_command_needs_them(folder: Path) -> None:
    async with open_chat() as chat:
        await chat.ask("Which tea?")
        await chat.type("/import ./c")
        await chat.until(lambda: _proposals(chat) == ["/import ./coffee.json", "/import ./cups/"])
        await chat.press("ctrl+u")
        await chat.type("/export ./c")
        await chat.until(lambda: _proposals(chat) == ["/export ./cups/"])
        await chat.press("ctrl+u")
        await chat.type("/model ./")
        await chat.until(lambda: _proposals(chat) == ["/model ./cups/", "/model ./tiny.gguf"])


async def test_enter_writes_the_name_that_was_typed_not_one_that_is_proposed(folder: Path) -> None:
    async with open_chat() as chat:
        await chat.ask("Which tea?")
        await chat.type("/export cup")
        await chat.until(lambda: _proposals(chat) == ["/export cups/"])
        await chat.press("enter")
        await chat.until(lambda: (folder / "cup").exists())
        await chat.type("/export cup")
        await chat.until(lambda: _proposals(chat) == ["/export cups/"])
        await chat.press("tab", *"x.md", "enter")
        await chat.until(lambda: (folder / "cups/x.md").exists())


async def test_a_chat_that_comes_in_is_opened(folder: Path) -> None:
    async with open_chat() as chat:
        await chat.ask("Which tea?")
        here = chat.session.conversation.id
        await chat.type("/import cof")
        await chat.until(lambda: _proposals(chat))
        await chat.press("enter")
        await chat.until(lambda: chat.session.conversation.title == "Coffee")
        await chat.settle()
        assert chat.trouble == "added “Coffee”"
        assert "How?" in chat.text
        assert "Hot." in chat.text
        assert [one.title for one in chat.session.sessions()] == ["Which tea?", "Coffee"]
        chat.session.open(here)
        before = told(chat.session.conversation)
        await chat.send("/import coffee.json")
        await chat.until(lambda: chat.session.conversation.title == "Coffee")
        assert chat.trouble == "“Coffee” was there already"
        assert told(chat.session.store.load(here)) == before


async def test_several_chats_are_listed_and_none_is_opened(folder: Path) -> None:
    (folder / "many.json").write_text(json.dumps([gpt("One", "q"), gpt("Two", "q")]))
    async with open_chat() as chat:
        await chat.ask("Which tea?")
        await chat.send("/import many.json")
        await chat.until(lambda: "added 2 chats: “One”, “Two”" in chat.trouble)
        assert chat.session.conversation.title == "Which tea?"
        await chat.until(lambda: "One" in chat.lines[4] + chat.text)
        assert len(chat.session.sessions()) == 3


async def test_what_the_open_chat_lacks_appears(folder: Path) -> None:
    (folder / "more.json").write_text(json.dumps([gpt("Coffee", "How?", "Hot.", "And then?")]))
    async with open_chat() as chat:
        await chat.send("/import coffee.json")
        await chat.until(lambda: chat.session.conversation.title == "Coffee")
        await chat.send("/import more.json")
        await chat.until(lambda: "got 1 more message" in chat.trouble)
        await chat.settle()
        assert [message.text for message in chat.path] == ["How?", "Hot.", "And then?"]
        assert "And then?" in chat.text


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("mine", "it is not JSON"),
        ("[" * 100_000, "it is nested too deeply"),
        ("{}", "it is no chat of llamachat or ChatGPT"),
        ('{"llamachat": 1, "messages": [{"id": "\\u001b[2J[/x]", "role": "\\u001b"}]}', "'role' is none of"),
    ],
)
async def test_what_is_no_chat_is_said_in_a_line(folder: Path, content: str, reason: str) -> None:
    (folder / "bad.json").write_text(content)
    async with open_chat() as chat:
        await chat.ask("Which tea?")
        before = told(chat.session.conversation)
        await chat.send("/import bad.json")
        await chat.until(lambda: reason in chat.trouble)
        assert chat.trouble.startswith("bad.json: ")
        assert told(chat.session.conversation) == before
        assert len(chat.session.sessions()) == 1


async def test_a_name_that_is_wrong_can_be_mended(folder: Path) -> None:
    async with open_chat() as chat:
        for name, reason in (("none.json", "no such file"), ("cups/", "a folder"), ("/dev/zero", "a pipe or a device")):
            await chat.send(f"/import {name}")
            await chat.until(lambda reason=reason: reason in chat.trouble)  # type: ignore[misc]
            assert chat.composer.text == f"/import {name}"
            await chat.press("ctrl+u")


class _Gate:
    """Holds imports up until it is opened."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.began, self.opened = threading.Event(), threading.Event()
        real = reading.chats_in

        def held(data: bytes | bytearray) -> object:
            self.began.set()
            self.opened.wait(20)
            return real(data)

        monkeypatch.setattr(reading, "chats_in", held)


async def test_an_import_holds_nothing_up_and_takes_nobody_away(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = _Gate(monkeypatch)
    async with open_chat(["Green.", "Black."]) as chat:
        await chat.ask("Which tea?")
        await chat.send("/import coffee.json")
        await chat.until(gate.began.is_set)
        assert chat.trouble == "importing coffee.json …"
        await chat.ask("And now?")
        await chat.press("ctrl+n")
        await chat.type("a thought")
        gate.opened.set()
        await chat.until(lambda: chat.trouble == "added “Coffee”")
        assert chat.session.conversation.title == ""  # another chat was opened meanwhile: it stays
        assert chat.composer.text == "a thought"
        assert {one.shown_title for one in chat.session.sessions()} >= {"Coffee", "Which tea?"}


async def test_an_answer_that_runs_is_not_stopped(folder: Path) -> None:
    async with open_chat(["one two three four five six"], gated=True) as chat:
        await chat.send("Which tea?")
        await chat.until(lambda: chat.session.answering is not None)
        await chat.send("/import coffee.json")
        await chat.until(lambda: chat.trouble == "added “Coffee”")
        assert chat.session.answering is not None
        assert chat.path[0].text == "Which tea?"


async def test_the_program_can_end_while_an_import_runs(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = _Gate(monkeypatch)
    async with open_chat(data=tmp_path / "data") as chat:
        await chat.send("/import coffee.json")
        await chat.until(gate.began.is_set)
        await chat.press("ctrl+q")
        await chat.until(lambda: not chat.app.is_running)
    gate.opened.set()
    for thread in threading.enumerate():
        if thread.name == "llamachat-work":
            thread.join(20)
            assert not thread.is_alive()
    store = SessionStore(tmp_path / "data")
    assert store.sessions() == []
    store.close()
