"""Every hint on the screen names the key that is in force."""

from __future__ import annotations

import pytest
from textual.widgets import Static

from llamachat.chat.conversation import Status
from llamachat.chat.session import ChatSession
from llamachat.tui.chat_screen import ChatScreen
from llamachat.tui.first_run import FirstRunScreen
from llamachat.tui.help_screen import HelpScreen
from llamachat.tui.preset_row import PresetRow
from tests.support.chat_app import open_chat

ANSWER = "One two three"


SET = {
    "app.quit": "ctrl+x", "chat.palette": "f5", "chat.help": "f6", "chat.open-model": "f7", "chat.again": "f8",
    "chat.go-on": "f9", "chat.new": "f10", "panes.chats": "f11", "panes.sampling": "f12", "composer.send": "alt+s",
    "composer.newline": "ctrl+l", "message.edit": "m", "message.copy": "n", "message.again": "o", "message.tokens": "p",
    "message.go-on": "q", "chats.rename": "ctrl+r", "chats.delete": "ctrl+d", "value.less": "ctrl+left",
    "value.more": "ctrl+right", "preset.surer": "ctrl+up", "preset.wilder": "ctrl+down", "value.default": "ctrl+k",
    "composer.delete-line": "ctrl+k", "composer.undo": "alt+u",
    "composer.complete": "ctrl+e", "first-run.open": "f", "first-run.fetch": "g", "first-run.quit": "x",
}  # fmt: skip


async def test_every_hint_of_the_chat_names_the_key_in_force() -> None:
    async with open_chat(["One two three four"], size=(160, 40), gated=True, app_options={"keys": SET}) as chat:
        assert chat.trouble == ""
        assert "F5 commands   F11 chats   F12 sampling   F6 help" in chat.text
        assert "F6 help   F5 commands" in chat.status
        assert "Ask anything. Alt+s sends, ^l new line, / commands" in chat.text
        assert "F10 new chat" in chat.text
        await chat.paste("Count")
        await chat.press("alt+s")
        await chat.until(lambda: "reading prompt" in chat.status)
        await chat.press("escape")
        await chat.until(lambda: "no answer yet · F8 asks for one" in chat.text)
        chat.engine.release(5)
        await chat.press("f8")
        await chat.until(lambda: "One two" in chat.text)
        await chat.press("escape")
        await chat.until(lambda: chat.path[-1].status is Status.STOPPED)
        await chat.settle()
        assert "stopped · F9 goes on" in chat.text
        await chat.press("alt+up")
        assert "m edit   n copy   o again   p tokens   q go on" in chat.status
        assert "m edit  n copy  o again  p tokens  q go on" in chat.text
        await chat.press("m", "x")
        assert "alt+s saves it" in chat.trouble
        await chat.press("escape")
        assert "Changed: alt+s saves it" in chat.trouble
        await chat.press("escape", "f11")
        assert "enter open   ^r rename   ^d delete" in chat.status
        await chat.press("f12")
        assert "^← ^→ turn" in chat.status
        assert "^k default" in chat.status
        await chat.press("ctrl+right")
        chat.one(PresetRow).focus()
        await chat.until(lambda: "^↑ ^↓ turn   enter list   ^k reset" in chat.status)
        told = chat.app.screen.query_one("#parameter-help", Static)
        await chat.until(lambda: "no preset's: ^↑ ^↓ go to" in str(told.content))
        await chat.press("escape", "ctrl+c")
        await chat.until(lambda: "^x quits" in chat.status)


async def test_a_text_that_waits_says_which_keys_take_it_away() -> None:
    def prepare(session: ChatSession) -> None:
        session.save_draft("long " * 2000)

    async with open_chat(prepare=prepare, app_options={"keys": SET}) as chat:
        assert "not sent: ^k takes them out, alt+u back in" in chat.trouble
        await chat.press("ctrl+k")
        assert chat.composer.text == ""
        await chat.press("alt+u")
        assert chat.composer.prompt == "long " * 2000


async def test_without_a_model_the_keys_in_force_are_named() -> None:
    async with open_chat(loaded=False, source=None, app_options={"keys": SET}) as chat:
        assert isinstance(chat.app.screen, FirstRunScreen)
        assert any(line.split()[:2] == ["f", "open"] for line in chat.lines)
        assert any(line.split()[:2] == ["x", "quit"] for line in chat.lines)
        await chat.press("escape")
        assert "F7 chooses one, /pull fetches a small one" in chat.text
        await chat.paste("Hello")
        await chat.press("alt+s")
        await chat.until(lambda: "F7 opens a file" in chat.trouble)


async def test_what_has_no_key_is_named_by_its_command_or_not_at_all() -> None:
    none = dict.fromkeys(SET, "")
    async with open_chat(["One two three four"], gated=True, app_options={"keys": none}) as chat:
        assert chat.trouble == ""
        assert "Ask anything. / commands" in chat.text
        assert " new chat" not in chat.text
        await chat.press("ctrl+c")
        await chat.until(lambda: "/quit quits" in chat.status)
        chat.session.send("Count")
        await chat.app.chat_screen.after_operation()
        await chat.press("escape")
        await chat.until(lambda: "no answer yet · /regenerate asks for one" in chat.text)
        await chat.press("alt+up")
        assert "edit" not in chat.status


@pytest.mark.parametrize("size", [(60, 15), (120, 40)])
async def test_help_tells_the_keys_in_force(size: tuple[int, int]) -> None:
    async with open_chat(size=size, app_options={"keys": SET | {"message.copy": ""}}) as chat:
        await chat.press("f1")
        assert isinstance(chat.app.screen, ChatScreen)
        await chat.press("f6")
        assert isinstance(chat.app.screen, HelpScreen)
        text = " ".join(str(part.content) for part in chat.app.screen.query(".part").results(Static))
        told = " ".join(text.split())
        for words in (
            "Alt+S sends (", "; Ctrl+L makes a new line.", "Ctrl+E completes it", "F10 New chat", "^x Quit",
            "p Its tokens", "Ctrl+R renames it in place, Ctrl+D deletes it", "Ctrl+Left and Ctrl+Right turn the value",
            "Ctrl+K returns to the default", "^e Complete a command",
        ):  # fmt: skip
            assert words in told
        for gone in ("^p", "^n", "^q", "F2", "^j", "Copy the message", "{"):
            assert gone not in told
        await chat.press("f6")
        assert isinstance(chat.app.screen, ChatScreen)


async def test_what_could_not_be_done_is_told_at_the_start() -> None:
    keys = {"chat.nwe": "ctrl+f", "message.copy": "t", "chat.again": "\x1b]52;c;eA==\x07"}
    async with open_chat(size=(60, 15), app_options={"keys": keys}) as chat:
        assert chat.trouble.startswith('Keys: there is no "chat.nwe" (chat.new?) · ')
        assert "llamachat config --keys" in " ".join("".join(chat.lines[-5:]).split())
        assert "\x1b" not in chat.text
        await chat.press("escape")
        assert chat.trouble == ""
