"""What terminals send and Textual does not know: Alt+Enter where there is no keyboard protocol, and what may be in a
paste."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Generator, Iterable, Iterator
from enum import StrEnum
from typing import Any, ClassVar, Final, cast

from textual import events
from textual._xterm_parser import BRACKETED_PASTE_END, BRACKETED_PASTE_START, XTermParser
from textual.driver import Driver
from textual.message import Message


class MoreKeys(StrEnum):
    """Names of keys in Textual's way."""

    ALT_ENTER = "alt+enter"


def teach_alt_enter() -> None:
    """Makes ``ESC CR`` and ``ESC LF`` the key Alt+Enter.

    That is what every terminal without the Kitty protocol sends (and tmux, and screen). Textual takes it for a plain
    Enter, which would send a half-written message.
    """
    from textual._ansi_sequences import ANSI_SEQUENCES_KEYS

    known = cast("dict[str, Any]", ANSI_SEQUENCES_KEYS)
    for sequence in ("\x1b\r", "\x1b\n"):
        known.setdefault(sequence, (MoreKeys.ALT_ENTER,))


def teach_whole_pastes(driver: type[Driver]) -> type[Driver]:
    """Has a driver that reads a terminal (not the tests' own) read it with :class:`PasteParser`."""
    module = sys.modules[driver.__module__]
    if hasattr(module, "XTermParser"):
        vars(module)["XTermParser"] = PasteParser  # the driver makes its parser by this name when it begins to read
    return driver


#: Keys, or what else a terminal tells by itself, and nothing more: the pointer, the focus. There is one way at most to
#: read an ESC and what is behind it; with two of them 40 letters in a paste would take hours.
_KEYS: Final = re.compile("(?:\x1b(?:\\[[0-?]*+[ -/]*+[@-~]|O[^\x1b]|[^\x1b])?)+|.", re.DOTALL)
_SURE: Final = len("\x1b[2")  #: letters of a start that nobody types


class PasteParser(XTermParser):
    """Textual's parser, but a bracketed paste is one event, whatever is in it and however it arrives.

    Textual's own looks for keys behind an ESC in a paste as well: a coloured log was sent line by line, and a Ctrl+Q in
    it ended the program. Here it only gets what is outside of pastes.

    A terminal that does not go on with a paste has not always lost its end: a connection may be slow, and the rest must
    not become keys, since it has newlines and Ctrl+Q as well. So after a second of silence what has come is handed
    over, and what comes next goes on with it, unless it comes as a key does, alone: then the paste is over. Nothing
    waits for good, and Ctrl+C works again.
    """

    SILENCE: ClassVar[float] = 1.0  #: seconds

    def __init__(self, debug: bool = False) -> None:
        super().__init__(debug)
        self._begun = ""  #: the last letters outside of a paste, as far as they may begin one
        self._pasted: list[str] | None = None  #: the pieces of the paste that is arriving
        self._ending = ""  #: its last letters, as far as they may begin its end
        self._silent = False  #: whether it stopped, and what had come is handed over
        self._fed_at = 0.0

    def feed(self, data: str) -> Iterable[Message]:
        """Keys and pastes in what was read."""
        self._fed_at = time.monotonic()
        if not data:  # the end of all input
            yield from super().feed(data)
        while data:
            if self._pasted is None:
                n = self._start(data)
                yield from super().feed(data[:n])
            else:
                n = yield from self._paste_more(data)
            data = data[n:]

    def tick(self) -> Iterable[Message]:
        """What follows from nothing being read for a while."""
        silent = time.monotonic() - self._fed_at >= self.SILENCE
        if self._pasted is None:
            if silent or len(self._begun) < _SURE:
                tokens = list(super().tick())
                if tokens:  # keys after all
                    self._begun = ""
                yield from tokens
        elif silent:
            self._silent = True
            yield from self._hand_over()

    def _start(self, data: str) -> int:
        """Letters before the text of the next paste, all if there is none; those that begin one are for Textual too."""
        text = self._begun + data
        at = text.find(BRACKETED_PASTE_START)
        if at < 0:
            self._begun = _beginning_of(BRACKETED_PASTE_START, text)
            return len(data)
        n = at + len(BRACKETED_PASTE_START) - len(self._begun)
        self._begun = self._ending = ""
        self._pasted, self._silent = [], False
        return n

    def _paste_more(self, data: str) -> Generator[Message, None, int]:
        """Takes what belongs to the paste; returns how many letters that were."""
        assert self._pasted is not None  # noqa: S101 - only called in a paste
        window = self._ending + data
        at = window.find(BRACKETED_PASTE_END)
        if at >= 0:
            n = at + len(BRACKETED_PASTE_END) - len(self._ending)
            self._pasted.append(window[:at])
            self._ending = ""
            yield from self._end()
            return n
        goes_on = self._ending and BRACKETED_PASTE_END.startswith(window)
        if self._silent and not goes_on and _KEYS.fullmatch(data):
            yield from self._end()
            return 0
        self._silent = False
        self._ending = _beginning_of(BRACKETED_PASTE_END, window)
        self._pasted.append(window[: len(window) - len(self._ending)])
        return len(data)

    def _hand_over(self) -> Iterator[Message]:
        assert self._pasted is not None  # noqa: S101 - only called in a paste
        text = "".join(self._pasted).replace("\0", "")  # as Textual does
        self._pasted.clear()
        if text:
            yield events.Paste(text)

    def _end(self) -> Iterator[Message]:
        yield from self._hand_over()
        self._pasted = None
        for _ in super().feed(BRACKETED_PASTE_END):  # for Textual the paste was empty
            pass


def _beginning_of(sequence: str, text: str) -> str:
    """The end of ``text`` that may go on to become ``sequence``."""
    lengths = range(min(len(sequence) - 1, len(text)), 0, -1)
    return next((sequence[:n] for n in lengths if text.endswith(sequence[:n])), "")
