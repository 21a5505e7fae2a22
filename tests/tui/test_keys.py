"""Keys that a person has set do what they are set for, wherever the focus is."""

from __future__ import annotations

from typing import Any

import pytest
from textual.events import Key
from textual.widgets import Input

from llamachat.tui.chat_screen import ChatScreen
from llamachat.tui.dialogs import ConfirmScreen, EditScreen, ModelFileScreen
from llamachat.tui.help_screen import HelpScreen
from llamachat.tui.key_table import BINDINGS, keys_of_all
from llamachat.tui.message_view import MessageView
from llamachat.tui.palette import PaletteScreen
from llamachat.tui.parameter_row import ParameterRow
from llamachat.tui.session_pane import SessionList
from llamachat.tui.token_screen import TokenScreen
from llamachat.tui.token_text import TokenText
from tests.support.chat_app import Chat, open_chat

ANSWER = "One two three"


def with_keys(**keys: str) -> dict[str, Any]:
    """Options of :func:`open_chat`; ``chat_new`` stands for ``chat.new``."""
    return {"app_options": {"keys": {name.replace("__", "-").replace("_", ".", 1): key for name, key in keys.items()}}}


def burst(chat: Chat, *keys: str) -> None:
    """Keys typed faster than the screen is drawn."""
    driver = chat.app._driver
    assert driver is not None
    for key in keys:
        driver.send_message(Key(key, key if len(key) == 1 else None))


# ---- keys of the whole chat --------------------------------------------------------


@pytest.mark.parametrize("place", ["composer", "message", "chats", "sampling"])
async def test_a_key_works_wherever_the_focus_is_and_the_old_one_does_not(place: str) -> None:
    keys = with_keys(chat_new="f6", chat_palette="ctrl+w", chat_again="alt+n", chat_help="")
    async with open_chat([ANSWER], **keys) as chat:

        async def go() -> None:
            await chat.ask("Hello")
            where = {"message": "alt+up", "chats": "ctrl+b", "sampling": "ctrl+t"}
            if place in where:
                await chat.press(where[place])
            kinds = {"message": MessageView, "chats": SessionList, "sampling": ParameterRow}
            assert isinstance(chat.app.focused, kinds.get(place, type(chat.composer)))

        await go()
        await chat.press("ctrl+n", "ctrl+p", "ctrl+r", "f1")
        assert isinstance(chat.app.screen, ChatScreen)
        assert [message.text for message in chat.path] == ["Hello", ANSWER]
        await chat.press("ctrl+w")  # a word less, if the text area had it
        assert isinstance(chat.app.screen, PaletteScreen)
        await chat.press("ctrl+w")
        assert isinstance(chat.app.screen, ChatScreen)
        burst(chat, "alt+n")
        await chat.until(lambda: len(chat.session.conversation.children(chat.path[0])) == 2)
        await chat.settle()
        await chat.press("f6")
        await chat.until(lambda: not chat.path)


async def test_a_letter_that_a_terminal_tells_with_alt_is_not_typed() -> None:
    async with open_chat(**with_keys(chat_palette="alt+p")) as chat:
        driver = chat.app._driver
        assert driver is not None
        driver.send_message(Key("alt+p", "p"))
        await chat.until(lambda: isinstance(chat.app.screen, PaletteScreen))
        assert chat.composer.text == ""


async def test_what_is_written_stays_where_a_key_of_the_text_area_is_given_away() -> None:
    async with open_chat(**with_keys(chat_palette="ctrl+w")) as chat:
        await chat.paste("two words")
        await chat.press("ctrl+w")
        assert isinstance(chat.app.screen, PaletteScreen)
        await chat.press("escape")
        assert chat.composer.text == "two words"


async def test_another_key_quits_wherever_the_focus_is() -> None:
    async with open_chat(**with_keys(app_quit="ctrl+x")) as chat:
        await chat.press("ctrl+q")
        assert chat.app.is_running
        await chat.press("ctrl+c")
        await chat.until(lambda: "^x quits" in chat.status)
        await chat.press("f1")
        assert isinstance(chat.app.screen, HelpScreen)
        burst(chat, "ctrl+x")
        await chat.until(lambda: chat.app._exit)


async def test_a_control_c_that_means_nothing_says_how_to_quit() -> None:
    async with open_chat(**with_keys(chat_interrupt="ctrl+l")) as chat:
        await chat.press("ctrl+c")
        await chat.until(lambda: "^q quits" in chat.status)
        assert "Press" not in chat.text  # Textual's own box


async def test_escape_closes_whatever_else_is_set() -> None:
    keys = {name: "f9" for name in BINDINGS if "escape" in keys_of_all()[name]} | {"chat.new": "escape"}
    async with open_chat([ANSWER], app_options={"keys": keys}) as chat:
        await chat.ask("Hello")
        for opened in ("ctrl+p", "f1", "ctrl+o"):
            await chat.press(opened)
            assert not isinstance(chat.app.screen, ChatScreen)
            await chat.press("escape")
            assert isinstance(chat.app.screen, ChatScreen)
        for opened in ("alt+up", "ctrl+b", "ctrl+t"):
            await chat.press(opened)
            assert chat.app.focused is not chat.composer
            await chat.press("escape")
            assert chat.app.focused is chat.composer
        await chat.press("ctrl+b", "x", "escape")  # first the list's own
        assert isinstance(chat.app.focused, SessionList)
        assert chat.app.focused.filter_text == ""


# ---- keys of one widget ------------------------------------------------------------


async def test_keys_of_a_message() -> None:
    async with open_chat([ANSWER], **with_keys(message_tokens="v,p", message_edit="f6", message_up="u")) as chat:
        await chat.ask("Hello")
        await chat.press("alt+up", "t", "e", "up")
        assert isinstance(chat.app.screen, ChatScreen)
        assert chat.focused_message is chat.path[-1]
        for key in "pv":
            await chat.press(key)
            await chat.until(lambda: isinstance(chat.app.screen, TokenScreen) and chat.app.screen.query(TokenText))
            await chat.press("escape")
        await chat.press("u")
        assert chat.focused_message is chat.path[0]
        await chat.press("f6")
        assert chat.composer.text == "Hello"


async def test_another_key_sends_and_enter_makes_a_line() -> None:
    keys = with_keys(composer_send="ctrl+s", composer_newline="enter")
    async with open_chat(**keys) as chat:
        burst(chat, *"ab", "backspace", *"c", "enter", *"dx", "backspace", "ctrl+s", *"next", "left", *"y", "ctrl+j")
        await chat.until(lambda: chat.path and chat.composer.text == "nexyt")
        await chat.settle()
        assert chat.path[0].text == "ac\nd"


@pytest.mark.parametrize("key", ["enter", "ctrl+s"])
async def test_enter_takes_a_proposal_whatever_else_it_does(key: str) -> None:
    async with open_chat(**with_keys(composer_send="ctrl+s", composer_newline="enter")) as chat:
        await chat.press("slash", *"theme pap")
        await chat.until(lambda: "/theme paper" in chat.text)
        await chat.press(key)
        await chat.until(lambda: chat.app.theme == "paper")
        assert chat.composer.text == ""


async def test_where_nothing_sends_enter_makes_no_line() -> None:
    async with open_chat(**with_keys(composer_send="")) as chat:
        await chat.press("a", "enter", "b")
        assert chat.composer.text == "ab"
        assert chat.path == []


async def test_enter_with_shift_of_xterm_is_a_key_like_others() -> None:
    keys = with_keys(composer_send="shift+enter,ctrl+enter", composer_newline="enter")
    for key in ("shift+\r", "ctrl+\r", "shift+enter"):
        async with open_chat(**keys) as chat:
            await chat.press("a", "enter", "b", key)
            await chat.until(lambda: chat.path and chat.path[0].text == "a\nb")


async def test_a_key_given_to_something_else_keeps_its_order_where_it_is_typed() -> None:
    async with open_chat(**with_keys(message_copy="ctrl+u")) as chat:
        burst(chat, *"abc", "ctrl+u", *"def")
        await chat.until(lambda: chat.composer.text == "def")


async def test_what_is_sent_and_what_a_set_key_does_come_in_the_order_of_typing() -> None:
    async with open_chat(["Four"], **with_keys(chat_new="ctrl+k", composer_send="f6")) as chat:
        burst(chat, *"this", "f6", "ctrl+k", *"that", "f6")
        await chat.until(lambda: [message.text for message in chat.path] == ["that", "Four"])
        assert {one.title for one in chat.session.sessions()} == {"this", "that"}


async def test_keys_of_the_panes() -> None:
    keys = with_keys(chats_rename="f8", rows_down="ctrl+d", panes_chats="f7", value_more="ctrl+e", value_commit="f9")
    async with open_chat([ANSWER], **keys) as chat:
        for question in ("one", "two"):
            await chat.ask(question)
            await chat.press("ctrl+n")
        await chat.press("f7")
        rows = chat.one(SessionList)
        assert chat.app.focused is rows
        before = rows.cursor
        await chat.press("down")
        assert rows.cursor == before
        await chat.press("ctrl+d", "f2")
        assert rows.cursor > before
        assert chat.app.focused is rows
        await chat.press("f8")
        assert isinstance(chat.app.focused, Input)
        await chat.press("escape", "ctrl+t")
        value = chat.session.settings.temperature
        await chat.press("right")
        assert chat.session.settings.temperature == value
        await chat.press("ctrl+e")
        assert chat.session.settings.temperature > value
        await chat.press("1", "enter")
        assert chat.session.settings.temperature != 1
        await chat.press("f9")
        assert chat.session.settings.temperature == 1


async def test_keys_of_dialogs() -> None:
    keys = with_keys(confirm_yes="j", edit_save="ctrl+k", file_complete="ctrl+d")
    async with open_chat([ANSWER], **keys) as chat:
        await chat.ask("Hello")
        await chat.press("alt+up", "delete")
        assert isinstance(chat.app.screen, ConfirmScreen)
        assert "j yes   n no" in chat.text
        await chat.press("y")
        assert isinstance(chat.app.screen, ConfirmScreen)
        await chat.press("j")
        await chat.until(lambda: len(chat.path) == 1)
        await chat.press("ctrl+o")
        assert isinstance(chat.app.screen, ModelFileScreen)
        assert "enter open   ^d complete   esc cancel" in chat.text
        await chat.press("z", "z", "home", "ctrl+d")  # for the field it would be Delete
        await chat.until(lambda: "no folder and no model file begins like this" in chat.text)
        await chat.press("escape")
        await chat.send("/system")
        await chat.until(lambda: isinstance(chat.app.screen, EditScreen))
        assert "^k save" in chat.text
        await chat.paste("Be brief.")
        await chat.press("home", "ctrl+s", "ctrl+k")  # for the text it would be: delete the line
        await chat.until(lambda: chat.session.conversation.system == "Be brief.")


async def test_keys_of_the_tokens() -> None:
    keys = {"tokens.take-2": "alt+b", "tokens.next-doubtful": "d", "tokens.right": "f,right"}
    async with open_chat(["One two three"], app_options={"keys": keys}) as chat:
        await chat.ask("Count")
        await chat.press("alt+up", "t")
        await chat.until(lambda: "esc close" in chat.lines[-1] + chat.lines[-2] and "%" in chat.text)
        assert "← f token   d doubtful   1 … go on with it" in chat.text
        rows = [line for line in chat.lines if "%" in line and "below" not in line]
        assert " 1 " in rows[0]
        assert "alt+b " in rows[1]
        await chat.press("2", "l", "f")
        assert chat.one(TokenText).cursor == 1
        await chat.press("alt+b")
        await chat.until(lambda: isinstance(chat.app.screen, ChatScreen))
        await chat.until(lambda: len(chat.session.conversation.children(chat.path[0])) == 2)
