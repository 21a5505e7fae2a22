"""A conversation as JSON that people can keep, edit and pass on.

The form: ``{"llamachat": 1, "title", "system", "settings", "messages": [...], "choices": {...}}``. A message is
``{"id", "parent", "role", "text", "status", ...}``; parents come before their followers. What is read is hostile
until every field was looked at. Token ids are not part of it: they belong to one model's vocabulary, and ids from
outside could hold control tokens.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from llamachat.chat.conversation import Conversation, Message, Role, Status, new_id, title_from
from llamachat.chat.exchange.json_fields import MOST_MESSAGES, Fields, PortableError, parse
from llamachat.chat.store.rows import settings_from, timings_from
from llamachat.display import escaped

__all__ = ["PortableError", "dumps", "from_portable", "is_portable", "loads", "to_portable"]

VERSION = 1

_MOST_TITLE = 1_000
_MOST_ID = 200
_OWN_ID = re.compile("[0-9a-f]{32}")  # as new_id makes them


# ---- writing -------------------------------------------------------------------


def to_portable(conversation: Conversation) -> dict[str, Any]:
    """The conversation with all its branches, as plain values."""
    whole = {
        "llamachat": VERSION,
        "title": conversation.title,
        "system": conversation.system,
        "settings": conversation.settings.to_dict(),
        "prompt_format": conversation.prompt_format,
        "created": conversation.created,
        "messages": [_message(message) for message in conversation.messages.values()],
        "choices": {parent or "": child for parent, child in conversation.choices.items()},
    }
    return {name: value for name, value in whole.items() if name != "prompt_format" or value}


def dumps(conversation: Conversation) -> str:
    """The conversation as JSON text, ending in a newline. No character of it can steer a terminal."""
    return escaped(json.dumps(to_portable(conversation), ensure_ascii=False, indent=1, allow_nan=False)) + "\n"


def _message(message: Message) -> dict[str, Any]:
    values: dict[str, Any] = {
        "id": message.id,
        "parent": message.parent_id,
        "role": message.role.value,
        "text": message.text,
        "status": message.status.value,
        "created": message.created,
    }
    optional = {
        "model": message.model,
        "timings": asdict(message.timings) if message.timings else None,
        "seed": message.seed,
        "settings": dict(message.settings),
        "dropped": message.dropped or None,
        "note": message.note,
    }
    return values | {name: value for name, value in optional.items() if value not in (None, "", {})}


# ---- reading -------------------------------------------------------------------


def is_portable(values: object) -> bool:
    """Whether plain values mean to be a conversation in this form."""
    return isinstance(values, dict) and "llamachat" in values


def loads(text: str | bytes) -> Conversation:
    """The conversation in a JSON text, under new ids; ``PortableError`` for anything else, whatever it tries."""
    return from_portable(parse(text))


def from_portable(values: object, *, keep_ids: bool = False) -> Conversation:
    """The conversation that plain values describe, under new ids, so that it can stand beside its original.

    With ``keep_ids`` its messages have ids by which they are known again: their own, where they look like those of this
    program, else some that follow from all that the values say. ``PortableError`` names the first thing that is wrong.
    """
    whole = Fields(values, "the conversation")
    if whole.get("llamachat", int, None) is None:
        raise PortableError("it is no llamachat conversation")
    if whole.get("llamachat", int) > VERSION:
        raise PortableError("it was written by a newer llamachat")
    entries = whole.get("messages", list)
    if len(entries) > MOST_MESSAGES:
        raise PortableError(f"it has more than {MOST_MESSAGES:,} messages")
    conversation = Conversation(
        title=whole.text("title", "", _MOST_TITLE),
        system=whole.text("system", ""),
        settings=settings_from(whole.get("settings", dict, {})),
        prompt_format=whole.text("prompt_format", "", _MOST_ID),
        created=whole.time("created", time.time()),
    )
    named = _known_ids(values) if keep_ids else lambda _theirs: new_id()
    ids: dict[str, str] = {}
    for number, entry in enumerate(entries, 1):
        fields = Fields(entry, f"message {number}")
        conversation.add(_read_message(fields, number, ids, named, conversation), select=False)
    chosen = whole.get("choices", dict, {})
    conversation.choose(
        {ids.get(parent): ids[child] for parent, child in chosen.items() if isinstance(child, str) and child in ids}
    )
    if not conversation.title and conversation.path:
        conversation.title = title_from(conversation.path[0].text)
    return conversation


def _known_ids(values: object) -> Callable[[str], str]:
    """What to call the message of an id in these values: the same for the same values, whenever they come."""
    seed = ""

    def known(theirs: str) -> str:
        nonlocal seed
        if _OWN_ID.fullmatch(theirs):
            return theirs
        try:
            seed = seed or hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
        except RecursionError:  # reading it went well by a hair
            raise PortableError("it is nested too deeply") from None
        return hashlib.sha256(f"{seed} {theirs}".encode("utf-8", "surrogatepass")).hexdigest()[:32]

    return known


def _read_message(
    fields: Fields, number: int, ids: dict[str, str], named: Callable[[str], str], conversation: Conversation
) -> Message:
    theirs, parent = fields.text("id", most=_MOST_ID), fields.get("parent", str, None)
    if theirs in ids:
        raise PortableError(f"{fields.where}: its id was given before")
    if parent is not None and parent not in ids:
        raise PortableError(f"{fields.where}: it follows a message that does not come before it")
    role, status = fields.one_of("role", Role), fields.one_of("status", Status, Status.COMPLETE)
    above = conversation.messages[ids[parent]] if parent is not None else None
    if role is Role.ASSISTANT and (above is None or above.role is Role.ASSISTANT):
        raise PortableError(f"{fields.where}: an answer must follow a question")
    ids[theirs] = named(theirs)
    seed, settings = fields.get("seed", int, None), fields.get("settings", dict, {})
    return Message(
        ids[theirs],
        above.id if above else None,
        role,
        fields.text("text"),
        sequence=number,
        created=fields.time("created", conversation.created),
        status=Status.INTERRUPTED if status is Status.STREAMING else status,
        model=fields.text("model", "", _MOST_TITLE),
        timings=timings_from(fields.get("timings", dict, None)),
        seed=seed if seed is not None and 0 <= seed < 2**64 else None,
        settings=settings_from(settings).to_dict() if settings else {},
        dropped=max(0, min(fields.get("dropped", int, 0), number)),
        note=fields.text("note", "", _MOST_TITLE),
    )
