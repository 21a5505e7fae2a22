"""A list of one-line rows. Only what is visible is rendered, so ten thousand rows cost what ten do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.geometry import Region, Size
from textual.message import Message
from textual.reactive import reactive, var
from textual.scroll_view import ScrollView
from textual.strip import Strip

from llamachat.display import clean_line
from llamachat.tui.own_keys import run_own_binding


@dataclass(frozen=True, slots=True)
class Row:
    """One line. A row without a key is a heading or a space and cannot be chosen."""

    key: str
    label: str
    detail: str = ""  #: beside the label, faint
    marked: bool = False  #: the one in use now


class RowList(ScrollView, can_focus=True):
    """Rows with a cursor; says which was chosen."""

    DEFAULT_CSS = """
    RowList {
        background: transparent;
        scrollbar-size-vertical: 1;
        overflow-x: hidden;
        & > .rows--label { color: $text; }
        & > .rows--detail { color: $faint; }
        & > .rows--heading { color: $faint; }
        & > .rows--marked { color: $accent; }
        & > .rows--cursor { background: $raised; }
    }
    """
    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "rows--label",
        "rows--detail",
        "rows--heading",
        "rows--marked",
        "rows--cursor",
    }
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "move(-1)", "Up", show=False, id="rows.up"),
        Binding("down", "move(1)", "Down", show=False, id="rows.down"),
        Binding("pageup", "page(-1)", "Page up", show=False, id="rows.page-up"),
        Binding("pagedown", "page(1)", "Page down", show=False, id="rows.page-down"),
        Binding("home", "move(-100000000)", "First", show=False, id="rows.first"),
        Binding("end", "move(100000000)", "Last", show=False, id="rows.last"),
        Binding("enter", "choose", "Open", show=False, id="rows.choose"),
    ]

    cursor: reactive[int] = reactive(-1, init=False)
    always_lit: var[bool] = var(False)  #: show the cursor without focus too: another widget steers this one

    class Chosen(Message):
        """A row was taken, by Enter or by a click."""

        def __init__(self, rows: RowList, key: str) -> None:
            super().__init__()
            self.rows = rows
            self.key = key

        @property
        def control(self) -> RowList:
            """The list."""
            return self.rows

    def __init__(self, *, label_width: int = 0, id: str | None = None) -> None:  # noqa: A002 - Textual's word
        super().__init__(id=id)
        self._rows: Sequence[Row] = ()
        self._label_width = label_width

    @property
    def rows(self) -> Sequence[Row]:
        """All rows, headings too."""
        return self._rows

    @property
    def current(self) -> Row | None:
        """The row under the cursor."""
        return self._rows[self.cursor] if 0 <= self.cursor < len(self._rows) else None

    def set_rows(self, rows: Sequence[Row], keep: str = "") -> None:
        """Shows other rows; the cursor goes to the row with key ``keep``, else stays near where it was."""
        self._rows = rows
        self.virtual_size = Size(0, len(rows))
        wanted = next((at for at, row in enumerate(rows) if keep and row.key == keep), None)
        if wanted is None:
            wanted = self._nearest(min(max(self.cursor, 0), len(rows) - 1), 1)
        self.set_reactive(RowList.cursor, wanted)
        self.refresh(layout=True)
        self.call_after_refresh(self._show_cursor)

    def _nearest(self, at: int, step: int) -> int:
        """The first row at or beyond ``at`` that can be chosen, looking the other way at an end; -1 if none can."""
        ways = (range(at, len(self._rows)), range(at, -1, -1))
        for indexes in ways if step > 0 else ways[::-1]:
            for index in indexes:
                if 0 <= index < len(self._rows) and self._rows[index].key:
                    return index
        return -1

    def _show_cursor(self) -> None:
        if self.cursor >= 0 and self.size.height:
            top = self.cursor - 1 if self.cursor > 0 and not self._rows[self.cursor - 1].key else self.cursor
            self.scroll_to_region(Region(0, top, 1, self.cursor - top + 1), animate=False, immediate=True)

    def watch_cursor(self) -> None:
        """Keeps the cursor in sight."""
        self._show_cursor()
        self.refresh()

    async def _on_key(self, event: events.Key) -> None:
        await run_own_binding(self, event)

    def action_move(self, step: int) -> None:
        """Moves the cursor by ``step`` rows, over headings."""
        if self._rows:
            aim = min(max(self.cursor + step, 0), len(self._rows) - 1)
            found = self._nearest(aim, 1 if step > 0 else -1)
            if found >= 0:
                self.cursor = found

    def action_page(self, step: int) -> None:
        """Moves the cursor by a screenful."""
        self.action_move(step * max(1, self.size.height - 1))

    def action_choose(self) -> None:
        """Takes the row under the cursor."""
        if self.current is not None and self.current.key:
            self.post_message(self.Chosen(self, self.current.key))

    async def _on_click(self, event: events.Click) -> None:
        index = event.y + self.scroll_offset.y
        if event.button == 1 and 0 <= index < len(self._rows) and self._rows[index].key:
            self.cursor = index
            self.action_choose()

    def render_line(self, y: int) -> Strip:
        """One row as Textual asks for it."""
        index = y + self.scroll_offset.y
        width = self.scrollable_content_region.width
        base = self.visual_style
        if not 0 <= index < len(self._rows) or width < 3:
            return Strip.blank(width, base.rich_style)
        row = self._rows[index]
        lit = index == self.cursor and (self.has_focus or self.always_lit)
        if lit:
            base = self.get_visual_style("rows--cursor")
        text = "rows--heading" if not row.key else "rows--label"
        bar = "›" if lit else "▎" if row.marked else " "  # the background alone is not seen where colours are few
        line = Content.assemble(
            (bar, self.get_visual_style("rows--marked", partial=True)),
            (self._label(row, width - 2), self.get_visual_style(text, partial=True)),
            (self._detail(row, width - 2), self.get_visual_style("rows--detail", partial=True)),
        ).truncate(width - 1, ellipsis=True)
        return Strip(line.render_segments(base)).adjust_cell_length(width, base.rich_style)

    def _label(self, row: Row, width: int) -> str:
        label = clean_line(row.label)
        if row.key and row.detail and self._label_width:
            space = min(self._label_width, max(12, width * 2 // 5))
            return Content(label).truncate(space, ellipsis=True, pad=True).plain + "  "
        return label

    def _detail(self, row: Row, width: int) -> str:
        detail = clean_line(row.detail)
        if not detail or self._label_width:
            return detail
        space = width - Content(clean_line(row.label)).cell_length - Content(detail).cell_length
        return " " * max(2, space) + detail
