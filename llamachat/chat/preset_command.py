"""``/preset``: lists the presets, or takes one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llamachat import paths
from llamachat.chat.command import Face
from llamachat.chat.info import beside
from llamachat.chat.presets import OWN, THE_DEFAULTS, values_in_words
from llamachat.display import clean_line

if TYPE_CHECKING:
    from llamachat.chat.session import ChatSession

IN_USE = "in use"
_COLUMNS = 50  # of a dialog on a screen of 60
_LABEL = 16  # columns, beyond which a name pushes its words aside


def run(session: ChatSession, face: Face, argument: str) -> None:
    """Takes the preset called ``argument``; without one, lists them all."""
    if argument:
        preset = session.use_preset(argument)
        face.say(f"preset {preset.name}: {preset.words}")
    else:
        session.presets.reload()
        face.say(_listing(session))


def complete(session: ChatSession, _face: Face, typed: str) -> list[str]:
    """The names that begin so."""
    return [name for name in session.presets.presets if name.startswith(typed.lower())]


def described(session: ChatSession) -> list[tuple[str, str]]:
    """The name of every preset, with what it does, and whether it is in use."""
    now = session.preset
    return [
        (one.name, f"{IN_USE}: {one.words}" if now is not None and one.name == now.name else one.words)
        for one in session.presets.presets.values()
    ]


def _listing(session: ChatSession) -> str:
    shown = described(session)
    if session.preset is None:
        words = ", ".join(values_in_words(session.settings.to_dict())) or THE_DEFAULTS
        shown.append((OWN, f"{IN_USE}: {words}"))
    shown += [(clean_line(name, 40), error.reason) for name, error in session.presets.broken.items()]
    width = min(max(len(name) for name, _ in shown), _LABEL)
    lines = [beside(f"{name:<{width}}  ", clean_line(words, 300), _COLUMNS) for name, words in shown]
    return "\n".join([*lines, "", f"your own: {paths.config_dir() / 'presets'}/NAME.toml"])
