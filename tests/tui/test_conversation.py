"""Sending, streaming, stopping and everything done with messages, seen through keys and on the screen."""

from __future__ import annotations

from pathlib import Path

import pytest

from llamachat.chat.conversation import Role, Status
from llamachat.chat.session import Phase
from llamachat.tui.dialogs import EditScreen
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


async def test_again_makes_a_version_and_arrows_look_at_the_others() -> None:
    async with open_chat(["First answer.", "Second answer."]) as chat:
        await chat.ask("Say something")
        await chat.press("ctrl+r")
        await chat.until(lambda: "Second answer." in chat.text)
        await chat.settle()
        assert "‹ 2/2 ›" in chat.text
        assert "First answer." not in chat.text
        await chat.press("ctrl+up")
        await chat.until(lambda: chat.focused_message is chat.path[-1])
        await chat.press("left")
        await chat.until(lambda: "First answer." in chat.text)
        assert "‹ 1/2 ›" in chat.text
        assert chat.focused_message is chat.path[-1]  # the cursor stays on the place
        await chat.press("right")
        await chat.until(lambda: "Second answer." in chat.text)


async def test_versions_change_by_clicking_the_arrows() -> None:
    async with open_chat(["First answer.", "Second answer."]) as chat:
        await chat.ask("Say something")
        await chat.press("ctrl+r")
        await chat.until(lambda: "‹ 2/2 ›" in chat.text)
        await chat.settle()
        row = next(at for at, line in enumerate(chat.lines) if "‹ 2/2 ›" in line)
        await chat.pilot.click(offset=(chat.lines[row].index("‹"), row))
        await chat.until(lambda: "First answer." in chat.text)


async def test_an_edited_question_is_a_branch_and_the_draft_comes_back() -> None:
    async with open_chat(["About cats.", "About dogs."]) as chat:
        await chat.ask("Tell me about cats")
        await chat.type("a draft")
        await chat.press("ctrl+up", "up")
        await chat.until(lambda: chat.focused_message is chat.path[0])
        await chat.press("e")
        await chat.until(lambda: chat.composer.text == "Tell me about cats")
        assert "Editing your message" in chat.trouble
        await chat.press(*["backspace"] * 4)
        await chat.paste("dogs")
        await chat.press("enter")
        await chat.until(lambda: "About dogs." in chat.text)
        await chat.settle()
        assert [message.text for message in chat.path] == ["Tell me about dogs", "About dogs."]
        assert "‹ 2/2 ›" in chat.text
        assert chat.composer.text == "a draft"


async def test_an_edit_is_left_with_escape() -> None:
    async with open_chat() as chat:
        await chat.ask("Question")
        await chat.type("draft")
        await chat.press("ctrl+up", "e")
        await chat.until(lambda: chat.composer.text == "Hello there.")
        await chat.press("escape")
        assert chat.composer.text == "draft"
        assert len(chat.session.conversation) == 2


async def test_a_changed_text_is_given_up_by_the_second_escape_alone() -> None:
    async with open_chat() as chat:
        await chat.ask("Question")
        await chat.press("ctrl+up", "e")
        await chat.until(lambda: chat.composer.text == "Hello there.")
        await chat.paste(" General.")
        await chat.press("escape")
        assert chat.composer.text == "Hello there. General."
        await chat.until(lambda: "the same key drops it" in chat.text)
        await chat.press("x")  # going on counts anew
        await chat.until(lambda: "Editing the answer" in chat.text)
        await chat.press("escape")
        assert chat.composer.text == "Hello there. General.x"
        await chat.press("escape")
        assert chat.composer.text == ""
        await chat.send("/system")
        await chat.until(lambda: isinstance(chat.app.screen, EditScreen))
        await chat.press("y", "escape")
        await chat.until(lambda: "esc again gives the change up" in chat.text)
        await chat.press("escape")
        await chat.until(lambda: not isinstance(chat.app.screen, EditScreen))
        assert len(chat.session.conversation) == 2


async def test_another_chat_takes_no_changed_text_away_unasked() -> None:
    async with open_chat() as chat:
        await chat.ask("Question")
        first = chat.session.conversation.id
        await chat.press("ctrl+up", "e")
        await chat.until(lambda: chat.composer.text == "Hello there.")
        await chat.press("x", "ctrl+n")
        assert chat.session.conversation.id == first
        assert chat.composer.text == "Hello there.x"
        await chat.press("ctrl+n")
        await chat.until(lambda: chat.session.conversation.id != first)
        assert (chat.composer.text, chat.trouble) == ("", "")


@pytest.mark.parametrize("text", ["a\tb", "ends in a line\n", "a\r\nb"])
async def test_a_message_that_is_sent_as_it_was_makes_no_branch(text: str) -> None:
    """What the composer shows of it differs."""
    async with open_chat([text]) as chat:
        await chat.ask("Question")
        await chat.press("ctrl+up", "e")
        await chat.until(lambda: chat.composer.text)
        await chat.press("enter")
        await chat.until(lambda: "nothing was changed" in chat.text)
        assert [message.text for message in chat.session.conversation.messages.values()] == ["Question", text]


async def test_what_the_model_does_not_see_is_said_under_the_answer() -> None:
    async with open_chat(["word " * 60], size=(90, 30), n_ctx=300) as chat:  # no pane, no meter
        for number in range(4):
            await chat.ask(f"question {number}")
        assert chat.path[-1].dropped
        assert f"the first {chat.path[-1].dropped} messages left out" in chat.text


async def test_an_edited_answer_is_kept_beside_the_old_one_without_generating() -> None:
    async with open_chat() as chat:
        await chat.ask("Question")
        await chat.press("ctrl+up", "e")
        await chat.until(lambda: chat.composer.text == "Hello there.")
        await chat.paste(" General.")
        await chat.press("enter")
        await chat.until(lambda: "Hello there. General." in chat.text)
        assert len(chat.engine.requests) == 1
        assert "‹ 2/2 ›" in chat.text


async def test_the_header_offers_only_what_can_be_done() -> None:
    async with open_chat() as chat:
        await chat.ask("Question")
        await chat.press("ctrl+up")
        await chat.until(lambda: chat.focused_message is not None)
        header = next(line for line in chat.lines if "Scripted 1B" in line and "copy" in line)
        assert "c copy" in chat.status  # for a message whose header is out of sight
        assert "r again" in header
        assert "go on" not in header  # it is whole
        await chat.press("up")
        header = next(line for line in chat.lines if "You" in line and "copy" in line)
        assert "again" not in header
        await chat.press("r")  # does nothing on a question
        assert len(chat.engine.requests) == 1


async def test_the_cursor_walks_up_from_the_composer_and_down_into_it() -> None:
    async with open_chat() as chat:
        await chat.ask("One")
        await chat.ask("Two")
        await chat.press("ctrl+up")
        seen = []
        for _ in range(4):
            await chat.until(lambda: chat.focused_message is not None)
            assert chat.focused_message is not None
            seen.append(chat.focused_message)
            await chat.press("up")
        assert seen == chat.path[::-1]
        await chat.press("end")
        await chat.until(lambda: chat.focused_message is chat.path[-1])
        await chat.press("down")
        await chat.until(lambda: chat.app.focused is chat.composer)


async def test_copying_a_message_and_its_code() -> None:
    answer = "Look:\n\n```python\nprint(1)\n```\n\nand\n\n```\nplain\n```\n"
    async with open_chat([answer]) as chat:
        await chat.ask("Code, please")
        await chat.press("ctrl+up", "c")
        assert chat.app.clipboard == answer
        assert "copied" in chat.status
        await chat.press("x")
        assert chat.app.clipboard == "print(1)"
        await chat.press("x")
        assert chat.app.clipboard == "plain"
        await chat.press("x")
        assert chat.app.clipboard == "print(1)"


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


async def test_a_message_is_edited_in_the_composer_by_command_too() -> None:
    async with open_chat() as chat:
        await chat.ask("Question")
        await chat.send("/correct")
        await chat.until(lambda: chat.composer.text == "Hello there.")
        await chat.press("x", "enter")
        await chat.until(lambda: chat.path[-1].text == "Hello there.x")
        await chat.send("/edit")
        await chat.until(lambda: chat.composer.text == "Question")
        await chat.press("escape")
        assert chat.composer.text == ""


async def test_what_a_message_was_changed_to_is_kept_when_the_program_ends(tmp_path: Path) -> None:
    async with open_chat(data=tmp_path) as chat:
        await chat.ask("Question")
        await chat.type("a draft")
        await chat.press("ctrl+up", "e")
        await chat.until(lambda: chat.composer.text == "Hello there.")
        await chat.press("x", "ctrl+q")
    async with open_chat(data=tmp_path) as chat:
        chat.session.open(chat.session.sessions()[0].id)
        assert chat.session.draft == "a draft\n\nHello there.x"


async def test_what_was_not_changed_is_no_draft(tmp_path: Path) -> None:
    async with open_chat(data=tmp_path) as chat:
        await chat.ask("Question")
        await chat.press("ctrl+up", "e")
        await chat.until(lambda: chat.composer.text == "Hello there.")
        await chat.press("ctrl+q")
        assert chat.session.draft == ""


async def test_an_answer_that_ended_by_itself_goes_on_with_its_key() -> None:
    async with open_chat(["Hello there.", " And more."]) as chat:
        await chat.ask("Question")
        await chat.press("ctrl+up", "g")
        await chat.until(lambda: chat.path[-1].text == "Hello there. And more.")


async def test_a_model_with_nothing_to_add_is_said_to_have_nothing() -> None:
    async with open_chat(["Hello there.", ""]) as chat:
        await chat.ask("Question")
        await chat.press("ctrl+g")
        await chat.until(lambda: "nothing to add" in chat.trouble)
        assert chat.path[-1].text == "Hello there."


async def test_a_message_is_deleted_after_asking() -> None:
    async with open_chat() as chat:
        await chat.ask("One")
        await chat.ask("Two")
        await chat.press("ctrl+up", "up", "delete")  # on the second question
        await chat.until(lambda: "Delete your message?" in chat.text)
        assert "with the 1 message after it" in chat.text
        await chat.press("n")
        assert len(chat.path) == 4
        await chat.press("delete", "y")
        await chat.until(lambda: len(chat.path) == 2)
        await chat.until(lambda: "Two" not in chat.text)
        await chat.ask("Three")
        assert [message.text for message in chat.path] == ["One", "Hello there.", "Three", "Hello there."]
