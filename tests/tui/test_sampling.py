"""The sampling panel: keys, typing, wheel, drag; what it turns counts from the next token on."""

from __future__ import annotations

import pytest
from textual import events
from textual.geometry import Offset

from llamachat.engine.settings import PARAMETER, PARAMETERS, SamplingSettings
from llamachat.tui.parameter_row import VISIBLE_RANGE, ParameterRow
from llamachat.tui.sampling_panel import SHOWN
from tests.support.chat_app import Chat, open_chat


def row(chat: Chat, name: str) -> ParameterRow:
    return chat.app.chat_screen.query_one(f"#parameter-{name}", ParameterRow)


def test_every_parameter_shown_is_in_the_table() -> None:
    names = {parameter.name for parameter in PARAMETERS}
    assert set(SHOWN) <= names
    assert set(VISIBLE_RANGE) <= set(SHOWN)
    for name, (low, high) in VISIBLE_RANGE.items():
        assert PARAMETER[name].minimum <= low < high <= PARAMETER[name].maximum


async def test_keys_turn_a_value_and_backspace_brings_the_default() -> None:
    async with open_chat() as chat:
        await chat.press("ctrl+t")
        await chat.until(lambda: chat.app.focused is row(chat, "temperature"))
        assert "How freely words are chosen" in chat.text
        await chat.press("right", "right")
        assert chat.session.settings.temperature == 0.9
        assert "0.90" in chat.text
        await chat.press("shift+left")
        assert chat.session.settings.temperature == pytest.approx(0.4)
        await chat.press("backspace")
        assert chat.session.settings.temperature == 0.8
        await chat.press("down", "down", "left")
        assert chat.session.settings.top_k == 39
        await chat.press("up", "left")
        assert chat.session.settings.top_p == pytest.approx(0.94)
        await chat.press("escape")
        assert chat.app.focused is chat.composer


async def test_a_changed_value_is_bold() -> None:
    async with open_chat() as chat:
        await chat.press("ctrl+t", "right")

        def is_bold(name: str, figure: str) -> bool:
            strip = row(chat, name).render_line(0)
            return any(part.text.strip() == figure and bool(part.style and part.style.bold) for part in strip)

        await chat.until(lambda: is_bold("temperature", "0.85"))
        assert not is_bold("top_p", "0.95")
        await chat.press("backspace")
        await chat.until(lambda: not is_bold("temperature", "0.80"))


async def test_a_number_is_typed_and_checked() -> None:
    async with open_chat() as chat:
        await chat.press("ctrl+t", "1", "full_stop", "5")
        assert "1.5▏" in chat.text
        assert chat.session.settings.temperature == 0.8  # not yet
        await chat.press("enter")
        assert chat.session.settings.temperature == 1.5
        await chat.press("9", "9", "enter")
        await chat.until(lambda: "0.00 to 5.00" in chat.trouble)
        assert chat.session.settings.temperature == 1.5
        await chat.press("3", "escape")
        assert chat.session.settings.temperature == 1.5
        await chat.press(*["down"] * 5, *"42", "enter")
        assert chat.session.settings.seed == 42
        await chat.press(*"random", "enter")
        assert chat.session.settings.seed is None
        await chat.press("down", *"77", "up")  # leaving the row takes the number, too
        assert chat.session.settings.max_tokens == 77


async def test_wheel_and_drag() -> None:
    async with open_chat() as chat:
        temperature = row(chat, "temperature")
        place = Offset(temperature.region.x + 20, temperature.region.y)
        await chat.pilot._post_mouse_events([events.MouseScrollUp], offset=place, button=0)
        assert chat.session.settings.temperature == pytest.approx(0.85)
        await chat.pilot._post_mouse_events([events.MouseScrollDown], offset=place, button=0)
        await chat.pilot._post_mouse_events([events.MouseScrollDown], offset=place, button=0)
        assert chat.session.settings.temperature == pytest.approx(0.75)
        track = temperature.region.x + 16
        await chat.pilot.mouse_down(offset=(track, temperature.region.y))
        assert chat.session.settings.temperature == 0.0
        await chat.pilot.hover(offset=(track + 9, temperature.region.y))
        assert chat.session.settings.temperature == 2.0
        await chat.pilot.hover(offset=(119, temperature.region.y + 9))  # beyond the end, and off the row
        assert chat.session.settings.temperature == 2.0
        await chat.pilot.mouse_up(offset=(track + 9, temperature.region.y))
        await chat.pilot.hover(offset=(track, temperature.region.y))  # let go: moving turns nothing
        assert chat.session.settings.temperature == 2.0


async def test_a_change_in_the_middle_of_an_answer_counts_from_the_next_token() -> None:
    async with open_chat(["one two three four five six"], gated=True) as chat:
        await chat.send("Count")
        chat.engine.release(5)
        await chat.until(lambda: "one two" in chat.text)
        before = len(chat.engine.sampled)
        await chat.press("ctrl+t", "right", "right")
        await chat.until(lambda: chat.session.settings.temperature == 0.9)
        assert chat.session.answering is not None
        chat.engine.release(100)
        await chat.settle()
        assert {settings.temperature for settings in chat.engine.sampled[:before]} == {0.8}
        assert {settings.temperature for settings in chat.engine.sampled[before + 1 :]} == {0.9}
        assert chat.path[-1].text == "one two three four five six"


async def test_the_panel_shows_the_settings_of_the_chat_that_is_opened() -> None:
    async with open_chat() as chat:
        await chat.ask("first")
        first = chat.session.conversation.id
        await chat.press("ctrl+t", *"1", "enter", "escape", "ctrl+n")
        await chat.until(lambda: not chat.path)
        await chat.press("ctrl+t", *"2", "enter")
        assert chat.session.settings.temperature == 2.0
        chat.session.open(first)
        await chat.app.chat_screen.after_operation()
        assert row(chat, "temperature").value == 1.0
        assert chat.session.settings == SamplingSettings(temperature=1.0)


async def test_a_refusal_ends_with_the_next_value_or_with_leaving() -> None:
    async with open_chat() as chat:
        await chat.press("ctrl+t", "9", "enter")
        await chat.until(lambda: "temperature takes" in chat.trouble)
        await chat.press("1", "enter")
        await chat.until(lambda: chat.trouble == "")
        await chat.press("9", "enter")
        await chat.until(lambda: "temperature takes" in chat.trouble)
        await chat.press("escape")
        await chat.until(lambda: chat.trouble == "")


async def test_the_meter_counts_what_is_typed() -> None:
    async with open_chat(["One two three"]) as chat:
        await chat.ask("hello")
        used = chat.session.context_used
        assert f"{used} of 2,048 tokens" in chat.text
        assert "typed" not in chat.text
        await chat.type("four more words here")
        await chat.until(lambda: f"{used} of 2,048 tokens · 4 typed" in chat.text)
        await chat.press("ctrl+u")
        await chat.until(lambda: "typed" not in chat.text)
        await chat.type("/set seed 1")
        await chat.pilot.pause(0.8)
        assert "typed" not in chat.text


async def test_the_meter_knows_an_edited_answer() -> None:
    async with open_chat(["One two three"]) as chat:
        await chat.ask("hello")
        used = chat.session.context_used
        await chat.press("ctrl+up", "e")
        await chat.press("ctrl+u")
        await chat.paste("One two three four five")
        await chat.press("enter")
        await chat.settle()
        assert chat.path[-1].text == "One two three four five"
        await chat.until(lambda: f"{used + 2} of 2,048 tokens" in chat.text)
