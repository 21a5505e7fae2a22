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
from textual.widget import Widget
from textual.widgets import Static

from llamachat.chat.commands import COMMANDS
from llamachat.tui.dialogs import Dialog

_KEY_WIDTH = 26
_WIDTH = 92
_NAMES = {
    "escape": "esc",
    "pageup": "pgup",
    "pagedown": "pgdn",
    "plus": "+",
    "up": "↑",
    "down": "↓",
    "left": "←",
    "right": "→",
    "delete": "del",
}


def key_name(key: str) -> str:
    """A key as a person reads it: ``^p``, ``alt+enter``, ``F1``."""
    *modifiers, last = key.strip().split("+")
    last = _NAMES.get(last, last.upper() if re.fullmatch(r"f\d+", last) else last)
    if modifiers == ["ctrl"] and len(last) == 1:
        return f"^{last}"
    return "+".join([*modifiers, last])


def own_bindings(kind: type[Widget]) -> list[Binding]:
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


def keys_of(kind: type[Widget]) -> dict[str, str]:
    """Keys and what they do; several keys for the same stand together."""
    keys: dict[str, list[str]] = {}
    for binding in own_bindings(kind):
        keys.setdefault(binding.description, []).extend(key_name(key) for key in binding.key.split(","))
    return {" ".join(names): words for words, names in keys.items()}


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
        parts = [
            section(kind.__dict__["BINDING_GROUP_TITLE"], kind.__dict__.get("HELP") or "", keys_of(kind), width)
            for kind in self._kinds
        ]
        usage = {command.usage: command.help for command in COMMANDS}
        return [*parts, section("Commands, typed in the composer", "", usage, width)]

    def on_resize(self) -> None:
        """The words are set for the width there is."""
        width = min(self.size.width * 96 // 100, _WIDTH) - 6
        for static, part in zip(self.query(".part").results(Static), self._parts(width), strict=True):
            static.update(part)

    def on_mount(self) -> None:
        """The arrow keys scroll at once."""
        self.query_one(VerticalScroll).focus()
