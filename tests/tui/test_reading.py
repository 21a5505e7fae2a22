"""Text files on the screen: into the composer, as many as are wanted, and away with the question."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual.events import Key

from llamachat.chat.commands import run_line
from llamachat.chat.file_blocks import behind, file_block
from llamachat.tui.composer_pane import ComposerPane
from llamachat.tui.context_meter import ContextMeter
from llamachat.tui.row_list import RowList
from tests.support.chat_app import Chat, open_chat

NOTES = file_block("notes.txt", "one two\n")
CODE = "".join(f"line {number}\n" for number in range(300))
CODE_LABEL = "[code.py: 2,589 characters, 300 lines]"


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "notes.txt").write_text("one two\n")
    (tmp_path / "code.py").write_text(CODE)
    (tmp_path / "other").mkdir()
    (tmp_path / "other/code.py").write_text(CODE.replace("line", "Line"))
    monkeypatch.chdir(tmp_path)


def proposals(chat: Chat) -> list[str]:
    menu = chat.app.chat_screen.query_one("#proposals", RowList)
    return [row.label for row in menu.rows] if menu.has_class("-open") else []


async def read(chat: Chat, path: str) -> None:
    """Types the command behind what is there."""
    await chat.paste(f"/read {path}")
    await chat.press("escape", "enter")


@pytest.mark.parametrize("size", [(120, 40), (60, 15)])
async def test_a_file_is_read_seen_asked_about_and_sent(size: tuple[int, int]) -> None:
    async with open_chat(size=size) as chat:
        await read(chat, "notes.txt")
        assert chat.composer.text == f"{NOTES}\n\n"
        assert chat.path == []
        assert chat.trouble == f"read notes.txt: {chat.session.draft_tokens} tokens of 1,920 that fit"
        assert chat.session.draft_tokens == len(chat.session.tokenizer.encode(NOTES)) == chat.one(ContextMeter).draft
        await chat.press(*"What", "enter")
        await chat.until(lambda: chat.path)
        assert chat.path[0].text == f"{NOTES}\n\nWhat"
        assert chat.session.conversation.title == "What"
        await chat.settle()
        assert chat.one(ContextMeter).draft == 0
        assert chat.composer.text == ""


async def test_long_files_stand_as_labels_that_add_up() -> None:
    async with open_chat(n_ctx=20_000) as chat:
        await read(chat, "code.py")
        assert chat.composer.text == f"{CODE_LABEL}\n\n"
        await read(chat, "other/code.py")
        await chat.press(*"Which")
        labels = f"{CODE_LABEL}\n\n{CODE_LABEL.replace('code', 'other/code')}\n\n"
        assert chat.composer.text == f"{labels}Which"
        await chat.press("enter")
        await chat.until(lambda: chat.path)
        whole = behind(file_block("code.py", CODE), file_block("other/code.py", CODE.replace("line", "Line")))
        assert chat.path[0].text == f"{whole}Which"
        await chat.settle()
        assert CODE_LABEL in chat.text
        assert "line 7" not in chat.text
        await chat.press("up")
        assert chat.composer.text == f"{labels}Which"
        await chat.press("ctrl+u", "ctrl+up", "up", "e")
        await chat.until(lambda: chat.composer.text == f"{labels}Which")
        await chat.press("2", "enter")
        await chat.until(lambda: chat.path[0].text == f"{whole}Which2")


async def test_a_label_is_deleted_whole_and_comes_back() -> None:
    async with open_chat(n_ctx=20_000) as chat:
        await read(chat, "notes.txt")
        await read(chat, "code.py")
        await chat.press("backspace", "backspace", "backspace")
        assert chat.composer.text == f"{NOTES}\n\n"
        await chat.press("ctrl+z")
        assert chat.composer.prompt.rstrip() == behind(NOTES, file_block("code.py", CODE)).rstrip()
        await chat.press("end", "left", "backspace")
        assert chat.composer.text == f"{NOTES}\n\n{CODE_LABEL[:-2]}]"


async def test_what_cannot_be_read_leaves_the_composer_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "long").write_text("word " * 5000)
    async with open_chat() as chat:
        await chat.paste("My question\nof two lines")
        for path, reason in (
            ("nothing", "nothing: no such file"),
            ("other", "other: a folder, not a text"),
            ("long", "with long this message is too long: about"),
        ):
            await chat.press("ctrl+j")
            await read(chat, path)
            assert chat.trouble.startswith(reason)
            assert chat.composer.text == f"My question\nof two lines\n/read {path}"
            assert chat.path == []
            await chat.press(*["backspace"] * len(f"/read {path} "))
            assert chat.trouble == ""
        await chat.press("ctrl+j")
        await read(chat, "notes.txt")
        assert chat.composer.text == f"My question\nof two lines\n\n{NOTES}\n\n"


async def test_a_file_alone_that_cannot_be_read_is_a_refused_command() -> None:
    async with open_chat() as chat:
        await read(chat, "nothing")
        assert chat.composer.selected_text == "/read nothing"


async def test_what_is_typed_in_one_burst_goes_behind_the_file() -> None:
    async with open_chat() as chat:
        driver = chat.app._driver
        assert driver is not None
        for key in "/read notes.txt\r/read code.py\r/set seed 3\rWhat\r":
            driver.send_message(Key("enter" if key == "\r" else key, key))
        await chat.until(lambda: chat.path)
        assert chat.path[0].text == behind(NOTES, file_block("code.py", CODE)) + "What"
        assert chat.session.settings.seed == 3


async def test_commands_behind_a_file_leave_it_there() -> None:
    async with open_chat(n_ctx=20_000) as chat:
        await read(chat, "code.py")
        await chat.press(*"/see")
        assert chat.composer.text == f"{CODE_LABEL}\n\n/see"
        await chat.press("enter")
        assert "no command /see" in chat.trouble
        assert chat.composer.text == f"{CODE_LABEL}\n\n/see"
        await chat.press("backspace")
        assert proposals(chat) == ["/sessions", "/set"]
        await chat.press("down", "tab", *"seed 4", "escape", "enter")
        assert chat.session.settings.seed == 4
        assert chat.composer.text == f"{CODE_LABEL}\n\n"
        first = chat.session.conversation.id
        await chat.press(*"/new", "escape", "enter")
        assert chat.composer.text == ""
        chat.session.open(first)
        await chat.app.chat_screen.after_operation()
        assert chat.composer.text == f"{CODE_LABEL}\n\n"
        assert chat.composer.prompt == f"{file_block('code.py', CODE)}\n\n"


async def test_tab_completes_files_also_behind_a_message() -> None:
    async with open_chat(n_ctx=20_000) as chat:
        await read(chat, "code.py")
        await chat.press(*"/read")
        await chat.press("tab")
        await chat.until(lambda: proposals(chat) == ["code.py", "notes.txt", "other/"])
        await chat.press("o")
        await chat.until(lambda: proposals(chat) == ["other/"])
        await chat.press("enter")
        await chat.until(lambda: proposals(chat) == ["code.py"])
        assert chat.composer.text == f"{CODE_LABEL}\n\n/read other/"
        await chat.press("enter")
        assert chat.composer.text == f"{CODE_LABEL}\n\n{CODE_LABEL.replace('code', 'other/code')}\n\n"


async def test_enter_goes_into_a_folder_that_is_typed() -> None:
    """Unlike one that may be a model."""
    async with open_chat() as chat:
        await chat.type("/read ./other")
        await chat.until(lambda: proposals(chat) == ["other/"])
        await chat.press("enter")
        assert chat.composer.text == "/read ./other/"


async def test_from_the_palette_it_goes_behind_what_is_written() -> None:
    async with open_chat() as chat:
        for written, line in (("", "/read "), ("What is it?", "What is it?\n/read "), ("/hepl", "/read ")):
            await chat.press("ctrl+u")
            await chat.paste(written)
            await chat.press("escape", "ctrl+p")
            await chat.press(*"/read", "enter")
            await chat.until(lambda: chat.app.focused is chat.composer)
            assert chat.composer.text == line
            await chat.press("ctrl+u", "backspace", "ctrl+u")


async def test_two_slashes_send_it_as_a_message() -> None:
    async with open_chat() as chat:
        await chat.send("one\n//read notes.txt")
        await chat.until(lambda: chat.path)
        assert chat.path[0].text == "one\n/read notes.txt"
        await chat.settle()
        await chat.press("up")
        assert chat.composer.text == "one\n//read notes.txt"


async def test_a_draft_comes_back_with_its_files_folded(tmp_path: Path) -> None:
    async with open_chat(data=tmp_path, n_ctx=20_000) as chat:
        await read(chat, "code.py")
        await chat.press(*"Why")
        chat.app.chat_screen.query_one(ComposerPane).flush_draft()
        chat_id = chat.session.conversation.id
    async with open_chat(data=tmp_path, n_ctx=20_000) as chat:
        chat.session.open(chat_id)
        await chat.app.chat_screen.after_operation()
        assert chat.composer.text == f"{CODE_LABEL}\n\nWhy"


async def test_hostile_names_and_texts_are_shown_as_text(tmp_path: Path) -> None:
    for name, times in (("[/a]\x1b[31m.txt", 1), ("[/b]\x1b[31m.txt", 20)):
        place = tmp_path / name
        place.parent.mkdir(exist_ok=True)
        place.write_text("[/nope]\x1b]52;c;eA==\x07 \u202e\n" * times)
    async with open_chat() as chat:
        for name in ("[/a]\x1b[31m.txt", "[/b]\x1b[31m.txt"):
            run_line(chat.session, chat.app.chat_screen.face, f"/read {name}")
            await chat.app.chat_screen.after_operation()
        await chat.pilot.pause()
        assert chat.composer.text == (
            "File [/a]\ufffd[31m.txt:\n```\n[/nope] \ufffd\n```\n\n[[/b]\ufffd[31m.txt: 199 characters, 20 lines]\n\n"
        )
        assert "[/nope] \ufffd" in chat.text
        await chat.press("enter")
        await chat.until(lambda: chat.path)
        await chat.settle()
        assert "[/nope] \ufffd" in chat.text
