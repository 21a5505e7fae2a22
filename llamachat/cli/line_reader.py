"""Where line mode reads from: a terminal with history and completion, or plain lines."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

from llamachat.display import clean, clean_line
from llamachat.errors import LlamachatError
from llamachat.files.texts import read_line

QUOTES = '"""'  #: opens and closes a message of several lines


class Reader(Protocol):
    """Reads what a person types."""

    @property
    def asks(self) -> bool:
        """Whether a person is there to give answers."""

    @property
    def offers_drafts(self) -> bool:
        """Whether a text that was there before is there to be edited."""

    def message(self, draft: str = "") -> str | None:
        """The next message, or None at the end of the input. ``KeyboardInterrupt`` on Ctrl+C.

        ``draft`` is an unsent text to begin from, if it ``offers_drafts``.
        """

    def answer(self, question: str, text: str = "") -> str | None:
        """The answer to a question, ``text`` being a proposal to edit; None for none. ``LlamachatError`` where no
        person is there to give one.
        """

    def hold(self) -> AbstractContextManager[None]:
        """Takes the terminal, and gives it back as it was: what is typed between messages waits for the next one."""


def is_open(text: str) -> bool:
    """Whether ``text`` began a message in triple quotes that has not ended yet."""
    stripped = text.strip()
    return stripped.startswith(QUOTES) and (len(stripped) < 2 * len(QUOTES) or not stripped.endswith(QUOTES))


def without_quotes(text: str) -> str:
    """``text``, less the triple quotes around it where there are some."""
    stripped = text.strip()
    if not stripped.startswith(QUOTES):
        return text
    return stripped.removeprefix(QUOTES).removesuffix(QUOTES).strip("\n")


class PlainReader:
    """Lines of standard input, be it a pipe, a file or a terminal that knows no escape sequences."""

    offers_drafts = False

    def __init__(self) -> None:
        self.asks = sys.stdin.isatty()

    def message(self, draft: str = "") -> str | None:  # noqa: ARG002
        """One line, or several between triple quotes."""
        text = self._line("> ")
        if text is None or not is_open(text):
            return None if text is None else without_quotes(text)
        lines, n_characters = [text], len(text)
        while (more := self._line("... ", n_characters)) is not None:
            lines.append(more)
            n_characters += len(more) + 1
            if more.rstrip().endswith(QUOTES):  # of all so far, is_open would take as long as they are, line by line
                break
        return without_quotes("\n".join(lines))

    def answer(self, question: str, text: str = "") -> str | None:
        """One line; an empty one keeps ``text``. What comes through a pipe is a message, and no answer."""
        if not self.asks:
            raise LlamachatError(f"nobody is here to answer “{clean_line(question, 100)}”")
        proposal = f" [{clean(text)}]" if text else ""
        try:
            line = self._line(f"{clean(question)}{proposal} ")
        except KeyboardInterrupt:
            sys.stderr.write("\n")
            return None
        return line or text or None

    def hold(self) -> AbstractContextManager[None]:
        """Nothing to do: lines wait where they come from."""
        return nullcontext()

    def _line(self, prompt: str, taken: int = 0) -> str | None:
        if self.asks:
            sys.stderr.write(prompt)
            sys.stderr.flush()
        line = read_line(sys.stdin.buffer, taken, zeros=self.asks).decode("utf-8", "replace")
        return line.rstrip("\r\n") if line else None
