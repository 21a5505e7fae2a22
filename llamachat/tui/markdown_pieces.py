"""Markdown's tokens as a flat list of pieces, each with the bullets and bars that stand before its rows."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from markdown_it.token import Token
from textual.content import Content, Span
from textual.style import Style

from llamachat.tui.markdown_rows import EMPTY, Code, Piece, Rule, Table, Words

BULLETS = ("• ", "◦ ", "– ")
_BAR = Content.styled("▌ ", "$faint")
_SPACES = re.compile(r"\s+")
_STYLES = {"em_open": "italic", "strong_open": "bold", "s_open": "strike"}
_HEADINGS = {f"h{level}": "bold" if level < 4 else "bold $soft" for level in range(1, 7)}


def inline(token: Token) -> Content:
    """The words of a paragraph with their looks."""
    text: list[str] = []
    spans: list[Span] = []
    opened: list[tuple[str | Style, int]] = []
    place = 0
    for child in token.children or ():
        words, kind = "", child.type
        if kind == "text":
            words = _SPACES.sub(" ", child.content)
        elif kind == "code_inline":
            words = _SPACES.sub(" ", child.content)
            spans.append(Span(place, place + len(words), "$accent on $raised"))
        elif kind in ("softbreak", "hardbreak"):
            words = " " if kind == "softbreak" else "\n"
        elif kind == "link_open":
            look = Style.from_meta({"href": str(child.attrs.get("href", ""))})
            opened.append((look, place))
        elif kind.endswith("_open"):
            opened.append((_STYLES.get(kind, ""), place))
        elif kind.endswith("_close") and opened:
            look_or_name, begin = opened.pop()
            spans.append(Span(begin, place, look_or_name))
            if kind == "link_close":
                spans.append(Span(begin, place, "$accent underline"))
        text.append(words)
        place += len(words)
    return Content("".join(text), spans=spans)


@dataclass(slots=True)
class _Level:
    """A list, an item or a quote that is open."""

    kind: str
    rest: Content  #: what stands before its rows
    number: int = 0
    pieces: int = 0  #: how many are in it
    bullet: str = ""


@dataclass(frozen=True, slots=True)
class Block:
    """Where a block of the text itself, or an item of a list of it, begins."""

    line: int
    piece: int
    later_item: bool  #: an item, and not the first of its list


class Walker:
    """Turns tokens into pieces. ``lines`` are the text's own: where one is empty before an item, a row is too."""

    def __init__(self, lines: Sequence[str], *, gap_above: bool, short: bool) -> None:
        self._lines = lines
        self._gap_above = gap_above  # of the first piece
        self._short = short
        self._levels: list[_Level] = []
        self._marker = EMPTY
        self.pieces: list[Piece] = []
        self.blocks: list[Block] = []

    def walk(self, tokens: Sequence[Token]) -> None:
        """Fills :attr:`pieces` and :attr:`blocks`."""
        at = 0
        while at < len(tokens):
            at = self._take(tokens, at)

    def _take(self, tokens: Sequence[Token], at: int) -> int:
        token = tokens[at]
        kind = token.type
        line = token.map[0] if token.map else 0
        if token.nesting >= 0 and (token.level == 0 or (kind == "list_item_open" and token.level == 1)):
            later = token.level == 1 and self._levels[0].pieces > 0
            self.blocks.append(Block(line, len(self.pieces), later))
        if kind in ("bullet_list_open", "ordered_list_open", "blockquote_open", "list_item_open"):
            self._open(token)
        elif kind in ("bullet_list_close", "ordered_list_close", "blockquote_close", "list_item_close"):
            if self._levels[-1].pieces == 0:  # nothing but its bullet or bar
                self._add(Words(EMPTY), line)
            self._levels.pop()
        elif kind in ("paragraph_open", "heading_open"):
            content = inline(tokens[at + 1])
            style = _HEADINGS.get(token.tag, "")
            self._add(Words(content.stylize_before(style) if style else content), line)
            return at + 3
        elif kind in ("fence", "code_block"):
            self._add(Code(token.info, token.content.rstrip(), short=self._short), line)
        elif kind == "hr":
            self._add(Rule(EMPTY, EMPTY, None), line)
        elif kind == "table_open":
            end = next(n for n in range(at, len(tokens)) if tokens[n].type == "table_close")
            self._add(_table(tokens[at:end]), line)
            return end + 1
        return at + 1

    def _open(self, token: Token) -> None:
        kind = token.type
        rest = self._levels[-1].rest if self._levels else EMPTY
        if kind == "blockquote_open":
            self._levels.append(_Level("quote", rest + _BAR))
            self._marker += _BAR
        elif kind == "list_item_open":
            of = self._levels[-1]
            marker = of.bullet or f"{token.info or of.number}. "
            of.number += 1
            self._levels.append(_Level("item", rest + " " * len(marker)))
            self._marker += Content.styled(marker, "$faint")
        else:
            depth = sum(1 for level in self._levels if level.kind == "list")
            bullet = BULLETS[depth % len(BULLETS)] if kind == "bullet_list_open" else ""
            self._levels.append(_Level("list", rest, bullet=bullet))

    def _add(self, piece: Piece, line: int) -> None:
        rest = self._levels[-1].rest if self._levels else EMPTY
        listed = any(level.kind == "list" for level in self._levels)
        # The marker stands before the first piece of its item, behind what encloses the item.
        behind = rest[: len(rest) - len(self._marker)]
        piece.first, piece.rest, self._marker = behind + self._marker, rest, EMPTY
        piece.gap = self._gap(piece, line, listed=listed)
        for level in self._levels:
            level.pieces += 1
        self.pieces.append(piece)

    def _gap(self, piece: Piece, line: int, *, listed: bool) -> Content | None:
        if not self.pieces:
            return EMPTY if self._gap_above else None
        inner = [level for level in self._levels if level.pieces]  # what has begun above
        if listed and inner:
            written = line > 0 and not self._lines[line - 1].strip(" >\t")
            if not written and isinstance(piece, Words):
                return None
        return inner[-1].rest if inner else EMPTY


def _table(tokens: Sequence[Token]) -> Table:
    rows: list[list[Content]] = []
    aligns: list[str] = []
    for at, token in enumerate(tokens):
        if token.type == "tr_open":
            rows.append([])
        elif token.type in ("th_open", "td_open"):
            rows[-1].append(inline(tokens[at + 1]))
            if token.type == "th_open":
                aligns.append(str(token.attrs.get("style", "")).removeprefix("text-align:"))
    return Table(rows[0], rows[1:], aligns)
