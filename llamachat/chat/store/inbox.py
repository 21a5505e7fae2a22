"""What waits to be taken in by the store: handed over at once, however long the disk takes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from llamachat.chat.conversation import Conversation, Message
from llamachat.chat.store.rows import Row, message_row, session_row


@dataclass(slots=True)
class Snapshot:
    """A chat as it was when it was to be saved. The chat goes on; nothing in here changes with it."""

    session_id: str
    session: Row | None  #: its fields; None where they are not to be saved
    messages: dict[str, Row | None]  #: those to be saved, by id; None for one that is to be deleted
    choices: dict[str | None, str]
    touch: bool  #: whether the chat was used
    dropped: bool = False  #: whether the chat is to be deleted, before all else

    def add(self, newer: Snapshot) -> None:
        """Becomes a later state of the same chat."""
        self.session = newer.session or self.session
        self.messages |= newer.messages
        self.choices = newer.choices
        self.touch |= newer.touch


def snapshot_of(conversation: Conversation, messages: Iterable[Message], writer_id: str, *, touch: bool) -> Snapshot:
    """A chat's fields, choices and these messages, as they are now."""
    session = session_row(conversation) | {"writer": "" if len(conversation) else writer_id}
    rows: dict[str, Row | None] = {message.id: message_row(message, conversation.id, writer_id) for message in messages}
    return Snapshot(conversation.id, session, rows, dict(conversation.choices), touch)


def without(conversation: Conversation, messages: Iterable[Message]) -> Snapshot:
    """A chat that messages were taken out of."""
    gone: dict[str, Row | None] = {message.id: None for message in messages}
    return Snapshot(conversation.id, None, gone, dict(conversation.choices), touch=False)


def dropped(session_id: str) -> Snapshot:
    """A chat that is to be deleted."""
    return Snapshot(session_id, None, {}, {}, touch=False, dropped=True)


class Inbox:
    """Snapshots in the order they came in. Its lock is held for moments, never while anything is written."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._snapshots: list[Snapshot] = []

    def put(self, snapshot: Snapshot) -> None:
        """Adds a snapshot. Of a chat that is saved again and again only the newest state is here: a long wait fills no
        memory with old ones."""
        with self._lock:
            last = self._snapshots[-1] if self._snapshots else None
            if last is not None and last.session_id == snapshot.session_id and not (last.dropped or snapshot.dropped):
                last.add(snapshot)
            else:
                self._snapshots.append(snapshot)

    def empty(self, take_in: Callable[[Snapshot], None]) -> None:
        """Hands all of it on. Where a signal cuts that short all is still here: to take one in twice does no harm."""
        with self._lock:
            for snapshot in self._snapshots:
                take_in(snapshot)
            self._snapshots.clear()
