"""Keys that terminals send and Textual does not know: Alt+Enter where there is no keyboard protocol."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, cast


class MoreKeys(StrEnum):
    """Names of keys in Textual's way."""

    ALT_ENTER = "alt+enter"


def teach_alt_enter() -> None:
    """Makes ``ESC CR`` and ``ESC LF`` the key Alt+Enter.

    That is what every terminal without the Kitty protocol sends (and tmux, and screen). Textual takes it for a plain
    Enter, which would send a half-written message.
    """
    from textual._ansi_sequences import ANSI_SEQUENCES_KEYS

    known = cast("dict[str, Any]", ANSI_SEQUENCES_KEYS)
    for sequence in ("\x1b\r", "\x1b\n"):
        known.setdefault(sequence, (MoreKeys.ALT_ENTER,))
