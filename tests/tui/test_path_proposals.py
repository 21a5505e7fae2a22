"""Paths of models, proposed in the composer; and Tab, which stays there."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
from textual.events import Key, Paste

from llamachat.chat.path_completion import PathCompletions, TypedPath, complete_path
from llamachat.tui.row_list import RowList
from tests.support.chat_app import Chat, open_chat


def _proposals(chat: Chat) -> list[str]:
    menu = chat.app.chat_screen.query_one("#proposals", RowList)
    return [row.key for row in menu.rows] if menu.has_class("-open") else []


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Some models; the program stands in the folder."""
    for name in ("models/one.gguf", "models/two.gguf", "models/notes.txt", "models/deep/three.gguf", "mine.gguf"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


async def test_tab_completes_the_path_of_a_model_folder_by_folder(folder: Path) -> None:
    async with open_chat() as chat:
        await chat.type("/model ~/mo")
        await chat.until(lambda: _proposals(chat) == ["/model ~/models/"])
        assert "›models/ " in chat.text
        await chat.press("tab")
        await chat.until(lambda: len(_proposals(chat)) == 3)
        assert _proposals(chat) == [f"/model ~/models/{name}" for name in ("deep/", "one.gguf", "two.gguf")]
        await chat.press("down", "down", "tab")
        assert chat.composer.text == "/model ~/models/one.gguf"
        await chat.until(lambda: not _proposals(chat))
        await chat.press("enter")
        await chat.until(lambda: chat.engine.loads)
        assert chat.engine.loads[-1].path == folder / "models/one.gguf"


async def test_enter_on_a_folder_goes_into_it_and_on_a_file_opens_it(folder: Path) -> None:
    async with open_chat() as chat:
        await chat.type("/model ./models/d")
        await chat.until(lambda: _proposals(chat))
        await chat.press("enter")
        assert chat.composer.text == "/model ./models/deep/"
        await chat.until(lambda: _proposals(chat) == ["/model ./models/deep/three.gguf"])
        assert not chat.engine.loads
        await chat.press("down", "enter")
        await chat.until(lambda: chat.engine.loads)
        assert chat.engine.loads[-1].path == Path("models/deep/three.gguf")


async def test_enter_opens_a_folder_that_is_typed(folder: Path) -> None:
    """As it does before the folder was read: none of what is in it was chosen."""
    async with open_chat() as chat:
        await chat.type(f"/model {folder}/models/deep")
        await chat.until(lambda: _proposals(chat) == [f"/model {folder}/models/deep/"])
        await chat.press("enter")
        await chat.until(lambda: chat.engine.loads)
        assert chat.engine.loads[-1].path == folder / "models/deep"


async def test_a_file_where_the_program_stands_is_proposed_after_the_models_folder(folder: Path) -> None:
    async with open_chat(data=folder / "data") as chat:
        (folder / "data/models").mkdir(parents=True)
        (folder / "data/models/Mistral.gguf").touch()
        await chat.press("slash", *"model")
        await chat.press("tab")
        await chat.until(lambda: chat.composer.text == "/model ")
        await chat.pilot.pause(0.1)
        assert _proposals(chat) == ["/model Mistral"]
        await chat.press("m")
        await chat.until(lambda: _proposals(chat) == ["/model Mistral", "/model mine.gguf", "/model models/"])


async def test_tab_waits_for_a_folder_that_is_being_read(folder: Path) -> None:
    async with open_chat() as chat:
        driver = chat.app._driver
        assert driver is not None
        driver.send_message(Paste("/model ~/models/o"))
        driver.send_message(Key("tab", "\t"))
        await chat.until(lambda: chat.composer.text == "/model ~/models/one.gguf")


async def test_tab_in_a_command_stays_in_the_composer() -> None:
    async with open_chat() as chat:
        for text in ("/model /nowhere/x", "/nonsense", "/new ", "/model", "/theme paper", "//a message", "/"):
            await chat.press("ctrl+u")
            await chat.type(text)
            for _ in range(3):
                await chat.press("tab")
                assert chat.app.focused is chat.composer, text
        await chat.press("ctrl+u", "a", "tab")
        assert chat.app.focused is not chat.composer


async def test_tab_opens_the_proposals_again_that_escape_closed() -> None:
    async with open_chat() as chat:
        await chat.type("/se")
        await chat.until(lambda: _proposals(chat))
        await chat.press("escape")
        assert not _proposals(chat)
        await chat.press("tab")
        assert len(_proposals(chat)) > 1
        assert chat.composer.text == "/se"


async def test_folders_that_do_not_answer_hold_nothing_up(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = threading.Event()

    def stuck(typed: TypedPath) -> PathCompletions:
        answers.wait(20)
        return complete_path(typed.text, typed.kind)

    monkeypatch.setattr(TypedPath, "completions", stuck)
    async with open_chat() as chat:
        await chat.type("/model ")
        begun = time.monotonic()
        await chat.press(*"./models/on", "tab", "e")
        assert chat.composer.text == "/model ./models/one"
        assert time.monotonic() - begun < 5
        assert chat.app.focused is chat.composer
        threads = [thread for thread in threading.enumerate() if thread.name == "llamachat-paths"]
        assert 0 < len(threads) <= 4
        assert all(thread.daemon for thread in threads)
        answers.set()
        await chat.until(lambda: _proposals(chat) == ["/model ./models/one.gguf"])  # for what was typed last
        await chat.until(lambda: not any(thread.is_alive() for thread in threads))
        assert chat.composer.text == "/model ./models/one"


async def test_a_folder_that_does_not_answer_holds_up_no_other(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many letters were typed in it."""
    answers = threading.Event()

    def stuck(typed: TypedPath) -> PathCompletions:
        if typed.text.startswith("/net/"):
            answers.wait(20)
        return complete_path(typed.text, typed.kind)

    monkeypatch.setattr(TypedPath, "completions", stuck)
    async with open_chat() as chat:
        await chat.type("/model /net/")
        await chat.press(*"models", "ctrl+u")
        await chat.type("/model ./models/on")
        await chat.until(lambda: _proposals(chat) == ["/model ./models/one.gguf"])
        assert not answers.is_set()
        answers.set()
