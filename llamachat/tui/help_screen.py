"""F1: every key and command, made from the bindings themselves; what has the focus comes first."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Mapping
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.dom import DOMNode
from textual.screen import Screen
from textual.widget import Widget
from textual.widgets import Static

from llamachat.chat.commands import COMMANDS
from llamachat.tui.dialogs import Dialog
from llamachat.tui.keys import KeysInForce, key_name, key_word, keys_in_force

_KEY_WIDTH = 26
_WIDTH = 92
_PLACEHOLDER = re.compile(r"\{([a-z.-]+)(\*?)\}")


def own_bindings(kind: type[DOMNode]) -> list[Binding]:
    """The bindings that our own classes among ``kind`` and its bases give, with an id."""
    found: list[Binding] = []
    for base in kind.__mro__:
        if base.__module__.startswith("llamachat."):
            found += [entry for entry in base.__dict__.get("BINDINGS", ()) if isinstance(entry, Binding) and entry.id]
    return found


def section(title: str, text: str, keys: Mapping[str, str], width: int) -> Content:
    """A heading, a few sentences, and keys (or commands) with what they do, in ``width`` cells."""
    lines = [Content.assemble((title, "bold $accent"))]
    if text:
        lines += [_bold_words(text.strip()), Content()]
    column = max(10, min(_KEY_WIDTH, width // 3))
    for key, words in keys.items():
        wrapped = textwrap.wrap(words, max(20, width - column)) or [""]
        if len(key) >= column:
            lines.append(Content.assemble((key, "$text")))
            key = ""
        for at, part in enumerate(wrapped):
            lines.append(Content.assemble(((key if at == 0 else "").ljust(column), "$text"), (part, "$soft")))
    return Content("\n").join(lines)


def keys_of(kind: type[DOMNode], keys: KeysInForce) -> dict[str, str]:
    """Keys and what they do; several keys for the same stand together."""
    named: dict[str, list[str]] = {}
    for binding in own_bindings(kind):
        names = [key_name(key) for key in keys.of(kind, binding.id or "")]
        if names:
            named.setdefault(binding.description, []).extend(names)
    return {" ".join(names): words for words, names in named.items()}


def with_keys(text: str, kind: type[Widget], keys: KeysInForce) -> str:
    """A help text with keys in place of ids in braces: the first of ``{composer.newline}``, all of
    ``{composer.newline*}``."""

    def words(found: re.Match[str]) -> str:
        names = [f"**{key_word(key)}**" for key in keys.of(kind, found[1])] or ["(no key)"]
        if not found[2]:
            return names[0]
        return " or ".join(filter(None, (", ".join(names[:-1]), names[-1])))

    return _PLACEHOLDER.sub(words, text)


def _bold_words(text: str) -> Content:
    """Our own help text: its lines joined to paragraphs, ``**words**`` set bold."""
    text = re.sub(r"(?<!\n)\n(?!\n)", " ", text)
    pieces = re.split(r"\*\*(.+?)\*\*", text)
    return Content.assemble(*((piece, "bold $text" if at % 2 else "$soft") for at, piece in enumerate(pieces)))


class HelpScreen(Dialog[None]):
    """Keys and commands."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("f1,q,enter", "cancel", "Close", show=False, id="help.close"),
    ]
    DEFAULT_CSS = f"""
    HelpScreen > #dialog {{ width: {_WIDTH}; }}
    HelpScreen Static.part {{ height: auto; margin-bottom: 1; }}
    """

    def __init__(self, kinds: Iterable[type[Widget]], first: type[Widget] | None) -> None:
        super().__init__()
        self._kinds = sorted(kinds, key=lambda kind: kind is not first)

    def compose(self) -> ComposeResult:
        """A part for each place, then the commands."""
        with Vertical(id="dialog"):
            with VerticalScroll():
                for _ in range(len(self._kinds) + 1):
                    yield Static("", classes="part", markup=False)
            yield self.keys_line(("↑↓", "scroll"), ("esc", "close"))

    def _parts(self, width: int) -> list[Content]:
        parts = [section(kind.__dict__["BINDING_GROUP_TITLE"], *self._part(kind), width) for kind in self._kinds]
        usage = {command.usage: command.help for command in COMMANDS}
        return [*parts, section("Commands, typed in the composer", "", usage, width)]

    def _part(self, kind: type[Widget]) -> tuple[str, dict[str, str]]:
        in_force = keys_in_force(self)
        keys = keys_of(kind, in_force)
        if issubclass(kind, Screen):  # the application's own work wherever those of the screen do
            keys |= keys_of(type(self.app), in_force)
        return with_keys(kind.__dict__.get("HELP") or "", kind, in_force), keys

    def on_resize(self) -> None:
        """The words are set for the width there is."""
        width = min(self.size.width * 96 // 100, _WIDTH) - 6
        for static, part in zip(self.query(".part").results(Static), self._parts(width), strict=True):
            static.update(part)

    def on_mount(self) -> None:
        """The arrow keys scroll at once."""
        self.query_one(VerticalScroll).focus()
