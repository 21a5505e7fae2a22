"""What a command is, and what a face offers to one. The commands themselves are in ``command_table``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from llamachat.chat.conversation import Message
    from llamachat.chat.path_completion import PathKind
    from llamachat.chat.session import ChatSession


Result = TypeVar("Result")


class Face(Protocol):
    """What a face offers to commands. Everything else they do through the session."""

    @property
    def asks(self) -> bool:
        """Whether somebody is there to answer a question or to edit a text."""

    def say(self, text: str) -> None:
        """Shows something to read: one line or several, no error."""

    def show_help(self) -> None:
        """Shows keys and commands."""

    def quit(self) -> None:
        """Ends the program (the session is closed by whoever made it)."""

    def themes(self) -> list[str]:
        """The names of the themes there are."""

    def set_theme(self, name: str) -> None:
        """Changes the theme now; ``LlamachatError`` for a name that is none."""

    def copy(self, text: str) -> None:
        """Puts text on the clipboard."""

    def confirm(self, question: str, action: Callable[[], None]) -> None:
        """Asks, and does ``action`` if the person agrees (now or later)."""

    def written(self) -> str:
        """What the message holds so far that is being written."""

    def write(self, name: str, block: str) -> None:
        """Puts a file behind it, as it stands in a message; the person goes on behind that."""

    def edit_line(self, label: str, text: str, action: Callable[[str], object]) -> None:
        """Lets the person edit a line, then calls ``action`` with the result (not at all if cancelled)."""

    def edit_text(self, label: str, text: str, action: Callable[[str], object]) -> None:
        """The same for a text of several lines."""

    def edit_message(self, message: Message) -> None:
        """Lets the person edit a message of the chat, and hands the result to ``ChatSession.edit``."""

    def show_tokens(self, message: Message, at: int | None) -> None:
        """Has the tokens of an answer looked at, and shows them: all, or those that could stand at a place."""

    def pick_session(self) -> None:
        """Shows the stored chats to choose from."""

    def pick_model(self) -> None:
        """Shows the models to choose from."""

    def take_time(self, label: str, work: Callable[[], Result], then: Callable[[Result], object]) -> None:
        """Does ``work``, which may take long and touches nothing of the session, then ``then`` with what it returned.

        What it raises is shown. The face may go on meanwhile: ``then`` comes where all else of the session is done.
        """

    def fetch_model(self) -> None:
        """Fetches the default model and has the session open it."""


Run = Callable[["ChatSession", Face, str], None]
Complete = Callable[["ChatSession", Face, str], list[str]]
Available = Callable[["ChatSession"], bool]


def _nothing(session: ChatSession, face: Face, typed: str) -> list[str]:  # noqa: ARG001
    return []


def _always(session: ChatSession) -> bool:  # noqa: ARG001
    return True


@dataclass(frozen=True, slots=True)
class Command:
    """One thing a person can ask for.

    ``argument`` says what follows the name: empty for nothing, in brackets if it may be left out.
    ``complete`` gives whole arguments for what was typed so far. ``available`` says whether it makes
    sense now, ``otherwise`` why not. ``path`` says of what the argument may be the path.
    """

    name: str
    help: str
    run: Run
    argument: str = ""
    aliases: tuple[str, ...] = ()
    complete: Complete = _nothing
    available: Available = _always
    otherwise: str = ""
    path: PathKind | None = None

    @property
    def usage(self) -> str:
        """How it is typed: ``/set NAME VALUE``."""
        return f"/{self.name} {self.argument}".rstrip()

    @property
    def needs_argument(self) -> bool:
        """Whether it makes no sense alone."""
        return bool(self.argument) and not self.argument.startswith("[")
