"""F1: every key and command, made from the bindings themselves; what has the focus comes first."""

from __future__ import annotations

import re
from collections.abc import Iterable
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


def section(title: str, text: str, bindings: Iterable[Binding]) -> Content:
    """A heading, a few sentences, and the keys; the same words for several keys make one line."""
    keys: dict[str, list[str]] = {}
    for binding in bindings:
        keys.setdefault(binding.description, []).extend(key_name(key) for key in binding.key.split(","))
    lines = [Content.assemble((title, "bold $accent"))]
    if text:
        lines.append(_bold_words(text.strip()))
        lines.append(Content())
    lines += [
        Content.assemble((" ".join(names).ljust(_KEY_WIDTH), "$text"), (words, "$soft"))
        for words, names in keys.items()
    ]
    return Content("\n").join(lines)


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
    DEFAULT_CSS = """
    HelpScreen > #dialog { width: 92; }
    HelpScreen Static.part { height: auto; margin-bottom: 1; }
    """

    def __init__(self, kinds: Iterable[type[Widget]], first: type[Widget] | None) -> None:
        super().__init__()
        self._kinds = sorted(kinds, key=lambda kind: kind is not first)

    def compose(self) -> ComposeResult:
        """A part for each place, then the commands."""
        with Vertical(id="dialog"):
            with VerticalScroll():
                for kind in self._kinds:
                    title = kind.__dict__.get("BINDING_GROUP_TITLE") or kind.__name__
                    part = section(title, kind.__dict__.get("HELP") or "", own_bindings(kind))
                    yield Static(part, classes="part", markup=False)
                yield Static(self._commands(), classes="part", markup=False)
            yield self.keys_line(("↑↓", "scroll"), ("esc", "close"))

    @staticmethod
    def _commands() -> Content:
        lines = [Content.assemble(("Commands, typed in the composer", "bold $accent"))]
        for command in COMMANDS:
            usage = command.usage.ljust(_KEY_WIDTH)
            lines.append(
                Content.assemble((usage if usage.endswith(" ") else usage + "  ", "$text"), (command.help, "$soft"))
            )
        return Content("\n").join(lines)

    def on_mount(self) -> None:
        """The arrow keys scroll at once."""
        self.query_one(VerticalScroll).focus()
