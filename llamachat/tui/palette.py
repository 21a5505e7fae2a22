"""The command palette: every command, preset, theme and chat, found by typing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.fuzzy import FuzzySearch
from textual.widgets import Input

from llamachat.tui.dialogs import Dialog
from llamachat.tui.row_list import Row, RowList

_MOST = 200


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing the palette offers."""

    label: str
    detail: str
    run: Callable[[], None]
    search: str = ""  #: more words to find it by


class PaletteScreen(Dialog[int]):
    """A line to type in and what matches it; answers with the index of the entry chosen."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "move(-1)", "Up", show=False, id="palette.up"),
        Binding("down", "move(1)", "Down", show=False, id="palette.down"),
        Binding("pageup", "page(-1)", "Page up", show=False, id="palette.page-up"),
        Binding("pagedown", "page(1)", "Page down", show=False, id="palette.page-down"),
        Binding("ctrl+p", "cancel", "Close", show=False, id="palette.close"),
    ]
    DEFAULT_CSS = """
    PaletteScreen {
        align: center top;
        & > #dialog { margin-top: 2; width: 96; padding: 0 1 1 1; }
        & > #dialog > RowList { max-height: 18; margin: 1 0 0 0; }
    }
    """

    def __init__(self, entries: Sequence[Entry]) -> None:
        super().__init__()
        self._entries = entries
        self._search = FuzzySearch()

    def compose(self) -> ComposeResult:
        """Field, list."""
        with Vertical(id="dialog"):
            yield Input(placeholder="Type a command, a preset, a theme, a chat")
            rows = RowList(label_width=32)
            rows.can_focus = False
            rows.always_lit = True
            yield rows

    def on_mount(self) -> None:
        """Shows everything."""
        self._match("")

    def on_input_changed(self, event: Input.Changed) -> None:
        """Shows what matches."""
        event.stop()
        self._match(event.value.strip())

    def _match(self, typed: str) -> None:
        scored: list[tuple[float, int]] = []
        for index, entry in enumerate(self._entries):
            score = self._score(typed, entry) if typed else 1.0
            if score > 0:
                scored.append((-score, index))
        scored.sort()
        rows = self.query_one(RowList)
        rows.set_rows(
            [Row(str(at), self._entries[at].label, self._entries[at].detail) for _, at in scored[:_MOST]]
            or [Row("", "nothing found")]
        )
        rows.cursor = 0 if scored else -1

    def _score(self, typed: str, entry: Entry) -> float:
        label = entry.label.lower()
        if typed.lower() in label:  # words as they stand come before letters that are strewn about
            return 1000.0 - label.index(typed.lower())
        if typed.lower() in entry.detail.lower():
            return 500.0 - entry.detail.lower().index(typed.lower())
        return max(self._search.match(typed, text)[0] for text in (entry.label, f"{entry.label} {entry.search}"))

    def action_move(self, step: int) -> None:
        """Moves in the list."""
        self.query_one(RowList).action_move(step)

    def action_page(self, step: int) -> None:
        """Moves by a screenful."""
        self.query_one(RowList).action_page(step)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Enter takes the row under the cursor."""
        event.stop()
        self.query_one(RowList).action_choose()

    def on_row_list_chosen(self, event: RowList.Chosen) -> None:
        """Hands the choice over."""
        event.stop()
        self.dismiss(int(event.key))
