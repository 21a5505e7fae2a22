"""Messages: versions, edits, copies, deleting, and the cursor that walks through them."""

from __future__ import annotations

from pathlib import Path

import pytest

from llamachat.tui.dialogs import EditScreen
from tests.support.chat_app import open_chat


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


async def test_an_answer_that_ended_by_itself_goes_on_with_its_key() -> None:
    async with open_chat(["Hello there.", " And more."]) as chat:
        await chat.ask("Question")
        await chat.press("ctrl+up", "g")
        await chat.until(lambda: chat.path[-1].text == "Hello there. And more.")


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


@pytest.mark.parametrize("key", ["t", "delete"])
async def test_a_key_that_is_held_opens_one_screen(key: str) -> None:
    async with open_chat(["One two three."]) as chat:
        await chat.ask("count")
        await chat.press("ctrl+up")
        chat.hold(key, 3)
        await chat.until(lambda: not chat.app.chat_screen.is_active)
        await chat.pilot.pause()
        assert len(chat.app.screen_stack) == 2
        await chat.press("escape")
        assert chat.app.chat_screen.is_active


async def test_a_key_that_is_held_asks_once_whether_a_chat_shall_go() -> None:
    async with open_chat(["One two three."]) as chat:
        await chat.ask("count")
        await chat.press("ctrl+b")
        chat.hold("delete", 3)
        await chat.until(lambda: not chat.app.chat_screen.is_active)
        await chat.pilot.pause()
        assert len(chat.app.screen_stack) == 2
