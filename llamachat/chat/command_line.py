"""What a person types: a message, a command, or both: files are put into a message by commands at its end."""

from __future__ import annotations

import re

from llamachat.chat.file_blocks import ends_with_file

READ = "read"
_READS = re.compile(rf"/+{READ}(?: .*)?")


def split_command(text: str) -> tuple[str, str]:
    """Typed text as the message that it begins, and the command that it is or ends with; each may be empty.

    A command begins with one slash: two stand for a message's own. Behind a message the last line is a command where
    it is ``/read``, or stands behind a file: nobody asks a model for ``/help``.
    """
    if text.startswith("/") and not text.startswith("//"):
        return "", text
    before, last = _split_last_line(text)
    return (text, "") if last.startswith("//") else (before, last)


def is_command(text: str) -> bool:
    """Whether typed text is a command, or ends with one."""
    return bool(split_command(text)[1])


def leaves_message(text: str) -> bool:
    """Whether a message is there to go on with when a command that is typed has run."""
    message, command = split_command(text)
    return bool(command) and (bool(message) or command.split(" ", 1)[0].lower() == f"/{READ}")


def as_message(text: str) -> str:
    """Typed text as the message it means: two slashes where a command could begin stand for one."""
    text = text[1:] if text.startswith("//") else text
    before, last = _split_last_line(text)
    return before + last[1:] if last.startswith("//") else text


def as_typed(message: str) -> str:
    """A message as it is typed: the opposite of ``as_message``."""
    before, last = _split_last_line(message)
    message = f"{before}/{last}" if last else message
    return f"/{message}" if message.startswith("/") else message


def _split_last_line(text: str) -> tuple[str, str]:
    """Text, and its last line where that begins with slashes and may be a command."""
    before, newline, last = text.rpartition("\n")
    may_be = newline and last.startswith("/") and (_READS.fullmatch(last) or ends_with_file(before))
    return (before + newline, last) if may_be else (text, "")
