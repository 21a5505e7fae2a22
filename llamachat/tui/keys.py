"""Which key stands for which binding: the one that it comes with, or what a person has set in its place."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence, Set
from typing import TYPE_CHECKING, cast

from textual.binding import Binding, BindingsMap
from textual.dom import DOMNode
from textual.keys import REPLACED_KEYS, key_to_character

if TYPE_CHECKING:
    from llamachat.tui.program import Program

Keys = tuple[tuple[str, str], ...]
"""Keys with a word each."""

NO_KEY = "<none>"
"""Stands for the key of a binding that shall have none. No terminal sends it."""

_NAMES = {
    "escape": "esc",
    "pageup": "pgup",
    "pagedown": "pgdn",
    "up": "↑",
    "down": "↓",
    "left": "←",
    "right": "→",
    "delete": "del",
    "backspace": "⌫",
}


def character_of(key: str) -> str:
    """What a key without a modifier types; empty for one that types nothing."""
    character = key_to_character(REPLACED_KEYS.get(key, key)) or ""
    return character if character.isprintable() else ""


def _shown(key: str) -> str:
    return character_of(key).strip()  # a space is better named


def key_name(key: str) -> str:
    """A key as a person reads it: ``^p``, ``alt+enter``, ``F1``."""
    *modifiers, last = key.strip().split("+")
    last = _NAMES.get(last) or _shown(last) or (last.upper() if re.fullmatch(r"f\d+", last) else last)
    if modifiers == ["ctrl"] and len(last) == 1:
        return f"^{last}"
    return "+".join([*modifiers, last])


def key_word(key: str) -> str:
    """A key as it is called in a sentence: ``Ctrl+P``, ``Alt+Enter``, ``F1``."""
    *modifiers, last = key.split("+")
    last = _shown(last) or last.replace("_", " ")
    if modifiers or len(last) > 1:
        last = last.capitalize()
    return "+".join([*(modifier.capitalize() for modifier in modifiers), last])


class KeysInForce:
    """The keys of all bindings.

    ``keymap`` has those that a person has set, by the binding's id, in Textual's form; ``given`` the ids of the
    bindings to which a key was given that is not their own. It knows kinds of widgets, not the widgets of a screen:
    all of a kind have the same bindings.
    """

    def __init__(self, keymap: Mapping[str, str] | None = None, given: Mapping[str, Set[str]] | None = None) -> None:
        self.keymap: Mapping[str, str] = keymap or {}
        self._given: Mapping[str, Set[str]] = given or {}
        self._bindings: dict[type[DOMNode], Mapping[str, Sequence[Binding]]] = {}
        self._of: dict[tuple[type[DOMNode], str], tuple[str, ...]] = {}

    def is_given(self, key: str) -> bool:
        """Whether a person has given the key to some binding."""
        return key in self._given

    def given(self, kind: type[DOMNode], key: str) -> list[Binding]:
        """The bindings of a kind of widget to which a person has given the key. They go before all others."""
        ids = self._given.get(key, ())
        return [binding for binding in self.bindings(kind).get(key, ()) if binding.id in ids] if ids else []

    def bindings(self, kind: type[DOMNode]) -> Mapping[str, Sequence[Binding]]:
        """All bindings of a kind of widget, those of its bases too, by key."""
        found = self._bindings.get(kind)
        if found is None:
            bindings = (kind._merged_bindings or BindingsMap()).copy()
            if self.keymap:
                bindings.apply_keymap(self.keymap)  # as Textual does it, with each key
            found = self._bindings[kind] = bindings.key_to_bindings
        return found

    def of(self, kind: type[DOMNode], ident: str) -> tuple[str, ...]:
        """The keys of a binding of that kind of widget; none where others have taken them."""
        found = self._of.get((kind, ident))
        if found is None:
            keys = (key for key, bindings in self.bindings(kind).items() if any(one.id == ident for one in bindings))
            found = self._of[kind, ident] = tuple(key for key in keys if key != NO_KEY)
        return found


def keys_in_force(node: DOMNode) -> KeysInForce:
    """The keys of the program that the node is part of."""
    return cast("Program", node.app).keys


def key_of(node: DOMNode, ident: str, otherwise: str = "") -> str:
    """The key of a binding of ``node``, as a person reads it: the first of several, ``otherwise`` if there is none."""
    keys = keys_in_force(node).of(type(node), ident)
    return key_name(keys[0]) if keys else otherwise


def key_hints(node: DOMNode, *wanted: tuple[str, str]) -> Keys:
    """Keys with a word each, from ids with a word each; ids with a space between them share a word.

    What has no key is left out.
    """
    named = ((" ".join(filter(None, (key_of(node, ident) for ident in ids.split()))), word) for ids, word in wanted)
    return tuple((key, word) for key, word in named if key)
