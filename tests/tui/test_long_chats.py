"""Long conversations: only a window of messages is mounted, and it moves without a jump."""

from __future__ import annotations

from pathlib import Path

from llamachat.chat.conversation import Conversation, Message, Status
from llamachat.chat.store import SessionStore
from llamachat.tui.transcript import FIRST, MOST, Transcript
from tests.support.chat_app import Chat, open_chat

COUNT = 1000


def store_long_chat(folder: Path, count: int = COUNT) -> str:
    store = SessionStore(folder)
    conversation = Conversation(title="long")
    last: Message | None = None
    for number in range(count // 2):
        last = conversation.add_user(f"question {number}", parent=last)
        last = conversation.add_answer(last, model="Scripted 1B")
        last.text, last.status = f"answer {number}\n\nwith **two** paragraphs", Status.COMPLETE
    store.save(conversation, *conversation.messages.values())
    store.close()
    return conversation.id


async def opened(chat: Chat, chat_id: str) -> Transcript:
    chat.session.open(chat_id)
    await chat.app.chat_screen.after_operation()
    await chat.settle()
    return chat.transcript


async def test_a_long_chat_opens_at_its_end_with_few_messages_mounted(tmp_path: Path) -> None:
    chat_id = store_long_chat(tmp_path)
    async with open_chat(data=tmp_path) as chat:
        transcript = await opened(chat, chat_id)
        assert "answer 499" in chat.text
        assert len(transcript.views) == FIRST
        await chat.ask("one more")
        assert "Hello there." in chat.text
        assert len(transcript.views) <= MOST


async def test_scrolling_up_brings_earlier_messages_without_a_jump(tmp_path: Path) -> None:
    chat_id = store_long_chat(tmp_path)
    async with open_chat(data=tmp_path) as chat:
        transcript = await opened(chat, chat_id)
        for _ in range(14):
            before = [line[26:84] for line in chat.lines]
            chat.app.chat_screen.action_scroll_chat(-1)
            await chat.pilot.pause()
            after = [line[26:84] for line in chat.lines]
            kept = [line for line in before[:2] if line.strip()]
            assert all(line in after for line in kept), "a page up must keep the lines at its seam"
            assert len(transcript.views) <= MOST
        assert transcript.views[-1].message is not chat.path[-1]  # what is far below is no longer mounted
        await chat.press("ctrl+end")
        await chat.until(lambda: "answer 499" in chat.text)
        assert transcript.following


async def test_the_cursor_walks_beyond_the_window_and_jumps_to_both_ends(tmp_path: Path) -> None:
    chat_id = store_long_chat(tmp_path)
    async with open_chat(data=tmp_path) as chat:
        await opened(chat, chat_id)
        path = chat.path
        await chat.press("ctrl+up")
        for step in range(1, 16):
            await chat.press("up")
            assert chat.focused_message is path[-1 - step]
        await chat.press("home")
        assert chat.focused_message is path[0]
        assert "question 0" in chat.text
        for step in range(1, 14):
            await chat.press("down")
            assert chat.focused_message is path[step]
        await chat.press("end")
        assert chat.focused_message is path[-1]
        assert "answer 499" in chat.text


async def test_an_answer_out_of_sight_is_whole_when_one_comes_back(tmp_path: Path) -> None:
    chat_id = store_long_chat(tmp_path, 200)
    async with open_chat(["a long answer with a few words"], data=tmp_path, gated=True) as chat:
        await opened(chat, chat_id)
        await chat.send("go")
        chat.engine.release(5)
        await chat.until(lambda: "a long" in chat.text)
        await chat.press("ctrl+up", "home")
        await chat.until(lambda: "question 0" in chat.text)
        chat.engine.release(100)
        await chat.until(lambda: not chat.session.busy)
        await chat.press("end")
        await chat.until(lambda: "a long answer with a few words" in chat.text)


async def test_a_resize_keeps_the_reader_where_he_was(tmp_path: Path) -> None:
    chat_id = store_long_chat(tmp_path, 100)
    async with open_chat(data=tmp_path) as chat:
        transcript = await opened(chat, chat_id)
        chat.app.chat_screen.action_scroll_chat(-1)
        await chat.pilot.pause()
        at = transcript.scroll_y
        await chat.pilot.resize_terminal(160, 40)
        await chat.pilot.pause()
        assert not transcript.following
        assert abs(transcript.scroll_y - at) <= 3
