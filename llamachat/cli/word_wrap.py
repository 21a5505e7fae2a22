"""Text for a terminal, broken between words as it streams in."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable

_PIECE = re.compile(r"\n|[^\S\n]+|\S+")
_FENCES = ("```", "~~~")


class WordWrap:
    """Breaks text into lines of at most ``columns()`` cells, between words.

    A word is held back until it is whole, so that it need not be taken back. Fenced code stays as it is, since a line
    break in it would be a change; so does a word longer than a line. Scripts written without spaces, whose letters are
    two cells wide, break anywhere.
    """

    def __init__(self, columns: Callable[[], int]) -> None:
        self._columns = columns
        self._at = 0  #: cells of the line so far
        self._line = ""  #: the beginning of the line, to know a fence by
        self._spaces = ""  #: seen, and not yet known to be followed by a word on this line
        self._word = ""  #: the word that may go on
        self._fence = ""  #: what closes the code that is being printed

    def feed(self, text: str) -> str:
        """What can be printed now that ``text`` has come."""
        return "".join(self._take(piece) for piece in _PIECE.findall(text))

    def end(self) -> str:
        """What was held back."""
        return self._flush_word()

    def _take(self, piece: str) -> str:
        if piece == "\n":
            out = self._flush_word() + (self._spaces if self._in_code else "") + "\n"
            self._end_line()
            return out
        if piece.isspace():
            out = self._flush_word()
            self._spaces += piece.expandtabs(4)
            return out
        if any(_is_wide(char) for char in piece):
            return "".join(self._flush_word() + self._put(char) for char in piece)
        self._word += piece
        return ""

    @property
    def _in_code(self) -> bool:
        return bool(self._fence) or self._line.lstrip().startswith(_FENCES)

    def _flush_word(self) -> str:
        word, self._word = self._word, ""
        return self._put(word) if word else ""

    def _put(self, word: str) -> str:
        """A whole word, on the next line if it does not fit this one."""
        spaces, self._spaces = self._spaces, ""
        cells = sum(map(_cells, word))
        breaks = self._at > 0 and self._at + len(spaces) + cells > self._columns() and not self._in_code
        self._line = (self._line + spaces + word)[:80]
        self._at = cells if breaks else self._at + len(spaces) + cells
        return ("\n" if breaks else spaces) + word

    def _end_line(self) -> None:
        start = self._line.lstrip()[:3]
        if self._fence:
            self._fence = "" if start == self._fence and not self._line.strip().strip(start[0]) else self._fence
        elif start in _FENCES:
            self._fence = start
        self._at, self._line, self._spaces = 0, "", ""


def _is_wide(char: str) -> bool:
    return unicodedata.east_asian_width(char) in "WF"


def _cells(char: str) -> int:
    if unicodedata.combining(char) or unicodedata.category(char) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if _is_wide(char) else 1
