"""The list of chats: grouping, opening, filtering, renaming, deleting, other windows."""

from __future__ import annotations

from datetime import date, datetime
from pathlib import Path

from llamachat.chat.conversation import Conversation
from llamachat.chat.session import ChatSession
from llamachat.chat.store import SessionStore, SessionSummary
from llamachat.tui.dialogs import LineScreen
from llamachat.tui.row_list import RowList
from llamachat.tui.session_pane import SessionList, TitleInput, session_rows
from tests.support.chat_app import Chat, open_chat
from tests.support.scripted_engine import ScriptedEngine

TODAY = date(2026, 3, 11)


def summary(number: int, then: datetime, title: str = "") -> SessionSummary:
    return SessionSummary(str(number), title or f"chat {number}", then.timestamp(), 2)


def titles(chat: Chat) -> list[str]:
    return [row.label for row in chat.app.chat_screen.query_one(SessionList).rows if row.key]


def test_chats_stand_under_their_days() -> None:
    times = [
        datetime(2026, 3, 11, 9),
        datetime(2026, 3, 10, 9),
        datetime(2026, 3, 7, 9),
        datetime(2026, 2, 1, 9),
        datetime(2025, 12, 1, 9),
    ]
    rows = session_rows([summary(at, then) for at, then in enumerate(times)], "1", TODAY)
    headings = [row.label for row in rows if not row.key and row.label]
    assert headings == ["Today", "Yesterday", "Saturday", "February", "December 2025"]
    assert [row.key for row in rows if row.marked] == ["1"]


def test_a_chat_with_nothing_but_a_draft_is_unsent() -> None:
    rows = session_rows([SessionSummary("x", "", 0.0, 0)], "x", TODAY)
    assert [(row.key, row.label) for row in rows] == [("", "Unsent"), ("x", "New chat")]
    rows = session_rows([SessionSummary("x", "", 0.0, 0, draft="half a thought\nand more")], "y", TODAY)
    assert [(row.key, row.label) for row in rows] == [("", "Unsent"), ("x", "half a thought")]


def test_a_clock_that_jumps_makes_no_heading_twice_and_no_error() -> None:
    times = [datetime(2031, 1, 1), datetime(2026, 3, 10), datetime(2026, 3, 11), datetime(2026, 3, 10)]
    odd = [SessionSummary("x", "odd", 1e300, 1), SessionSummary("y", "odd", float("nan"), 1)]
    rows = session_rows([*(summary(at, then) for at, then in enumerate(times)), *odd], "", TODAY)
    headings = [row.label for row in rows if not row.key and row.label]
    assert len(headings) == len(set(headings))
    assert [row.key for row in rows if row.key] == ["0", "1", "2", "3", "x", "y"]  # the order is the store's


async def test_a_chat_is_titled_by_its_first_message_and_opened_from_the_list() -> None:
    async with open_chat(["Answer one.", "Answer two."]) as chat:
        await chat.ask("All about cats")
        await chat.press("ctrl+n")
        await chat.until(lambda: "Answer one." not in chat.text)
        await chat.ask("All about dogs")
        assert titles(chat) == ["All about dogs", "All about cats"]
        await chat.press("ctrl+b", "down", "enter")
        await chat.until(lambda: "Answer one." in chat.text)
        assert chat.session.conversation.title == "All about cats"
        assert chat.app.focused is chat.composer


async def test_a_click_opens_a_chat() -> None:
    async with open_chat(["Answer one.", "Answer two."]) as chat:
        await chat.ask("All about cats")
        await chat.press("ctrl+n")
        await chat.ask("All about dogs")
        row = next(at for at, line in enumerate(chat.lines) if "All about cats" in line[:26])
        await chat.pilot.click(offset=(6, row))
        await chat.until(lambda: "Answer one." in chat.text)


async def test_typing_filters_and_escape_shows_all() -> None:
    async with open_chat() as chat:
        for title in ("All about cats", "All about dogs", "Regex for dates"):
            await chat.ask(title)
            await chat.press("ctrl+n")
            await chat.until(lambda: not chat.path)
        await chat.press("ctrl+b", *"dog")
        await chat.until(lambda: titles(chat) == ["All about dogs"])
        assert "/ dog" in chat.text
        await chat.press("backspace", "backspace", "backspace")
        await chat.until(lambda: len(titles(chat)) == 3)
        await chat.press(*"nothing like it")
        await chat.until(lambda: "none found" in chat.text)
        await chat.press("escape")
        await chat.until(lambda: len(titles(chat)) == 3)
        assert chat.app.chat_screen.query_one(SessionList).has_focus
        await chat.press("escape")
        assert chat.app.focused is chat.composer


async def test_renaming_happens_in_place() -> None:
    async with open_chat() as chat:
        await chat.ask("All about cats")
        await chat.press("ctrl+b", "f2")
        await chat.until(lambda: isinstance(chat.app.focused, TitleInput))
        field = chat.app.chat_screen.query_one(TitleInput)
        assert field.value == "All about cats"
        row = next(at for at, line in enumerate(chat.lines) if "All about cats" in line[:26])
        assert field.region.y == row  # over the row itself
        field.value = "[bold]Cats[/nope] and more"
        await chat.press("enter")
        await chat.until(lambda: titles(chat) == ["[bold]Cats[/nope] and more"])
        assert chat.session.conversation.title == "[bold]Cats[/nope] and more"
        assert "[bold]Cats[/nope]" in chat.text
        await chat.press("f2", "x", "escape")
        assert titles(chat) == ["[bold]Cats[/nope] and more"]


async def test_the_cursor_stays_on_a_chat_that_gets_another_title() -> None:
    async with open_chat() as chat:
        await chat.ask("All about cats")
        await chat.press("ctrl+n")
        await chat.ask("All about dogs")
        await chat.press("ctrl+b", "down", "f2")
        await chat.until(lambda: isinstance(chat.app.focused, TitleInput))
        await chat.press("enter")
        await chat.settle()
        await chat.press("delete")
        await chat.until(lambda: "Delete “" in chat.text)
        assert "Delete “All about cats”?" in chat.text


async def test_the_cursor_is_seen_without_colours() -> None:
    async with open_chat() as chat:
        await chat.ask("All about cats")
        await chat.press("ctrl+n")
        await chat.ask("All about dogs")
        await chat.press("ctrl+b", "down")
        await chat.until(lambda: any("›All about cats" in line for line in chat.lines))
        assert any("▎All about dogs" in line for line in chat.lines)  # that one is open
        await chat.press("ctrl+t", "down")
        await chat.until(lambda: any("›Top-p" in line for line in chat.lines))


async def test_deleting_asks_first() -> None:
    async with open_chat() as chat:
        await chat.ask("All about cats")
        await chat.press("ctrl+b", "delete")
        await chat.until(lambda: "Delete “All about cats”?" in chat.text)
        await chat.press("n")
        await chat.until(lambda: "Delete “" not in chat.text)
        assert titles(chat) == ["All about cats"]
        await chat.press("delete", "y")
        await chat.until(lambda: titles(chat) == [])
        assert chat.path == []
        assert "All about cats" not in chat.text


async def test_what_another_window_writes_appears(tmp_path: Path) -> None:
    async with open_chat(data=tmp_path) as chat:
        await chat.ask("Mine")
        other = SessionStore(tmp_path)
        conversation = Conversation()
        message = conversation.add_user("Theirs", parent=None)
        other.save(conversation, message)
        other.close()
        await chat.until(lambda: set(titles(chat)) == {"Mine", "Theirs"})


async def test_an_answer_that_another_window_writes_says_so(tmp_path: Path) -> None:
    """Until it is over, or that window is gone: nobody writes then that it is."""
    engine = ScriptedEngine(["One two three"], loaded=True, gated=True)
    other = ChatSession(SessionStore(tmp_path), engine)
    async with open_chat(data=tmp_path) as chat:
        other.send("Count")
        engine.release(4)
        await chat.until(lambda: other.drain() is not None and other.conversation.path[-1].text.startswith("One"))
        other.store.save(other.conversation, other.conversation.path[-1])
        chat.session.open(other.conversation.id)
        await chat.app.chat_screen.after_operation()
        await chat.until(lambda: "· answering in another window ·" in chat.status)
        await chat.until(lambda: "answering in another window, where it can be stopped" in chat.text)
        assert "esc stop" not in chat.status
        for key in ("escape", "ctrl+c"):
            await chat.press(key)
            await chat.until(lambda: "esc stops it in its own window" in chat.status)
        await chat.press("ctrl+g")
        await chat.until(lambda: "being written in another window" in chat.trouble)
        other.store._writer.close()  # type: ignore[union-attr]  # as if it had been killed: nobody writes any more
        await chat.until(lambda: "interrupted when the program ended" in chat.text)
        assert "another window" not in chat.status
    other.store._writer = None
    other.close()


async def test_headings_are_stepped_over() -> None:
    async with open_chat() as chat:
        pane = chat.app.chat_screen.query_one(SessionList)
        now = datetime.now().timestamp()
        chat.app.chat_screen.query_one("SessionPane").show_sessions(  # type: ignore[attr-defined]
            [SessionSummary("a", "a", now, 1), SessionSummary("b", "b", now - 40 * 86400, 1)], "a"
        )
        pane.focus()
        await chat.pilot.pause()
        assert pane.current is not None
        assert pane.current.key == "a"
        await chat.press("down")
        assert pane.current.key == "b"
        await chat.press("down")
        assert pane.current.key == "b"
        await chat.press("home")
        assert pane.current.key == "a"


def test_a_list_without_anything_to_choose() -> None:
    rows = RowList()
    rows.action_move(1)
    rows.action_choose()
    assert rows.current is None


async def test_enter_deletes_nothing() -> None:
    async with open_chat() as chat:
        await chat.ask("Question")
        await chat.press("ctrl+b", "delete", "enter")
        assert "Delete" in chat.text
        await chat.press("n")
        assert len(chat.session.sessions()) == 1


async def test_a_title_is_edited_as_a_line() -> None:
    async with open_chat() as chat:
        await chat.ask("Question")
        await chat.send("/rename")
        await chat.until(lambda: isinstance(chat.app.screen, LineScreen))
        await chat.press("1", "enter")
        await chat.until(lambda: chat.session.conversation.title == "Question1")
        await chat.send("/rename")
        await chat.until(lambda: isinstance(chat.app.screen, LineScreen))
        await chat.press("2", "enter")
        await chat.until(lambda: chat.session.conversation.title == "Question12")


async def test_chats_that_are_not_saved_are_said_to_be_so(tmp_path: Path) -> None:
    folder = tmp_path / "file"
    folder.write_text("where the folder should be")
    async with open_chat(data=folder) as chat:
        assert chat.session.store.in_memory
        await chat.ask("Question")
        assert "not saved" in chat.status
    async with open_chat() as chat:
        assert "not saved" not in chat.status


async def test_a_refusal_does_not_stay_with_another_chat() -> None:
    async with open_chat() as chat:
        await chat.send("word " * 20_000)
        await chat.until(lambda: "too long" in chat.trouble)
        await chat.press("ctrl+n")
        assert chat.trouble == ""


async def test_what_was_said_is_found_under_a_heading_of_its_own() -> None:
    async with open_chat(["An apple fell."]) as chat:
        await chat.ask("All about cats")
        await chat.press("ctrl+n")
        await chat.ask("Dogs and apples")
        await chat.press("ctrl+b", *"apple")
        await chat.until(lambda: "2 found" in chat.text)
        heads = [line.strip() for line in chat.text.splitlines()]
        dogs, heading, cats = (
            next(at for at, line in enumerate(heads) if words in line[:30])
            for words in ("Dogs and apples", "In what was said", "All about cats")
        )
        assert dogs < heading < cats
