"""Text on its way to a terminal."""

from __future__ import annotations

import re

# What a terminal could take for a command, or what could make text look like other text: C0 but
# newline and tab, DEL, C1, bidi overrides and isolates, the byte order mark, tag characters, and
# lone surrogates (which no terminal encoding can carry).
_UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff\U000e0000-\U000e007f]")


def clean(text: str) -> str:
    """``text`` without anything that could steer a terminal; what was there shows as U+FFFD.

    Everything from a model, a file, a server or a person goes through here before it is shown.
    The store keeps the true text.
    """
    return _UNSAFE.sub("\ufffd", text.replace("\r\n", "\n"))


_SEQUENCE = re.compile(
    "(?:\x1b\\[|\x9b)[0-?]*+[ -/]*+[@-~]"  # CSI: colours, cursor, modes
    "|(?:\x1b[]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x90\x98\x9c-\x9f\n]*+(?:\x07|\x1b\\\\|\x9c)"  # OSC: titles, links
    "|\x1b[ -/]*+[0-~]"  # the short ones: character sets, saved cursors
)


def without_sequences(text: str) -> str:
    """``text`` without the sequences that a terminal would have obeyed instead of showing them, as of a coloured log.

    For what a person pastes, who means what was to be seen; :func:`clean` would leave ``[31m`` behind.
    """
    return _SEQUENCE.sub("", text)


def escaped(text: str) -> str:
    r"""JSON text that says the same, without anything that could steer a terminal: that is written as ``\\u009b``."""
    return _UNSAFE.sub(_as_escape, text)


def _as_escape(found: re.Match[str]) -> str:
    units = found[0].encode("utf-16-be", "surrogatepass").hex(" ", 2).split()
    return "".join(f"\\u{unit}" for unit in units)


LONG_CHARS = 8_000
"""A text beyond this is no text to edit: wrapping a megabyte takes a screen seconds, and nobody reads it there."""
LONG_LINES = 200


def is_long(text: str) -> bool:
    """Whether ``text`` is shown by its size, where a person writes."""
    return len(text) > LONG_CHARS or text.count("\n") > LONG_LINES


def counted(n: int, word: str) -> str:
    """``n`` of something that takes an s: ``"1 message"``, ``"1,200 messages"``."""
    return f"{n:,} {word}{'' if n == 1 else 's'}"


def left_out(n: int) -> str:
    """How many of a chat's first messages the model does not see; empty where it sees all."""
    return f"the first {counted(n, 'message')} left out" if n else ""


def clean_line(text: str, width: int = 200) -> str:
    """``clean(text)`` on one line of at most ``width`` characters, for titles and errors."""
    line = " ".join(clean(text).split())
    return line if len(line) <= width else line[: width - 1] + "…"
