"""Sending, streaming, stopping and going on, seen through keys and on the screen."""

from __future__ import annotations

import pytest

from llamachat.chat.conversation import Role, Status
from llamachat.chat.session import Phase
from tests.support.chat_app import open_chat

LONG = " ".join(f"word{number}" for number in range(400))


@pytest.mark.parametrize("size", [(60, 15), (80, 24), (120, 40), (200, 60)])
async def test_a_question_is_answered_on_the_screen(size: tuple[int, int]) -> None:
    async with open_chat(["Gravity pulls **things** together."], size=size) as chat:
        await chat.ask("What is gravity?")
        assert [message.text for message in chat.path] == ["What is gravity?", "Gravity pulls **things** together."]
        assert "What is gravity?" in chat.text
        assert "Gravity pulls things together." in chat.text  # Markdown, drawn
        assert "You" in chat.text
        assert "Scripted 1B" in chat.text
        assert chat.composer.text == ""
        assert chat.app.focused is chat.composer


async def test_an_answer_streams_token_by_token_with_its_phase_in_words() -> None:
    async with open_chat(["One two three"], gated=True) as chat:
        await chat.send("Count")
        await chat.until(lambda: "reading prompt" in chat.status)
        chat.engine.release(3)  # the prompt
        chat.engine.release(1)
        await chat.until(lambda: "One" in chat.text and "answering" in chat.status)
        assert "One two" not in chat.text
        assert "One▌" in chat.text  # more is to come
        chat.engine.release(1)
        await chat.until(lambda: "One two" in chat.text)
        assert "esc stop" in chat.status
        chat.engine.release(10)
        await chat.until(lambda: "ready" in chat.status and "One two three" in chat.text)
        assert chat.path[-1].status is Status.COMPLETE
        assert "three▌" not in chat.text


@pytest.mark.parametrize("key", ["escape", "ctrl+c"])
async def test_stop_keeps_the_text_and_says_how_to_go_on(key: str) -> None:
    async with open_chat(["One two three four"], gated=True) as chat:
        await chat.send("Count")
        chat.engine.release(5)
        await chat.until(lambda: "One two" in chat.text)
        await chat.press(key)
        await chat.until(lambda: chat.path[-1].status is Status.STOPPED)
        await chat.settle()
        assert chat.app.is_running
        assert chat.path[-1].text == "One two"
        assert "stopped · ^g goes on" in chat.text
        assert "· stopped ·" in chat.status


async def test_a_question_whose_answer_was_stopped_before_it_began_says_how_to_ask_again() -> None:
    async with open_chat(["One two"], gated=True) as chat:
        await chat.send("Count")
        chat.engine.release(1)
        await chat.until(lambda: "reading prompt" in chat.status)
        assert "no answer yet" not in chat.text
        await chat.press("ctrl+c")
        await chat.until(lambda: "no answer yet · ^r asks for one" in chat.text)
        assert [message.text for message in chat.path] == ["Count"]
        chat.engine.release(100)
        await chat.press("ctrl+r")
        await chat.until(lambda: "One two" in chat.text)
        assert "no answer yet" not in chat.text


async def test_an_answer_grows_while_a_person_types_without_a_pause() -> None:
    async with open_chat(["One two three four"], gated=True) as chat:
        await chat.send("Count")
        chat.engine.release(4)
        await chat.until(lambda: "One" in chat.text and "answering" in chat.status)
        typed = 0
        for word in ("One two", "One two three"):
            chat.engine.release(1)
            while word not in chat.text and typed < 400:  # frames that are put off follow a key
                await chat.press("x")
                typed += 1
            assert word in chat.text
        assert chat.composer.text == typed * "x"
        chat.engine.release(10)
        await chat.until(lambda: chat.path[-1].status is Status.COMPLETE)


async def test_ctrl_c_with_nothing_to_stop_does_not_quit() -> None:
    async with open_chat() as chat:
        await chat.press("ctrl+c")
        await chat.until(lambda: "^q quits" in chat.status)
        assert chat.app.is_running


async def test_a_stopped_answer_goes_on_in_place() -> None:
    async with open_chat(["One two", " three four"], gated=True) as chat:
        await chat.send("Count")
        chat.engine.release(4)
        await chat.until(lambda: "One" in chat.text)
        await chat.press("escape")
        await chat.settle()
        chat.engine.release(100)
        await chat.press("ctrl+g")
        await chat.until(lambda: chat.path[-1].status is Status.COMPLETE)
        await chat.settle()
        assert len(chat.path) == 2
        assert chat.path[-1].text == "One three four"
        assert "One three four" in chat.text
        assert "stopped" not in chat.text


async def test_what_the_model_does_not_see_is_said_under_the_answer() -> None:
    async with open_chat(["word " * 60], size=(90, 30), n_ctx=300) as chat:  # no pane, no meter
        for number in range(4):
            await chat.ask(f"question {number}")
        assert chat.path[-1].dropped
        assert f"the first {chat.path[-1].dropped} messages left out" in chat.text


async def test_what_the_mouse_selects_is_copied_and_the_answer_goes_on() -> None:
    async with open_chat(["one two three four"], gated=True) as chat:
        await chat.send("pick these words")
        chat.engine.release(5)
        await chat.until(lambda: "one two" in chat.text)
        row = next(at for at, line in enumerate(chat.lines) if "pick these words" in line[26:])
        column = chat.lines[row].index("pick these", 26)
        await chat.pilot.mouse_down(offset=(column, row))
        await chat.pilot.hover(offset=(column + 3, row))
        await chat.pilot.hover(offset=(column + 9, row))
        await chat.pilot.mouse_up(offset=(column + 9, row))
        await chat.press("ctrl+c")
        await chat.until(lambda: chat.app.clipboard == "pick these")
        assert chat.session.answering is not None
        await chat.press("ctrl+c")  # nothing is selected any more: it stops
        chat.engine.release(10)
        await chat.until(lambda: chat.path[-1].status is Status.STOPPED)


async def test_an_answer_cut_at_its_length_says_so() -> None:
    async with open_chat([LONG]) as chat:
        chat.session.set_parameter("max_tokens", 5)
        await chat.ask("Go on and on")
        assert chat.path[-1].status is Status.LENGTH
        assert "cut at the reply length · ^g goes on" in chat.text


async def test_a_failed_answer_says_why() -> None:
    async with open_chat(["a b c d"], fail_after=2) as chat:
        await chat.ask("Try")
        assert chat.path[-1].status is Status.FAILED
        assert "failed: the scripted engine fails here" in chat.text


async def test_following_the_end_yields_to_the_reader() -> None:
    async with open_chat([LONG], size=(80, 24), gated=True) as chat:
        await chat.send("Go")
        chat.engine.release(250)
        await chat.until(lambda: "word200" in chat.text)
        await chat.press("pageup", "pageup")
        await chat.until(lambda: not chat.transcript.following)
        at = chat.transcript.scroll_y
        top = chat.lines[1]
        chat.engine.release(100)
        await chat.until(lambda: "word300" in chat.path[-1].text)
        await chat.pilot.pause(0.1)
        assert chat.transcript.scroll_y == at
        assert chat.lines[1] == top
        await chat.press("ctrl+end")
        chat.engine.release(1000)
        await chat.settle()
        assert "word399" in chat.text
        assert chat.transcript.following


async def test_resizing_while_an_answer_streams_loses_nothing() -> None:
    async with open_chat([LONG], gated=True) as chat:
        await chat.send("Go")
        for width, height in [(60, 15), (200, 60), (20, 6), (80, 24), (5, 3), (120, 40)]:
            chat.engine.release(60)
            await chat.pilot.resize_terminal(width, height)
            await chat.pilot.pause()
        chat.engine.release(1000)
        await chat.settle()
        assert chat.path[-1].text == LONG
        assert "word399" in chat.text


async def test_sending_while_an_answer_runs_stops_it_first() -> None:
    async with open_chat(["one two three four", "second"], gated=True) as chat:
        await chat.send("First")
        chat.engine.release(5)
        await chat.until(lambda: "one two" in chat.text)
        await chat.send("Second")
        chat.engine.release(100)
        await chat.until(lambda: chat.path[-1].text == "second")
        await chat.settle()
        assert [(message.role, message.text) for message in chat.path] == [
            (Role.USER, "First"),
            (Role.ASSISTANT, "one two"),
            (Role.USER, "Second"),
            (Role.ASSISTANT, "second"),
        ]
        assert chat.path[1].status is Status.STOPPED


async def test_quitting_in_the_middle_of_an_answer_keeps_it() -> None:
    async with open_chat(["one two three four"], gated=True) as chat:
        await chat.send("Go")
        chat.engine.release(5)
        await chat.until(lambda: "one two" in chat.text)
        await chat.type("half a thought")
        await chat.press("ctrl+q")
        await chat.until(lambda: not chat.app.is_running, "the end")
        assert chat.app.return_code == 0
        assert chat.session.draft == "half a thought"
        chat.session.close()
        assert chat.path[-1].text.startswith("one two")
        assert chat.path[-1].status is Status.STOPPED


async def test_quit_as_a_command_in_a_chat_with_messages() -> None:
    async with open_chat(["one two three"]) as chat:
        await chat.ask("Hello")
        await chat.type("/quit")
        await chat.press("enter")
        await chat.until(lambda: not chat.app.is_running, "the end")
        assert chat.app.return_code == 0
        assert chat.app._exception is None


async def test_the_meter_is_exact() -> None:
    async with open_chat(["one two three"]) as chat:
        await chat.ask("Hello")
        used = len(chat.engine.requests[-1].prompt_ids) + 3
        assert chat.session.phase is Phase.READY
        assert f"{used} of 2,048 tokens" in chat.text
        assert f"{chat.session.context_used} of 2,048 tokens" in chat.text
        await chat.ask("And now")
        assert "reused from the cache" in chat.text
        await chat.press("ctrl+n")
        await chat.settle()
        assert "0 of 2,048 tokens" in chat.text
        assert "reused" not in chat.text  # it was another chat's


async def test_a_model_with_nothing_to_add_is_said_to_have_nothing() -> None:
    async with open_chat(["Hello there.", ""]) as chat:
        await chat.ask("Question")
        await chat.press("ctrl+g")
        await chat.until(lambda: "nothing to add" in chat.trouble)
        assert chat.path[-1].text == "Hello there."
