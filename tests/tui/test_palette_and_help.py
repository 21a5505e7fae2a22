"""The palette offers every command, theme and chat; F1 tells every key, from the bindings themselves."""

from __future__ import annotations

import pytest
from textual.binding import Binding
from textual.widgets import Static

from llamachat.chat.commands import COMMANDS
from llamachat.tui.chat_screen import ChatScreen
from llamachat.tui.composer import Composer
from llamachat.tui.help_screen import HelpScreen, own_bindings
from llamachat.tui.keys import key_name
from llamachat.tui.message_view import MessageView
from llamachat.tui.palette import PaletteScreen
from llamachat.tui.parameter_row import ParameterRow
from llamachat.tui.preset_row import PresetRow
from llamachat.tui.row_list import RowList
from llamachat.tui.session_pane import SessionList
from tests.support.chat_app import Chat, open_chat

KINDS = (ChatScreen, Composer, MessageView, SessionList, ParameterRow, PresetRow)


def labels(chat: Chat) -> list[str]:
    return [row.label for row in chat.one(RowList).rows if row.key]


async def test_everything_is_in_the_palette() -> None:
    async with open_chat() as chat:
        await chat.ask("All about cats")
        await chat.press("ctrl+p")
        shown = labels(chat)
        for command in COMMANDS:
            assert (command.usage in shown) == command.available(chat.session), command.name
        assert {"theme dusk", "theme moss", "theme paper", "theme contrast", "All about cats"} <= set(shown)
        assert {"preset greedy", "preset precise", "preset balanced", "preset creative"} <= set(shown)


async def test_what_is_typed_finds_and_enter_runs() -> None:
    async with open_chat() as chat:
        await chat.press("ctrl+p", *"paper")
        await chat.until(lambda: labels(chat)[:1] == ["theme paper"])
        await chat.press("enter")
        await chat.until(lambda: chat.app.theme == "paper")
        assert not isinstance(chat.app.screen, PaletteScreen)
        assert chat.app.focused is chat.composer


async def test_letters_strewn_about_find_too_and_nothing_says_so() -> None:
    async with open_chat() as chat:
        await chat.press("ctrl+p", *"rgnrt")
        await chat.until(lambda: not any(label.startswith("/new") for label in labels(chat)))
        await chat.press(*"zzzz")
        await chat.until(lambda: "nothing found" in chat.text)
        await chat.press("enter")
        assert isinstance(chat.app.screen, PaletteScreen)
        await chat.press("escape")
        assert isinstance(chat.app.screen, ChatScreen)


async def test_what_a_command_does_finds_it_too() -> None:
    async with open_chat() as chat:
        await chat.ask("Hello")
        await chat.press("ctrl+p", *"branch")
        await chat.until(lambda: "/edit [TEXT]" in labels(chat)[:2])


async def test_a_chat_is_opened_from_the_palette() -> None:
    async with open_chat(["Answer one.", "Answer two."]) as chat:
        await chat.ask("All about cats")
        await chat.press("ctrl+n")
        await chat.ask("All about dogs")
        await chat.press("ctrl+p", *"cats", "enter")
        await chat.until(lambda: "Answer one." in chat.text)


async def test_a_command_that_needs_more_is_begun_in_the_composer() -> None:
    async with open_chat() as chat:
        await chat.press("ctrl+p", *"set name", "enter")
        await chat.until(lambda: chat.composer.text == "/set ")
        assert chat.app.focused is chat.composer


async def test_a_longer_answer_of_a_command_is_read_over_the_chat() -> None:
    async with open_chat() as chat:
        await chat.send("/params")
        await chat.until(lambda: "temperature" in chat.text.lower() and "esc close" in chat.text)
        await chat.press("escape")
        assert isinstance(chat.app.screen, ChatScreen)


async def test_the_system_prompt_is_edited_in_a_box() -> None:
    async with open_chat() as chat:
        await chat.send("/system")
        await chat.until(lambda: "^s save" in chat.text)
        await chat.paste("Be brief.\nAlways.")
        await chat.press("ctrl+s")
        await chat.until(lambda: chat.session.conversation.system == "Be brief.\nAlways.")


# ---- help ------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_every_binding_has_an_id_and_words(kind: type) -> None:
    own = [entry for entry in kind.__dict__["BINDINGS"] if isinstance(entry, Binding)]
    assert own
    assert all(entry.id and entry.description for entry in own)
    assert kind is ChatScreen or kind.__dict__["HELP"].strip()


def test_no_id_is_used_twice() -> None:
    ids = [entry.id for kind in KINDS for entry in kind.__dict__["BINDINGS"] if isinstance(entry, Binding)]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize(
    ("key", "name"),
    [("ctrl+p", "^p"), ("f1", "F1"), ("shift+enter", "shift+enter"), ("up", "↑"), ("ctrl+up", "^↑")],
)
def test_keys_have_names(key: str, name: str) -> None:
    assert key_name(key) == name


@pytest.mark.parametrize("size", [(60, 15), (120, 40)])
async def test_help_tells_every_key_and_command_with_the_focused_widget_first(size: tuple[int, int]) -> None:
    async with open_chat(size=size) as chat:
        await chat.press("f1")
        await chat.until(lambda: isinstance(chat.app.screen, HelpScreen))
        assert "Write here." in chat.text
        parts = [" ".join(str(part.content).split()) for part in chat.app.screen.query(".part").results(Static)]
        assert parts[0].startswith("Composer")
        text = " ".join(parts)
        for kind in KINDS:
            for binding in own_bindings(kind):
                assert binding.description in text
                assert all(key_name(key) in text for key in binding.key.split(","))
        for command in COMMANDS:
            assert command.usage in text
            assert command.help in text
        top = chat.lines
        await chat.press("pagedown")
        assert chat.lines != top  # it scrolls
        assert max(map(len, top)) <= size[0]
        await chat.press("escape")
        assert isinstance(chat.app.screen, ChatScreen)


async def test_help_begins_with_the_pane_one_is_in() -> None:
    async with open_chat() as chat:
        await chat.press("ctrl+t", "f1")
        await chat.until(lambda: isinstance(chat.app.screen, HelpScreen))
        assert "Left and Right turn the value" in chat.text
        first = chat.app.screen.query(".part").results(Static).__next__()
        assert str(first.content).startswith("Sampling")


@pytest.mark.parametrize("key", ["ctrl+p", "f1"])
@pytest.mark.parametrize("times", [2, 3])
async def test_a_key_that_is_held_opens_and_closes(key: str, times: int) -> None:
    async with open_chat(["One two three."]) as chat:
        chat.hold(key, times)
        await chat.settle()
        await chat.pilot.pause()
        assert len(chat.app.screen_stack) <= 2
        await chat.press("escape")
        assert chat.app.chat_screen.is_active


async def test_enter_that_is_held_chooses_one_entry() -> None:
    async with open_chat(["One two three."]) as chat:
        await chat.ask("count")
        await chat.press("ctrl+p")
        await chat.paste("params")
        chat.hold("enter", 4)
        await chat.until(lambda: not isinstance(chat.app.screen, PaletteScreen))
        await chat.settle()
        assert chat.app.chat_screen in chat.app.screen_stack
        assert len(chat.app.screen_stack) <= 2
