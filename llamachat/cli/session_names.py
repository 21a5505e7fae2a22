"""Which stored chat a person means."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from llamachat.errors import LlamachatError

if TYPE_CHECKING:
    from llamachat.chat.store import SessionSummary

LAST = "last"
_SHORT_ID = 8
_SHOWN = 3


def short_id(session_id: str) -> str:
    """The beginning of an id, enough to type."""
    return session_id[:_SHORT_ID]


def find_session(stored: Iterable[SessionSummary], wanted: str) -> SessionSummary:
    """The chat whose id or title ``wanted`` is, or begins (in any case); "last" is the one used last.

    ``LlamachatError`` where there is none, or more than one that it could be.
    """
    sessions = list(stored)
    word = wanted.casefold().strip()
    matches = (
        [one for one in sessions if one.id == word],
        [one for one in sessions if one.title.casefold() == word],
        sessions[:1] if word == LAST else [],
        [one for one in sessions if len(word) >= _SHOWN and one.id.startswith(word)],
        [one for one in sessions if word and one.title.casefold().startswith(word)],
    )
    found = next((group for group in matches if group), [])
    if len(found) == 1:
        return found[0]
    if found:
        which = ", ".join(f"{short_id(one.id)} {one.title!r}" for one in found[:_SHOWN])
        raise LlamachatError(f"{wanted}: several chats are called that; give an id: {which}")
    raise LlamachatError(f"{wanted}: no such chat; llamachat sessions list shows those there are")
