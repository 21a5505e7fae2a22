"""An answer's tokens on the screen: walking them, and going on with another one."""

from __future__ import annotations

import pytest
from textual.geometry import Offset

from llamachat.chat.conversation import Status
from llamachat.tui.help_screen import HelpScreen
from llamachat.tui.message_view import MessageView
from llamachat.tui.token_screen import Alternatives, TokenScreen, bar, percent
from llamachat.tui.token_text import TokenPiece, TokenText, shown, tint
from tests.support.chat_app import Chat, open_chat

TEXT = "one two three four five six seven eight"


async def show_tokens(chat: Chat) -> TokenText:
    """Asks, and opens the tokens of the answer."""
    await chat.ask("count")
    await chat.press("ctrl+up", "t")
    await chat.until(lambda: chat.app.screen.query(TokenText), "the tokens")
    await chat.pilot.pause()
    return chat.one(TokenText)


@pytest.mark.parametrize("size", [(60, 15), (80, 24), (120, 40), (200, 60)])
async def test_text_and_alternatives_are_there(size: tuple[int, int]) -> None:
    async with open_chat([TEXT, " more"], size=size) as chat:
        await show_tokens(chat)
        assert "8 tokens · perplexity" in chat.text
        assert TEXT in chat.text
        assert "1 of 9" in chat.text
        assert '1 ▎"one"' in chat.text
        assert '2  " autumn"' in chat.text
        assert "90 %" in chat.text
        assert "esc close" in chat.lines[-1] + chat.lines[-2]


async def test_keys_walk_the_tokens() -> None:
    async with open_chat([TEXT]) as chat:
        text = await show_tokens(chat)
        for keys, place in (
            (("right",), 2),
            (("l", "l"), 4),
            (("left",), 3),
            (("tab",), 4),  # of 4 %
            (("tab",), 8),
            (("tab",), 8),
            (("shift+tab",), 4),
            (("p",), 4),
            (("end",), 9),
            (("right",), 9),
            (("home",), 1),
            (("down",), 9),  # there is no row below
            (("up",), 1),
        ):
            await chat.press(*keys)
            assert text.cursor + 1 == place, keys
            assert f"{place} of 9" in chat.text, keys
        assert "end <s>" not in chat.text
        await chat.press("end")
        assert "end <s>" in chat.text


async def test_rows_keep_the_column() -> None:
    async with open_chat(["a bb ccc\na b c d e f"], size=(80, 24)) as chat:
        text = await show_tokens(chat)
        assert "a bb ccc↵" in chat.text
        await chat.press("right", "right")
        assert text.cursor == 2  # " ccc", from the fifth cell on
        await chat.press("down")
        assert text.cursor == 6  # " c", which has the fifth
        await chat.press("up")
        assert text.cursor == 2


async def test_a_digit_makes_a_version_and_the_model_goes_on() -> None:
    async with open_chat([TEXT, " more"]) as chat:
        await show_tokens(chat)
        await chat.press("right", "right", "3")
        await chat.settle()
        assert not isinstance(chat.app.screen, TokenScreen)
        assert [message.text for message in chat.path] == ["count", "one two spring more"]
        assert "‹ 2/2 ›" in chat.text
        assert chat.session.conversation.siblings(chat.path[1]) == (1, 2)


async def test_a_digit_without_an_alternative_does_nothing() -> None:
    async with open_chat([TEXT]) as chat:
        await show_tokens(chat)
        await chat.press("9", "0", "5")
        assert isinstance(chat.app.screen, TokenScreen)
        assert len(chat.session.conversation) == 2


async def test_a_digit_that_is_held_makes_one_version() -> None:
    async with open_chat([TEXT, " more"]) as chat:
        await show_tokens(chat)
        await chat.press("right", *"2222")
        await chat.settle()
        assert chat.session.conversation.siblings(chat.path[1])[1] == 2


async def test_behind_the_end_the_model_goes_on() -> None:
    async with open_chat([TEXT, " more"]) as chat:
        await show_tokens(chat)
        await chat.press("end", "2")
        await chat.settle()
        assert chat.path[-1].text == f"{TEXT} autumn more"
        chat.session.select_sibling(chat.path[-1].id, -1)
        assert chat.path[-1].text == TEXT


async def test_clicks() -> None:
    async with open_chat([TEXT, " more"]) as chat:
        text = await show_tokens(chat)
        await chat.pilot.click(TokenText, offset=Offset(9, 0))
        assert text.cursor == 2
        assert "3 of 9" in chat.text
        await chat.pilot.click(Alternatives, offset=Offset(5, 3))
        await chat.settle()
        assert chat.path[-1].text == "one two spring more"


@pytest.mark.parametrize("key", ["escape", "q", "t"])
async def test_closing_leaves_all_as_it_was(key: str) -> None:
    async with open_chat([TEXT]) as chat:
        await show_tokens(chat)
        await chat.press(key)
        assert isinstance(chat.app.focused, MessageView)
        assert [message.text for message in chat.path] == ["count", TEXT]


async def test_progress_and_cancel() -> None:
    async with open_chat([TEXT], gated=True) as chat:
        await chat.send("count")
        chat.engine.release(11)
        await chat.settle()
        await chat.press("ctrl+up", "t")
        await chat.until(lambda: "looking at tokens" in chat.text)
        chat.engine.release(1)
        total = len(chat.engine.requests[0].prompt_ids) + 8
        await chat.until(lambda: f"looking at tokens {total - 8} of {total}" in chat.text)
        assert not chat.app.screen.query(TokenText)
        await chat.press("escape")
        await chat.until(lambda: not chat.session.busy)
        assert not isinstance(chat.app.screen, TokenScreen)
        chat.engine.release(100)
        await chat.press("t")
        await chat.until(lambda: chat.app.screen.query(TokenText))


@pytest.mark.parametrize("key_first", [True, False])
@pytest.mark.parametrize("fails", [True, False])
async def test_closing_at_the_moment_at_which_the_look_is_over(key_first: bool, fails: bool) -> None:
    async with open_chat([TEXT], gated=True) as chat:
        await chat.send("count")
        chat.engine.release(11)
        await chat.settle()
        await chat.press("ctrl+up", "t")
        await chat.until(lambda: "looking at tokens" in chat.text)
        screen, look = chat.app.screen, chat.session.look
        assert isinstance(screen, TokenScreen)
        assert look is not None
        screen._wait.stop()  # the test says what comes first
        if fails:
            chat.session.stop()
        chat.engine.release(100)
        await chat.until(lambda: look.over)
        steps = [screen.action_close, screen._show]
        for step in steps if key_first else reversed(steps):
            screen.call_next(step)
        await chat.until(lambda: not screen.is_running)
        await chat.settle()
        assert chat.app.screen is chat.app.chat_screen


@pytest.mark.parametrize("fails", [True, False])
async def test_the_look_is_over_while_something_covers_it(fails: bool) -> None:
    async with open_chat([TEXT], gated=True) as chat:
        await chat.send("count")
        chat.engine.release(11)
        await chat.settle()
        await chat.press("ctrl+up", "t")
        await chat.until(lambda: "looking at tokens" in chat.text)
        chat.app.action_help()
        await chat.pilot.pause()
        if fails:
            chat.session.stop()
        chat.engine.release(100)
        await chat.until(lambda: not chat.session.busy)
        await chat.settle()
        assert isinstance(chat.app.screen, HelpScreen)
        await chat.press("escape")
        shown = chat.app.chat_screen if fails else chat.app.screen_stack[1]
        await chat.until(lambda: chat.app.screen is shown and (fails or chat.app.screen.query(TokenText)))


async def test_what_cannot_be_looked_at_is_said_under_the_composer() -> None:
    async with open_chat([TEXT], n_ctx=64) as chat:
        await chat.ask("count")
        chat.session.set_system("word " * 200)
        await chat.press("ctrl+up", "t")
        await chat.until(lambda: "too long" in chat.trouble)
        assert not isinstance(chat.app.screen, TokenScreen)


async def test_not_while_the_model_answers() -> None:
    async with open_chat(["first", TEXT], gated=True) as chat:
        await chat.send("count")
        chat.engine.release(5)
        await chat.settle()
        await chat.send("again")
        chat.engine.release(5)
        await chat.until(lambda: chat.path[-1].status is Status.STREAMING and "one" in chat.text)
        await chat.press("ctrl+up", "up", "up", "t")
        await chat.until(lambda: "the model is at work" in chat.trouble)


async def test_the_key_is_offered_of_answers_only() -> None:
    async with open_chat([TEXT]) as chat:
        await chat.ask("count")
        await chat.press("ctrl+up")
        assert "t tokens" in chat.status
        await chat.press("up")
        assert "t tokens" not in chat.status
        await chat.press("t")
        assert not isinstance(chat.app.screen, TokenScreen)


async def test_an_answer_that_ended_offers_all_that_can_be_done_with_it() -> None:
    async with open_chat(["One two three"], gated=True) as chat:
        await chat.send("count")
        chat.engine.release(4)
        await chat.until(lambda: "One" in chat.text)
        await chat.press("ctrl+up")
        assert "t tokens" not in chat.text
        chat.engine.release(20)
        await chat.settle()
        assert "t tokens" in "\n".join(chat.lines[:-1])


async def test_the_command_begins_at_a_place() -> None:
    async with open_chat([TEXT]) as chat:
        await chat.ask("count")
        await chat.send("/tokens 5")
        await chat.until(lambda: chat.app.screen.query(TokenText))
        await chat.pilot.pause()
        assert "5 of 9" in chat.text
        await chat.press("escape")
        await chat.send("/tokens 500")
        await chat.until(lambda: "9 of 9" in chat.text)


async def test_tokens_steer_no_terminal() -> None:
    async with open_chat(["a\x1b]0;title\x07 [b]bold[/b] \u202eback"]) as chat:
        await show_tokens(chat)
        drawn = chat.text
        assert "\x1b" not in drawn
        assert "\u202e" not in drawn
        assert "[b]bold[/b]" in drawn
        for _ in range(20):
            await chat.press("right")
            assert "\x1b" not in chat.text
        assert chat.app._exception is None


async def test_wide_characters_and_parts_of_them() -> None:
    async with open_chat(["ab 日本 é ok"], size=(60, 15)) as chat:
        text = await show_tokens(chat)
        assert "ab 日本 é ok■" in chat.text
        await chat.press("right")
        seen = []
        for _ in range(8):
            await chat.press("right")
            seen.append(next(line for line in chat.lines if "▎" in line).split("▎")[1][:10].strip())
        assert "bytes E6" in seen
        assert text.cursor == 9


async def test_the_cursor_stands_on_the_whole_character_that_a_token_is_part_of() -> None:
    async with open_chat(["ab 日 ok"]) as chat:
        text = await show_tokens(chat)
        assert [text._starts[token] for token in range(7)] == [0, 2, 3, 3, 3, 4, 7]
        assert [text._end_of(token) for token in range(7)] == [2, 3, 4, 4, 4, 7, 8]
        assert text._token_at(3) == 4  # the one that makes it whole
        await chat.press("right", "right")
        lit = [segment.text for segment in text.render_line(0) if segment.style and segment.style.bold]
        assert lit == ["日"]
        await chat.press("right")
        assert [segment.text for segment in text.render_line(0) if segment.style and segment.style.bold] == ["日"]


async def test_a_long_answer_scrolls_with_the_cursor() -> None:
    words = " ".join(f"word{number}" for number in range(3000))
    async with open_chat([words], size=(80, 24), n_ctx=4096) as chat:
        chat.session.set_parameter("max_tokens", 5000)
        text = await show_tokens(chat)
        await chat.press("end")
        assert "word2999■" in chat.text
        await chat.press("pageup", "pageup")
        assert "word2999■" not in chat.text
        before = text.cursor
        await chat.pilot.resize_terminal(200, 50)
        await chat.pilot.pause()
        assert text.cursor == before
        assert shown(text._pieces[before].text).strip() in chat.text


async def test_help_begins_with_the_keys_of_tokens() -> None:
    async with open_chat([TEXT]) as chat:
        text = await show_tokens(chat)
        await chat.press("f1")
        assert isinstance(chat.app.screen, HelpScreen)
        assert "Every token of the answer" in chat.text
        await chat.press("f1")
        assert chat.app.focused is text


async def test_another_theme_draws_them_too() -> None:
    async with open_chat([TEXT]) as chat:
        await show_tokens(chat)
        names = chat.app.shelf_of_themes.names()
        before = chat.app.export_screenshot()
        chat.app.set_theme(next(name for name in names if name != chat.app.theme))
        await chat.pilot.pause()
        assert chat.app.export_screenshot() != before
        assert TEXT in chat.text


async def test_nothing_is_laid_out_where_there_is_no_place_yet() -> None:
    """A column of letters took half a second of a long answer."""
    text = TokenText([TokenPiece("word ", 0.1)] * 3)
    text._lay_out()
    assert text._rows == []
    async with open_chat([TEXT]) as chat:
        await chat.app.chat_screen.mount(text)
        text.styles.display = "none"
        await chat.pilot.pause()
        for step in (1, -1):
            text.action_row(step)
            text.action_page(step)
        assert text.cursor == 0


def test_bars_and_percents() -> None:
    assert bar(0.0, 4) == "    "
    assert bar(1.0, 4) == "████"
    assert bar(0.5, 4) == "██  "
    assert bar(0.28, 4) == "█▏  "
    assert bar(2.0, 2) == "██"
    assert [percent(share) for share in (None, 0.0, 0.001, 0.005, 0.5, 1.0)] == [
        "",
        "0 %",
        "<1 %",
        "0 %",
        "50 %",
        "100 %",
    ]


def test_tints() -> None:
    assert tint(0.5) == ""
    assert len({tint(p) for p in (0.9, 0.49, 0.19, 0.01)}) == 4
    assert shown("") == ""
    assert shown("a\n\t") == "a↵\n⇥ "
