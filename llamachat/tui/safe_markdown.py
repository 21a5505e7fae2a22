"""Markdown from a model, drawn without trusting it.

Raw HTML shows as letters, images as words, links open nothing by themselves, and a text built to
choke the screen (ten thousand list items, a megabyte on one line) shows as plain text.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, ClassVar, cast

from markdown_it import MarkdownIt
from markdown_it.rules_core import StateCore
from markdown_it.token import Token
from rich.cells import cell_len
from textual.app import ComposeResult
from textual.content import Content
from textual.css.query import NoMatches
from textual.highlight import HighlightTheme, highlight
from textual.widgets import Label, Markdown
from textual.widgets._markdown import (
    MarkdownBlock,
    MarkdownFence,
    MarkdownList,
    MarkdownParagraph,
    MarkdownTable,
    MarkdownTableCellContents,
    MarkdownTableContent,
)

from llamachat.display import clean
from llamachat.tui.plain_text import plain_content

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_CHARS = 100_000
MAX_LINE = 20_000
MAX_LINES = 2_000
MAX_WIDGETS = 500
"""Blocks cost about a third of a millisecond each to mount; this many keep one update near 150 ms."""
MAX_HIGHLIGHT = 20_000

_WIDGETS = {"list_item_open": 3, "fence": 2, "code_block": 2, "inline": 0}


def displayed(text: str) -> str:
    """Text as the Markdown widget takes it: clean, and with the line breaks that both of its parsers agree on."""
    return clean(text).replace("\u2028", "\n").replace("\u2029", "\n")


def _images_to_words(state: StateCore) -> None:
    for token in state.tokens:
        for child in token.children or ():
            if child.type == "image":
                child.type, child.content = "text", f"[image: {child.content or 'no description'}]"


class SafeParser:
    """What ``Markdown`` asks of its parser, with limits."""

    def __init__(self) -> None:
        # linkify takes seconds on hostile text, and terminals find plain URLs themselves
        self._parser = MarkdownIt("gfm-like", {"html": False, "linkify": False, "maxNesting": 12})
        self._parser.core.ruler.push("images_to_words", _images_to_words)

    def parse(self, text: str) -> list[Token]:
        """The tokens of ``text``, or one token of type ``plain`` where it is beyond the limits."""
        lines = text.split("\n")
        if len(text) <= MAX_CHARS and len(lines) <= MAX_LINES and max(map(len, lines)) <= MAX_LINE:
            try:
                tokens = self._parser.parse(text)
            except (RecursionError, IndexError, ValueError):  # a parser's slip must not end the chat
                return self._plain(text)
            if _widgets(tokens) <= MAX_WIDGETS:
                return tokens
        return self._plain(text)

    @staticmethod
    def _plain(text: str) -> list[Token]:
        return [Token("plain", "", 0, content=text, map=[0, text.count("\n") + 1], block=True)]


def _widgets(tokens: Iterable[Token]) -> int:
    return sum(_WIDGETS.get(token.type, 1) for token in tokens if token.nesting >= 0)


class PlainBlock(MarkdownBlock):
    """A text beyond the limits, as it is."""

    def __init__(self, markdown: Markdown, token: Token) -> None:
        super().__init__(markdown, token)
        self.set_content(plain_content(token.content))


class CodeColors(HighlightTheme):
    """Few colours, from the theme's own palette. The keys are Pygments' token types, which are plain tuples."""

    STYLES: dict[tuple[str, ...], str] = {  # noqa: RUF012 - declared so by Textual
        ("Comment",): "$code-comment italic",
        ("Keyword",): "$code-keyword",
        ("Keyword", "Constant"): "$code-number",
        ("Operator", "Word"): "$code-keyword",
        ("Literal", "String"): "$code-string",
        ("Literal", "Number"): "$code-number",
        ("Name", "Function"): "$code-name",
        ("Name", "Class"): "$code-name",
        ("Name", "Decorator"): "$code-name",
        ("Name", "Attribute"): "$code-name",
        ("Name", "Tag"): "$code-keyword",
        ("Generic", "Deleted"): "$error",
        ("Generic", "Inserted"): "$code-string",
        ("Generic", "Heading"): "bold",
    }


class Paragraph(MarkdownParagraph):
    """A paragraph that lays the screen out anew only when it gets another line, not with every word."""

    def set_content(self, content: Content) -> None:
        """Shows other text."""
        self._content = content
        self._draw(content)

    def show_cursor(self, shown: bool) -> None:
        """Shows after the text that more is to come, or no longer."""
        self._draw(Content.assemble(self._content, ("▌", "$accent")) if shown else self._content)

    def _draw(self, content: Content) -> None:
        width, height = self.size
        rows = content.get_height({}, width) if width else 0
        self.update(content, layout=rows != height)


class CodeFence(MarkdownFence):
    """A code block in the theme's colours; like :class:`Paragraph`, it is laid out only when its size changes."""

    def set_content(self, content: Content) -> None:
        """Shows other code."""
        self._content = content
        with suppress(NoMatches):
            label = self.query_one("#code-content", Label)
            width, height = label.size
            lines = content.plain.split("\n")
            fits = len(lines) == height and cell_len(lines[-1]) <= width  # it grows in its last line only
            label.update(content, layout=not fits)

    @classmethod
    def highlight(cls, code: str, language: str, ansi: bool = False, dark: bool = False) -> Content:  # noqa: ARG003
        """Colours code whose language is named. Guessing it costs more than it gives."""
        name = language.split()[0] if language.split() else ""
        if not name or len(code) > MAX_HIGHLIGHT:
            return Content(code)
        return highlight(code, language=name, theme=CodeColors)


class TableContent(MarkdownTableContent):
    """A table's cells without tooltips: Textual parses those as markup."""

    def compose(self) -> ComposeResult:
        """Headers, then rows."""
        for header in self.headers:
            yield MarkdownTableCellContents(header, classes="header")
        for number, row in enumerate(self.rows, 1):
            for column, cell in enumerate(row, 1):
                yield MarkdownTableCellContents(cell, classes=f"row{number} cell", name=f"cell{number}.{column}")
            self.last_row = number


class Table(MarkdownTable):
    """A table of such cells."""

    def compose(self) -> ComposeResult:
        """The grid."""
        self._headers, self._rows = self._get_headers_and_rows()
        yield TableContent(self._headers, self._rows)

    async def _update_from_block(self, block: MarkdownBlock) -> None:
        """A growing table is built anew: Textual's shortcut adds cells with markup tooltips."""
        await MarkdownBlock._update_from_block(self, block)


class SafeMarkdown(Markdown):
    """``Markdown`` with the parser and the blocks above; clicks on links are only told, as ``LinkClicked``."""

    BULLETS: ClassVar[list[str]] = ["• ", "◦ ", "– ", "• ", "◦ "]  # type: ignore[misc]
    BLOCKS: ClassVar[dict[str, type[MarkdownBlock]]] = {  # type: ignore[misc]
        **Markdown.BLOCKS,
        "paragraph_open": Paragraph,
        "fence": CodeFence,
        "code_block": CodeFence,
        "table_open": Table,
    }

    def __init__(self) -> None:
        super().__init__(parser_factory=cast("Callable[[], MarkdownIt]", SafeParser), open_links=False)

    @property
    def open_paragraph(self) -> Paragraph | None:
        """The paragraph in which the text ends, if it ends in one."""
        last = self.children[-1] if self.children else None
        if isinstance(last, MarkdownList):
            inner = last.query(Paragraph)
            last = inner.last() if inner else None
        return last if isinstance(last, Paragraph) else None

    def unhandled_token(self, token: Token) -> MarkdownBlock | None:
        """Draws what :class:`SafeParser` handed over as plain text."""
        return PlainBlock(self, token) if token.type == "plain" else None
