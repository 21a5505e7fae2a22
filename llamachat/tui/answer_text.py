"""The text of an answer: grows while it is written."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.widget import Widget

from llamachat.tui.laid_out_once import LaidOutOnce
from llamachat.tui.safe_markdown import Paragraph, SafeMarkdown, displayed


class AnswerText(LaidOutOnce, Widget):
    """Shows a Markdown text; :meth:`grow` adds to it, :meth:`finish` draws it whole once more."""

    BLANK = True  # nothing but the Markdown
    DEFAULT_CSS = """
    AnswerText { height: auto; }
    """

    def __init__(self, text: str) -> None:
        super().__init__()
        self._text = displayed(text)
        self._shown = ""
        self._markdown = SafeMarkdown()
        self._ready = False
        self._cursor_at: Paragraph | None = None

    def compose(self) -> ComposeResult:
        """The Markdown."""
        yield self._markdown

    async def on_mount(self) -> None:
        """Draws what there is already."""
        self._ready = True
        await self._draw_whole()

    async def _draw_whole(self) -> None:
        self._shown = self._text
        await self._markdown.show(self._shown)

    async def grow(self, text: str) -> None:
        """Adds what ``text`` has more than before."""
        self._text = displayed(text[:-1] if text.endswith("\r") else text)  # half of a line break waits for the other
        if not self._ready or self._text == self._shown:
            return
        self._show_cursor(False)
        shown, self._shown = self._shown, self._text
        if self._shown.startswith(shown):
            await self._markdown.add(self._shown[len(shown) :])
        else:
            await self._markdown.show(self._shown)
        self._show_cursor(True)

    def _show_cursor(self, shown: bool) -> None:
        if self._cursor_at is not None and self._cursor_at.is_attached:
            self._cursor_at.show_cursor(False)
        self._cursor_at = self._markdown.open_paragraph if shown else None
        if self._cursor_at is not None:
            self._cursor_at.show_cursor(True)

    async def finish(self, text: str) -> None:
        """Draws the whole text anew: a table that grew ends with other blocks than one parsed whole."""
        self._text = displayed(text)
        if self._ready:
            await self._draw_whole()
