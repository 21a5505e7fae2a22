"""The text of an answer: grows while it is written."""

from __future__ import annotations

import time

from textual import events
from textual.content import Content, _FormattedLine
from textual.dom import NoScreen
from textual.geometry import Region, Size
from textual.message import Message
from textual.selection import Selection
from textual.strip import Strip
from textual.style import Style
from textual.widget import Widget

from llamachat.tui.laid_out_once import LaidOutOnce
from llamachat.tui.markdown_document import MarkdownDocument
from llamachat.tui.safe_markdown import displayed

_CURSOR = Content.styled("▌", "$accent")
_LEAST_SPARE, _SPARE_SHARE, _SOON = 3, 4, 1.0
"""Rows below an answer that is being written, for what comes next. Frames in between lay nothing out and scroll
nothing, which costs a third (2 ms instead of 7, 120x40), and the eye is not pulled along with every row. Where they are
full within so many seconds there will be twice as many, up to a fourth of the screen: a fast answer takes larger steps.
"""


class AnswerText(LaidOutOnce, Widget):
    """Draws a Markdown text row by row: :meth:`grow` adds to it, :meth:`finish` shows it whole once more.

    One widget for all of it: a widget for each paragraph, item and cell made a frame of a long list cost a second.
    Rows are drawn once and kept, so that a frame costs what is new in it.
    """

    DEFAULT_CSS = """
    AnswerText { height: auto; width: 1fr; }
    """

    class LinkClicked(Message):
        """A link was clicked, which by itself opens nothing."""

        def __init__(self, href: str) -> None:
            super().__init__()
            self.href = href

    def __init__(self, text: str) -> None:
        super().__init__()
        self.auto_links = False
        self.document = MarkdownDocument()
        self.document.show(displayed(text))
        self._strips: dict[int, Strip] = {}
        self._has_cursor = False
        self._room = 0  # rows that were laid out
        self._spare = _LEAST_SPARE  # those of them that were free
        self._made_room = 0.0

    # ---- text -----------------------------------------------------------------

    def grow(self, text: str) -> None:
        """Adds what ``text`` has more than before."""
        text = displayed(text[:-1] if text.endswith("\r") else text)  # half of a line break waits for the other
        shown = self.document.text
        if text == shown:
            return
        height = self.document.height
        begun = self.document.add(text[len(shown) :]) if text.startswith(shown) else self.document.show(text)
        self._changed(begun, height, has_cursor=True)

    def finish(self, text: str) -> None:
        """Shows the whole text, without a cursor."""
        height = self.document.height
        self._changed(self.document.show(displayed(text)), height, has_cursor=False)

    def _changed(self, first: int, height: int, *, has_cursor: bool) -> None:
        """Draws anew from a row on, and the last rows that had or get the cursor."""
        self._has_cursor = has_cursor
        first = max(0, min(first, height - 1, self.document.height - 1))
        for y in [y for y in self._strips if y >= first]:
            del self._strips[y]
        if self.document.height <= self._room and has_cursor:
            self.refresh(Region(0, first, self.size.width, max(height, self.document.height) - first))
        else:
            self.refresh(layout=True)

    def show_short(self, short: bool) -> None:
        """Leaves out the margins of code, or not: for a screen with few rows."""
        if short is not self.document.short:
            self.document.short = short
            self.document.show(self.document.text)
            self._strips.clear()
            self.refresh(layout=True)

    # ---- what Textual asks ----------------------------------------------------

    def on_mount(self) -> None:
        """Few rows or many."""
        self.show_short(self.screen.has_class("-short"))

    def get_content_width(self, container: Size, viewport: Size) -> int:  # noqa: ARG002
        """All there is."""
        return container.width

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:  # noqa: ARG002
        """The rows at this width."""
        if self.document.set_width(width):
            self._strips.clear()
            self._room = 0
        height = self.document.height
        if not self._has_cursor:
            self._room = height
        elif height > self._room:
            now = time.monotonic()
            most = max(_LEAST_SPARE, viewport.height // _SPARE_SHARE)
            self._spare = min(2 * self._spare, most) if now - self._made_room < _SOON else _LEAST_SPARE
            self._made_room = now
            self._room = height + self._spare
        return self._room

    def render_line(self, y: int) -> Strip:
        """One row."""
        return self.render_lines(Region(0, y, self.size.width, 1))[0]

    def render_lines(self, crop: Region) -> list[Strip]:
        """Rows in colours, kept until they change. There is no border, and nothing else that stands around them.

        Textual asks for a height at widths that it then does not lay out, and not at one whose layout it still knows:
        what is drawn are the rows of the width that there is.
        """
        if self.document.set_width(self.size.width):
            self._strips.clear()
            self._room = self.size.height
        try:
            selection = self.text_selection
        except NoScreen:  # removed since the last layout
            return [Strip.blank(crop.width)] * crop.height
        kept = self._strips if selection is None else {}
        style: Style | None = None
        strips: list[Strip] = []
        for y in crop.line_range:
            strip = kept.get(y)
            if strip is None:
                if style is None:  # what is the same for all rows is dear
                    style, background, filters = self.visual_style, self.background_colors[1], self.get_line_filters()
                strip = self._draw(y, selection, style)
                for line_filter in filters:
                    strip = strip.apply_filter(line_filter, background)
                kept[y] = strip
            strips.append(strip)
        if crop.column_span != (0, self.size.width):
            strips = [strip.crop(*crop.column_span) for strip in strips]
        return strips

    def _draw(self, y: int, selection: Selection | None, style: Style) -> Strip:
        width = max(self.size.width, 1)
        if y >= self.document.height:
            return Strip.blank(width, style.rich_style)
        row = self.document.row(y)
        line = row.content
        if self._has_cursor and y == self.document.height - 1 and self.document.ends_in_words:
            line += _CURSOR
        if row.background:
            line = line.pad_right(max(0, width - line.cell_length))
            line = line.stylize_before(f"on {row.background}", row.fill_from)
        span = selection.get_span(y) if selection is not None else None
        if span is not None:
            selected = Style.from_styles(self.screen.get_component_styles("screen--selection"))
            line = line.stylize(selected, span[0], span[1] if span[1] >= 0 else len(row.content))
        strip = Strip(*_FormattedLine(self._get_style, line, width, y=y).to_strip(style))
        return strip.extend_cell_length(width, style.rich_style)

    def notify_style_update(self) -> None:
        """Other colours."""
        self._strips.clear()
        super().notify_style_update()

    # ---- mouse ----------------------------------------------------------------

    def get_selection(self, selection: Selection) -> tuple[str, str] | None:
        """What is selected, as lines of the text and not of the screen."""
        text: list[str] = []
        glue: str | None = ""
        for y in range(self.document.height):
            span = selection.get_span(y)
            if span is None:
                continue
            row = self.document.row(y)
            begin, end = max(span[0], row.begin), span[1] if span[1] >= 0 else len(row.content)
            if text:
                text.append("\n" if glue is None else glue)
            text.append(row.content.plain[begin:end])
            glue = row.glue
        return "".join(text), "\n"

    def selection_updated(self, selection: Selection | None) -> None:  # noqa: ARG002
        """Draws what is selected now."""
        self.refresh()

    def on_click(self, event: events.Click) -> None:
        """Tells of a click on a link."""
        href = event.style.meta.get("href")
        if href is not None:
            event.stop()
            self.post_message(self.LinkClicked(href))
