"""The session store's face: what is stored, and when it is on disk."""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from llamachat.chat.conversation import Conversation, Message, Status
from llamachat.chat.store.arrivals import Arrival, add_all
from llamachat.chat.store.backups import Backups, BackupThread
from llamachat.chat.store.database import FILE_NAME, memory_database, open_database
from llamachat.chat.store.failures import reason_of
from llamachat.chat.store.inbox import Inbox, Snapshot, dropped, snapshot_of, without
from llamachat.chat.store.pending import Pending
from llamachat.chat.store.reader import Reader
from llamachat.chat.store.rows import Row, conversation_from, session_row
from llamachat.chat.store.saver import Saver
from llamachat.chat.store.summary import SessionSummary
from llamachat.errors import StoreError

_log = logging.getLogger(__name__)

#: How long a look at whether others wrote may wait for a write of this program: less than a person notices.
_GLANCE_S = 0.05


class SessionStore:
    """All chats in one SQLite database, ``sessions.db`` in the data folder.

    Opening it never destroys anything: a damaged database is moved aside and a notice says where; where
    the folder cannot be written, chats live in memory, and a notice says so. While the disk is full,
    everything goes on in memory and is written as soon as there is space.

    ``StoreError`` is raised on opening a database that a newer version wrote, by all that reads where the
    database cannot be read, by ``load`` also for a chat that is not there, and by ``delete_now``. The rest of
    what writes never raises it: what cannot be written waits, and a notice says so.

    ``save`` returns when its messages are on disk. ``save_soon``, ``forget`` and ``take_notices`` return at
    once, however long the disk takes; a background thread writes what has gathered a quarter of a second
    later. Any thread may call any method; a chat's own changes come from one thread.
    """

    def __init__(self, data_dir: Path | None) -> None:
        """Opens or makes the database in ``data_dir``; None keeps everything in memory, silently."""
        self._lock = threading.RLock()  # over all but the inbox and the notices; held while writing
        self._inbox = Inbox()
        self._notices: deque[str] = deque()
        self._writer = None
        self._reason = ""  # why nothing reaches a disk
        if data_dir is None:
            self._connection = memory_database()
        else:
            database = open_database(data_dir)
            self._connection, self._writer = database.connection, database.writer
            self._notices += database.notices
            self._reason = database.reason
        self._writer_id = self._writer.id if self._writer else "memory"
        self.data_dir = data_dir
        self.in_memory = self._writer is None  #: whether nothing reaches a disk
        self.lost_changes = False  #: whether closing could not write everything
        self._pending = Pending()
        self._reader = Reader(self._connection, self._pending, self._notices.append)
        self._known: dict[str, Row] = {}  # session rows as last read or written here
        self._known_choices: dict[str, dict[str | None, str]] = {}
        self._failing = ""
        self._data_version = self._reader.data_version()
        self._saver = Saver(self.flush, lambda: bool(self._failing))
        self._backup_thread: BackupThread | None = None
        with self._lock:
            self._mark_interrupted()
            if self._writer is not None:
                self._writer.sweep()

    def keep_backups(self) -> None:
        """From now on makes a backup a day, in the background; not where nothing reaches a disk."""
        if self.data_dir is not None and not self.in_memory and self._backup_thread is None:
            self._backup_thread = BackupThread(Backups(self.data_dir / FILE_NAME))

    # ---- looking ------------------------------------------------------------

    def take_notices(self) -> list[str]:
        """What a person should know about the storage; each notice is handed out once. Also after closing."""
        notices: list[str] = []
        with contextlib.suppress(IndexError):
            while True:
                notices.append(self._notices.popleft())
        return notices

    def sessions(self, filter: str = "") -> list[SessionSummary]:  # noqa: A002
        """All chats, the last used first; of a ``filter`` those whose titles hold all its words, and then those where
        one message does.
        """
        with self._held():
            self.flush()
            return self._reader.summaries(filter.casefold().split(), unwritten=bool(self._failing))

    def load(self, session_id: str) -> Conversation:
        """A chat as it was left; ``StoreError`` if it is not there."""
        with self._held():
            self.flush()
            self._mark_interrupted()
            row = self._reader.session(session_id)
            if row is None:
                raise StoreError(f"there is no chat {session_id[:40]!r} any more")
            conversation = conversation_from(row)
            conversation.merge(self._reader.messages(session_id))
            conversation.choose(self._reader.choices(session_id))
            self._known[session_id] = session_row(conversation)
            self._known_choices[session_id] = dict(conversation.choices)
        return conversation

    def questions(self, most: int, besides: str) -> list[str]:
        """The last questions of all chats but one, oldest first, without those too long to be edited.

        While something is being written here there are none: nobody shall wait for them.
        """
        if not self._lock.acquire(timeout=_GLANCE_S):
            return []
        try:
            return self._reader.questions(most, besides)
        finally:
            self._lock.release()

    def adopt_draft(self) -> Conversation | None:
        """Takes up a chat that is nothing but an unsent text whose program is gone, if there is one."""
        with self._held():
            for row in self._reader.drafts():
                if not self._alive(row["writer"]):
                    conversation = self.load(row["id"])
                    self._pending.session({"id": row["id"], "writer": self._writer_id}, insert=False)
                    self.flush()  # at once, so that no other window takes it up too
                    return conversation
        return None

    def changed(self) -> bool:
        """Whether another program wrote to the database since this was asked last.

        While something is being written here nobody can look: then the answer is no, and the next one tells.
        """
        if not self._lock.acquire(timeout=_GLANCE_S):
            return False
        try:
            before, self._data_version = self._data_version, self._reader.data_version()
            return before != self._data_version
        finally:
            self._lock.release()

    def update(self, conversation: Conversation, own: Iterable[str] = ()) -> bool:
        """Takes over what other programs wrote to a chat; True if it changed anything.

        Messages are added by id, so two windows never overwrite each other. The messages named by
        ``own`` are being written here and stay as they are.
        """
        kept = set(own)
        with self._held():
            self.flush()
            self._mark_interrupted()
            stored = {message.id: message for message in self._reader.messages(conversation.id)}
            row = self._reader.session(conversation.id)
            known = self._known.get(conversation.id, {})
        changed = bool(conversation.merge(stored.values()))
        if row is not None and row["title"] != known.get("title") == conversation.title:
            conversation.title = known["title"] = row["title"]
            changed = True
        for message_id, theirs in stored.items():
            ours = conversation.messages.get(message_id)
            if ours is None or ours is theirs or message_id in kept:
                continue
            if (ours.text, ours.status) != (theirs.text, theirs.status):
                ours.take(theirs)
                changed = True
        return changed

    # ---- writing ------------------------------------------------------------

    def save(self, conversation: Conversation, *messages: Message) -> None:
        """Writes a chat's fields, choices and these messages, and returns when they are on disk.

        A chat that another window deleted meanwhile is written again, whole: nobody's words are lost.
        On a full disk a notice is given instead, and writing is tried again until it works.
        """
        with self._held():
            if self._is_gone(conversation.id):
                del self._known[conversation.id], self._known_choices[conversation.id]
                messages = tuple(conversation.messages.values())
            self._inbox.put(snapshot_of(conversation, messages, self._writer_id, touch=True))
            self.flush()

    def save_soon(self, conversation: Conversation, *messages: Message) -> None:
        """Takes a chat's fields, choices and these messages down as they are now, to be written in half a second."""
        self._inbox.put(snapshot_of(conversation, messages, self._writer_id, touch=False))
        self._saver.wake()

    def forget(self, conversation: Conversation, *messages: Message) -> None:
        """Takes back messages that were taken out of their conversation."""
        self._inbox.put(without(conversation, messages))
        self._saver.wake()

    def rename(self, session_id: str, title: str) -> None:
        """Gives a stored chat another title."""
        with self._held():
            self._pending.session({"id": session_id, "title": title}, insert=False)
            self.flush()

    def delete(self, session_id: str) -> bool:
        """Deletes a chat with all its messages; False if that could not be written now, and waits to be."""
        with self._held():
            self._pending.drop_session(session_id)
            self._unknow(session_id)
            return self.flush()

    def delete_soon(self, session_id: str) -> None:
        """Deletes a chat in half a second."""
        self._inbox.put(dropped(session_id))
        self._saver.wake()

    def delete_now(self, session_id: str) -> None:
        """Deletes a chat with all its messages on disk; ``StoreError`` if it is still there, and then stays."""
        deletion = Pending()
        deletion.drop_session(session_id)
        with self._held():
            self.check_changeable("deleted")
            try:
                deletion.write(self._connection)
            except sqlite3.Error as error:
                raise StoreError(_not_done("deleted", reason_of(error))) from None
            self._pending.withdraw_session(session_id)
            self._unknow(session_id)

    def check_changeable(self, what: str) -> None:
        """``StoreError`` if nothing can be ``what`` ("added", "deleted") on disk: the chats are a copy in memory."""
        if self._reason:
            raise StoreError(_not_done(what, self._reason))

    def add_now(self, chats: Sequence[Conversation]) -> list[Arrival]:
        """Adds chats from elsewhere, all of them or none, and tells what became of each: see ``arrivals``.

        They are on disk then, unless the store is in memory. ``StoreError`` if they cannot be written.
        """
        with self._held():
            if not self.flush():
                raise StoreError(_not_done("added", self._failing))
            try:
                return add_all(self._connection, chats)
            except sqlite3.Error as error:
                raise StoreError(_not_done("added", reason_of(error))) from None

    def flush(self) -> bool:
        """Writes everything that waits, in one transaction; False if it could not be written now."""
        with self._held():
            if not self._pending:
                return True
            try:
                self._pending.write(self._connection)
            except sqlite3.Error as error:
                self._failed(error)
                self._saver.wake()
                return False
            self._pending.clear()
            if self._failing:
                self._failing = ""
                self._notices.append("chats are saved again")
            return True

    def close(self) -> None:
        """Writes what waits and closes the database; a notice tells what could not be written."""
        if not self._saver.end():
            return
        with self._lock:
            if not self.flush():
                self.lost_changes = True
                self._notices.append(f"the last changes could not be saved: {self._failing}")
            if self._backup_thread is not None:
                self._backup_thread.end()
            self._connection.close()
            if self._writer is not None:
                self._writer.close()

    # ---- inside -------------------------------------------------------------

    @contextlib.contextmanager
    def _held(self) -> Iterator[None]:
        """The store for one thread at a time, with all that was taken down so far."""
        with self._lock:
            self._inbox.empty(self._take_in)
            yield

    def _take_in(self, snapshot: Snapshot) -> None:
        session_id = snapshot.session_id
        if snapshot.dropped:
            self._pending.drop_session(session_id)
            self._unknow(session_id)
            return
        if snapshot.session is not None:
            known = self._known.get(session_id)
            # Only what changed here is written: another window may have renamed the chat, say.
            changed = {
                name: value for name, value in snapshot.session.items() if known is None or known.get(name) != value
            }
            self._pending.session({"id": session_id} | changed, insert=known is None, touch=snapshot.touch)
            self._known[session_id] = snapshot.session
        for message_id, row in snapshot.messages.items():
            if row is None:
                self._pending.drop_message(message_id)
            else:
                self._pending.message(row)
        chosen = snapshot.choices.items() - self._known_choices.get(session_id, {}).items()
        self._pending.choices(session_id, dict(chosen))
        self._known_choices[session_id] = snapshot.choices

    def _unknow(self, session_id: str) -> None:
        self._known.pop(session_id, None)
        self._known_choices.pop(session_id, None)

    def _is_gone(self, session_id: str) -> bool:
        """Whether another window deleted a session; a database that cannot be read does not say so."""
        try:
            return session_id in self._known and self._reader.session(session_id) is None
        except StoreError:
            return False

    def _mark_interrupted(self) -> None:
        """Answers whose writer is gone will not go on: they say so from now on."""
        for writer in self._reader.answering():
            if self._alive(writer):
                continue
            try:
                self._connection.execute(
                    "UPDATE messages SET status = ?, writer = '' WHERE status = 'streaming' AND writer = ?",
                    (Status.INTERRUPTED, writer),
                )
            except sqlite3.Error as error:
                self._failed(error)

    def _alive(self, writer_id: str) -> bool:
        return writer_id == self._writer_id or (self._writer is not None and self._writer.alive(writer_id))

    def _failed(self, error: sqlite3.Error) -> None:
        """Tells it once; what waits goes on waiting."""
        reason = reason_of(error)
        if not self._failing:
            _log.warning("saving chats: %s", reason)
        if not self._failing and not self._saver.ended:  # there is no later after closing, which says so itself
            self._notices.append(f"chats cannot be saved just now ({reason}): they go on in memory and are saved later")
        self._failing = reason


def _not_done(what: str, reason: str) -> str:
    return f"nothing was {what}: the chats cannot be written now ({reason}); try again once that is over"
