"""Writing: keys, growth, pastes, history, commands, drafts."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual._xterm_parser import XTermParser
from textual.events import Key

from llamachat.tui.composer import MAX_LINES
from llamachat.tui.composer_pane import ComposerPane
from llamachat.tui.prompt_text import PromptHistory
from llamachat.tui.row_list import RowList
from llamachat.tui.terminal_keys import teach_alt_enter
from tests.support.chat_app import Chat, open_chat


@pytest.mark.parametrize("key", ["ctrl+j", "alt+enter", "shift+enter"])
async def test_keys_for_a_new_line(key: str) -> None:
    async with open_chat() as chat:
        await chat.press("a", key, "b")
        assert chat.composer.text == "a\nb"
        assert chat.path == []
        await chat.press("enter")
        await chat.until(lambda: chat.path)
        assert chat.path[0].text == "a\nb"


@pytest.mark.parametrize(
    ("sent", "key"),
    [("\x1b\r", "alt+enter"), ("\x1b\n", "alt+enter"), ("\x1b[13;2u", "shift+enter"), ("\x1b[13;3u", "alt+enter"),
     ("\x1b[27;2;13~", "shift+\r"), ("\n", "ctrl+j"), ("\r", "enter")],
)  # fmt: skip
def test_what_terminals_send_for_these_keys(sent: str, key: str) -> None:
    teach_alt_enter()
    parser = XTermParser()
    assert [event.key for event in parser.feed(sent) if isinstance(event, Key)] == [key]


async def test_shift_enter_of_xterm_makes_a_new_line() -> None:
    async with open_chat() as chat:
        await chat.press("a", "shift+\r", "b")
        assert chat.composer.text == "a\nb"


async def test_keys_typed_faster_than_the_screen_is_drawn_keep_their_order() -> None:
    async with open_chat() as chat:
        driver = chat.app._driver
        assert driver is not None
        for key in [*"ab", "backspace", *"c", "ctrl+j", *"dx", "backspace", "enter", *"next", "left", *"y"]:
            driver.send_message(Key(key, key if len(key) == 1 else None))
        await chat.until(lambda: chat.path and chat.composer.text == "nexyt")
        assert chat.path[0].text == "ac\nd"


async def test_what_is_sent_and_what_a_key_does_come_in_the_order_of_typing() -> None:
    async with open_chat(["Four"], gated=True) as chat:
        await chat.send("first")
        chat.engine.release(1)
        await chat.until(lambda: "reading prompt" in chat.status)
        driver = chat.app._driver
        assert driver is not None
        for key in ["ctrl+c", *"next", "enter"]:
            driver.send_message(Key(key, key if len(key) == 1 else None))
        await chat.until(lambda: [message.text for message in chat.path][:2] == ["first", "next"])
        chat.engine.release(100)
        await chat.until(lambda: chat.path[-1].text == "Four")
        for key in [*"this", "enter", "ctrl+n", *"that", "enter"]:
            driver.send_message(Key(key, key if len(key) == 1 else None))
        await chat.until(lambda: [message.text for message in chat.path] == ["that", "Four"])
        first = next(one for one in chat.session.sessions() if one.title == "first")
        assert [m.text for m in chat.session.store.load(first.id).path][:4] == ["first", "next", "Four", "this"]


async def test_a_refused_text_comes_back_before_what_was_typed_since() -> None:
    async with open_chat(n_ctx=100) as chat:
        driver = chat.app._driver
        assert driver is not None
        await chat.paste("word " * 3000)
        for key in ["enter", *"more"]:
            driver.send_message(Key(key, key if len(key) == 1 else None))
        await chat.until(lambda: chat.trouble)
        assert chat.composer.prompt == "word " * 3000 + "more"


async def test_the_next_key_replaces_a_refused_command() -> None:
    async with open_chat() as chat:
        await chat.send("/nonsense")
        await chat.until(lambda: "nonsense" in chat.trouble)
        assert chat.composer.selected_text == "/nonsense"
        await chat.press("right", "x")
        assert chat.composer.text == "/nonsensex"
        await chat.press("enter")
        await chat.until(lambda: "nonsensex" in chat.trouble)
        await chat.press("slash", *"th")
        assert chat.composer.text == "/th"


async def test_a_refused_command_is_in_the_history_where_something_was_typed_since() -> None:
    async with open_chat() as chat:
        driver = chat.app._driver
        assert driver is not None
        for key in ["slash", *"nonsense", "enter", *"more"]:
            driver.send_message(Key(key, "/" if key == "slash" else key if len(key) == 1 else None))
        await chat.until(lambda: "nonsense" in chat.trouble)
        assert chat.composer.text == "more"
        await chat.press("up")
        assert chat.composer.text == "/nonsense"
        await chat.press("down")
        assert chat.composer.text == "more"


async def test_a_command_completed_and_run_in_one_burst() -> None:
    async with open_chat() as chat:
        driver = chat.app._driver
        assert driver is not None
        for key in ["slash", *"the", "tab", *"pap", "enter"]:
            driver.send_message(Key(key, "/" if key == "slash" else key if len(key) == 1 else None))
        await chat.until(lambda: chat.app.theme == "paper")


async def test_blank_text_is_not_sent() -> None:
    async with open_chat() as chat:
        await chat.press("space", "ctrl+j", "enter")
        assert chat.path == []


async def test_it_grows_to_ten_lines_and_scrolls_beyond() -> None:
    async with open_chat() as chat:
        for lines in (1, 3, MAX_LINES, MAX_LINES + 15):
            chat.composer.show_prompt("\n".join(f"line {number}" for number in range(lines)))
            await chat.pilot.pause()
            assert chat.composer.size.height == min(lines, MAX_LINES)
        assert f"line {MAX_LINES + 14}" in chat.text  # the cursor's end is in sight


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
async def test_pasted_newlines_never_send(newline: str) -> None:
    async with open_chat() as chat:
        await chat.paste(newline.join(["one", "two", "three", ""]))
        assert chat.composer.text == "one\ntwo\nthree\n"
        assert chat.path == []


async def test_a_megabyte_is_folded_and_sent_whole() -> None:
    async with open_chat(n_ctx=600_000) as chat:
        text = "word " * 200_000
        await chat.press("a", "space")
        await chat.paste(text)
        assert chat.composer.text == "a [pasted #1: 1,000,000 characters]"
        assert "pasted #1" in chat.text
        await chat.press("enter")
        await chat.until(lambda: chat.path)
        assert chat.path[0].text == ("a " + text).rstrip()
        await chat.settle()
        assert chat.path[1].text == "Hello there."


async def test_a_message_too_long_for_the_context_stays_in_the_composer() -> None:
    async with open_chat(n_ctx=100) as chat:
        await chat.type("word " * 1000)
        await chat.press("enter")
        await chat.until(lambda: chat.trouble)
        assert "tokens" in chat.trouble
        assert chat.path == []
        assert chat.composer.prompt == "word " * 1000
        assert "tokens" in "\n".join(chat.lines[-6:])


def test_history_walks_and_gives_the_draft_back() -> None:
    history = PromptHistory()
    history.fill(["one", "two", "two", " "])
    assert history.earlier("draft") == "two"
    assert history.earlier("two") == "one"
    assert history.earlier("one") is None
    assert history.later() == "two"
    assert history.later() == "draft"
    assert history.later() is None


async def test_up_on_the_first_row_recalls_and_down_restores_the_draft() -> None:
    async with open_chat() as chat:
        await chat.ask("first question")
        await chat.ask("second question")
        await chat.type("a draft\nof two lines")
        await chat.press("up", "up")
        assert chat.composer.text == "second question"
        await chat.press("up")
        assert chat.composer.text == "first question"
        await chat.press("up")
        assert chat.composer.text == "first question"
        await chat.press("down")
        assert chat.composer.text == "second question"
        await chat.press("down")
        assert chat.composer.text == "a draft\nof two lines"


async def test_a_recalled_prompt_that_was_changed_is_a_draft() -> None:
    async with open_chat() as chat:
        await chat.ask("question")
        await chat.press("up", "x")
        assert chat.composer.text == "questionx"
        await chat.press("up")
        assert chat.composer.text == "question"
        await chat.press("down")
        assert chat.composer.text == "questionx"


async def test_history_is_there_again_when_a_chat_is_opened(tmp_path: Path) -> None:
    async with open_chat(data=tmp_path) as chat:
        await chat.ask("asked before")
        chat_id = chat.session.conversation.id
        await chat.press("ctrl+n")
        await chat.send("//asked elsewhere")
        await chat.settle()
    async with open_chat(data=tmp_path) as chat:
        await chat.press("up")
        assert chat.composer.text == "//asked elsewhere"  # a new chat has that of all others, as it was typed
        chat.session.open(chat_id)
        await chat.app.chat_screen.after_operation()
        await chat.press("up")
        assert chat.composer.text == "asked before"
        await chat.press("up")
        assert chat.composer.text == "//asked elsewhere"


async def test_a_draft_is_kept_within_a_second_and_comes_back(tmp_path: Path) -> None:
    async with open_chat(data=tmp_path) as chat:
        await chat.ask("question")
        chat_id = chat.session.conversation.id
        await chat.press(*"half")
        await chat.until(lambda: chat.session.draft == "half")
    async with open_chat(data=tmp_path) as chat:
        chat.session.open(chat_id)
        await chat.app.chat_screen.after_operation()
        assert chat.composer.text == "half"


async def test_a_long_draft_comes_back_as_what_it_is_and_leaves_by_one_key(tmp_path: Path) -> None:
    pasted = "line\n" * 5000
    async with open_chat(data=tmp_path) as chat:
        await chat.ask("question")
        chat_id = chat.session.conversation.id
        await chat.paste(pasted)
        await chat.until(lambda: len(chat.session.draft) == len(pasted))
    async with open_chat(data=tmp_path) as chat:
        chat.session.open(chat_id)
        await chat.app.chat_screen.after_operation()
        assert "25,000 characters that were not sent" in chat.trouble
        assert "[pasted #1: 25,000 characters, 5,001 lines]" in chat.text
        await chat.press("ctrl+u")
        assert chat.composer.text == ""
        await chat.press("ctrl+z")
        assert chat.composer.prompt == pasted
        await chat.press("ctrl+u")
        await chat.send("a short one")
        await chat.until(lambda: [message.text for message in chat.path][2:3] == ["a short one"])


async def test_each_chat_has_its_own_draft() -> None:
    async with open_chat() as chat:
        await chat.ask("first chat")
        first = chat.session.conversation.id
        await chat.type("draft one")
        await chat.press("ctrl+n")
        await chat.until(lambda: chat.composer.text == "")
        assert chat.session.conversation.id != first
        assert chat.session.draft == ""
        await chat.ask("second chat")
        chat.session.open(first)
        await chat.app.chat_screen.after_operation()
        assert chat.composer.text == "draft one"


# ---- commands -----------------------------------------------------------------


def _proposals(chat: Chat) -> list[str]:
    menu = chat.app.chat_screen.query_one("#proposals", RowList)
    return [row.key for row in menu.rows] if menu.has_class("-open") else []


async def test_a_slash_proposes_commands_and_tab_completes() -> None:
    async with open_chat() as chat:
        await chat.press("slash")
        assert len(_proposals(chat)) > 5
        await chat.press(*"the")
        await chat.until(lambda: _proposals(chat) == ["/theme"])
        assert "Change the theme." in chat.text
        await chat.press("tab")
        assert chat.composer.text == "/theme "
        assert "/theme paper" in _proposals(chat)


async def test_arrows_choose_a_proposal_and_enter_runs_it() -> None:
    async with open_chat() as chat:
        await chat.press("slash", *"theme", "space")
        await chat.until(lambda: "/theme paper" in _proposals(chat))
        await chat.press(*["down"] * _proposals(chat).index("/theme paper"))
        await chat.press("enter")
        await chat.until(lambda: chat.app.theme == "paper")
        assert chat.composer.text == ""
        assert chat.path == []


async def test_a_typed_command_line_is_run() -> None:
    async with open_chat() as chat:
        await chat.send("/set temperature 1.25")
        await chat.until(lambda: chat.session.settings.temperature == 1.25)
        await chat.until(lambda: "1.25" in chat.text)
        assert chat.composer.text == ""


async def test_a_command_that_is_none_says_so_and_stays() -> None:
    async with open_chat() as chat:
        await chat.send("/nonsense")
        await chat.until(lambda: chat.trouble)
        assert chat.composer.text == "/nonsense"
        assert chat.path == []


async def test_two_slashes_are_a_message() -> None:
    async with open_chat() as chat:
        await chat.send("//etc/passwd?")
        await chat.until(lambda: chat.path)
        assert chat.path[0].text == "/etc/passwd?"


async def test_escape_closes_the_proposals_first() -> None:
    async with open_chat() as chat:
        await chat.press("slash")
        assert _proposals(chat)
        await chat.press("escape")
        assert not _proposals(chat)
        assert chat.composer.text == "/"


async def test_trouble_goes_away_with_the_next_message() -> None:
    async with open_chat() as chat:
        chat.app.chat_screen.query_one(ComposerPane).show_trouble("Something went wrong")
        await chat.pilot.pause()
        assert "Something went wrong" in chat.text
        await chat.ask("next")
        assert chat.trouble == ""
        assert "Something went wrong" not in chat.text


async def test_what_is_wrong_with_a_command_is_said_until_it_is_typed_over() -> None:
    async with open_chat() as chat:
        await chat.send("/hepl")
        assert chat.composer.text == "/hepl"
        await chat.pilot.pause()
        assert "/hepl" in chat.trouble
        await chat.press("h")
        assert chat.composer.text == "h"
        assert chat.trouble == ""


async def test_what_is_wrong_with_a_command_is_said_while_something_else_is_typed() -> None:
    async with open_chat() as chat:
        pane = chat.app.chat_screen.query_one(ComposerPane)
        chat.composer.show_prompt("/hepl")
        chat.composer.submit("/hepl")
        chat.composer.show_prompt("typed since")
        await chat.pilot.pause()
        await chat.press("x")
        assert chat.composer.text == "typed sincex"
        assert "/hepl" in pane.trouble


async def test_a_change_to_one_message_outlives_another_that_is_deleted() -> None:
    async with open_chat(["One.", "Two."]) as chat:
        await chat.ask("first")
        await chat.ask("second")
        await chat.press("ctrl+up", "up", "e")
        await chat.type(" thoughts")
        await chat.press("ctrl+up", "delete", "y")
        await chat.until(lambda: [message.text for message in chat.path] == ["first", "One.", "second"])
        assert chat.composer.text == "second thoughts"
        assert chat.one(ComposerPane).editing
        await chat.press("ctrl+up", "delete", "y")
        await chat.until(lambda: [message.text for message in chat.path] == ["first", "One."])
        assert not chat.one(ComposerPane).editing
        assert chat.composer.text == ""


async def test_a_corrected_answer_is_nothing_that_was_sent() -> None:
    async with open_chat(["One."]) as chat:
        await chat.ask("first")
        await chat.press("ctrl+up", "e")
        await chat.type(" Two.")
        await chat.press("enter")
        await chat.until(lambda: chat.path[-1].text == "One. Two.")
        await chat.press("up")
        assert chat.composer.text == "first"
