"""The lines of a code block: only those in sight are drawn, and only what came since is coloured."""

from __future__ import annotations

from textual.content import Content
from textual.geometry import Region, Size
from textual.highlight import HighlightTheme, highlight
from textual.selection import Selection
from textual.strip import Strip
from textual.style import Style
from textual.visual import Visual
from textual.widgets import Label

from llamachat.tui.laid_out_once import LaidOutOnce

MAX_HIGHLIGHT = 20_000
_TAB = 8
_FAR = 40
"""Lines after which colouring may begin anew also at an indented line: most code has an unindented one sooner."""


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


class ColouredCode:
    """Lines of code in colours, kept up with a text that grows.

    A lexer reads from the beginning to the end, which costs a second for a thousand updates of a thousand lines. So it
    begins again not at the first line but at the last one where nothing is open: the line break before it is part of
    no string and no comment, and the line is not indented. Where code is that strange, colours are off until the text
    is drawn whole.
    """

    def __init__(self, language: str) -> None:
        self._language = language.split()[0] if language.split() else ""  # guessing it costs more than it gives
        self._plain: list[str] = []
        self.lines: list[Content] = []
        self._begin = 0  # the line at which colouring begins again
        self._length = 0

    def show(self, code: str) -> int:
        """Takes another text over; returns the first line that is not as it was."""
        new = code.expandtabs(_TAB).split("\n")
        old, self._plain = self._plain, new
        pairs = zip(old, new, strict=False)
        first = next((at for at, (was, now) in enumerate(pairs) if was != now), min(len(old), len(new)))
        if not self._language or len(code) > MAX_HIGHLIGHT:
            first = 0 if self._length <= MAX_HIGHLIGHT < len(code) else first  # all of it loses its colours
            self.lines[first:] = map(Content, new[first:])
        else:
            self._begin = self._begin if first >= self._begin and old else 0
            first = min(first, self._begin)
            self._colour(self._begin)
        self._length = len(code)
        return first

    def _colour(self, begin: int) -> None:
        plain = self._plain[begin:]
        content = highlight("\n".join(plain), language=self._language, theme=CodeColors)
        self.lines[begin:] = content.split(allow_blank=True)
        self.lines += [Content()] * (len(self._plain) - len(self.lines))  # blank lines at the end are dropped there
        del self.lines[len(self._plain) :]
        inside = {place for span in content.spans if span.style != "$text" for place in range(span.start, span.end)}
        place = 0
        for at, line in enumerate(plain[:-1], begin + 1):  # the line after this one
            place += len(line) + 1
            unindented = self._plain[at][:1].strip() or len(self._plain) - at > _FAR
            if unindented and place - 1 not in inside:
                self._begin = at


class CodeLines(LaidOutOnce, Label):
    """Draws lines of code. Its height is their number: a line that grows lays nothing out anew."""

    def __init__(self, language: str, code: str) -> None:
        super().__init__(id="code-content", expand=True, markup=False)
        self.auto_links = False
        self._code = code
        self._coloured = ColouredCode(language)
        self._coloured.show(code)
        self._strips: dict[int, Strip] = {}
        self._longest = 0
        self._measure(0)

    def show(self, code: str) -> None:
        """Shows other code."""
        if code == self._code:
            return
        height, longest = len(self._coloured.lines), self._longest
        self._code = code
        first = self._coloured.show(code)
        self._measure(first)
        for y in [y for y in self._strips if y >= first]:
            del self._strips[y]
        if (height, longest) != (len(self._coloured.lines), self._longest):
            self.refresh(layout=True)
        else:
            self.refresh(Region(0, first, self.size.width, height - first))

    def _measure(self, first: int) -> None:
        lines = self._coloured.lines if first == 0 else self._coloured.lines[first:]
        longest = max((line.cell_length for line in lines), default=0)
        self._longest = longest if first == 0 else max(self._longest, longest)

    # ---- what Textual asks ----------------------------------------------------

    def get_content_width(self, container: Size, viewport: Size) -> int:  # noqa: ARG002
        """The longest line, or all there is."""
        return max(container.width, self._longest)

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:  # noqa: ARG002
        """A row a line."""
        return len(self._coloured.lines)

    def render_line(self, y: int) -> Strip:
        """One row."""
        lines = self._coloured.lines
        if y >= len(lines):
            return Strip.blank(self.size.width, self.visual_style.rich_style)
        selected = self.text_selection
        strip = self._strips.get(y) if selected is None else None
        if strip is None:
            line, span = lines[y], selected.get_span(y) if selected is not None else None
            if span is not None:
                style = Style.from_styles(self.screen.get_component_styles("screen--selection"))
                line = line.stylize(style, span[0], span[1] if span[1] >= 0 else len(line))
            width = max(self.size.width, 1)
            strips = Visual.to_strips(self, line, width, 1, self.visual_style, apply_selection=False, pad=True)
            strip = strips[0].apply_offsets(0, y)
            if selected is None:
                self._strips[y] = strip
        return strip

    def get_selection(self, selection: Selection) -> tuple[str, str] | None:
        """What of the code is selected."""
        return selection.extract("\n".join(line.plain for line in self._coloured.lines)), "\n"

    def selection_updated(self, selection: Selection | None) -> None:  # noqa: ARG002
        """Draws what is selected now."""
        self.refresh()

    def notify_style_update(self) -> None:
        """Other colours."""
        self._strips.clear()
        super().notify_style_update()

    def on_resize(self) -> None:
        """Another width."""
        self._strips.clear()
