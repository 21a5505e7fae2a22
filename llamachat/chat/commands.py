"""Commands as a person types them: telling, running and completing them. One table serves the palette,
the composer's slash line and line mode alike."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llamachat.chat.command import Command, Face
from llamachat.chat.command_line import as_message, as_typed, is_command, split_command
from llamachat.chat.command_table import COMMANDS, command_named, find_command
from llamachat.chat.path_completion import FILE, TypedPath
from llamachat.errors import LlamachatError

if TYPE_CHECKING:
    from llamachat.chat.session import ChatSession

__all__ = [
    "COMMANDS",
    "Command",
    "Face",
    "as_message",
    "as_typed",
    "complete_line",
    "complete_path_line",
    "find_command",
    "is_command",
    "path_typed",
    "run_line",
    "split_command",
]

_MOST_PATHS = 50


def run_line(session: ChatSession, face: Face, line: str) -> None:
    """Runs a command line, with or without its slash. ``LlamachatError`` if it cannot be done."""
    name, _, argument = line.strip().removeprefix("/").partition(" ")
    argument = argument.strip()
    command = find_command(name or "help")
    if argument and not command.argument:
        raise LlamachatError(f"/{command.name} takes nothing after it")
    if command.needs_argument and not argument:
        raise LlamachatError(f"/{command.name} needs something after it: {command.usage}")
    if not command.available(session):
        raise LlamachatError(command.otherwise)
    command.run(session, face, argument)


def complete_line(session: ChatSession, face: Face, line: str) -> list[str]:
    """Whole lines that the typed one may become: command names first, then their arguments."""
    name, space, argument = line.lstrip().removeprefix("/").partition(" ")
    if not space:
        return [f"/{command.name}" for command in COMMANDS if command.name.startswith(name.lower())]
    command = command_named(name)
    if command is None:
        return []
    return [f"/{command.name} {whole}" for whole in command.complete(session, face, argument.lstrip())]


def path_typed(line: str) -> TypedPath | None:
    """The end of a line that may be a path, as far as it is typed; None where no path belongs."""
    name, space, argument = line.lstrip().removeprefix("/").partition(" ")
    command = command_named(name)
    if not space or command is None or command.path is None:
        return None
    return TypedPath(argument.lstrip(), command.path)


def complete_path_line(line: str) -> list[str]:
    """Whole lines that one ending in a path may become. It reads a folder, which may take long."""
    typed = path_typed(line)
    if typed is None or not (typed.text or typed.kind is FILE):  # models have names first of all
        return []
    return [line.removesuffix(typed.text) + path for path in typed.completions().paths[:_MOST_PATHS]]
