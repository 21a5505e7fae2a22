"""Chats into files: which form, under which name, and never half of one."""

from __future__ import annotations

import os
import re
from enum import StrEnum
from pathlib import Path

from llamachat.chat.conversation import Conversation
from llamachat.display import clean
from llamachat.errors import FileError
from llamachat.files.new_files import TAKEN, check_kind, new_files

_MOST_NAME_BYTES = 100
_NO_NAME = re.compile(r"""[\x00-\x1f\x7f-\x9f\ufffd/\\:*?"<>|]+""")  # what one system or another takes in no file name


class Form(StrEnum):
    """What a file holds."""

    JSON = "json"  #: the whole chat, to be read in again
    MARKDOWN = "markdown"  #: what is visible of it
    TEXT = "text"


_ENDINGS = {".json": Form.JSON, ".md": Form.MARKDOWN, ".markdown": Form.MARKDOWN, ".txt": Form.TEXT}


def form_of(path: Path) -> Form:
    """The form that a file's ending tells; JSON where it tells none."""
    return _ENDINGS.get(path.suffix.lower(), Form.JSON)


def as_written(conversation: Conversation, form: Form) -> str:
    """The text of a file that holds the conversation in this form."""
    if form is Form.JSON:
        from llamachat.chat.exchange.portable import dumps

        return dumps(conversation)
    from llamachat.chat.exchange.readable import as_markdown, as_titled_text

    return as_markdown(conversation) if form is Form.MARKDOWN else as_titled_text(conversation)


def target_of(typed: str) -> Path:
    """The file that a person names to be written; ``FileError`` for a name that can be none's."""
    path = Path(os.path.expanduser(typed))  # noqa: PTH111 - pathlib fails where there is no such user
    if not typed or "\0" in typed:
        raise FileError(clean(typed) or "''", "name a file to write")
    if typed.endswith("/"):
        raise FileError(typed, "is the name of a folder; name a file to write")
    check_kind(path)
    return path


def is_taken(path: Path) -> bool:
    """Whether writing there would replace something."""
    return os.path.lexists(path)


def write_file(
    conversation: Conversation, path: Path, form: Form | None = None, *, replace: bool = False, taken: str = TAKEN
) -> None:
    """Writes a conversation into a file of its own, in the form that its ending tells if none is given.

    The file is there whole or, whatever ends the program, as it was before. ``FileError`` where something is there
    already (saying ``taken``) and is not to be replaced, and where the system refuses. A link stays one: what it leads
    to is replaced.
    """
    check_kind(path)
    if is_taken(path) and not replace:
        raise FileError(path, taken)
    data = as_written(conversation, form or form_of(path)).encode()
    place = Path(os.path.realpath(path)) if path.is_symlink() else path
    with new_files(place.parent, [place.name], len(data), make=False, replace=replace, taken=taken) as files:
        files[0].write(data)


def proposed_name(conversation: Conversation) -> str:
    """A file name for a conversation in Markdown, after its title: one that any system takes."""
    words = _NO_NAME.sub(" ", clean(conversation.shown_title)).split()
    name = " ".join(words).lstrip(" .-~").encode()[:_MOST_NAME_BYTES].decode(errors="ignore").rstrip(" .")
    return f"{name or 'chat'}.md"
