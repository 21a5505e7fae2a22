"""Chats that come as files, and what of a chat must come through."""

from __future__ import annotations

import json
import uuid
from typing import Any

from llamachat.chat.conversation import Conversation, Status
from llamachat.chat.exchange.reading import Imported, import_text
from llamachat.chat.store import SessionStore
from llamachat.engine.events import Timings
from llamachat.engine.settings import SamplingSettings

#: What makes files and terminals stumble: control characters, C1, bidi overrides, tags, NUL, astral, combining.
ODD_TEXT = (
    'a\x00b\x07\x1b]0;t\x07\x1b[31m \x7f\x85\x9b31m \u202e\u2066\ufeff\U000e0041 🦙 e\u0301 \u2028 \t\r\n \\ " </s> ```'
)


def rich_chat() -> Conversation:
    """A chat with branches at every depth, every status, figures, and odd texts; not its newest branch is visible."""
    chat = Conversation(title="Tïtle 🦙", system="Be\nbrief.", settings=SamplingSettings(top_k=7), created=1.7e9)
    chat.prompt_format = "chatml"
    question = chat.add_user(ODD_TEXT, parent=None)
    for number, status in enumerate(Status):
        answer = chat.add_answer(question, model="M 1")
        answer.text, answer.status, answer.seed = f"answer {number} {ODD_TEXT}", status, number
        answer.timings = Timings(3, 1, 2.5, 2, 9.0)
        answer.settings = SamplingSettings(top_k=number + 1).to_dict()
        answer.dropped, answer.note = number, "no room" if status is Status.FAILED else ""
        chat.add_user(f"and then {number}", parent=answer)
    edited = chat.add_user("another beginning", parent=None)
    chat.add_answer(edited).status = Status.COMPLETE
    chat.select(chat.children(question)[2])
    return chat


def told(chat: Conversation) -> list[tuple[object, ...]]:
    """All that a file holds of a chat, without ids: the whole tree, each message with its way from the root."""
    messages = list(chat.messages.values())
    place = {message.id: at for at, message in enumerate(messages)}
    shown = {message.id for message in chat.path}
    head = (chat.title, chat.system, chat.settings, chat.prompt_format, chat.created)
    rows = [
        (
            None if message.parent_id is None else place[message.parent_id], message.role, message.text, message.model,
            Status.INTERRUPTED if message.status is Status.STREAMING else message.status, message.created,
            message.timings, message.seed, dict(message.settings), message.dropped, message.note, message.id in shown,
            chat.siblings(message),
        )
        for message in messages
    ]  # fmt: skip
    return [head, *rows]


def node(
    key: str, parent: str | None, role: str | None = None, text: str | list[object] = "", **message: Any
) -> dict[str, Any]:
    """A node of ChatGPT's; without a role it has no message. ``text`` may be parts."""
    told = None
    if role is not None:
        parts = text if isinstance(text, list) else [text]
        kind = "text" if isinstance(text, str) else "multimodal_text"
        content = {"content_type": kind, "parts": parts}
        told = {"id": key, "author": {"role": role}, "content": content, "create_time": 1.69e9, "recipient": "all"}
    return {"id": key, "parent": parent, "children": [], "message": None if told is None else told | message}


def chatgpt_chat(*nodes: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """A conversation of ChatGPT's with these nodes, which are visible up to the last one."""
    mapping = {one["id"]: one for one in nodes}
    for one in nodes:
        if one["parent"] in mapping:
            mapping[one["parent"]]["children"].append(one["id"])
    whole = {"title": "From elsewhere", "create_time": 1.68e9, "mapping": mapping, "current_node": nodes[-1]["id"]}
    return whole | {"conversation_id": str(uuid.uuid5(uuid.NAMESPACE_OID, "one"))} | fields


def add(store: SessionStore, *values: object) -> Imported:
    """Imports a text that holds one value, or the list of several."""
    whole = values[0] if len(values) == 1 else list(values)
    return import_text(store, json.dumps(whole).encode(), "x.json")


def dialogue(*texts: str, title: str = "Tea") -> Conversation:
    """A chat of one branch: question, answer, question, ..."""
    chat = Conversation(title=title)
    for number, text in enumerate(texts):
        if number % 2 == 0:
            chat.add_user(text, parent=chat.leaf)
        else:
            assert chat.leaf is not None
            answer = chat.add_answer(chat.leaf)
            answer.text, answer.status = text, Status.COMPLETE
    return chat


def texts(chat: Conversation) -> list[str]:
    """What is visible."""
    return [message.text for message in chat.path]


def gpt(title: str, *texts: str, **fields: Any) -> dict[str, Any]:
    """A chat of ChatGPT's of one branch; its title is its id, too."""
    nodes = [node("root", None)]
    for at, text in enumerate(texts):
        nodes.append(node(f"n{at}", nodes[-1]["id"], ("user", "assistant")[at % 2], text))
    return chatgpt_chat(*nodes, title=title, conversation_id=title, **fields)


def all_stored(store: SessionStore) -> list[Conversation]:
    """Every chat of a store."""
    return [store.load(summary.id) for summary in store.sessions()]


def saved(store: SessionStore, chat: Conversation) -> Conversation:
    """A chat as it comes back from a store."""
    store.save(chat, *chat.messages.values())
    return store.load(chat.id)
