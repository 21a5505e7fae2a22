"""What letters the bytes of a text file are: UTF-8, or what older programs and Windows write."""

from __future__ import annotations

import codecs
import re

from llamachat.display import counted
from llamachat.errors import FileError

_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_NO_TEXT = re.compile(rb"[\x00-\x06\x0e-\x1a\x1c-\x1f\x7f]")  # binary data without these is short, or chosen for it
_LETTERS = re.compile("[^\x00-\x7f\ufffd]")


def decoded(data: bytes | bytearray, shown: str) -> tuple[str, str]:
    """The text that a file holds, its lines ended by ``\\n``, and in words what is odd about it (mostly nothing).

    It is UTF-8, or UTF-16 where a byte order mark says so; no mark is left. Where more is wrong as UTF-8 than right it
    is Windows-1252, of which Latin-1 is a part; else what is wrong is damage, and becomes U+FFFD.
    ``FileError``, ``shown`` being the file's name, where it is no text at all.
    """
    text, oddity = _letters(bytes(data), shown)
    return text.replace("\r\n", "\n").replace("\r", "\n"), oddity


def _letters(data: bytes, shown: str) -> tuple[str, str]:
    if data.startswith(_UTF_16):
        text = data.decode("utf-16", "replace")
        if "\0" in text:
            raise _zeros(shown)
        return text, "read as UTF-16"
    if b"\0" in data:
        raise _zeros(shown)
    data = data.removeprefix(codecs.BOM_UTF8)
    try:
        return data.decode(), ""
    except UnicodeDecodeError:
        text = data.decode(errors="replace")
    if _NO_TEXT.search(data):
        raise FileError(shown, "not a text: neither UTF-8 nor Latin-1")
    damage = text.count("\ufffd")
    if len(_LETTERS.findall(text)) >= damage:
        return text, f"{counted(damage, 'character')} of it cannot be read as UTF-8"
    return data.decode("cp1252", "replace"), "not UTF-8, so it is read as Latin-1 (Windows-1252)"


def _zeros(shown: str) -> FileError:
    return FileError(shown, "not a text: it holds zero bytes")
