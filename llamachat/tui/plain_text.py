"""Text as it is, cut where drawing all of it would hold the screen up."""

from __future__ import annotations

from textual.content import Content
from textual.expand_tabs import expand_tabs_inline

MAX_CHARS = 20_000
MAX_LINES = 1_000
"""Textual renders every line of a text, seen or not: about 30 microseconds each, with every change."""
_TAB = 4
"""Columns between tab stops, as in the composer. Textual would take 8, and select other letters than it shows."""


def plain_content(text: str) -> Content:
    """``text`` for the screen, its beginning where it is very long, with a line that says how much more there is."""
    shown = text[:MAX_CHARS]
    lines = shown.split("\n")
    if len(lines) > MAX_LINES:
        shown = "\n".join(lines[:MAX_LINES])
    left = len(text) - len(shown)
    if "\t" in shown:
        shown = "\n".join(expand_tabs_inline(line, _TAB) for line in shown.split("\n"))
    if not left:
        return Content(shown)
    return Content.assemble(shown, (f"\n… {left:,} more characters (c copies all)", "$faint"))
