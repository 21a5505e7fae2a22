"""Screens of every size: panes beside the chat or over it; nothing is unreachable."""

from __future__ import annotations

import pytest

from llamachat.tui.context_meter import ContextMeter
from llamachat.tui.message_view import MessageView
from llamachat.tui.panel_row import PanelRow
from llamachat.tui.parameter_row import ParameterRow
from llamachat.tui.sampling_panel import SamplingPanel
from llamachat.tui.session_pane import SessionList, SessionPane
from tests.support.chat_app import Chat, open_chat


def shown(chat: Chat, kind: type) -> bool:
    return bool(chat.app.chat_screen.query_one(kind).display)


@pytest.mark.parametrize(("size", "wide"), [((60, 15), False), ((80, 24), False), ((110, 30), True), ((200, 60), True)])
async def test_panes_stand_beside_the_chat_where_there_is_room(size: tuple[int, int], wide: bool) -> None:
    async with open_chat(size=size) as chat:
        await chat.ask("question")
        assert shown(chat, SessionPane) is wide
        assert shown(chat, SamplingPanel) is wide
        view = chat.transcript.views[0]
        assert view.size.width <= 100
        assert view.region.x >= 1  # never on the very edge
        assert all(len(line) == size[0] for line in chat.lines)


@pytest.mark.parametrize("size", [(60, 15), (80, 24)])
async def test_on_a_narrow_screen_panes_open_over_the_chat_one_at_a_time(size: tuple[int, int]) -> None:
    async with open_chat(size=size) as chat:
        await chat.ask("question")
        width = chat.transcript.size.width
        await chat.press("ctrl+b")
        assert shown(chat, SessionPane)
        assert chat.app.chat_screen.query_one(SessionList).has_focus
        assert chat.transcript.size.width == width  # it lies over the chat
        await chat.press("ctrl+t")
        assert shown(chat, SamplingPanel)
        assert not shown(chat, SessionPane)
        assert chat.app.chat_screen.query(ParameterRow).first().has_focus
        assert "Temperature" in chat.text
        await chat.press("right")
        assert chat.session.settings.temperature == pytest.approx(0.85)
        await chat.press("escape")
        assert not shown(chat, SamplingPanel)
        assert chat.app.focused is chat.composer
        await chat.press("ctrl+b", "ctrl+b")
        assert not shown(chat, SessionPane)
        assert chat.app.focused is chat.composer


async def test_every_parameter_can_be_reached_at_60_by_15() -> None:
    async with open_chat(size=(60, 15)) as chat:
        await chat.press("ctrl+t")
        for label in ("Temperature", "Top-p", "Top-k", "Min-p", "Repeat penalty", "Seed", "Reply length", "Preset"):
            assert isinstance(chat.app.focused, PanelRow)
            assert f"›{label}" in chat.text
            await chat.press("down")
        assert chat.app.chat_screen.query_one(ContextMeter).region


async def test_a_stopped_answer_opens_no_pane_and_escape_closes_the_pane_first() -> None:
    async with open_chat(["one two three"], size=(80, 24), gated=True) as chat:
        await chat.send("go")
        chat.engine.release(4)
        await chat.until(lambda: "one" in chat.text)
        await chat.press("ctrl+t", "escape")
        assert chat.session.answering is not None  # the pane was closed, nothing else
        await chat.press("escape")
        chat.engine.release(10)
        await chat.until(lambda: chat.session.answering is None)


async def test_on_a_wide_screen_the_key_goes_there_and_from_there_hides() -> None:
    async with open_chat() as chat:
        await chat.press("ctrl+b")
        assert chat.app.chat_screen.query_one(SessionList).has_focus
        await chat.press("ctrl+b")
        assert not shown(chat, SessionPane)
        assert chat.app.focused is chat.composer
        await chat.press("ctrl+b")
        assert shown(chat, SessionPane)


async def test_a_screen_that_narrows_hides_the_panes_and_widening_brings_them_back() -> None:
    async with open_chat() as chat:
        await chat.ask("question")
        await chat.pilot.resize_terminal(60, 15)
        await chat.until(lambda: not shown(chat, SessionPane) and not shown(chat, SamplingPanel))
        assert "question" in chat.text
        await chat.pilot.resize_terminal(140, 40)
        await chat.until(lambda: shown(chat, SessionPane) and shown(chat, SamplingPanel))


@pytest.mark.parametrize("key", ["ctrl+b", "ctrl+t"])
async def test_no_key_goes_to_a_pane_that_a_narrower_screen_hides(key: str) -> None:
    async with open_chat() as chat:
        await chat.press(key)
        assert chat.app.focused is not chat.composer
        await chat.pilot.resize_terminal(80, 24)
        await chat.until(lambda: chat.app.focused is chat.composer)
        await chat.press(*"hey")
        assert chat.composer.text == "hey"


async def test_an_answer_is_whole_at_every_width_in_any_order() -> None:
    """Textual keeps layouts by size: a width seen before is not asked for again."""
    text = "\n\n".join(
        f"Paragraph {number} of a text that wraps on every screen there is, ends." for number in range(9)
    )
    async with open_chat([text], size=(120, 40)) as chat:
        await chat.ask("tell")
        seen: dict[object, list[str]] = {}
        for size in (120, 160, 60, 160, 60, 120, 160):
            await chat.pilot.resize_terminal(size, 40)
            await chat.settle()
            assert seen.setdefault(size, chat.lines) == chat.lines
            assert "Paragraph 8" in chat.text
        for _ in range(3):  # goes there, hides it, shows it
            await chat.press("ctrl+t")
            await chat.settle()
            assert "Paragraph 8" in chat.text
            assert chat.text.count("ends.") == 9


async def test_the_composer_stays_in_sight_on_a_tiny_screen() -> None:
    async with open_chat(size=(30, 8)) as chat:
        await chat.ask("hi")
        await chat.press(*"typed")
        assert "typed" in chat.text
        for size in ((10, 4), (3, 2), (1, 1), (60, 15)):
            await chat.pilot.resize_terminal(*size)
            await chat.pilot.pause()
        assert "typed" in chat.text
        assert chat.app.chat_screen.query(MessageView)


@pytest.mark.parametrize("size", [(60, 15), (80, 24), (120, 40), (200, 60)])
async def test_the_status_line_says_what_matters_at_every_width(size: tuple[int, int]) -> None:
    async with open_chat(["one two three"], size=size, gated=True, name="SmolLM2-135M-Instruct") as chat:
        await chat.send("go")
        chat.engine.release(5)
        await chat.until(lambda: "answering" in chat.status)
        assert "SmolLM2" in chat.status
        assert "esc stop" in chat.status
        assert "2,048" in chat.status
