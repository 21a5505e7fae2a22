"""The text of an answer: grows while it is written, at a pace the machine can afford."""

from __future__ import annotations

import time

from textual.app import ComposeResult
from textual.widget import Widget

from llamachat.tui.safe_markdown import Paragraph, SafeMarkdown, displayed

_SHARE = 10
"""Drawing may take a tenth of the time. An append re-parses the last block, so inside one long code fence or list
its cost grows with the block (35 ms a token at 2,000 tokens); the pace follows the cost measured last."""
_LONGEST_PAUSE = 1.0


class AnswerText(Widget):
    """Shows a Markdown text; :meth:`grow` adds to it, :meth:`finish` draws it whole once more."""

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
        self._not_before = 0.0

    def compose(self) -> ComposeResult:
        """The Markdown."""
        yield self._markdown

    async def on_mount(self) -> None:
        """Draws what there is already."""
        self._ready = True
        await self._draw_whole()

    async def _draw_whole(self) -> None:
        self._shown = self._text
        await self._markdown.update(self._shown)

    async def grow(self, text: str) -> None:
        """Adds what ``text`` has more than before, if it is time; else with the next call."""
        now = time.monotonic()
        self._text = displayed(text[:-1] if text.endswith("\r") else text)  # half of a line break waits for the other
        if not self._ready or now < self._not_before or self._text == self._shown:
            return
        started = time.thread_time()
        self._show_cursor(False)
        shown, self._shown = self._shown, self._text
        if self._shown.startswith(shown):
            await self._markdown.append(self._shown[len(shown) :])
        else:
            await self._markdown.update(self._shown)
        self._show_cursor(True)
        self._not_before = now + _LONGEST_PAUSE  # until the cost is known
        self.call_after_refresh(self._pace, now, started)

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

    def _pace(self, begun: float, started: float) -> None:
        self._not_before = begun + min(_SHARE * (time.thread_time() - started), _LONGEST_PAUSE)
