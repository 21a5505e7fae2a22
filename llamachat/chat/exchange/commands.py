"""``/export`` and ``/import``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from llamachat.chat.conversation import UNTITLED, Conversation
from llamachat.chat.exchange.reading import Imported, import_file
from llamachat.chat.exchange.writing import is_taken, proposed_name, target_of, write_file
from llamachat.display import clean_line, counted
from llamachat.files.texts import find_file

if TYPE_CHECKING:
    from llamachat.chat.command import Face
    from llamachat.chat.session import ChatSession

_WHERE_TO = "Export to (.json: all of it; .md, .txt: what is visible)"
_MOST_NAMED = 3


def export(session: ChatSession, face: Face, name: str) -> None:
    """Writes the open chat to a file; without a name proposes one. What is there already is replaced after asking."""
    chat = session.conversation
    if name:
        _export_to(chat, face, name)
    else:
        face.edit_line(_WHERE_TO, proposed_name(chat), lambda typed: _export_to(chat, face, typed.strip()))


def _export_to(chat: Conversation, face: Face, name: str) -> None:
    path = target_of(name)
    if is_taken(path):
        question = f"{clean_line(str(path), 100)} is there already: replace it?"
        face.confirm(question, lambda: _write(chat, face, path, replace=True))
    else:
        _write(chat, face, path, replace=False)


def _write(chat: Conversation, face: Face, path: Path, *, replace: bool) -> None:
    write_file(chat, path, replace=replace, taken="is there already")
    face.say(f"exported to {clean_line(str(path.absolute()), 150)}")


def import_chats(session: ChatSession, face: Face, name: str) -> None:
    """Adds the chats in a file. If it was one, and nothing else came in between, that is opened."""
    store, chat = session.store, session.conversation
    find_file(name, pipes=False)  # at once, so that a wrong name is there to be mended

    def show(imported: Imported) -> None:
        session.take_in_arrivals()
        rests = session.answering is None and session.queued is None
        if len(imported.arrivals) == 1 and rests and session.conversation is chat:
            session.open(imported.arrivals[0].session_id)
        face.say(_told(imported))

    face.take_time(f"importing {clean_line(name, 100)}", lambda: import_file(store, name), show)


def _told(imported: Imported) -> str:
    """What was added, in a sentence."""
    new = [one for one in imported.arrivals if one.is_new]
    there = [one for one in imported.arrivals if not one.is_new]
    parts = []
    if new:
        names = ", ".join(map(_quoted, [one.title for one in new[:_MOST_NAMED]]))
        more = f" and {len(new) - _MOST_NAMED:,} more" if len(new) > _MOST_NAMED else ""
        parts.append(f"added {names}{more}" if len(new) == 1 else f"added {len(new):,} chats: {names}{more}")
    if there:
        which = _quoted(there[0].title) if len(there) == 1 else counted(len(there), "chat")
        n_added = sum(one.n_added for one in there)
        got = f", and got {counted(n_added, 'more message')}" if n_added else ""
        parts.append(f"{which} {'was' if len(there) == 1 else 'were'} there already{got}")
    if imported.n_empty:
        parts.append(f"{counted(imported.n_empty, 'chat')} without a message left out")
    return "; ".join(parts)


def _quoted(title: str) -> str:
    return f"“{clean_line(title or UNTITLED, 40)}”"
