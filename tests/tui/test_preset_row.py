"""The row that names the preset: what it shows, and every way to take another."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual import events
from textual.geometry import Offset

from llamachat.engine.settings import SamplingSettings
from llamachat.tui.chat_screen import ChatScreen
from llamachat.tui.dialogs import PickScreen
from llamachat.tui.help_screen import HelpScreen
from llamachat.tui.panel_row import LABEL_WIDTH
from llamachat.tui.preset_row import PresetRow
from tests.support.chat_app import Chat, open_chat

SIZES = [(60, 15), (120, 40)]


@pytest.fixture
def own(own_home: Path) -> Path:
    folder = own_home / ".config/llamachat/presets"
    folder.mkdir(parents=True)
    (folder / "teacher.toml").write_text("temperature = 1\nmax-tokens = 77\nsystem = 'Teach.'")
    return folder


def row(chat: Chat) -> PresetRow:
    return chat.app.chat_screen.query_one(PresetRow)


def shown(chat: Chat) -> str:
    """The value of the row, as it is drawn."""
    return "".join(part.text for part in row(chat).render_line(0))[LABEL_WIDTH:].strip()


async def go_there(chat: Chat) -> None:
    """With the keys of the panel: from the first row up to the last."""
    await chat.press("ctrl+t", *["down"] * 7)
    assert chat.app.focused is row(chat)


@pytest.mark.parametrize("size", SIZES)
async def test_left_and_right_go_through_the_presets(size: tuple[int, int]) -> None:
    async with open_chat(size=size) as chat:
        await go_there(chat)
        assert "›Preset" in chat.text
        assert shown(chat) == "balanced"
        await chat.press("left")
        assert shown(chat) == "precise"
        assert chat.session.settings == SamplingSettings(0.2, 0.9, repeat_penalty=1.1, repeat_window=128)
        assert "0.20" in chat.text  # the rows above follow at once
        await chat.press("left", "left", "left")
        assert (shown(chat), chat.session.settings.temperature) == ("greedy", 0.0)
        await chat.press("right", "right", "right", "right")
        assert (shown(chat), chat.session.settings.min_p) == ("creative", 0.05)
        await chat.press("backspace")
        assert chat.session.settings == SamplingSettings()
        await chat.press("escape")
        assert chat.app.focused is chat.composer


@pytest.mark.parametrize("size", SIZES)
async def test_it_says_at_once_whose_the_values_are(size: tuple[int, int]) -> None:
    async with open_chat(size=size) as chat:
        await chat.press("ctrl+t", "right")
        assert shown(chat) == "own"
        await chat.press("left")
        assert shown(chat) == "balanced"
        await chat.press(*"0.65", "enter", *["down"] * 7, "right")
        assert shown(chat) == "balanced"
        await chat.press("left")  # to where one was
        assert (shown(chat), chat.session.settings.temperature) == ("own", 0.65)
        await chat.press("left")
        assert shown(chat) == "precise"


async def test_what_is_not_the_defaults_is_bold() -> None:
    async with open_chat() as chat:

        def is_bold() -> bool:
            strip = row(chat).render_line(0)
            return any(part.text.strip() == shown(chat) and bool(part.style and part.style.bold) for part in strip)

        assert not is_bold()
        await go_there(chat)
        await chat.press("left")
        assert is_bold()


@pytest.mark.parametrize("size", SIZES)
async def test_a_name_is_typed_or_its_beginning(size: tuple[int, int]) -> None:
    async with open_chat(size=size) as chat:
        await go_there(chat)
        await chat.press(*"prec")
        assert shown(chat) == "prec▏"
        assert chat.session.settings.temperature == 0.8  # not yet
        await chat.press("enter")
        assert (shown(chat), chat.session.settings.temperature) == ("precise", 0.2)
        await chat.press(*"nope", "enter")
        await chat.until(lambda: "no preset 'nope': there are greedy, precise, balanced" in chat.trouble)
        assert shown(chat) == "precise"
        await chat.press(*"cre", "backspace", "backspace", "backspace")
        assert shown(chat) == "precise"
        await chat.press("x", "escape", "left")  # escape takes back what was typed; the trouble goes with the next one
        await chat.until(lambda: chat.trouble == "")
        assert shown(chat) == "greedy"
        await chat.press(*"cre", "up")  # leaving the row takes the name, too
        await chat.until(lambda: shown(chat) == "creative")
        await chat.press("down", *".x", "enter")
        await chat.until(lambda: "no preset '.x'" in chat.trouble)
        await chat.press("escape")
        await chat.until(lambda: chat.trouble == "")


@pytest.mark.parametrize("size", SIZES)
async def test_enter_lists_them_with_what_each_does(size: tuple[int, int], own: Path) -> None:
    async with open_chat(size=size) as chat:
        await go_there(chat)
        await chat.press("enter")
        await chat.until(lambda: isinstance(chat.app.screen, PickScreen))
        for line in ("›balanced", "always the likeliest", "temperature 0.20, top-p 0.90", "max-tokens 77"):
            assert line in chat.text
        await chat.press("down", "enter")
        await chat.until(lambda: shown(chat) == "teacher")
        assert chat.session.conversation.system == "Teach."
        assert chat.app.focused is row(chat)
        await chat.press("enter", "escape")
        assert shown(chat) == "teacher"


async def test_enter_that_is_held_lists_them_once() -> None:
    async with open_chat() as chat:
        await go_there(chat)
        chat.hold("enter", 3)
        await chat.until(lambda: isinstance(chat.app.screen, PickScreen))
        await chat.pilot.pause()
        assert len(chat.app.screen_stack) == 2


async def test_wheel_and_click() -> None:
    async with open_chat() as chat:
        place = Offset(row(chat).region.x + LABEL_WIDTH + 4, row(chat).region.y)
        await chat.pilot._post_mouse_events([events.MouseScrollUp], offset=place, button=0)
        assert shown(chat) == "creative"
        await chat.pilot._post_mouse_events([events.MouseScrollDown], offset=place, button=0)
        await chat.pilot._post_mouse_events([events.MouseScrollDown], offset=place, button=0)
        assert shown(chat) == "precise"
        await chat.pilot.click(offset=(row(chat).region.x + 2, row(chat).region.y))  # its label: goes there
        assert isinstance(chat.app.screen, ChatScreen)
        assert chat.app.focused is row(chat)
        await chat.pilot.click(offset=place)
        await chat.until(lambda: isinstance(chat.app.screen, PickScreen))


async def test_a_preset_in_the_middle_of_an_answer_counts_from_the_next_token() -> None:
    async with open_chat(["one two three four five six"], gated=True) as chat:
        await chat.send("Count")
        chat.engine.release(5)
        await chat.until(lambda: "one two" in chat.text)
        before = len(chat.engine.sampled)
        await go_there(chat)
        await chat.press("left", "left")
        assert chat.session.answering is not None
        chat.engine.release(1)
        await chat.until(lambda: len(chat.engine.sampled) == before + 1)
        await chat.press("escape")
        await chat.send("/preset creative")
        await chat.until(lambda: "preset creative: temperature 1.20" in chat.trouble)
        assert shown(chat) == "creative"
        chat.engine.release(100)
        await chat.settle()
        temperatures = [settings.temperature for settings in chat.engine.sampled]
        assert temperatures[:before] == [0.8] * before
        assert 0.0 in temperatures
        assert temperatures[-1] == 1.2
        assert chat.path[-1].text == "one two three four five six"


async def test_presets_that_were_only_passed_leave_nothing_behind(own: Path) -> None:
    async with open_chat() as chat:
        chat.session.set_system("Be brief.")
        await go_there(chat)
        await chat.press("right")
        assert (shown(chat), chat.session.conversation.system, chat.session.settings.max_tokens) == (
            "teacher", "Teach.", 77
        )  # fmt: skip
        await chat.press("right")
        assert (shown(chat), chat.session.conversation.system, chat.session.settings.max_tokens) == (
            "creative", "Be brief.", 512
        )  # fmt: skip
        await chat.press("left", "backspace")
        assert (shown(chat), chat.session.conversation.system) == ("balanced", "Be brief.")
        assert chat.session.settings == SamplingSettings()


async def test_the_palette_takes_one_and_marks_the_one_in_use() -> None:
    async with open_chat(size=(60, 15)) as chat:
        await chat.press("ctrl+p", *"preset")
        await chat.until(lambda: "in use: the defaults" in chat.text)
        assert chat.text.count("in use") == 1
        await chat.press(*" gre", "enter")
        await chat.until(lambda: chat.session.settings.temperature == 0)
        assert isinstance(chat.app.screen, ChatScreen)


@pytest.mark.parametrize("size", SIZES)
async def test_the_command_lists_them_over_the_chat(size: tuple[int, int]) -> None:
    async with open_chat(size=size) as chat:
        await chat.send("/preset")
        await chat.until(lambda: "esc close" in chat.text)
        assert "  precise   temperature 0.20, top-p 0.90,  " in chat.text
        assert "            repeat-penalty 1.10, repeat-window 128  " in chat.text  # which no screen breaks


@pytest.mark.parametrize("size", SIZES)
async def test_help_begins_with_the_row_one_is_in_and_the_panel_says_what_a_preset_does(size: tuple[int, int]) -> None:
    async with open_chat(size=size) as chat:
        await go_there(chat)
        explained = chat.app.chat_screen.query_one("#parameter-help")
        assert "balanced: the defaults." in str(explained.render())
        await chat.press("left")
        assert "precise: temperature 0.20" in str(explained.render())
        await chat.press("up")
        assert "The most tokens of one answer" in str(explained.render())
        await chat.press("down", "f1")
        await chat.until(lambda: isinstance(chat.app.screen, HelpScreen))
        assert "go through the presets" in chat.text


async def test_a_broken_file_is_a_notice_and_its_name_is_not_offered(own: Path) -> None:
    (own / "precise.toml").write_text("temperature = 30")
    async with open_chat() as chat:
        await chat.until(lambda: "precise.toml: preset not used: temperature takes" in chat.trouble)
        await go_there(chat)
        await chat.press("left")
        assert shown(chat) == "greedy"
        await chat.press(*"precise", "enter")
        await chat.until(lambda: "preset not used" in chat.trouble)
        (own / "precise.toml").write_text("temperature = 0.3")
        await chat.press(*"precise", "enter")
        await chat.until(lambda: chat.session.settings.temperature == 0.3)


async def test_a_name_that_is_longer_than_the_panel_is_cut(own: Path) -> None:
    (own / f"{'w' * 40}.toml").write_text("temperature = 5")
    async with open_chat(size=(60, 15)) as chat:
        await go_there(chat)
        await chat.press(*["right"] * 3)
        assert shown(chat).startswith("wwwwwwwww")
        assert shown(chat).endswith("w…")
        assert row(chat).size.height == 1
        assert all(len(line) == 60 for line in chat.lines)


async def test_another_chat_has_its_own() -> None:
    async with open_chat() as chat:
        await chat.ask("first")
        first = chat.session.conversation.id
        await chat.send("/preset greedy")
        await chat.press("ctrl+n")
        await chat.send("/preset creative")
        await chat.until(lambda: shown(chat) == "creative")
        chat.session.open(first)
        await chat.app.chat_screen.after_operation()
        assert shown(chat) == "greedy"
