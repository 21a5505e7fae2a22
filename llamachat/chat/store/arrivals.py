"""Chats that come from elsewhere, put among those that are stored.

Messages are known by their ids. A chat of which a message is stored already is taken for that chat: it gets what it has
not, and nothing that is there is changed, moved or hidden. A message whose text or place is another one than that of
the stored message with its id becomes another version beside it.
"""

from __future__ import annotations

import hashlib
import sqlite3
import time
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

from llamachat.chat.conversation import Conversation, Message, Role
from llamachat.chat.store.rows import MESSAGE_COLUMNS, conversation_from, message_from, message_row, session_row

_IDS_AT_ONCE = 500  # values of one statement; old versions of SQLite take 999


def _insert(table: str, names: Iterable[str]) -> str:
    """A statement with named values. Table and column names are this program's own."""
    names = list(names)
    return f"INSERT INTO {table} ({', '.join(names)}) VALUES ({', '.join(f':{name}' for name in names)})"  # noqa: S608


_INSERT_MESSAGE = _insert("messages", MESSAGE_COLUMNS)
_CHOOSE = "INSERT INTO choices VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET child_id = excluded.child_id"


@dataclass(frozen=True, slots=True)
class Arrival:
    """What became of a chat that was to be added."""

    session_id: str  #: of the chat in the store
    title: str  #: which it has there
    n_added: int  #: how many of its messages were not there
    is_new: bool  #: whether the chat was not there


def add_all(connection: sqlite3.Connection, chats: Sequence[Conversation]) -> list[Arrival]:
    """Adds chats in one transaction, and tells of each in their order.

    New ones take their places in the list by the times of their last messages. Raises ``sqlite3.Error``, and has then
    added nothing.
    """
    now = time.time()
    connection.execute("BEGIN IMMEDIATE")
    try:
        arrivals = [_add(connection, chat) for chat in chats]
        new = {one.session_id: _last_time(chat, now) for one, chat in zip(arrivals, chats, strict=True) if one.is_new}
        _put_in_order(connection, new)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return arrivals


def _add(connection: sqlite3.Connection, chat: Conversation) -> Arrival:
    places = _places(connection, chat.messages)
    known = Counter(places.values()).most_common(1)
    stored = _stored(connection, known[0][0]) if known else None
    is_new = stored is None
    if stored is None:
        stored = chat.without_messages()
        row = session_row(stored)
        connection.execute(_insert("sessions", row), row)
    before = dict(stored.choices)
    taken = {message_id for message_id, session_id in places.items() if session_id != stored.id}
    names, added = _fit_in(chat, stored, taken)
    forks = dict(stored.choices)
    stored.choose({names.get(a): names[b] for a, b in chat.choices.items() if names.get(a) not in forks})
    connection.executemany(_INSERT_MESSAGE, [message_row(message, stored.id, "") for message in added])
    chosen = stored.choices.items() - before.items() if added else ()
    connection.executemany(_CHOOSE, [(stored.id, parent or "", child) for parent, child in chosen])
    return Arrival(stored.id, stored.title, len(added), is_new)


def _fit_in(chat: Conversation, stored: Conversation, taken: set[str]) -> tuple[dict[str | None, str], list[Message]]:
    """Adds to ``stored`` what it lacks of ``chat``: what the messages are called there, and those that were added.

    ``taken`` are ids of other chats.
    """
    last = max((message.sequence for message in stored.messages.values()), default=0)
    names: dict[str | None, str] = {}
    added: dict[str, Message] = {}
    for message in chat.messages.values():
        parent = names[message.parent_id] if message.parent_id is not None else None
        name, there = message.id, stored.messages.get(message.id)
        if name in taken or (there is not None and not _is_same(there, message, parent)):
            name = _other_name(message, parent, stored.id)
        names[message.id] = name
        if name not in stored.messages and name not in added:
            added[name] = replace(message, id=name, parent_id=parent, sequence=last + message.sequence)
    return names, stored.merge(added.values())


def _is_same(there: Message, message: Message, parent: str | None) -> bool:
    """Whether a stored message is the other one, or what that has grown to: /continue lengthens answers."""
    if (there.role, there.parent_id) != (message.role, parent):
        return False
    return there.text == message.text or (there.role is Role.ASSISTANT and there.text.startswith(message.text))


def _other_name(message: Message, parent: str | None, session_id: str) -> str:
    """An id for another version of a message: the same one for the same version, so that it is added once."""
    told = "\0".join((session_id, message.id, parent or "", message.role, message.text))
    return hashlib.sha256(told.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _last_time(chat: Conversation, now: float) -> float:
    """When the last message was written, as far as that makes sense."""
    times = [message.created for message in chat.messages.values() if 0 < message.created <= now]
    return max(times, default=now)


# ---- the database ----------------------------------------------------------------


def _places(connection: sqlite3.Connection, ids: Iterable[str]) -> dict[str, str]:
    """The chats that have messages of these ids."""
    wanted = list(ids)
    found: dict[str, str] = {}
    for begin in range(0, len(wanted), _IDS_AT_ONCE):
        some = wanted[begin : begin + _IDS_AT_ONCE]
        marks = ", ".join("?" * len(some))
        found |= dict(connection.execute(f"SELECT id, session_id FROM messages WHERE id IN ({marks})", some).fetchall())  # noqa: S608
    return found


def _stored(connection: sqlite3.Connection, session_id: str) -> Conversation | None:
    row = connection.execute("SELECT * FROM sessions WHERE id = ?", (session_id,)).fetchone()
    if row is None:
        return None
    stored = conversation_from(row)
    query = "SELECT * FROM messages WHERE session_id = ? ORDER BY sequence, id"
    stored.merge([message_from(message) for message in connection.execute(query, (session_id,))])
    chosen = connection.execute("SELECT parent_id, child_id FROM choices WHERE session_id = ?", (session_id,))
    stored.choose({parent or None: child for parent, child in chosen})
    return stored


def _put_in_order(connection: sqlite3.Connection, new: Mapping[str, float]) -> None:
    """Gives new chats, whose last times these are, their places in the list: each just after all that is not newer.

    Those that were there keep their order, and as far as possible their numbers.
    """
    rows = connection.execute("SELECT id, updated, touched FROM sessions ORDER BY touched, rowid").fetchall()
    there = [row for row in rows if row["id"] not in new]
    # In a list by use some may be newer than others after them: the oldest from each place on tells where to stop.
    oldest = list(accumulate((row["updated"] for row in reversed(there)), min))[::-1]
    ordered = [(place, 0.0, 0, row["id"], row["touched"]) for place, row in enumerate(there, 1)]
    for at, (session_id, updated) in enumerate(new.items()):  # of the same time the first of a file stands first
        ordered.append((bisect_right(oldest, updated), updated, -at, session_id, 0))
    number, numbers = -1, []
    for _, updated, _, session_id, touched in sorted(ordered):
        number = max(number + 1, touched)
        if session_id in new:
            numbers.append((number, updated, session_id))
        elif number != touched:
            connection.execute("UPDATE sessions SET touched = ? WHERE id = ?", (number, session_id))
    connection.executemany("UPDATE sessions SET touched = ?, updated = ? WHERE id = ?", numbers)
