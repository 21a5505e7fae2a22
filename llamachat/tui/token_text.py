"""An answer's text with a cursor on its tokens, tinted where the model was not sure."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import ClassVar

from rich.cells import cell_len
from rich.segment import Segment
from textual import events
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.geometry import Region, Size
from textual.message import Message
from textual.reactive import reactive
from textual.scroll_view import ScrollView
from textual.strip import Strip

from llamachat.display import clean
from llamachat.tui.markdown_rows import wrapped
from llamachat.tui.own_keys import run_own_binding

TINTS = ((0.05, "on $warning 45%"), (0.2, "on $warning 27%"), (0.5, "on $warning 12%"))
"""Below which probability a token has which tint; the least likely first."""
_CURSOR = "bold $background on $accent"
_DOUBTFUL = 0.2
_END_MARK = "■"


def tint(probability: float) -> str:
    """The tint of a token with this probability; empty for one that was likely."""
    return next((tint for below, tint in TINTS if probability < below), "")


def shown(text: str) -> str:
    """What a token's text looks like: newlines and tabs with a mark, so that the cursor is seen on them."""
    return clean(text).replace("\n", "↵\n").replace("\t", "⇥ ")


@dataclass(frozen=True, slots=True)
class TokenPiece:
    """What one place of the text shows."""

    text: str
    probability: float


class TokenText(ScrollView, can_focus=True):
    """The tokens as running text. Only the rows in sight are drawn."""

    HELP = """\
Every token of the answer, **tinted** where the model was not sure of it, and what else could have stood in its place.
A digit makes a new version of the answer with that token, and the model goes on from there; nothing is lost.
"""
    BINDING_GROUP_TITLE = "Tokens"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left,h", "step(-1)", "Token before", show=False, id="tokens.left"),
        Binding("right,l", "step(1)", "Token after", show=False, id="tokens.right"),
        Binding("up,k", "row(-1)", "Row above", show=False, id="tokens.up"),
        Binding("down,j", "row(1)", "Row below", show=False, id="tokens.down"),
        Binding("pageup", "page(-1)", "Page up", show=False, id="tokens.page-up"),
        Binding("pagedown", "page(1)", "Page down", show=False, id="tokens.page-down"),
        Binding("home", "step(-100000000)", "First token", show=False, id="tokens.first"),
        Binding("end", "step(100000000)", "Last token", show=False, id="tokens.last"),
        Binding("tab,n", "doubtful(1)", "Next doubtful token", show=False, id="tokens.next-doubtful"),
        Binding("shift+tab,p", "doubtful(-1)", "Doubtful token before", show=False, id="tokens.previous-doubtful"),
    ]
    DEFAULT_CSS = """
    TokenText {
        background: transparent;
        scrollbar-size-vertical: 1;
        overflow-x: hidden;
    }
    """

    cursor: reactive[int] = reactive(0, init=False)

    class Moved(Message):
        """The cursor stands on another token."""

        def __init__(self, at: int) -> None:
            super().__init__()
            self.at = at

    def __init__(self, pieces: Sequence[TokenPiece]) -> None:
        """``pieces`` are those of all places, the one behind the last token too (its text is not shown)."""
        super().__init__()
        self._pieces = pieces
        texts = [shown(piece.text) for piece in pieces[:-1]] + [_END_MARK]
        self._starts = [0, *accumulate(map(len, texts))]  # a token that is part of a character stands where that does
        self._plain = "".join(texts)
        self._rows: list[tuple[Content, int]] = []  # each with its place in the text
        self._begins: list[int] = []
        self._width = 0
        self._column: int | None = None  # that a walk from row to row keeps to

    # ---- where things are -----------------------------------------------------

    def _lay_out(self) -> None:
        width = self.scrollable_content_region.width
        if width < 1 or width == self._width:  # it has no place on the screen yet, or the same
            return
        self._width = width
        content = Content("").join(self._tinted())
        self._rows = [(row, begin) for row, _, begin in wrapped(content, width)]
        self._begins = [begin for _, begin in self._rows]
        self.virtual_size = Size(0, len(self._rows))

    def _tinted(self) -> Iterator[Content]:
        """What stands on the screen, piece by piece; a character of several tokens as the least likely of them."""
        least = 1.0
        for start, end, piece in zip(self._starts, self._starts[1:], self._pieces, strict=False):
            least = min(least, piece.probability)
            if end > start:
                yield Content.assemble((self._plain[start:end], tint(least)))
                least = 1.0

    def _end_of(self, token: int) -> int:
        """Where the text of a token ends; of a part of a character, where that ends."""
        return self._starts[bisect_right(self._starts, self._starts[token])]

    def _token_at(self, place: int) -> int:
        """The token whose text is at a place of the whole."""
        return min(max(bisect_right(self._starts, place) - 1, 0), len(self._pieces) - 1)

    def _row_of(self, token: int) -> int:
        return max(bisect_right(self._begins, self._starts[token]) - 1, 0)

    def _column_of(self, token: int) -> int:
        row, begin = self._rows[self._row_of(token)]
        return cell_len(row.plain[: self._starts[token] - begin])

    def _token_in(self, row: int, column: int) -> int:
        """The token at a cell of a row, or the row's last."""
        content, begin = self._rows[row]
        cells, place = 0, begin
        for character in content.plain[:-1]:
            cells += cell_len(character)
            if cells > column:
                break
            place += 1
        return self._token_at(place)

    # ---- moving ---------------------------------------------------------------

    def on_mount(self) -> None:
        """Shows the cursor where it was put."""
        self.call_after_refresh(self._show_cursor)

    def on_resize(self) -> None:
        """The rows are set for the width there is."""
        self._lay_out()
        self._show_cursor()

    def _show_cursor(self) -> None:
        self._lay_out()
        if self._rows and self.size.height:
            row = self._row_of(self.cursor)
            self.scroll_to_region(Region(0, row, 1, 1), animate=False, immediate=True)

    def watch_cursor(self) -> None:
        """Keeps the cursor in sight and tells where it is."""
        self._show_cursor()
        self.refresh()
        self.post_message(self.Moved(self.cursor))

    def validate_cursor(self, at: int) -> int:
        """There is a first and a last token."""
        return min(max(at, 0), len(self._pieces) - 1)

    async def _on_key(self, event: events.Key) -> None:
        await run_own_binding(self, event)

    def action_step(self, step: int) -> None:
        """Moves the cursor by ``step`` tokens."""
        self._column = None
        self.cursor += step

    def action_row(self, step: int) -> None:
        """Moves the cursor by ``step`` rows, in its column; out of the first or the last row to the end there is."""
        self._lay_out()
        row = self._row_of(self.cursor) + step
        if 0 <= row < len(self._rows):
            self._go_to_row(row)
        elif self._rows:
            self.action_step(step * len(self._pieces))

    def action_page(self, step: int) -> None:
        """Moves the cursor by a screenful."""
        self._lay_out()
        row = self._row_of(self.cursor) + step * max(1, self.size.height - 1)
        if self._rows:
            self._go_to_row(min(max(row, 0), len(self._rows) - 1))

    def _go_to_row(self, row: int) -> None:
        if self._column is None:
            self._column = self._column_of(self.cursor)
        self.cursor = self._token_in(row, self._column)

    def action_doubtful(self, step: int) -> None:
        """Moves the cursor to the next token, or the one before, that was less likely than one in five."""
        self._column = None
        places = range(self.cursor + step, len(self._pieces) if step > 0 else -1, step)
        self.cursor = next((at for at in places if self._pieces[at].probability < _DOUBTFUL), self.cursor)

    async def _on_click(self, event: events.Click) -> None:
        row = event.y + self.scroll_offset.y
        if event.button == 1 and 0 <= row < len(self._rows):
            self._column = None
            self.cursor = self._token_in(row, event.x)

    # ---- drawing --------------------------------------------------------------

    def render_line(self, y: int) -> Strip:
        """One row as Textual asks for it."""
        self._lay_out()
        index = y + self.scroll_offset.y
        width = self.scrollable_content_region.width
        base = self.visual_style
        if not 0 <= index < len(self._rows):
            return Strip.blank(width, base.rich_style)
        row, begin = self._rows[index]
        start, end = self._starts[self.cursor] - begin, self._end_of(self.cursor) - begin
        if start < len(row) and end > 0:
            row = row.stylize(_CURSOR, max(start, 0), end)
        segments = [Segment(text, style.rich_style) for text, style in row.render(base, "", self._get_style)]
        return Strip(segments).adjust_cell_length(width, base.rich_style)
