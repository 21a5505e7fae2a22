"""Names of keys as a person writes them, in Textual's form."""

from __future__ import annotations

from textual._keyboard_protocol import FUNCTIONAL_KEYS, MODIFIER_FUNCTIONAL_KEYS
from textual.keys import Keys, _character_to_key

from llamachat.tui.keys import character_of

_MODIFIERS = {name: name for name in ("ctrl", "alt", "shift", "super", "hyper", "meta")}
_MODIFIERS |= {"control": "ctrl", "option": "alt", "cmd": "super", "command": "super"}
_OTHER_NAMES = {
    "esc": "escape",
    "return": "enter",
    "del": "delete",
    "ins": "insert",
    "pgup": "pageup",
    "pgdn": "pagedown",
    "page_up": "pageup",
    "page_down": "pagedown",
    "⌫": "backspace",
    "↑": "up",
    "↓": "down",
    "←": "left",
    "→": "right",
}
_KNOWN = {key.value.rpartition("+")[2] for key in Keys if key.value[0] != "<" and "-" not in key.value}
_KNOWN |= set(FUNCTIONAL_KEYS.values()) - MODIFIER_FUNCTIONAL_KEYS
_ALIKE = ("ctrl+space", "ctrl+@")
"""One key to a person. It arrives under the one name or the other, depending on the terminal."""


def read_key(text: str) -> tuple[str, ...]:
    """A key as Textual calls it, from its name in any of the ways in which it is shown: ``ctrl+f``, ``^f``, ``F1``,
    ``?``. There may be two names for it. ``ValueError`` for what is no key."""
    name = text.strip()
    if len(name) == 2 and name[0] == "^":
        name = f"ctrl+{name[1]}"
    if name == "+" or name.endswith("++"):
        name = name[:-1] + "plus"
    *names, last = (part.strip() for part in name.split("+"))
    modifiers = {_MODIFIERS.get(part.lower(), "") for part in names}
    last = _last(last, modifiers)
    if "" in modifiers | {last}:
        raise ValueError(f"no key: {text}")
    if modifiers == {"shift"} and len(last) == 1 and last.isalpha():
        return (last.upper(),)  # which is what a terminal sends
    key = "+".join([*sorted(modifiers), last])
    return _ALIKE if key in _ALIKE else (key,)


def _last(name: str, modifiers: set[str]) -> str:
    """The key without its modifiers; empty for what is none."""
    plain = _OTHER_NAMES.get(name.lower(), name.lower())
    if len(name) == 1 and plain == name.lower():
        character = plain if modifiers else name
        if not character.isprintable():
            return ""
        return character if character == "@" and modifiers else _character_to_key(character)
    return plain if plain in _KNOWN or character_of(plain) else ""
