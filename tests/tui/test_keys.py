"""Keys that a person has set: which can be, what they do wherever the focus is, and that the screen says so."""

from __future__ import annotations

import random
from typing import Any

import pytest
from textual.dom import DOMNode
from textual.events import Key
from textual.widgets import Input, Static

from llamachat.chat.conversation import Status
from llamachat.chat.session import ChatSession
from llamachat.display import clean_line
from llamachat.tui.chat_screen import ChatScreen
from llamachat.tui.dialogs import ConfirmScreen, EditScreen, ModelFileScreen
from llamachat.tui.first_run import FirstRunScreen
from llamachat.tui.help_screen import HelpScreen, own_bindings
from llamachat.tui.key_names import read_key
from llamachat.tui.key_table import BINDINGS, KINDS, check, keys_of_all
from llamachat.tui.keys import key_name, key_word
from llamachat.tui.message_view import MessageView
from llamachat.tui.palette import PaletteScreen
from llamachat.tui.parameter_row import ParameterRow
from llamachat.tui.preset_row import PresetRow
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


# ---- names -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "key"),
    [("ctrl+f", "ctrl+f"), ("^f", "ctrl+f"), ("Ctrl + F", "ctrl+f"), ("F1", "f1"), ("?", "question_mark"),
     ("esc", "escape"), ("pgup", "pageup"), ("⌫", "backspace"), ("shift+alt+x", "alt+shift+x"), ("shift+a", "A"),
     ("A", "A"), ("alt+A", "alt+a"), ("+", "plus"), ("ctrl++", "ctrl+plus"), ("^]", "ctrl+right_square_bracket"),
     ("é", "é"), ("space", "space"), ("control+cmd+option+up", "alt+ctrl+super+up"), ("return", "enter")],
)  # fmt: skip
def test_keys_are_read_in_every_way_in_which_they_are_written(written: str, key: str) -> None:
    assert read_key(written) == (key,)


def test_control_space_is_both_that_terminals_make_of_it() -> None:
    assert read_key("ctrl+space") == read_key("^@") == ("ctrl+space", "ctrl+@")


@pytest.mark.parametrize(
    "written",
    ["", "ctrl-f", "ctrl+", "+ctrl", "ctrl+nope", "f99", "ab", "a b", "\x1b", "\x00", "\ud800", "<none>", "<any>", "++",
     "left_shift", "ctrl-at", "shift+", "👍🏽"],
)  # fmt: skip
def test_what_is_no_key_is_refused(written: str) -> None:
    with pytest.raises(ValueError, match="no key"):
        read_key(written)


@pytest.mark.parametrize("key", ["ctrl+f", "f1", "question_mark", "alt+shift+x", "ctrl+right_square_bracket", "é", "A"])
def test_a_key_as_it_is_shown_is_read_again(key: str) -> None:
    assert read_key(key_name(key)) == read_key(key_word(key)) == read_key(key) == (key,)


# ---- the table ---------------------------------------------------------------------


def test_every_binding_of_the_screen_is_in_the_table_once() -> None:
    def below(kind: type[DOMNode]) -> set[type[DOMNode]]:
        return {kind}.union(*map(below, kind.__subclasses__()))

    ours = [kind for kind in below(DOMNode) if kind.__module__.startswith("llamachat.")]
    declared = [binding.id for kind in ours for binding in kind.__dict__.get("BINDINGS", ())]
    assert None not in declared
    assert sorted(declared) == sorted(BINDINGS)
    assert {one.id for kind in KINDS for one in own_bindings(kind)} == set(BINDINGS)
    assert all(binding.description for binding in BINDINGS.values())


def test_what_comes_with_the_program_can_be_written_down() -> None:
    own = keys_of_all()
    assert all(own.values())
    checked = check({name: ",".join(keys) for name, keys in own.items()})
    assert checked.problems == []
    assert keys_of_all(checked.keys) == own


@pytest.mark.parametrize(
    ("wanted", "now"),
    [
        ({"chat.new": "ctrl+f", "message.tokens": "t,p"}, {"chat.new": ["ctrl+f"], "message.tokens": ["t", "p"]}),
        ({"message.copy": "t", "message.tokens": "c"}, {"message.copy": ["t"], "message.tokens": ["c"]}),
        ({"composer.send": "ctrl+s", "composer.newline": "enter"}, {"composer.newline": ["enter"]}),
        ({"app.quit": "ctrl+x", "chat.new": "ctrl+q"}, {"app.quit": ["ctrl+x"], "chat.new": ["ctrl+q"]}),
        ({"chat.new": " ^F ,, F7 "}, {"chat.new": ["ctrl+f", "f7"]}),
        ({"chat.new": " "}, {"chat.new": []}),
        ({"chat.escape": "esc,ctrl+l"}, {"chat.escape": ["escape", "ctrl+l"]}),
        ({"message.copy": "f5", "chat.new": "f5"}, {"message.copy": ["f5"], "chat.new": ["f5"]}),
        # what closes with the key that opens it goes along, unless that key has another meaning there
        ({"chat.palette": "ctrl+k"}, {"palette.close": ["ctrl+k"]}),
        ({"message.tokens": "v"}, {"tokens.close": ["escape", "q", "v"]}),
        ({"message.tokens": "p"}, {"tokens.close": ["escape", "q"], "tokens.previous-doubtful": ["shift+tab", "p"]}),
        ({"chat.palette": "ctrl+k", "palette.close": "ctrl+l"}, {"palette.close": ["ctrl+l"]}),
    ],
)  # fmt: skip
def test_keys_are_set(wanted: dict[str, str], now: dict[str, list[str]]) -> None:
    checked = check(wanted)
    assert checked.problems == []
    assert checked.notice == ""
    assert {name: keys_of_all(checked.keys)[name] for name in now} == now


@pytest.mark.parametrize(
    ("wanted", "problem"),
    [
        ({"chat.nwe": "ctrl+f"}, 'there is no "chat.nwe" (chat.new?)'),
        ({"zzz": "ctrl+f"}, 'there is no "zzz"'),
        ({"chat.new": "ctrl-f"}, 'chat.new: no key is called "ctrl-f"'),
        ({"chat.new": "escape"}, "chat.new: escape stays as it is"),
        ({"chat.new": "enter"}, "chat.new: enter stays as it is"),
        ({"confirm.yes": "enter"}, "confirm.yes: enter stays as it is"),
        ({"chats.rename": "enter"}, "chats.rename: enter stays as it is"),
        ({"chat.new": "n"}, "chat.new: n is needed to write"),
        ({"chat.new": ","}, "chat.new: , is needed to write"),
        ({"chat.new": "space"}, "chat.new: space is needed to write"),
        ({"chat.new": "up"}, "chat.new: up is needed to write"),
        ({"composer.send": "backspace"}, "composer.send: backspace is needed to write"),
        ({"edit.save": "s"}, "edit.save: s is needed to write"),
        ({"rows.down": "j"}, "rows.down: j is needed to write"),
        ({"value.more": "m"}, "value.more: m is needed to write"),
        ({"app.quit": "q"}, "app.quit: q is needed to write"),
        ({"chat.new": "ctrl+q"}, "chat.new: ctrl+q quits"),
    ],
)
def test_what_cannot_be_is_told_and_changes_nothing(wanted: dict[str, str], problem: str) -> None:
    checked = check(wanted)
    assert checked.problems == [problem]
    assert keys_of_all(checked.keys) == keys_of_all()


@pytest.mark.parametrize(
    ("wanted", "problem", "now"),
    [
        ({"message.copy": "t"}, "t is message.copy now, message.tokens has no key", {"message.tokens": []}),
        ({"message.copy": "k"}, "k is message.copy now, not message.up", {"message.up": ["up"]}),
        ({"composer.newline": "enter"}, "enter is composer.newline now, composer.send has no key",
         {"composer.send": []}),
        ({"chat.new": "f2"}, "f2 is chat.new now, chats.rename has no key", {"chats.rename": []}),
        ({"app.quit": "ctrl+n"}, "ctrl+n is app.quit now, chat.new has no key", {"chat.new": []}),
        ({"message.copy": "z", "message.edit": "z,f5"}, "message.edit: z is set for message.copy",
         {"message.copy": ["z"], "message.edit": ["f5"]}),
        ({"message.copy": "z", "message.edit": "z"}, "message.edit: z is set for message.copy",
         {"message.edit": ["e"]}),
        ({"message.leave": "f5"}, "message.leave: escape stays", {"message.leave": ["escape", "f5"]}),
        ({"rows.choose": "f5"}, "rows.choose: enter stays", {"rows.choose": ["enter", "f5"]}),
        ({"help.close": ""}, "help.close: enter stays", {"help.close": ["enter"]}),
    ],
)  # fmt: skip
def test_keys_that_others_have(wanted: dict[str, str], problem: str, now: dict[str, list[str]]) -> None:
    checked = check(wanted)
    assert checked.problems == [problem]
    assert {name: keys_of_all(checked.keys)[name] for name in now} == now


def test_a_long_list_of_problems_fits_under_the_composer() -> None:
    checked = check({f"nothing.{n}": "x" for n in range(30)})
    assert len(checked.problems) == 30
    assert checked.notice.startswith('there is no "nothing.0"')
    assert checked.notice.endswith("more: llamachat config --keys")
    assert len(checked.notice) <= 130


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


# ---- what the screen says ----------------------------------------------------------

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


async def test_nothing_that_can_be_written_into_the_table_harms() -> None:
    dice = random.Random(5)
    ids = [*BINDINGS, "", "chat", "[/nope]", "\x1b[31m", "a" * 60]
    texts = ["", ",", ",,", "t,,p", "<none>", "ctrl+", "[bold]", "\x1b[2J", "a" * 100, "escape", "enter", "ctrl+q",
             "f5", "tab", "t", "up", "ctrl+@", "\ud800", "ﬁ", "ctrl+c", "^", "^^", "+"]  # fmt: skip
    for _ in range(200):
        wanted = {
            dice.choice(ids): ",".join(dice.sample(texts, dice.randint(1, 4))) for _ in range(dice.randint(1, 30))
        }
        checked = check(wanted)
        now = keys_of_all(checked.keys)
        for name, keys in keys_of_all().items():
            assert "escape" not in keys or "escape" in now[name] or not wanted.get(name, " ").strip()
        assert all(clean_line(key) == key for keys in now.values() for key in keys)
        assert all(clean_line(problem, 1000) == problem for problem in checked.problems)
    async with open_chat([ANSWER], app_options={"keys": {name: dice.choice(texts) for name in ids}}) as chat:
        await chat.paste("Hello")
        for name in BINDINGS:
            await chat.press(*keys_of_all()[name][:1])
            if not chat.app.is_running:
                break
