"""Text files on their way into a message."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from llamachat.chat.command_line import as_message
from llamachat.chat.file_blocks import behind, file_block
from llamachat.chat.prompt import check_length, message_room, too_long
from llamachat.display import clean, clean_line, counted, without_sequences
from llamachat.errors import FileError, PromptError
from llamachat.files.encodings import decoded
from llamachat.files.texts import read_file

if TYPE_CHECKING:
    from llamachat.chat.command import Face
    from llamachat.chat.session import ChatSession

MOST_BYTES = 4 << 20
"""Of one file: a million tokens. It is read at once, while the screen waits: 0.2 s at worst."""

_SHOWN = 60  # characters of a name: what is said of the file must be seen, too


@dataclass(frozen=True, slots=True)
class TextFile:
    """A text file. ``name`` tells it from others in a message, ``oddity`` says how it was read, where that is odd."""

    name: str
    text: str
    oddity: str = ""

    @property
    def block(self) -> str:
        """How it stands in a message."""
        return file_block(self.name, self.text)


def text_file(path: str, *, pipes: bool = False) -> TextFile:
    """Reads a text file as a message takes it: harmless to a terminal, and without a coloured log's sequences.

    ``FileError`` where it is no text, empty or larger than ``MOST_BYTES``, no regular file (unless ``pipes``), or not
    to be read.
    """
    text, oddity = decoded(read_file(path, pipes=pipes, zeros=True, most=MOST_BYTES), path)
    text = clean(without_sequences(text.replace("\f", "")))
    if not text.strip():
        raise FileError(path, "is empty")
    place = Path(path)
    is_elsewhere = place.is_absolute() or path.startswith("~")
    return TextFile(clean_line(place.name if is_elsewhere else str(place)), text, oddity)


def read_into(session: ChatSession, before: str, path: str) -> tuple[TextFile, str]:
    """A file to go behind ``before`` in a message that is being typed, and what a person should know of it.

    ``FileError`` as in ``text_file``; ``PromptError`` ("N of M tokens") where the message would not fit the context.
    """
    file = text_file(path)
    if not session.counts:
        return file, _said(counted(len(file.text), "character"), file)
    message = as_message(behind(before, file.block).strip())
    what, most = f"with {clean_line(file.name, _SHOWN)} this message", session.settings.max_tokens
    check_length(message, session.tokenizer, session.context_total, most, what)
    room, total = message_room(session.context_total, most), session.tokens_of(message)
    if total > room:
        raise PromptError(too_long(f"{total:,}", room, what))
    size = f"{total:,} tokens"
    if before.strip():
        size = f"{len(session.tokenizer.encode(file.block)):,} tokens, with the text before it {total:,}"
    return file, _said(f"{size} of {room:,} that fit", file)


def run(session: ChatSession, face: Face, path: str) -> None:
    """``/read FILE``."""
    file = session.read_file(path, behind=face.written())
    face.write(file.name, file.block)


def _said(size: str, file: TextFile) -> str:
    return "; ".join(filter(None, (f"read {clean_line(file.name, _SHOWN)}: {size}", file.oddity)))
