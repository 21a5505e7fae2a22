"""JSON beside a model, or in it: held to a size before it is parsed, so that no text becomes a mountain of objects."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from llamachat.weights.files import Refusal, quoted

#: Bytes of a configuration, at most.
CONFIG_LIMIT = 1 << 20

#: Values in a text, at most, unless more are asked for.
_ITEMS_LIMIT = 1 << 17


def parse_object(data: bytes, *, items_limit: int = _ITEMS_LIMIT) -> dict[str, Any]:
    """The object that the text is. ``Refusal`` if it is none, too large, too deep, or has a key twice."""
    n_items = data.count(b",") + data.count(b"[") + data.count(b"{")
    if n_items > items_limit:
        raise Refusal(f"is JSON of some {n_items} values; at most {items_limit} are allowed")
    if (n_keys := data.count(b":")) > items_limit // 4:  # each takes more memory than a value
        raise Refusal(f"is JSON of some {n_keys} keys; at most {items_limit // 4} are allowed")
    try:
        value = json.loads(data, object_pairs_hook=_unique, parse_constant=_no_number)
    except (ValueError, RecursionError):
        raise Refusal("is broken: it is no valid JSON") from None
    if not isinstance(value, dict):
        raise Refusal("is JSON, but no object")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise Refusal("is broken: its JSON has a key twice")
    return found


def _no_number(text: str) -> Any:
    raise Refusal(f"has {quoted(text)} where a number must be")


@dataclass(frozen=True)
class Fields:
    """Values of an object, taken out by the type they must have. A null is as good as none."""

    values: Mapping[str, Any]

    def integer(self, key: str, default: int | None = None) -> int:
        """An integer; required without a default."""
        value = self._get(key, default)
        if type(value) is float and value.is_integer():
            value = int(value)
        if type(value) is not int:
            raise Refusal(f"has under {quoted(key)} something else than an integer")
        if abs(value) >= 1 << 63:
            raise Refusal(f"has under {quoted(key)} a number of {len(str(abs(value)))} digits")
        return value

    def number(self, key: str, default: float | None = None) -> float:
        """A number; required without a default."""
        value = self._get(key, default)
        if type(value) not in (int, float) or abs(value) > 1e300:
            raise Refusal(f"has under {quoted(key)} something else than a number")
        return float(value)

    def text(self, key: str, default: str = "") -> str:
        """A text."""
        value = self._get(key, default)
        if not isinstance(value, str):
            raise Refusal(f"has under {quoted(key)} something else than a text")
        return value

    def flag(self, key: str, default: bool = False) -> bool:
        """True or false."""
        value = self._get(key, default)
        if not isinstance(value, bool):
            raise Refusal(f"has under {quoted(key)} something else than true or false")
        return value

    def fields(self, key: str) -> Fields:
        """An object; an empty one where there is none."""
        value = self._get(key, {})
        if not isinstance(value, dict):
            raise Refusal(f"has under {quoted(key)} something else than an object")
        return Fields(value)

    def _get(self, key: str, default: Any) -> Any:
        value = self.values.get(key)
        value = default if value is None else value
        if value is None:
            raise Refusal(f"does not state {quoted(key)}")
        return value
