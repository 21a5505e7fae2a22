"""Commands as a person types them: finding, running and completing them. One table serves the palette,
the composer's slash line and line mode alike."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from llamachat.chat.command import Command, Face
from llamachat.chat.command_table import COMMANDS
from llamachat.engine.settings import PARAMETERS
from llamachat.errors import LlamachatError

if TYPE_CHECKING:
    from llamachat.chat.session import ChatSession

__all__ = ["COMMANDS", "Command", "Face", "as_message", "complete_line", "find_command", "is_command", "run_line"]

_BY_NAME = {name: command for command in COMMANDS for name in (command.name, *command.aliases)}


def is_command(text: str) -> bool:
    """Whether typed text is a command: it begins with one slash (two slashes begin a message with one)."""
    return text.startswith("/") and not text.startswith("//")


def as_message(text: str) -> str:
    """Typed text as the message it means: the first of two leading slashes is taken off."""
    return text[1:] if text.startswith("//") else text


def find_command(name: str) -> Command:
    """The command with this name or alias, in any case; ``LlamachatError`` names the nearest one."""
    word = name.strip().lower()
    found = _BY_NAME.get(word)
    if found is not None:
        return found
    meant = {known: f"/{known}" for known in _BY_NAME} | {p.name: f"/set {p.key}" for p in PARAMETERS}
    begun = [known for known in meant if word and known.startswith(word)]
    near = begun or difflib.get_close_matches(word.replace("-", "_"), meant, n=1, cutoff=0.6)
    hint = f"did you mean {meant[near[0]]}?" if near else "/help lists the commands"
    raise LlamachatError(f"no command /{name[:40]}: {hint} (a message that begins with a slash is typed with two)")


def run_line(session: ChatSession, face: Face, line: str) -> None:
    """Runs a command line, with or without its slash. ``LlamachatError`` if it cannot be done."""
    name, _, argument = line.strip().removeprefix("/").partition(" ")
    argument = argument.strip()
    command = find_command(name or "help")
    if argument and not command.argument:
        raise LlamachatError(f"/{command.name} takes nothing after it")
    if not argument and command.argument and not command.argument.startswith("["):
        raise LlamachatError(f"/{command.name} needs something after it: {command.usage}")
    if not command.available(session):
        raise LlamachatError(command.otherwise)
    command.run(session, face, argument)


def complete_line(session: ChatSession, face: Face, line: str) -> list[str]:
    """Whole lines that the typed one may become: command names first, then their arguments."""
    name, space, argument = line.lstrip().removeprefix("/").partition(" ")
    if not space:
        return [f"/{command.name}" for command in COMMANDS if command.name.startswith(name.lower())]
    command = _BY_NAME.get(name.lower())
    if command is None:
        return []
    return [f"/{command.name} {whole}" for whole in command.complete(session, face, argument.lstrip())]
