"""Markdown from a model, parsed without trusting it.

Raw HTML shows as letters, images as words, links open nothing by themselves, and a text built to
choke the screen (ten thousand list items, a megabyte on one line) shows as plain text.
"""

from __future__ import annotations

from collections.abc import Iterable

from markdown_it import MarkdownIt
from markdown_it.rules_core import StateCore
from markdown_it.token import Token

from llamachat.display import clean

MAX_CHARS = 100_000
MAX_LINE = 20_000
MAX_LINES = 2_000
MAX_BLOCKS = 2_000
"""Paragraphs, items, cells: a tenth of a millisecond each to lay out, and all of them once more for another width."""

MAX_NESTING = 12


def displayed(text: str) -> str:
    """Text as the parser takes it: clean, and with line breaks that everything here agrees on."""
    return clean(text).replace("\u2028", "\n").replace("\u2029", "\n")


def _images_to_words(state: StateCore) -> None:
    for token in state.tokens:
        for child in token.children or ():
            if child.type == "image":
                child.type, child.content = "text", f"[image: {child.content or 'no description'}]"


def fits(text: str) -> bool:
    """Whether a text is short enough to be taken for Markdown."""
    if len(text) > MAX_CHARS or text.count("\n") >= MAX_LINES:
        return False
    return len(text) <= MAX_LINE or max(map(len, text.split("\n"))) <= MAX_LINE


class SafeParser:
    """markdown-it with limits."""

    def __init__(self) -> None:
        # linkify takes seconds on hostile text, and terminals find plain URLs themselves
        self._parser = MarkdownIt("gfm-like", {"html": False, "linkify": False, "maxNesting": MAX_NESTING})
        self._parser.core.ruler.push("images_to_words", _images_to_words)

    def parse(self, text: str) -> list[Token] | None:
        """The tokens of ``text``; None where it is beyond the limits, and to be shown as it is."""
        if not fits(text):
            return None
        try:
            tokens = self._parser.parse(text)
        except (RecursionError, IndexError, ValueError):  # a parser's slip must not end the chat
            return None
        if blocks(tokens) > MAX_BLOCKS or any(token.level >= MAX_NESTING - 1 for token in tokens):
            return None  # what is nested deeper is not among the tokens
        return tokens


def blocks(tokens: Iterable[Token]) -> int:
    """How many blocks there are, cells of tables among them."""
    return sum(1 for token in tokens if token.nesting >= 0 and token.type != "inline")
