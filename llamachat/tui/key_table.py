"""All bindings of the screen, and what a person wants to set of their keys, checked."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from textual.binding import Binding
from textual.dom import DOMNode

from llamachat.display import clean_line
from llamachat.tui.app import ChatApp
from llamachat.tui.chat_screen import ChatScreen
from llamachat.tui.composer import Composer
from llamachat.tui.dialogs import ConfirmScreen, Dialog, EditScreen, ModelFileScreen, ReadScreen
from llamachat.tui.first_run import FirstRunScreen
from llamachat.tui.help_screen import HelpScreen, own_bindings
from llamachat.tui.key_names import read_key
from llamachat.tui.keys import NO_KEY, KeysInForce, character_of
from llamachat.tui.message_view import MessageView
from llamachat.tui.palette import PaletteScreen
from llamachat.tui.parameter_row import ParameterRow
from llamachat.tui.preset_row import PresetRow
from llamachat.tui.row_list import RowList
from llamachat.tui.sampling_panel import SamplingPanel
from llamachat.tui.session_pane import SessionList, TitleInput
from llamachat.tui.token_screen import TokenScreen
from llamachat.tui.token_text import TokenText

Kind = type[DOMNode]

_INSIDE: Final[dict[Kind, tuple[Kind, ...]]] = {
    ChatScreen: (Composer, MessageView, SessionList, TitleInput, SamplingPanel, ParameterRow, PresetRow),
    SamplingPanel: (ParameterRow, PresetRow),
    TokenScreen: (TokenText,),
    Dialog: (RowList,),
}
"""What may have the focus in what: it is asked first, unless a person has set the outer one's key."""
KINDS: Final[tuple[Kind, ...]] = (
    ChatApp, ChatScreen, Composer, MessageView, TokenScreen, TokenText, SessionList, TitleInput, SamplingPanel,
    ParameterRow, PresetRow, PaletteScreen, RowList, Dialog, ConfirmScreen, ReadScreen, EditScreen, ModelFileScreen,
    HelpScreen, FirstRunScreen,
)  # fmt: skip
"""All that have bindings, in the order in which they are listed."""

BINDINGS: Final[dict[str, Binding]] = {
    binding.id: binding for kind in KINDS for binding in own_bindings(kind) if binding.id
}
"""All bindings by their ids."""

_KEPT: Final = {
    "rows.choose": {"enter"},
    "read.close": {"enter"},
    "help.close": {"enter"},
    **{ident: {"escape"} for ident, binding in BINDINGS.items() if "escape" in binding.key.split(",")},
}
"""Keys that a binding has in any case: who lost them could not leave a dialog, or take up what is chosen."""
_ENTER_IS_FREE: Final = ("composer", "message", "tokens", "value", "first-run")
_LIKE: Final = {
    "palette.close": "chat.palette",
    "help.close": "chat.help",
    "tokens.close": "message.tokens",
    "tokens.help": "chat.help",
}
"""What closes with the key that opens it, or does the same as it: the one follows the other, where that key is free."""

_AROUND_THE_COMPOSER: Final = ("app", "chat", "panes", "composer")
_FIELDS: Final = (*_AROUND_THE_COMPOSER, "title", "dialog", "edit", "file", "palette")
"""Where there is a text field; in the other places of :data:`_WRITING` letters are taken, but no more."""
_WRITING: Final = (*_FIELDS, "chats", "rows", "sampling", "value", "preset")
_EDITING: Final = {"backspace", "delete", "left", "right", "home", "end"}
_DEFAULT: Final = KeysInForce()
_MOST_SHOWN: Final = 130  #: characters of a notice: three lines of a narrow screen


@dataclass(frozen=True, slots=True)
class Checked:
    """What is set, and a sentence for each thing that is not as it was wanted."""

    keys: KeysInForce
    problems: list[str]

    @property
    def notice(self) -> str:
        """The problems as far as they fit under the composer; empty if there are none."""
        line = ""
        for n in range(len(self.problems), 0, -1):
            left = len(self.problems) - n
            more = [f"{left} more: llamachat config --keys"] if left else []
            line = " · ".join([*self.problems[:n], *more])
            if len(line) <= _MOST_SHOWN:
                break
        return line


def keys_of_all(keys: KeysInForce = _DEFAULT) -> dict[str, list[str]]:
    """The keys of all bindings, by id."""
    return {ident: next(list(keys.of(kind, ident)) for kind in KINDS if ident in _ids(kind)) for ident in BINDINGS}


def check(wanted: Mapping[str, str]) -> Checked:
    """What can be done of what is wanted: ids with keys, separated by commas; none for an empty text."""
    problems: list[str] = []
    keys: dict[str, list[str]] = {}
    for ident, text in wanted.items():
        if ident not in BINDINGS:
            near = difflib.get_close_matches(ident, BINDINGS, 1)
            problems.append(f'there is no "{_shown(ident)}"' + (f" ({near[0]}?)" if near else ""))
            continue
        found = list(_read(ident, text, problems))
        if found or not text.strip():
            kept = [key for key in _OWN[ident] if key in _KEPT.get(ident, ()) and key not in found]
            problems += [f"{ident}: {key} stays" for key in kept]
            keys[ident] = [*kept, *found]
    _leave_quit_its_key(keys, problems)
    _settle(keys, problems)
    _follow(keys)
    problems += _take_from_others(keys)
    return Checked(_in_force(keys), problems)


def _in_force(keys: Mapping[str, list[str]]) -> KeysInForce:
    given: dict[str, set[str]] = {}
    for ident, some in keys.items():
        for key in some:
            if key not in _OWN[ident]:
                given.setdefault(key, set()).add(ident)
    return KeysInForce({ident: ",".join(some) or NO_KEY for ident, some in keys.items()}, given)


def _shown(text: str) -> str:
    return clean_line(text, 40)


def _read(ident: str, text: str, problems: list[str]) -> Iterator[str]:
    """The keys in a text that the binding can have."""
    names = [name for name in text.split(",") if name.strip()]
    for name in names or ([text] if text.strip() else []):
        try:
            read = read_key(name)
        except ValueError:
            problems.append(f'{ident}: no key is called "{_shown(name)}"')
            continue
        refusal = _refusal(ident, read[0])
        if refusal:
            problems.append(f"{ident}: {refusal}")
        else:
            yield from read


def _refusal(ident: str, key: str) -> str:
    """Why a binding cannot have a key; empty if it can."""
    if key in _OWN[ident]:
        return ""
    place = ident.partition(".")[0]
    if key == "escape" or (key == "enter" and place not in _ENTER_IS_FREE):
        return f"{key} stays as it is"
    moves = key in _EDITING and place in _FIELDS
    moves |= key in ("up", "down") and place in _AROUND_THE_COMPOSER
    if moves or (character_of(key) and place in _WRITING):
        return f"{_shown(character_of(key).strip() or key)} is needed to write"
    return ""


def _leave_quit_its_key(keys: dict[str, list[str]], problems: list[str]) -> None:
    """Nothing else can have the key that quits: it does so wherever the focus is."""
    quits = keys.get("app.quit", _OWN["app.quit"])
    for ident in [ident for ident in keys if ident != "app.quit"]:
        problems += [f"{ident}: {key} quits" for key in keys[ident] if key in quits]
        _take_back(keys, ident, quits)


def _settle(keys: dict[str, list[str]], problems: list[str]) -> None:
    """Of two that are to have the same key in the same place, the first has it."""
    for kind in KINDS:
        owners: dict[str, str] = {}
        ids = _ids(kind)
        for ident in [ident for ident in keys if ident in ids]:
            lost = [key for key in keys[ident] if owners.setdefault(key, ident) != ident]
            problems += [f"{ident}: {key} is set for {owners[key]}" for key in lost]
            _take_back(keys, ident, lost)


def _take_back(keys: dict[str, list[str]], ident: str, lost: Iterable[str]) -> None:
    """Removes keys; a binding that has none left of those that were wanted stays as it was."""
    left = [key for key in keys[ident] if key not in lost]
    if left or not keys[ident]:
        keys[ident] = left
    else:
        del keys[ident]


def _follow(keys: dict[str, list[str]]) -> None:
    for follower, leader in _LIKE.items():
        if leader in keys and follower not in keys:
            kind = next(kind for kind in KINDS if follower in _ids(kind))
            taken = {key for place in _around(kind) for key in _DEFAULT.bindings(place)}
            own = [key for key in _OWN[follower] if key not in _OWN[leader]]
            keys[follower] = own + [key for key in keys[leader] if key not in taken or key in _OWN[follower]]


def _take_from_others(keys: dict[str, list[str]]) -> list[str]:
    """Takes the keys that are set from the bindings that come with them; returns whose they were."""
    problems: list[str] = []
    set_now = _in_force(keys)
    for kind in KINDS:
        for place in _around(kind):
            for key, bindings in _DEFAULT.bindings(place).items():
                loser, winners = bindings[0].id, set_now.given(kind, key)
                if not loser or loser in set_now.keymap or not winners:
                    continue
                left = keys.setdefault(loser, list(_OWN[loser]))
                if key in left:
                    left.remove(key)
                    lost = f"not {loser}" if left else f"{loser} has no key"
                    problems.append(f"{key} is {winners[0].id} now, {lost}")
    return problems


def _around(kind: Kind) -> tuple[Kind, ...]:
    """A kind, and those that may have the focus in it."""
    if kind is ChatApp:
        return KINDS
    inside = (kinds for outer, kinds in _INSIDE.items() if issubclass(kind, outer))
    return (kind, *(one for kinds in inside for one in kinds))


def _ids(kind: Kind) -> set[str]:
    """The ids of a kind's bindings, those of its bases too."""
    return {one.id for bindings in _DEFAULT.bindings(kind).values() for one in bindings if one.id}


_OWN: Final = keys_of_all()  #: the keys that bindings come with
