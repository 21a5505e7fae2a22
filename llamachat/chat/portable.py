"""A conversation as JSON that people can keep, edit and pass on.

The form: ``{"llamachat": 1, "title", "system", "settings", "messages": [...], "choices": {...}}``. A message is
``{"id", "parent", "role", "text", "status", ...}``; parents come before their followers. What is read is hostile
until every field was looked at. Token ids are not part of it: they belong to one model's vocabulary, and ids from
outside could hold control tokens.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, NoReturn

from llamachat.chat.conversation import Conversation, Message, Role, Status, new_id, title_from
from llamachat.chat.store.rows import settings_from, storable, timings_from
from llamachat.errors import LlamachatError

VERSION = 1

MAX_BYTES = 64 << 20
MAX_MESSAGES = 100_000
_MAX_TITLE = 1_000
_MAX_ID = 200
_YEAR_10000 = 253_402_300_800.0


class PortableError(LlamachatError):
    """A text that is no conversation in the portable form; says what and where."""


# ---- writing -------------------------------------------------------------------


def to_portable(conversation: Conversation) -> dict[str, Any]:
    """The conversation with all its branches, as plain values."""
    return {
        "llamachat": VERSION,
        "title": conversation.title,
        "system": conversation.system,
        "settings": conversation.settings.to_dict(),
        "created": conversation.created,
        "messages": [_message(message) for message in conversation.messages.values()],
        "choices": {parent or "": child for parent, child in conversation.choices.items()},
    }


def dumps(conversation: Conversation) -> str:
    """The conversation as JSON text, ending in a newline."""
    return json.dumps(to_portable(conversation), ensure_ascii=False, indent=1, allow_nan=False) + "\n"


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
        "dropped": message.dropped,
        "note": message.note,
    }
    return values | {name: value for name, value in optional.items() if value not in (None, "", 0, {})}


# ---- reading -------------------------------------------------------------------


def loads(text: str | bytes) -> Conversation:
    """The conversation in a JSON text; ``PortableError`` for anything else, whatever it tries."""
    if len(text) > MAX_BYTES:
        raise PortableError(f"it is larger than {MAX_BYTES >> 20} MB")
    try:
        decoded = text.decode("utf-8-sig") if isinstance(text, bytes) else text
        values = json.loads(decoded, parse_constant=_no_constant)
    except UnicodeDecodeError:
        raise PortableError("it is not UTF-8 text") from None
    except RecursionError:
        raise PortableError("it is nested too deeply") from None
    except ValueError as error:
        raise PortableError(f"it is not JSON: {str(error)[:100]}") from None
    return from_portable(values)


def from_portable(values: object) -> Conversation:
    """The conversation that plain values describe, under new ids, so that it can stand beside its original.

    ``PortableError`` names the first thing that is wrong.
    """
    whole = _Fields(values, "the conversation")
    if whole.get("llamachat", int, None) is None:
        raise PortableError("it is no llamachat conversation")
    if whole.get("llamachat", int) > VERSION:
        raise PortableError("it was written by a newer llamachat")
    entries = whole.get("messages", list)
    if len(entries) > MAX_MESSAGES:
        raise PortableError(f"it has more than {MAX_MESSAGES:,} messages")
    conversation = Conversation(
        title=whole.text("title", "", _MAX_TITLE),
        system=whole.text("system", ""),
        settings=settings_from(whole.get("settings", dict, {})),
        created=whole.time("created"),
    )
    ids: dict[str, str] = {}
    for number, entry in enumerate(entries, 1):
        conversation.add(_read_message(_Fields(entry, f"message {number}"), number, ids, conversation), select=False)
    chosen = whole.get("choices", dict, {})
    conversation.choose(
        {ids.get(parent): ids[child] for parent, child in chosen.items() if isinstance(child, str) and child in ids}
    )
    if not conversation.title and conversation.path:
        conversation.title = title_from(conversation.path[0].text)
    return conversation


def _read_message(fields: _Fields, number: int, ids: dict[str, str], conversation: Conversation) -> Message:
    theirs, parent = fields.text("id", most=_MAX_ID), fields.get("parent", str, None)
    if theirs in ids:
        raise PortableError(f"{fields.where}: its id was given before")
    if parent is not None and parent not in ids:
        raise PortableError(f"{fields.where}: it follows a message that does not come before it")
    role, status = fields.one_of("role", Role), fields.one_of("status", Status, Status.COMPLETE)
    above = conversation.messages[ids[parent]] if parent is not None else None
    if role is Role.ASSISTANT and (above is None or above.role is Role.ASSISTANT):
        raise PortableError(f"{fields.where}: an answer must follow a question")
    ids[theirs] = new_id()
    seed, settings = fields.get("seed", int, None), fields.get("settings", dict, {})
    return Message(
        ids[theirs],
        above.id if above else None,
        role,
        fields.text("text"),
        sequence=number,
        created=fields.time("created"),
        status=Status.INTERRUPTED if status is Status.STREAMING else status,
        model=fields.text("model", "", _MAX_TITLE),
        timings=timings_from(fields.get("timings", dict, None)),
        seed=seed if seed is not None and 0 <= seed < 2**64 else None,
        settings=settings_from(settings).to_dict() if settings else {},
        dropped=max(0, min(fields.get("dropped", int, 0), number)),
        note=fields.text("note", "", _MAX_TITLE),
    )


_REQUIRED: Any = object()


class _Fields:
    """A JSON object whose fields are looked at one by one."""

    def __init__(self, values: object, where: str) -> None:
        if not isinstance(values, dict):
            raise PortableError(f"{where} is no JSON object")
        self._values: Mapping[str, Any] = values
        self.where = where

    def get(self, name: str, kind: type, default: Any = _REQUIRED) -> Any:
        """The field, of this type; null and a missing field are the default."""
        value = self._values.get(name)
        if value is None:
            if default is _REQUIRED:
                raise PortableError(f"{self.where} has no {name!r}")
            return default
        if not isinstance(value, kind) or isinstance(value, bool):
            raise PortableError(f"{self.where}: {name!r} is no {_KINDS[kind]}")
        return value

    def text(self, name: str, default: Any = _REQUIRED, most: int = MAX_BYTES) -> str:
        """A string, with what no file can hold replaced."""
        value = str(self.get(name, str, default))
        if len(value) > most:
            raise PortableError(f"{self.where}: {name!r} is too long")
        return storable(value)

    def time(self, name: str) -> float:
        """Seconds since 1970: now where there are none, 0 where they make no sense."""
        value = self._values.get(name, time.time())
        if isinstance(value, bool) or not isinstance(value, int | float):
            return 0.0
        return float(value) if math.isfinite(value) and 0 <= value < _YEAR_10000 else 0.0

    def one_of(self, name: str, kind: type[Role] | type[Status], default: Any = _REQUIRED) -> Any:
        """A word of an enumeration."""
        word = self.get(name, str, default)
        if word not in tuple(kind):
            raise PortableError(f"{self.where}: {name!r} is none of {', '.join(kind)}")
        return kind(word)


_KINDS: dict[type, str] = {int: "whole number", str: "string", list: "list", dict: "object"}


def _no_constant(name: str) -> NoReturn:
    raise PortableError(f"it holds {name}, which is no number")
