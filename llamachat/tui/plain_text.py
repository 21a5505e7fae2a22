"""Text as it is, cut where drawing all of it would hold the screen up."""

from __future__ import annotations

from textual.content import Content

MAX_CHARS = 20_000
MAX_LINES = 1_000
"""Textual renders every line of a text, seen or not: about 30 microseconds each, with every change."""


def plain_content(text: str) -> Content:
    """``text`` for the screen, its beginning where it is very long, with a line that says how much more there is."""
    shown = text[:MAX_CHARS]
    lines = shown.split("\n")
    if len(lines) > MAX_LINES:
        shown = "\n".join(lines[:MAX_LINES])
    if len(shown) == len(text):
        return Content(text)
    return Content.assemble(shown, (f"\n… {len(text) - len(shown):,} more characters (c copies all)", "$faint"))
