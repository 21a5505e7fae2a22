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
from textual.app import ComposeResult
from textual.content import Content
from textual.css.query import NoMatches
from textual.widgets import Markdown
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
from llamachat.tui.code_lines import CodeLines
from llamachat.tui.laid_out_once import LaidOutOnce
from llamachat.tui.plain_text import plain_content

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_CHARS = 100_000
MAX_LINE = 20_000
MAX_LINES = 2_000
MAX_WIDGETS = 500
"""Blocks cost about a third of a millisecond each to mount; this many keep one update near 150 ms."""

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


class Paragraph(LaidOutOnce, MarkdownParagraph):
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


class CodeFence(LaidOutOnce, MarkdownFence):
    """A code block in the theme's colours. While it is open, text goes into it without the block being parsed again."""

    BLANK = True  # nothing but its lines

    def __init__(self, markdown: Markdown, token: Token, code: str) -> None:
        super().__init__(markdown, token, code)
        self._written = token.content  #: the code with the blank lines at its end, which are not shown
        self._last_line = ""

    def set_content(self, content: Content) -> None:
        """Shows other code."""
        self._content = content
        with suppress(NoMatches):
            self.query_one(CodeLines).show(content.plain)

    def compose(self) -> ComposeResult:
        """The lines."""
        yield CodeLines(self.lexer, self.code)

    @classmethod
    def highlight(cls, code: str, language: str, ansi: bool = False, dark: bool = False) -> Content:  # noqa: ARG003
        """No colours yet: the lines have them."""
        return Content(code)

    def _copy_context(self, block: MarkdownBlock) -> None:
        super()._copy_context(block)
        if isinstance(block, CodeFence):
            self._written = block._written

    def is_open(self, source: str) -> bool:
        """Whether ``source``, which ends with this block, has not ended it yet. An indented one counts as ended."""
        n_lines = len(self._written.splitlines())
        lines = source.splitlines()
        begins, ends = self._token.map or (0, 0)
        opening = lines[-1 - n_lines] if len(lines) > n_lines else ""
        self._last_line = "" if source.endswith("\n") else lines[-1]
        return (
            opening.startswith(self._token.markup or " ")
            and ends - begins == n_lines + 1
            and (n_lines > 0 or not self._last_line)
        )

    def extend(self, text: str) -> bool:
        """Adds to the code of an open block; False, and nothing is done, where the text may end it."""
        tail = self._last_line + text
        if any(line.strip().startswith(self._token.markup) for line in tail.split("\n")):
            return False
        self._last_line = tail.rpartition("\n")[2]
        self._written += text
        self.code = self._written.rstrip()
        self.set_content(Content(self.code))
        return True


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


class SafeMarkdown(LaidOutOnce, Markdown):
    """``Markdown`` with the parser and the blocks above; clicks on links are only told, as ``LinkClicked``."""

    BLANK = True  # nothing but its blocks: rows of its own need not be drawn below theirs
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
        self._open_fence: CodeFence | None = None
        self._unparsed = ""  # what was put into the open code block since it was parsed

    async def show(self, text: str) -> None:
        """Draws another text."""
        self._open_fence, self._unparsed = None, ""
        await self.update(text)

    async def add(self, text: str) -> None:
        """Appends text. Inside one open code block that costs the same however long the block is."""
        self._unparsed += text
        if self._open_fence is not None and self._open_fence.extend(text):
            return
        text, self._unparsed = self._unparsed, ""
        await self.append(text)
        last = self.children[-1] if self.children else None
        self._open_fence = last if isinstance(last, CodeFence) and last.is_open(self.source) else None

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
