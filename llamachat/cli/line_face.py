"""What line mode offers to the commands."""

from __future__ import annotations

import base64
import shutil
import sys
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TextIO, TypeVar

from llamachat import paths
from llamachat.chat.commands import COMMANDS
from llamachat.chat.conversation import Message, Role
from llamachat.chat.file_blocks import behind
from llamachat.chat.model_names import model_names
from llamachat.chat.names import NO_MODEL_HERE, model_files
from llamachat.chat.session import ChatSession
from llamachat.cli.failures import soft_signals
from llamachat.cli.line_reader import QUOTES, Reader
from llamachat.cli.status_line import StatusLine, is_terminal
from llamachat.display import clean, clean_line
from llamachat.errors import LlamachatError

if TYPE_CHECKING:
    from llamachat.chat.store import SessionSummary

Result = TypeVar("Result")

_KEYS = f"""\
Enter sends; Alt+Enter or Ctrl+J makes a new line; {QUOTES} begins and ends a message of several lines.
Up and Down go through what was sent, Ctrl+R searches it. Ctrl+C stops an answer, Ctrl+D quits, Ctrl+Z suspends.
A message that begins with a slash is typed with two.
"""
_LISTED = 20


def wrapped(line: str, stream: TextIO, begin: int = 0) -> str:
    """A line as it is written to ``stream``, ``begin`` columns from the left: on a terminal broken between words."""
    if not is_terminal(stream):
        return line
    columns = max(shutil.get_terminal_size().columns, 20)
    indented = textwrap.fill(line, columns, initial_indent=" " * begin, break_on_hyphens=False)
    return indented[begin:]


class LineFace:
    """A ``Face`` that prints and asks."""

    def __init__(self, session: ChatSession, reader: Reader, data_dir: Path) -> None:
        self.ended = False
        self._waiting = ""  # what stands before the next message, where no draft can be offered
        self._tokens_at: int | None = None  # the place whose alternatives are wanted; None: all places
        self._session = session
        self._reader = reader
        self._models = paths.models_dir(data_dir)

    @property
    def asks(self) -> bool:
        """Whether a person types: through a pipe nobody does."""
        return self._reader.asks

    def say(self, text: str) -> None:
        """Prints text, on a terminal with its lines broken between words."""
        print("\n".join(wrapped(line, sys.stdout) for line in clean(text).split("\n")))

    def show_help(self) -> None:
        """Prints keys and commands."""
        width = max((len(command.usage) for command in COMMANDS), default=0)
        print(_KEYS)
        columns = max(shutil.get_terminal_size().columns - 1, 40)
        for command in COMMANDS:
            name = f"  {command.usage.ljust(width)}  "
            print(textwrap.fill(command.help, columns, initial_indent=name, subsequent_indent=" " * len(name)))

    def quit(self) -> None:
        """Ends after this turn."""
        self.ended = True

    def themes(self) -> list[str]:
        """None: a line has no colours of its own."""
        return []

    def set_theme(self, name: str) -> None:  # noqa: ARG002
        """Refuses."""
        raise LlamachatError("themes are for the full screen: start llamachat without --plain")

    def copy(self, text: str) -> None:
        """Asks the terminal to put text on the clipboard (OSC 52)."""
        if not is_terminal(sys.stdout):
            raise LlamachatError("no terminal here that could copy")
        sys.stdout.write(f"\x1b]52;c;{base64.b64encode(text.encode('utf-8', 'replace')).decode()}\x07")
        sys.stdout.flush()

    def confirm(self, question: str, action: Callable[[], None]) -> None:
        """Asks, and acts on a yes."""
        answer = self._reader.answer(f"{question} [y/N]")
        if answer and answer.strip().lower() in ("y", "yes"):
            action()

    def written(self) -> str:
        """The draft that the next prompt offers, or what waits for the next message."""
        return self._session.draft if self._reader.offers_drafts else self._waiting

    def write(self, name: str, block: str) -> None:  # noqa: ARG002
        """Puts a file behind it."""
        self.begin_message(behind(self.written(), block))

    def begin_message(self, text: str) -> None:
        """Has the next message begin with a text: the prompt offers it, or it waits."""
        if self._reader.offers_drafts:
            self._session.save_draft(text)
        else:
            self._waiting = text

    def take_waiting(self) -> str:
        """What waits for the next message, which takes it along."""
        waiting, self._waiting = self._waiting, ""
        return waiting

    def edit_line(self, label: str, text: str, action: Callable[[str], object]) -> None:
        """Asks for a line, with ``text`` to begin from."""
        self.edit_text(label, text, action)

    def edit_message(self, message: Message) -> None:
        """Asks for another text of a message."""
        label = "Question" if message.role is Role.USER else "Answer"
        self.edit_text(label, message.text, lambda text: self._session.edit(message.id, text))

    def edit_text(self, label: str, text: str, action: Callable[[str], object]) -> None:
        """Asks for a text, with ``text`` to begin from."""
        answer = self._reader.answer(label, text)
        if answer is not None:
            action(answer)

    def show_tokens(self, message: Message, at: int | None) -> None:
        """Has an answer's tokens looked at, and prints them when they are there."""
        look = self._session.look_at(message.id)
        self._tokens_at = at
        if look.over:
            self.print_tokens()

    def print_tokens(self) -> None:
        """Prints what was found of the tokens last asked for."""
        from llamachat.cli.token_table import at_place, overview

        look, at = self._session.look, self._tokens_at
        if look is not None and look.done:
            print(overview(look, sys.stdout) if at is None else at_place(look, at))

    def pick_session(self) -> None:
        """Lists the stored chats and opens the one that is chosen."""
        stored: Sequence[SessionSummary] = self._session.sessions()[:_LISTED]
        if not stored:
            raise LlamachatError("no chat is stored yet")
        chosen = self._pick("Which chat?", [summary.shown_title for summary in stored])
        if chosen is not None:
            self._session.open(stored[chosen].id)

    def pick_model(self) -> None:
        """Lists the models there are and opens the one that is chosen."""
        files = model_files(self._models)
        if not files:
            raise LlamachatError(NO_MODEL_HERE)
        chosen = self._pick("Which model?", model_names(files))
        if chosen is not None:
            self._session.open_file(files[chosen])

    def take_time(self, label: str, work: Callable[[], Result], then: Callable[[Result], object]) -> None:
        """Does it at once; at a terminal Ctrl+C gives it up, and the chat goes on."""
        try:
            with StatusLine(after_s=0.0) as line:
                line.show(f"{label} …")
                result = work()
        except KeyboardInterrupt:
            if not is_terminal(sys.stdin):
                raise
            raise LlamachatError(f"{label} was given up") from None
        then(result)

    def fetch_model(self) -> None:
        """Fetches the default model, which Ctrl+C stops, and opens it."""
        from llamachat.cli.pull import DEFAULT
        from llamachat.cli.pull_command import fetch_shown

        signals: list[int] = []
        with soft_signals(signals.append):
            path = fetch_shown(DEFAULT, self._models, lambda: bool(signals))
        self._session.open_file(path)

    def _pick(self, question: str, names: Sequence[str]) -> int | None:
        for number, name in enumerate(names, 1):
            print(f"{number:3d}  {clean_line(name, 100)}")
        answer = self._reader.answer(question)
        if not answer:
            return None
        if not answer.strip().isdecimal() or len(answer.strip()) > 9 or not 1 <= int(answer) <= len(names):
            raise LlamachatError(f"a number from 1 to {len(names)}, not {answer[:20]!r}")
        return int(answer) - 1
