"""A Markdown text that grows, as rows of a terminal. What is added costs what it is, not what stands above it.

A text is parsed again from its last block on; from the last item, if that is a list; and of a table its head and its
last row. Inside an open code block nothing is parsed. (Markdown's only far reference, a link whose address is told
elsewhere, is found when the whole text is shown.)
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from markdown_it.token import Token

from llamachat.tui.markdown_pieces import Block, Walker
from llamachat.tui.markdown_rows import Code, Piece, Row, Table, Words
from llamachat.tui.plain_text import plain_content
from llamachat.tui.safe_markdown import MAX_BLOCKS, SafeParser, fits


class OpenFence:
    """The code block in which a text ends: text goes into it without being parsed."""

    def __init__(self, piece: Code, markup: str, written: str) -> None:
        self._piece, self._markup = piece, markup
        self._written = written  # the code with the blank lines at its end, which are not shown
        self._last_line = written.rpartition("\n")[2]

    @classmethod
    def at_end(cls, tokens: Sequence[Token], lines: Sequence[str], pieces: Sequence[Piece]) -> OpenFence | None:
        """The block that the text of ``lines`` has not ended yet, if there is one. An indented one counts as ended."""
        token, piece = (tokens[-1], pieces[-1]) if tokens and pieces else (None, None)
        if token is None or token.type != "fence" or not isinstance(piece, Code) or token.map is None:
            return None
        begins, ends = token.map
        markup, last = token.markup, lines[ends - 1].strip()
        closed = ends - 1 > begins and last.startswith(markup) and not last.strip(markup[0])
        if closed or begins + 1 >= len(lines) or not lines[begins].startswith(markup):
            return None
        return cls(piece, markup, "\n".join(lines[begins + 1 :]))

    def extend(self, text: str) -> int | None:
        """Adds to the code; returns the piece's first row that changed. None, and nothing is done, where it may end."""
        tail = self._last_line + text
        if any(line.strip().startswith(self._markup) for line in tail.split("\n")):
            return None
        self._last_line = tail.rpartition("\n")[2]
        self._written += text
        return self._piece.show(self._written.rstrip())


class MarkdownDocument:
    """The pieces of a text, and their rows for one width."""

    def __init__(self, *, short: bool = False) -> None:
        self.short = short  #: code has no margins above and below
        self.text = ""
        self.pieces: list[Piece] = []
        self._parser = SafeParser()
        self._width = 0
        self._starts = [0]  # the row at which each piece begins, and how many there are
        self._fence: OpenFence | None = None
        self._plain = False
        self._head = ""  # of the table in which the text ends
        self._tail = 0  # where in the text the part begins that is parsed again
        self._tail_piece = 0
        self._tail_is_item = False
        self._table_rows = 0  # of that table, those that stay

    # ---- rows -----------------------------------------------------------------

    @property
    def height(self) -> int:
        """How many rows there are."""
        return self._starts[-1]

    def set_width(self, width: int) -> bool:
        """Lays out for a width; False if it is so already."""
        if width == self._width:
            return False
        self._width = width
        self._place(0)
        return True

    def row(self, y: int) -> Row:
        """One row; ``y`` is less than :attr:`height`."""
        at = bisect_right(self._starts, y) - 1
        return self.pieces[at].rows(self._width)[y - self._starts[at]]

    @property
    def ends_in_words(self) -> bool:
        """Whether the text ends in a paragraph, so that a cursor can follow its last word."""
        return bool(self.pieces) and isinstance(self.pieces[-1], Words)

    def _place(self, first: int) -> None:
        del self._starts[first + 1 :]
        for piece in self.pieces[first:]:
            self._starts.append(self._starts[-1] + len(piece.rows(self._width)))

    # ---- text -----------------------------------------------------------------

    def show(self, text: str) -> int:
        """Takes another text over, and parses all of it; returns the first row that is not as it was."""
        self.text = text
        self._fence, self._plain, self._head = None, False, ""
        self._tail, self._tail_piece, self._tail_is_item, self._table_rows = 0, 0, False, 0
        return self._parse_tail()

    def add(self, text: str) -> int:
        """Appends text; returns the first row that is not as it was."""
        self.text += text
        if self._plain or not fits(self.text) or len(self.pieces) > MAX_BLOCKS:
            return self._show_plain()
        if self._fence is not None:
            row = self._fence.extend(text)
            if row is not None:
                at = len(self.pieces) - 1
                if self._width:
                    self._place(at)
                return self._starts[at] + row if self._width else 0
        return self._parse_tail()

    def _show_plain(self) -> int:
        self._plain, self._fence = True, None
        return self._replace(0, [Words(plain_content(self.text))])

    def _parse_tail(self) -> int:
        text = self._head + self.text[self._tail :]
        tokens = self._parser.parse(text) if fits(self.text) else None
        if tokens is None:
            return self._show_plain()
        lines = text.split("\n")
        walker = Walker(lines, gap_above=self._gap_above(tokens), short=self.short)
        walker.walk(tokens)
        at, pieces, changed = self._tail_piece, walker.pieces, self._starts[-1]
        if self._head:
            changed = self._grow_table(pieces[0])
            at, pieces = at + 1, pieces[1:]
        changed = min(changed, self._replace(at, pieces))
        self._fence = OpenFence.at_end(tokens, lines, self.pieces)
        self._move_tail(tokens, lines, walker.blocks)
        return changed

    def _gap_above(self, tokens: Sequence[Token]) -> bool:
        """Whether an empty row stands above the first piece: above an item, only if there is one in the text."""
        if self._tail_is_item and tokens and tokens[0].type.endswith("_list_open"):
            return not self.text[: self._tail].removesuffix("\n").rpartition("\n")[2].strip()
        return self._tail_piece > 0

    def _move_tail(self, tokens: Sequence[Token], lines: Sequence[str], blocks: Sequence[Block]) -> None:
        """What is before the last block (item, row) is not parsed again.

        A block counts once its first line is whole: with more of that line, it may be part of what is above it.
        """
        block = next((block for block in reversed(blocks) if block.line < len(lines) - 1), None)
        if block is None:
            return
        line, piece = block.line, self._tail_piece + block.piece
        head, rows = "", 0
        table = self.pieces[piece]
        if (
            block is blocks[-1]
            and isinstance(table, Table)
            and len(table.body) > 1
            and tokens[-1].type == "table_close"
        ):
            head, rows = "\n".join(lines[line : line + 2]) + "\n", len(table.body) - 1
            line = max(token.map[0] for token in tokens if token.type == "tr_open" and token.map)
        elif self._head and block.piece == 0:
            return
        self._tail += sum(len(text) + 1 for text in lines[:line]) - len(self._head)
        self._head, self._table_rows, self._tail_piece = head, rows, piece
        self._tail_is_item = block.later_item or (self._tail_is_item and block.line == 0)

    def _grow_table(self, new: Piece) -> int:
        at = self._tail_piece
        table = self.pieces[at]
        assert isinstance(table, Table)  # noqa: S101 - there is a head only then
        assert isinstance(new, Table)  # noqa: S101 - its head was parsed again
        row = table.add_rows(self._table_rows, new.body)
        if not self._width:
            return 0
        self._place(at)
        return self._starts[at] + row

    def _replace(self, at: int, pieces: Sequence[Piece]) -> int:
        """Puts pieces in the place of those from ``at`` on; those that are as they were keep their rows."""
        if not self._width:
            self.pieces[at:] = pieces
            return 0
        changed: int | None = None
        for place, new in enumerate(pieces, at):
            row, before = 0, 0
            if place < len(self.pieces):
                before = self._starts[place + 1] - self._starts[place]
                taken = self.pieces[place].take(new)
                if taken is None:
                    self.pieces[place] = new
                else:
                    row = taken
            else:
                self.pieces.append(new)
            if changed is None and (row < before or len(self.pieces[place].rows(self._width)) != before):
                changed = self._starts[place] + row
        del self.pieces[at + len(pieces) :]
        self._place(at)
        return min(self._starts[-1], self._starts[-1] if changed is None else changed)
