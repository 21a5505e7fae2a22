"""The lines of a code block in colours: only what came since is coloured."""

from __future__ import annotations

from textual.content import Content
from textual.highlight import HighlightTheme, highlight

MAX_HIGHLIGHT = 20_000
_TAB = 8
_FAR = 3
"""Lines after which colouring may begin anew also at an indented line: forty of them took 4 ms of each frame. What is
coloured otherwise than it would be from the beginning is put right when the block is whole."""


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
    no string and no comment, and the line is not indented (or far from the end). Where code is that strange, colours
    are off until the block is whole.
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
            first = min(first, self._colour(self._begin))
        self._length = len(code)
        return first

    def _colour(self, begin: int) -> int:
        """Colours the lines from ``begin`` on; returns the first that looks different now."""
        before = self.lines[begin:]
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
        pairs = zip(before, self.lines[begin:], strict=False)
        return begin + next((at for at, (was, now) in enumerate(pairs) if not now.is_same(was)), len(before))
