"""Conversations from ChatGPT's export, ``conversations.json``.

Each is ``{"title", "create_time", "current_node", "mapping": {id: {"message", "parent", "children"}}}``. Taken are the
texts of users and of the assistant. What lies between them (system messages, tools, what was hidden there) is left out,
and what follows it hangs on the nearest message before it. An answer in several steps, between which tools were called,
becomes one.
"""

from __future__ import annotations

import hashlib
import re
import time
from dataclasses import dataclass
from typing import Any

from llamachat.chat.conversation import Conversation, Message, Role, Status, title_from
from llamachat.chat.exchange.json_fields import MOST_MESSAGES, Fields, PortableError
from llamachat.chat.store.rows import storable

_MOST_NODES = 2 * MOST_MESSAGES
_MOST_CHARS = 64 << 20
"""Of all messages of a chat. A step that several others go on from is in the text of each: a hostile file could make
much of little."""
_MOST_TITLE = 200
_BETWEEN = "\n\n"  # the steps of an answer
_TEXTS = ("text", "multimodal_text")
_CITATION = re.compile("\ue200(?:file)?cite\ue202[^\ue200\ue201]*\ue201")  # a mark that stood for a link
_ATTACHMENT = "(an attachment)"  #: stands for a question that is nothing but a picture or a file
_NO_QUESTION = "(no question)"  #: stands before an answer that begins a chat
_STATUS = {
    "interrupted": Status.STOPPED,
    "max_tokens": Status.LENGTH,
    "finished_partial_completion": Status.STOPPED,
    "in_progress": Status.INTERRUPTED,
}


def is_chatgpt(values: object) -> bool:
    """Whether plain values mean to be a conversation of ChatGPT's."""
    return isinstance(values, dict) and "mapping" in values


def from_chatgpt(values: object) -> Conversation:
    """The conversation that plain values describe, with all its branches; it may have no message.

    Its messages have the same ids whenever it is read. ``PortableError`` for what cannot be one.
    """
    whole = Fields(values, "the conversation")
    created = whole.time("create_time", time.time())
    title = " ".join(whole.text("title", "").split())[:_MOST_TITLE]
    conversation = Conversation(title=title, created=created)
    nodes = _read_nodes(whole.get("mapping", dict), created)
    key = whole.get("conversation_id", str, None) or whole.get("id", str, None) or " ".join(nodes)
    shown = _Tree(nodes, conversation, key).grow(whole.get("current_node", str, None))
    if shown is not None:
        conversation.select(shown)
    if not conversation.title and conversation.path:
        conversation.title = title_from(conversation.path[0].text)
    return conversation


# ---- nodes ---------------------------------------------------------------------


@dataclass(slots=True)
class _Turn:
    """What a node says that is kept."""

    role: Role
    text: str
    created: float
    status: Status
    model: str


@dataclass(slots=True)
class _Node:
    parent: str | None
    children: dict[str, int]  #: their order; who belongs to whom is told by the parents
    turn: _Turn | None


def _read_nodes(mapping: dict[str, Any], created: float) -> dict[str, _Node]:
    """The nodes, each after the one it follows, those of one branch together."""
    if len(mapping) > _MOST_NODES:
        raise PortableError(f"it has more than {_MOST_NODES:,} nodes")
    nodes: dict[str, _Node] = {}
    followers: dict[str | None, list[str]] = {}
    for number, (key, value) in enumerate(mapping.items(), 1):
        fields = Fields(value, f"node {number}")
        parent = fields.get("parent", str, None)
        order = {child: at for at, child in enumerate(fields.get("children", list, [])) if isinstance(child, str)}
        nodes[key] = _Node(parent if parent in mapping else None, order, _read_turn(fields, created))
        followers.setdefault(nodes[key].parent, []).append(key)
    for parent, keys in followers.items():
        if parent is not None:
            order = nodes[parent].children
            keys.sort(key=lambda key, order=order: order.get(key, len(order)))  # type: ignore[misc]
    ordered: dict[str, _Node] = {}
    waiting = followers.get(None, [])[::-1]
    while waiting:
        key = waiting.pop()
        ordered[key] = nodes[key]
        waiting += reversed(followers.get(key, ()))
    if len(ordered) != len(nodes):
        raise PortableError("its messages follow one another in a circle")
    return ordered


def _read_turn(node: Fields, created: float) -> _Turn | None:
    """What a node says, if that is kept. Kinds of content that nobody knows yet are none to stumble over."""
    values = node.get("message", dict, None)
    if values is None:
        return None
    message = Fields(values, f"{node.where}: its message")
    author = Fields(message.get("author", dict, {}), message.where).get("role", str, "")
    metadata = Fields(message.get("metadata", dict, {}), message.where)
    content = message.get("content", dict, {})
    if (
        author not in tuple(Role)
        or content.get("content_type") not in _TEXTS
        or message.get("recipient", str, "all") != "all"  # a tool
        or message.get("channel", str, "") == "analysis"
        or metadata.truth("is_visually_hidden_from_conversation")
    ):
        return None
    role = Role(author)
    text = _text_of(content.get("parts"), role)
    if not text:
        return None
    ended = Fields(metadata.get("finish_details", dict, {}), metadata.where).get("type", str, "")
    status = _STATUS.get(ended) or _STATUS.get(message.get("status", str, ""), Status.COMPLETE)
    return _Turn(
        role,
        text,
        message.time("create_time", created),
        status if role is Role.ASSISTANT else Status.COMPLETE,
        metadata.text("model_slug", "")[:_MOST_TITLE] if role is Role.ASSISTANT else "",
    )


def _text_of(parts: object, role: Role) -> str:
    """The text in the parts of a message: strings, and what was heard of speech."""
    texts, others = [], False
    for part in parts if isinstance(parts, list) else ():
        text = part.get("text") if isinstance(part, dict) else part
        if isinstance(text, str) and text.strip():
            texts.append(text)
        others = others or isinstance(part, dict)
    if not texts and others and role is Role.USER:
        return _ATTACHMENT
    return storable(_CITATION.sub("", "\n".join(texts)))


# ---- the tree ------------------------------------------------------------------


class _Tree:
    """Puts what is kept of the nodes into a conversation."""

    def __init__(self, nodes: dict[str, _Node], conversation: Conversation, key: str) -> None:
        self._nodes = nodes
        self._conversation = conversation
        self._key = key
        self._nearest: dict[str, str | None] = {}  # of a node: itself or the nearest before it that is kept
        self._before: dict[str, str | None] = {}  # of a kept node: the nearest before it
        self._after: dict[str, list[str]] = {}
        self._above: dict[str, Message | None] = {}  # of an answer's steps: the question
        self._messages: dict[str, Message] = {}
        self._n_chars = 0
        for key, node in nodes.items():
            before = self._nearest[node.parent] if node.parent is not None else None
            self._nearest[key] = before if node.turn is None else key
            if node.turn is not None:
                self._before[key] = before
                self._after[key] = []
                if before is not None:
                    self._after[before].append(key)

    def grow(self, current: str | None) -> Message | None:
        """Adds the messages; returns the one that shall be visible, if that is known."""
        for key in self._before:
            if self._role(key) is Role.USER:
                self._add(key, self._message_before(key))
            else:
                self._add_answer(key)
        shown = self._nearest.get(current or "")
        while shown is not None and shown not in self._messages:  # a step that others go on from
            shown = self._after[shown][-1]
        return self._messages[shown] if shown is not None else None

    def _turn(self, key: str) -> _Turn:
        turn = self._nodes[key].turn
        assert turn is not None  # noqa: S101 - only such keys are here
        return turn

    def _role(self, key: str) -> Role:
        return self._turn(key).role

    def _message_before(self, key: str) -> Message | None:
        before = self._before[key]
        return self._messages[before] if before is not None else None

    def _add_answer(self, key: str) -> None:
        before = self._before[key]
        goes_on = before is not None and self._role(before) is Role.ASSISTANT
        self._above[key] = self._above[before] if goes_on and before is not None else self._message_before(key)
        after = self._after[key]
        if after and all(self._role(other) is Role.ASSISTANT for other in after):
            return  # it is in the texts of those
        if self._above[key] is None:
            turn = _Turn(Role.USER, _NO_QUESTION, self._turn(key).created, Status.COMPLETE, "")
            self._above[key] = self._put(f"{key} question", turn, turn.text, None)
        self._add(key, self._above[key])

    def _add(self, key: str, above: Message | None) -> None:
        self._messages[key] = self._put(key, self._turn(key), self._whole_text(key), above)

    def _whole_text(self, key: str) -> str:
        """The text of a node; of an answer's step with those of the steps before it."""
        texts: list[str] = []
        role, step = self._role(key), key
        while True:
            texts.append(self._turn(step).text)
            self._n_chars += len(texts[-1]) + len(_BETWEEN)
            if self._n_chars > _MOST_CHARS:
                raise PortableError("its texts are too long")
            before = self._before[step]
            if before is None or role is Role.USER or self._role(before) is Role.USER:
                return _BETWEEN.join(reversed(texts))
            step = before

    def _put(self, name: str, turn: _Turn, text: str, above: Message | None) -> Message:
        if len(self._conversation) == MOST_MESSAGES:
            raise PortableError(f"it has more than {MOST_MESSAGES:,} messages")
        known = hashlib.sha256(f"{self._key} {name}".encode("utf-8", "surrogatepass")).hexdigest()[:32]
        return self._conversation.add(
            Message(
                known,
                above.id if above else None,
                turn.role,
                text,
                sequence=len(self._conversation) + 1,
                created=turn.created,
                status=turn.status,
                model=turn.model,
            ),
            select=False,
        )
