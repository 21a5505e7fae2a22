"""The pane at the left: the stored chats, filtered by typing, renamed in place."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import TYPE_CHECKING, ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message
from textual.reactive import reactive
from textual.widgets import Input, Static

from llamachat.chat.conversation import UNTITLED
from llamachat.display import clean_line
from llamachat.tui.keys import Keys, key_hints
from llamachat.tui.row_list import Row, RowList
from llamachat.tui.words import day_group, local_day

if TYPE_CHECKING:
    from llamachat.chat.store import SessionSummary


def session_rows(sessions: Sequence[SessionSummary], open_id: str, today: date) -> list[Row]:
    """Chats as rows, each day's under its heading, those found by their messages under one of their own. The order is
    the store's, by use, whatever the clock said.
    """
    rows: list[Row] = []
    seen: set[str] = set()
    for session in sessions:
        group = day_group(local_day(session.updated), today) if session.n_messages else "Unsent"
        if session.by_text:
            group = "In what was said"
        if group not in seen:
            seen.add(group)
            if rows:
                rows.append(Row("", ""))
            rows.append(Row("", group))
        is_open = session.id == open_id  # its unsent text is in the composer, and changes
        title = session.title or UNTITLED if is_open else session.shown_title
        rows.append(Row(session.id, title, marked=is_open))
    return rows


class SessionList(RowList):
    """The chats. Letters filter."""

    HELP = """\
Your chats, the last used first. Just type to find words in their titles, and in what was said; **Escape** shows all
again.
**Enter** opens one, {chats.rename} renames it in place, {chats.delete} deletes it after asking.
"""
    BINDING_GROUP_TITLE = "Chats"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("f2", "rename", "Rename", show=False, id="chats.rename"),
        Binding("delete", "delete", "Delete", show=False, id="chats.delete"),
        Binding("backspace", "erase", "Take back a letter of the filter", show=False, id="chats.erase"),
        Binding("escape", "escape", "Show all, or back to the composer", show=False, id="chats.escape"),
    ]

    filter_text: reactive[str] = reactive("", init=False)

    class Filtered(Message):
        """Another filter was typed."""

    class Wanted(Message):
        """A person wants to rename or delete a chat."""

        def __init__(self, what: str, key: str) -> None:
            super().__init__()
            self.what = what
            self.key = key

    @property
    def status_keys(self) -> Keys:
        """What can be done with a chat, for the status line."""
        return (("enter", "open"), *key_hints(self, ("chats.rename", "rename"), ("chats.delete", "delete")))

    async def _on_key(self, event: events.Key) -> None:
        if event.is_printable and event.character and len(self.filter_text) < 60:
            event.stop()
            event.prevent_default()
            self.filter_text += event.character

    def watch_filter_text(self) -> None:
        """Tells the pane."""
        self.post_message(self.Filtered())

    def action_erase(self) -> None:
        """Takes back the last letter of the filter."""
        self.filter_text = self.filter_text[:-1]

    async def action_escape(self) -> None:
        """Clears the filter; without one, leaves the pane."""
        if self.filter_text:
            self.filter_text = ""
        else:
            await self.screen.run_action("leave_pane")

    def action_rename(self) -> None:
        """Asks for another title."""
        if self.current is not None and self.current.key:
            self.post_message(self.Wanted("rename", self.current.key))

    def action_delete(self) -> None:
        """Asks to delete."""
        if self.current is not None and self.current.key:
            self.post_message(self.Wanted("delete", self.current.key))


class TitleInput(Input):
    """The field that lies over a row while its title is changed."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "cancel", "Keep the title", show=False, id="title.cancel"),
    ]
    DEFAULT_CSS = """
    TitleInput, TitleInput:focus {
        layer: title;
        position: absolute;
        width: 100%;
        height: 1;
        border: none;
        padding: 0 1 0 2;
        background: $raised;
        color: $text;
        display: none;
    }
    TitleInput.-open { display: block; }
    """

    def action_cancel(self) -> None:
        """Closes without a change."""
        self.remove_class("-open")
        self.screen.query_one(SessionList).focus()


class SessionPane(Vertical):
    """Title, list, filter line."""

    DEFAULT_CSS = """
    SessionPane {
        background: $pane;
        padding: 1 0 0 0;
        layers: base title;
        & > .title { color: $faint; padding: 0 2; height: 1; margin-bottom: 1; }
        & > SessionList { height: 1fr; scrollbar-background: $pane; padding: 0 0 0 1; }
        & > .foot { color: $faint; padding: 0 2; height: auto; margin: 1 0; }
    }
    """

    class Opened(Message):
        """A chat was chosen."""

        def __init__(self, session_id: str) -> None:
            super().__init__()
            self.session_id = session_id

    class Renamed(Message):
        """A chat was given another title."""

        def __init__(self, session_id: str, title: str) -> None:
            super().__init__()
            self.session_id = session_id
            self.title = title

    class DeleteAsked(Message):
        """A chat should go."""

        def __init__(self, session_id: str, title: str) -> None:
            super().__init__()
            self.session_id = session_id
            self.title = title

    def __init__(self) -> None:
        super().__init__()
        self._renaming = ""

    def compose(self) -> ComposeResult:
        """Title, list, foot, and the field for titles."""
        yield Static("Chats", classes="title", markup=False)
        yield SessionList()
        yield Static(classes="foot", markup=False)
        yield TitleInput(max_length=200)

    @property
    def filter_text(self) -> str:
        """What is typed as a filter."""
        return self.query_one(SessionList).filter_text

    def show_sessions(self, sessions: Sequence[SessionSummary], open_id: str) -> None:
        """Shows these chats; the cursor stays on its chat, or goes to the open one."""
        rows = self.query_one(SessionList)
        stays = rows.current if self.screen.focused is rows else None  # has_focus is told a moment later
        rows.set_rows(session_rows(sessions, open_id, date.today()), keep=stays.key if stays else open_id)
        foot = self.query_one(".foot", Static)
        if rows.filter_text:
            found = f"{len(sessions):,} found" if sessions else "none found"
            foot.update(Content.assemble(("/ ", "$faint"), (clean_line(rows.filter_text), "$text"), f"▏\n{found}"))
        else:
            new = "".join(f"\n{key} {word}" for key, word in key_hints(self.screen, ("chat.new", "new chat")))
            foot.update(Content(f"type to search{new}"))

    # ---- renaming -----------------------------------------------------------

    def on_session_list_wanted(self, event: SessionList.Wanted) -> None:
        """Opens the field over the row, or passes the wish to delete on."""
        event.stop()
        rows = self.query_one(SessionList)
        title = next((row.label for row in rows.rows if row.key == event.key), "")
        if event.what == "delete":
            self.post_message(self.DeleteAsked(event.key, title))
            return
        self._renaming = event.key
        field = self.query_one(TitleInput)
        field.value = clean_line(title)
        row = next(at for at, row in enumerate(rows.rows) if row.key == event.key)
        y = rows.region.y - self.content_region.y + row - rows.scroll_offset.y
        field.styles.offset = (0, y)
        field.add_class("-open")
        field.focus()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Enter takes the title."""
        event.stop()
        self.query_one(TitleInput).remove_class("-open")
        self.screen.set_focus(self.query_one(SessionList))
        if self._renaming and event.value.strip():
            self.post_message(self.Renamed(self._renaming, event.value.strip()))

    def on_descendant_blur(self, event: events.DescendantBlur) -> None:
        """Leaving the field keeps the old title."""
        if isinstance(event.widget, TitleInput):
            event.widget.remove_class("-open")

    def on_row_list_chosen(self, event: RowList.Chosen) -> None:
        """Passes the choice on."""
        event.stop()
        self.post_message(self.Opened(event.key))
