"""A conversation: a tree of messages, of which one path from root to leaf is the visible chat. No I/O.

Editing a question or asking for another answer adds a sibling and loses nothing. At every fork the
conversation remembers which child was seen last, so going back to a branch shows it as it was left.
"""

from __future__ import annotations

import time
import uuid
from bisect import insort
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from llamachat.chat.file_blocks import without_files
from llamachat.engine.events import Timings
from llamachat.engine.settings import Number, SamplingSettings
from llamachat.errors import LlamachatError

UNTITLED = "New chat"
_TITLE_WIDTH = 60


class Role(StrEnum):
    """Who speaks. The system prompt is a field of the conversation, not a message."""

    USER = "user"
    ASSISTANT = "assistant"


class Status(StrEnum):
    """How an answer ended, or that it has not. A field, never part of the text."""

    COMPLETE = "complete"  #: the model ended its turn (and every message of a person)
    STREAMING = "streaming"  #: being written now
    STOPPED = "stopped"  #: a person stopped it
    LENGTH = "length"  #: max_tokens reached
    CONTEXT = "context"  #: the context was full
    INTERRUPTED = "interrupted"  #: the program ended in the middle of it
    FAILED = "failed"  #: an error ended it, told in ``note``

    @property
    def unfinished(self) -> bool:
        """Whether the answer was cut, so that continuing it makes sense."""
        return self not in (Status.COMPLETE, Status.STREAMING)


def new_id() -> str:
    """A fresh id, unique over all windows and machines, so that trees merge by id."""
    return uuid.uuid4().hex


@dataclass(slots=True, eq=False)
class Message:
    """One turn of the conversation.

    ``sequence`` orders siblings; ``created`` (seconds since 1970) is for display only, clocks jump.
    The fields from ``model`` on are an answer's.
    """

    id: str
    parent_id: str | None
    role: Role
    text: str = ""
    sequence: int = 0
    created: float = 0.0
    status: Status = Status.COMPLETE
    model: str = ""  #: name of the model that answered
    ids: tuple[int, ...] | None = None  #: the exact token ids of the text
    vocabulary: str = ""  #: which vocabulary ``ids`` belong to (``vocabulary_key``)
    timings: Timings | None = None
    seed: int | None = None
    settings: Mapping[str, Number | None] = field(default_factory=dict)  #: the sampling at its start
    dropped: int = 0  #: how many of the path's earliest messages did not fit the context
    note: str = ""  #: with FAILED: why

    def take(self, other: Message) -> None:
        """Becomes like ``other``, a newer state of the same message, in all but its place in the tree."""
        for name in ("text", "status", "model", "ids", "vocabulary", "timings", "seed", "settings", "dropped", "note"):
            setattr(self, name, getattr(other, name))


class Conversation:
    """A tree of messages with a chosen path, and what belongs to the chat as a whole."""

    def __init__(
        self,
        id: str | None = None,  # noqa: A002 - the word everybody uses
        *,
        title: str = "",
        system: str = "",
        settings: SamplingSettings | None = None,
        model_path: str = "",
        prompt_format: str = "",
        draft: str = "",
        created: float | None = None,
    ) -> None:
        self.id = id or new_id()
        self.title = title  #: empty until the first message gives one, or a person does
        self.system = system
        self.settings = settings or SamplingSettings()
        self.model_path = model_path  #: the model file last used here
        self.prompt_format = prompt_format  #: a name, or empty to detect it
        self.draft = draft
        self.created = time.time() if created is None else created
        self._messages: dict[str, Message] = {}
        self._children: dict[str | None, list[Message]] = {}
        self._choices: dict[str | None, str] = {}

    # ---- looking ----------------------------------------------------------

    @property
    def messages(self) -> Mapping[str, Message]:
        """Every message of every branch, by id."""
        return MappingProxyType(self._messages)

    @property
    def choices(self) -> Mapping[str | None, str]:
        """The child chosen at each fork, by the parent's id (None for the first message)."""
        return MappingProxyType(self._choices)

    @property
    def path(self) -> list[Message]:
        """The visible messages, from the root to the leaf."""
        path: list[Message] = []
        chosen = self._chosen(None)
        while chosen is not None:
            path.append(chosen)
            chosen = self._chosen(chosen.id)
        return path

    @property
    def leaf(self) -> Message | None:
        """The last visible message, or None in an empty conversation."""
        path = self.path
        return path[-1] if path else None

    @property
    def shown_title(self) -> str:
        """The title, or a stand-in while there is none."""
        return self.title or UNTITLED

    def __len__(self) -> int:
        return len(self._messages)

    def __bool__(self) -> bool:
        return True  # an empty one is one, too

    def message(self, message_id: str) -> Message:
        """The message with this id; ``LlamachatError`` where there is none."""
        found = self._messages.get(message_id)
        if found is None:
            raise LlamachatError(f"no message {message_id[:40]!r} in this chat")
        return found

    def parent(self, message: Message) -> Message | None:
        """The message before this one on its branch."""
        return None if message.parent_id is None else self._messages.get(message.parent_id)

    def children(self, message: Message | None) -> list[Message]:
        """The messages that follow this one (the first messages for None), oldest first."""
        return list(self._children.get(message.id if message else None, ()))

    def siblings(self, message: Message) -> tuple[int, int]:
        """The message's place among its alternatives, from 0, and how many there are."""
        family = self._children[message.parent_id]
        return family.index(message), len(family)

    def path_to(self, message: Message) -> list[Message]:
        """The messages from the root to this one, which need not be visible."""
        path = [message]
        while (above := self.parent(path[-1])) is not None:
            path.append(above)
        return path[::-1]

    def followers(self, message: Message) -> list[Message]:
        """All messages below this one, on every branch, each after those that follow it."""
        found: list[Message] = []
        waiting = self.children(message)
        while waiting:
            found.append(waiting.pop())
            waiting += self._children.get(found[-1].id, ())
        return found[::-1]

    def without_messages(self) -> Conversation:
        """The same chat before anything was said in it."""
        return Conversation(
            self.id,
            title=self.title,
            system=self.system,
            settings=self.settings,
            model_path=self.model_path,
            prompt_format=self.prompt_format,
            draft=self.draft,
            created=self.created,
        )

    # ---- growing ----------------------------------------------------------

    def add_user(self, text: str, *, parent: Message | None) -> Message:
        """Appends a person's message below ``parent`` (None: at the root) and selects it."""
        if not self.title:
            self.title = title_from(text)
        return self.add(self._new(Role.USER, parent, text=text))

    def add_answer(self, parent: Message, *, model: str = "") -> Message:
        """Appends an empty answer below ``parent``, being written, and selects it."""
        return self.add(self._new(Role.ASSISTANT, parent, status=Status.STREAMING, model=model))

    def add_copy(self, message: Message, *, text: str | None = None) -> Message:
        """Appends a copy beside ``message`` and selects it.

        With another ``text`` it has no figures and no ids: nobody's model wrote that.
        """
        if text is not None and text != message.text:
            return self.add_version(message, text=text, model=message.model)
        copy = self._new(message.role, self.parent(message))
        copy.take(message)
        return self.add(copy)

    def add_version(self, message: Message, **fields: Any) -> Message:
        """Appends another version of a message, which differs in all these fields, beside it and selects it."""
        return self.add(self._new(message.role, self.parent(message), **fields))

    def add(self, message: Message, *, select: bool = True) -> Message:
        """Puts a ready-made message into the tree.

        ``LlamachatError`` if its id is taken or its parent is missing, so no cycle can arise.
        """
        if message.id in self._messages:
            raise LlamachatError(f"two messages with the id {message.id[:40]!r}")
        if message.parent_id is not None and message.parent_id not in self._messages:
            raise LlamachatError(f"message {message.id[:40]!r} follows one that is not there")
        self._messages[message.id] = message
        family = self._children.setdefault(message.parent_id, [])
        insort(family, message, key=lambda sibling: (sibling.sequence, sibling.id))
        if select:
            self.select(message)
        return message

    def merge(self, messages: Iterable[Message]) -> list[Message]:
        """Adds those messages that are not here yet (another window wrote them); returns them.

        What is visible stays visible; only a follower of the leaf lengthens the path. A message whose
        parent is nowhere is hung at the root, so nothing that was read can be lost.
        """
        for shown in self.path:
            self._choices[shown.parent_id] = shown.id
        added: list[Message] = []
        for message in sorted(messages, key=lambda m: (m.sequence, m.id)):
            if message.id in self._messages:
                continue
            if message.parent_id not in self._messages:
                message.parent_id = None
            added.append(self.add(message, select=False))
        return added

    def remove(self, message: Message) -> None:
        """Takes a message without followers out again; ``LlamachatError`` if others follow it."""
        if self._children.get(message.id):
            raise LlamachatError("a message that others follow cannot be taken out")
        family = self._children[message.parent_id]
        place = family.index(message)
        family.remove(message)
        del self._messages[message.id]
        self._choices.pop(message.id, None)
        if self._choices.get(message.parent_id) == message.id:
            if family:
                self._choices[message.parent_id] = family[max(place - 1, 0)].id
            else:
                del self._choices[message.parent_id]

    # ---- choosing ---------------------------------------------------------

    def select(self, message: Message) -> None:
        """Makes the visible path go through this message; below it, the remembered choices hold."""
        for step in self.path_to(message):
            self._choices[step.parent_id] = step.id

    def choose(self, choices: Mapping[str | None, str]) -> None:
        """Takes remembered choices over; those that name no parent and child of this tree are ignored."""
        for parent_id, child_id in choices.items():
            child = self._messages.get(child_id)
            if child is not None and child.parent_id == parent_id:
                self._choices[parent_id] = child_id

    def sibling(self, message: Message, step: int) -> Message:
        """The alternative ``step`` places away, stopping at the first and the last."""
        family = self._children[message.parent_id]
        place = family.index(message) + step
        return family[min(max(place, 0), len(family) - 1)]

    def _chosen(self, parent_id: str | None) -> Message | None:
        family = self._children.get(parent_id)
        if not family:
            return None
        chosen = self._messages.get(self._choices.get(parent_id, ""))
        return chosen or family[-1]

    def _new(self, role: Role, parent: Message | None, **fields: Any) -> Message:
        sequence = 1 + max((message.sequence for message in self._messages.values()), default=0)
        return Message(new_id(), parent.id if parent else None, role, sequence=sequence, created=time.time(), **fields)


def title_from(text: str) -> str:
    """A title from a message: its first line with words in it, at most 60 characters, cut between words.

    What was read from files gives one only where nothing else is there.
    """
    said = without_files(text) or text
    line = next((" ".join(line.split()) for line in said.splitlines() if line.strip()), "")
    if len(line) <= _TITLE_WIDTH:
        return line
    cut = line[: _TITLE_WIDTH - 1]
    head, space, _ = cut.rpartition(" ")
    return (head if space and len(head) > _TITLE_WIDTH // 2 else cut).rstrip(" ,.;:") + "…"
