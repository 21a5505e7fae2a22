"""Conversations and messages as database rows, and back. What was read is checked, not trusted."""

from __future__ import annotations

import json
import zlib
from array import array
from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

from llamachat.chat.conversation import Conversation, Message, Role, Status
from llamachat.engine.events import Timings
from llamachat.engine.settings import PARAMETER, SamplingSettings
from llamachat.errors import LlamachatError

Row = dict[str, Any]

MESSAGE_COLUMNS = (
    "id", "session_id", "parent_id", "sequence", "role", "text", "status", "model", "vocabulary", "ids",
    "figures", "created", "writer", "checksum",
)  # fmt: skip


def session_row(conversation: Conversation) -> Row:
    """Everything about a conversation but its messages."""
    return {
        "id": conversation.id,
        "title": storable(conversation.title),
        "system": storable(conversation.system),
        "settings": json.dumps(conversation.settings.to_dict()),
        "model_path": storable(conversation.model_path),
        "prompt_format": conversation.prompt_format,
        "draft": storable(conversation.draft),
        "created": conversation.created,
    }


def message_row(message: Message, session_id: str, writer: str) -> Row:
    """A message as it is now; ``writer`` is noted while it is being written."""
    figures: Row = {}
    if message.timings is not None:
        figures["timings"] = asdict(message.timings)
    if message.seed is not None:
        figures["seed"] = message.seed
    if message.settings:
        figures["settings"] = dict(message.settings)
    if message.dropped:
        figures["dropped"] = message.dropped
    if message.note:
        figures["note"] = message.note
    row: Row = {
        "id": message.id,
        "session_id": session_id,
        "parent_id": message.parent_id,
        "sequence": message.sequence,
        "role": str(message.role),
        "text": storable(message.text),
        "status": str(message.status),
        "model": storable(message.model),
        "vocabulary": message.vocabulary,
        "ids": None if message.ids is None else array("I", message.ids).tobytes(),
        "figures": json.dumps(figures),
        "created": message.created,
        "writer": writer if message.status is Status.STREAMING else "",
    }
    row["checksum"] = checksum(row)
    return row


def checksum(row: Mapping[str, Any]) -> int:
    """CRC-32 of what makes up a message; its status and writer may change without it."""
    parts = (row["id"], row["session_id"], row["parent_id"] or "", row["role"], row["text"])
    check = zlib.crc32("\0".join(parts).encode("utf-8", "surrogatepass"))
    return zlib.crc32(row["ids"] or b"", check)


def conversation_from(row: Mapping[str, Any]) -> Conversation:
    """The conversation of a session row, without its messages."""
    return Conversation(
        row["id"],
        title=row["title"],
        system=row["system"],
        settings=settings_from(_json_object(row["settings"])),
        model_path=row["model_path"],
        prompt_format=row["prompt_format"],
        draft=row["draft"],
        created=row["created"],
    )


def message_from(row: Mapping[str, Any]) -> Message:
    """The message of a row. What cannot be understood is left out; the text never is."""
    figures = _json_object(row["figures"])
    ids = row["ids"]
    seed, dropped = figures.get("seed"), figures.get("dropped")
    return Message(
        row["id"],
        row["parent_id"],
        Role.ASSISTANT if row["role"] == "assistant" else Role.USER,
        row["text"],
        sequence=row["sequence"],
        created=row["created"],
        status=_status(row["status"]),
        model=row["model"],
        ids=tuple(array("I", ids)) if ids and len(ids) % array("I").itemsize == 0 else None,
        vocabulary=row["vocabulary"],
        timings=timings_from(figures.get("timings")),
        seed=seed if isinstance(seed, int) else None,
        settings=settings_from(_json_object(figures["settings"])).to_dict() if "settings" in figures else {},
        dropped=dropped if isinstance(dropped, int) else 0,
        note=str(figures.get("note", "")),
    )


def storable(text: str) -> str:
    """The text as UTF-8 can hold it: a lone surrogate, which no file or terminal takes, becomes U+FFFD."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def settings_from(values: Mapping[str, Any]) -> SamplingSettings:
    """Settings from stored values; one that is out of range or unknown leaves its default."""
    settings = SamplingSettings()
    for name, value in values.items():
        if name in PARAMETER:
            try:
                settings = settings.with_value(name, value)
            except LlamachatError:
                continue
    return settings


def timings_from(values: object) -> Timings | None:
    """Timings from stored values, or None if they are not all numbers that make sense."""
    names = [f.name for f in fields(Timings)]
    if not isinstance(values, dict) or not all(_is_figure(values.get(name)) for name in names):
        return None
    numbers = {name: values[name] for name in names}
    counts = {name: int(value) for name, value in numbers.items() if name.endswith("_tokens")}
    return Timings(**numbers | counts)


def _is_figure(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 2**53


def _status(text: str) -> Status:
    try:
        return Status(text)
    except ValueError:
        return Status.COMPLETE


def _json_object(text: object) -> dict[str, Any]:
    if isinstance(text, dict):
        return text
    try:
        value = json.loads(text) if isinstance(text, str) else {}
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
