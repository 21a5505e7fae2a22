"""The code in a Markdown text."""

from __future__ import annotations


def code_blocks(text: str) -> list[str]:
    """The contents of the fenced blocks of ``text``, in order; an unclosed one reaches to the end."""
    from markdown_it import MarkdownIt

    tokens = MarkdownIt("commonmark", {"maxNesting": 12}).parse(text)
    return [token.content.rstrip("\n") for token in tokens if token.type == "fence" and token.content.strip()]
