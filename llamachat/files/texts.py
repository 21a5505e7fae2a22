"""Reads texts from outside: up to a limit that is the same for all commands, and refused where they are none."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path
from typing import BinaryIO

from llamachat.errors import FileError
from llamachat.files.reasons import reason_of

MOST_BYTES = 256 << 20  #: of one text; its characters and tokens take some times that
STANDARD_INPUT = "standard input"

_CHUNK = 1 << 20


def read_text(
    file: BinaryIO, shown: str = STANDARD_INPUT, *, zeros: bool = False, most: int | None = None
) -> bytearray:
    """All that ``file`` gives, ``shown`` being its name; ``most`` bytes at most, ``MOST_BYTES`` if nobody says.

    ``FileError`` as soon as it is too large for a text, or holds a zero byte that ``zeros`` does not allow: a device
    or a program is not read to its end, which may never come.
    """
    data = bytearray()
    while chunk := file.read(_CHUNK):
        _extend(data, chunk, shown, zeros=zeros, most=most)
    return data


def read_file(name: str, *, pipes: bool, zeros: bool = False, most: int | None = None) -> bytearray:
    """All that the file of this name holds, which is looked for as by ``find_file``. ``FileError`` as in ``read_text``,
    before anything is read where the size tells; and where the system refuses.
    """
    path = find_file(name, pipes=pipes)
    try:
        with open(path, "rb", opener=None if pipes else _open_at_once) as file:
            if os.fstat(file.fileno()).st_size > (most or MOST_BYTES):
                raise _too_large(name, most)
            return read_text(file, name, zeros=zeros, most=most)
    except OSError as error:
        raise FileError(name, reason_of(error, path)) from None


def _open_at_once(path: str, flags: int) -> int:
    """Opens without waiting, also for a pipe that has taken the file's place since it was found."""
    return os.open(path, flags | os.O_NONBLOCK)


def find_file(name: str, *, pipes: bool) -> Path:
    """The file of this name, whose ``~`` is resolved. With ``pipes`` it may be something that has to be waited for.

    ``FileError`` where there is none, or a folder.
    """
    try:
        path = Path(name).expanduser()
        mode = path.stat().st_mode  # not by opening: that can have effects on a device
    except OSError as error:
        raise FileError(name, reason_of(error)) from None
    except (ValueError, RuntimeError) as error:  # a zero byte in the name; no home folder
        raise FileError(name, str(error)) from None
    if stat.S_ISDIR(mode):
        raise FileError(name, "a folder, not a text")
    if not (pipes or stat.S_ISREG(mode)):
        raise FileError(name, "a pipe or a device, not a text")
    return path


def read_line(file: BinaryIO, taken: int = 0, *, zeros: bool = False) -> bytearray:
    """The next line of standard input with its end; empty at the end of all.

    ``taken`` characters of its text came before, in other lines. ``FileError`` as in ``read_text``.
    """
    data = bytearray()
    while not data.endswith(b"\n") and (chunk := file.readline(_CHUNK)):
        _extend(data, chunk, STANDARD_INPUT, taken, zeros=zeros)
    return data


def standard_input(*, zeros: bool = False) -> str:
    """All of standard input; bytes that are no UTF-8 become U+FFFD. ``FileError`` as in ``read_text``."""
    return read_text(sys.stdin.buffer, zeros=zeros).decode("utf-8", "replace")


def _extend(data: bytearray, chunk: bytes, shown: str, taken: int = 0, *, zeros: bool, most: int | None = None) -> None:
    if not zeros and b"\0" in chunk:
        raise FileError(shown, "not a text: it holds zero bytes")
    if taken + len(data) + len(chunk) > (most or MOST_BYTES):
        raise _too_large(shown, most)
    data += chunk


def _too_large(shown: str, most: int | None) -> FileError:
    return FileError(shown, f"too large for a text ({(most or MOST_BYTES) >> 20} MB at most)")
