"""JSON from anywhere: parsed without letting a text become a mountain of objects, and looked at field by field."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, NoReturn, TypeVar

from llamachat.chat.store.rows import storable
from llamachat.errors import LlamachatError
from llamachat.files.texts import MOST_BYTES

Word = TypeVar("Word", bound=StrEnum)

MOST_MESSAGES = 100_000  #: of one chat

_MOST_VALUES = 12_000_000
"""A message of ChatGPT's has a hundred (a key counts for two); each may take 60 bytes of memory."""
_MOST_QUOTES = 32_000_000
"""Looking for the ends of so many strings takes some seconds; no text of people has one in every eight bytes."""
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_YEAR_10000 = 253_402_300_800.0


class PortableError(LlamachatError):
    """A text, or a part of one, that holds no chat in a form that is read here; says what is wrong and where."""


# ---- the whole -----------------------------------------------------------------


def parse(text: str | bytes | bytearray) -> object:
    """The value that a JSON text is; ``PortableError`` for anything else, whatever it tries."""
    data = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    if len(data) > MOST_BYTES:
        raise PortableError(f"it is larger than {MOST_BYTES >> 20} MB")
    _check_values(data)
    try:
        decoded = text if isinstance(text, str) else text.decode("utf-8-sig")
        return json.loads(decoded, parse_constant=_no_constant, object_pairs_hook=_unique)
    except UnicodeDecodeError:
        raise PortableError("it is not UTF-8 text") from None
    except RecursionError:
        raise PortableError("it is nested too deeply") from None
    except json.JSONDecodeError as error:
        raise PortableError(f"it is not JSON: {str(error)[:100]}") from None
    except ValueError:  # what Python says of it is advice for a program
        raise PortableError("it is not JSON: it holds a number of thousands of digits") from None


def _check_values(data: bytes | bytearray) -> None:
    """Refuses a text of too many values. What a string holds is no value: looking at that takes time, most need not."""
    if _n_values(data) <= _MOST_VALUES:
        return
    if data.count(b'"') > _MOST_QUOTES or _n_values(_STRING.sub(b"", data)) > _MOST_VALUES:
        raise PortableError("it holds too many values for chats")


def _n_values(data: bytes | bytearray) -> int:
    return data.count(b",") + data.count(b"[") + data.count(b"{") + 2 * data.count(b":")


def _no_constant(name: str) -> NoReturn:
    raise PortableError(f"it holds {name}, which is no number")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        twice, _ = Counter(key for key, _ in pairs).most_common(1)[0]
        raise PortableError(f"it has the key {twice[:40]!r} twice in one object")
    return found


# ---- its parts -----------------------------------------------------------------

_REQUIRED: Any = object()
_KINDS: dict[type, str] = {int: "whole number", str: "string", list: "list", dict: "object"}


class Fields:
    """A JSON object whose fields are looked at one by one; ``PortableError`` tells what ``where`` lacks."""

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

    def text(self, name: str, default: Any = _REQUIRED, most: int = MOST_BYTES) -> str:
        """A string, with what no file can hold replaced."""
        value = str(self.get(name, str, default))
        if len(value) > most:
            raise PortableError(f"{self.where}: {name!r} is too long")
        return storable(value)

    def time(self, name: str, default: float) -> float:
        """Seconds since 1970: the default where there are none, 0 where they make no sense."""
        value = self._values.get(name)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int | float):
            return 0.0
        return float(value) if 0 <= value < _YEAR_10000 else 0.0

    def truth(self, name: str) -> bool:
        """Whether the field is true."""
        return self._values.get(name) is True

    def one_of(self, name: str, kind: type[Word], default: Any = _REQUIRED) -> Word:
        """A word of an enumeration."""
        word = self.get(name, str, default)
        if word not in tuple(kind):
            raise PortableError(f"{self.where}: {name!r} is none of {', '.join(kind)}")
        return kind(word)
