"""Chats out of files, in whatever form they are, into the store: all chats of a file, or none."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from llamachat.chat.conversation import Conversation
from llamachat.chat.exchange.chatgpt import from_chatgpt, is_chatgpt
from llamachat.chat.exchange.json_fields import PortableError, parse
from llamachat.chat.exchange.portable import from_portable, is_portable
from llamachat.errors import FileError
from llamachat.files.texts import read_file

if TYPE_CHECKING:
    from llamachat.chat.store import SessionStore
    from llamachat.chat.store.arrivals import Arrival


@dataclass(frozen=True, slots=True)
class Imported:
    """What became of the chats of a file."""

    arrivals: list[Arrival]
    n_empty: int  #: how many were left out, because nothing is said in them


def import_file(store: SessionStore, name: str, *, pipes: bool = False) -> Imported:
    """Adds the chats in a file; with ``pipes`` it may be something that has to be waited for.

    ``FileError`` where it cannot be read or holds none, ``StoreError`` where the chats cannot be written; nothing is
    added then.
    """
    try:
        data = read_file(name, pipes=pipes)
    except FileError as error:
        if _is_zip(name):
            raise FileError(name, "a zip archive: unpack it, and import the conversations.json in it") from None
        raise error from None
    return import_text(store, data, name)


def import_text(store: SessionStore, data: bytes | bytearray, shown: str) -> Imported:
    """Adds the chats in a text, ``shown`` being its name. Raises as ``import_file``."""
    try:
        found = chats_in(data)
    except PortableError as error:
        raise FileError(shown, str(error)) from None
    chats = [chat for chat in found if len(chat)]
    if not chats:
        raise FileError(shown, "nothing is said in its chats" if found else "it holds no chat")
    return Imported(store.add_now(chats), len(found) - len(chats))


def chats_in(data: bytes | bytearray) -> list[Conversation]:
    """The chats in a text: one of this program's, or ChatGPT's, or a list of such. Which they are, they tell.

    Their messages have the same ids whenever they are read. ``PortableError`` where one of them cannot be read.
    """
    values = parse(data)
    if not isinstance(values, list):
        return [_reader_of(values)(values)]
    chats = []
    for number, entry in enumerate(values, 1):
        try:
            chats.append(_reader_of(entry)(entry))
        except PortableError as error:
            raise PortableError(f"chat {number}: {error}") from None
    return chats


def _reader_of(values: object) -> Callable[[object], Conversation]:
    if is_portable(values):
        return lambda one: from_portable(one, keep_ids=True)
    if is_chatgpt(values):
        return from_chatgpt
    raise PortableError("it is no chat of llamachat or ChatGPT")


def _is_zip(name: str) -> bool:
    """Whether a file is an archive, as ChatGPT's export comes in."""
    path = Path(os.path.expanduser(name))  # noqa: PTH111 - pathlib fails where there is no such user
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            return False
        with path.open("rb") as file:
            return file.read(4) == b"PK\3\4"
    except (OSError, ValueError):
        return False
