"""Bytes changed at random: what a broken disk, a broken download or a clever person makes of a file."""

from __future__ import annotations

import io
import random
import re
import struct
import zipfile
import zlib
from collections.abc import Callable
from functools import cache

_HEAD = 4096  # bytes, where headers are: half of all changes are there

#: Values at the borders of what counts, sizes and places are held in.
_EDGES = [0, 1, 2, 3, 4, 7, 8, 9, 31, 32, 33, 127, 128, 255, 256, 65_535, 65_536, 1 << 20, 1 << 24]
_EDGES += [(1 << n) + d for n in (31, 32, 40, 48, 62, 63, 64) for d in (-1, 0, 1)]

_WORDS = [b"null", b"true", b"-1", b"0", b"1e999", b"0.5", b'""', b"[]", b"{}", b"[[[[]]]]", b"9" * 40, b"NaN"]
_WORDS += [b"\\u0000", b"18446744073709551615", b"9223372036854775808", b"2147483648", b"4294967295"]
_WORDS += [b"\xff\xfe", b"\xed\xa0\x80"]

Change = Callable[[bytearray, random.Random], None]


def mutated(name: str, data: bytes, rng: random.Random) -> bytes:
    """A file of this name, spoiled in a few places."""
    if data.startswith(b"PK\x03\x04") and rng.random() < 0.7:
        return _archive(data, rng)
    if name.endswith(".safetensors") and rng.random() < 0.7:
        n = 8 + int.from_bytes(data[:8], "little")
        header = _text(data[8:n], rng)
        return len(header).to_bytes(8, "little") + header + data[n:]
    if name.endswith((".json", ".param", ".desc")) and rng.random() < 0.8:
        return _text(data, rng)
    return _bytes(data, rng)


def _bytes(data: bytes, rng: random.Random) -> bytes:
    spoiled = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
        rng.choice(_CHANGES)(spoiled, rng)
    return bytes(spoiled)


def _text(data: bytes, rng: random.Random) -> bytes:
    """Words, numbers and signs of a text replaced by others."""
    words = _words(data)
    pieces = list(words)
    changes = rng.choice((1, 1, 1, 2, 4))
    for _ in range(changes):
        at, other = (2 * rng.randrange(len(words) // 2) + 1 for _ in range(2))
        pieces[at] = rng.choice((
            rng.choice(_WORDS), str(rng.choice(_EDGES)).encode(), words[other], b"", pieces[at] * 2,
        ))  # fmt: skip
    data = b"".join(pieces)
    return _bytes(data, rng) if rng.random() < 0.1 * changes else data


@cache
def _words(data: bytes) -> list[bytes]:
    """A text in pieces, every second one of which is a word, a number or a sign."""
    return re.split(rb"(-?[\d.]+|\"[^\"]*\"|[A-Za-z_]+|[\[\]{}:,=])", data)


def _archive(data: bytes, rng: random.Random) -> bytes:
    """A member of an archive spoiled, most often the pickle, and the archive made again around it."""
    members = _members(data)
    pickles = [name for name in members if name.endswith(b".pkl")]
    chosen = rng.choice(pickles if pickles and rng.random() < 0.8 else [*members])
    out, directory = bytearray(), bytearray()
    for name, content in members.items():
        if name == chosen:
            content = _bytes(content, rng)
        about = (zlib.crc32(content), len(content), len(content), len(name), 0)
        directory += _ENTRY.pack(b"PK\1\2", 20, 20, 0, 0, 0, _DATE, *about, 0, 0, 0, 0, len(out)) + name
        out += _LOCAL.pack(b"PK\3\4", 20, 0, 0, 0, _DATE, *about) + name + content
    end = _END.pack(b"PK\5\6", 0, 0, len(members), len(members), len(directory), len(out), 0)
    return bytes(out + directory + end)


# Written here, since zipfile takes longer than to open the model.
_LOCAL = struct.Struct("<4s5H3I2H")
_ENTRY = struct.Struct("<4s6H3I5H2I")
_END = struct.Struct("<4s4H2IH")
_DATE = 1 << 5 | 1  # the first of January 1980


@cache
def _members(data: bytes) -> dict[bytes, bytes]:
    """The members of an archive by name."""
    with zipfile.ZipFile(io.BytesIO(data)) as whole:
        return {name.encode(): whole.read(name) for name in whole.namelist()}


# ---- changes ----


def _place(data: bytearray, rng: random.Random, n: int = 1) -> int:
    end = max(1, len(data) - n + 1)
    return rng.randrange(min(_HEAD, end)) if rng.random() < 0.5 else rng.randrange(end)


def _flip_bit(data: bytearray, rng: random.Random) -> None:
    if data:
        data[_place(data, rng)] ^= 1 << rng.randrange(8)


def _set_byte(data: bytearray, rng: random.Random) -> None:
    if data:
        data[_place(data, rng)] = rng.choice((0, 1, 127, 128, 255, rng.randrange(256)))


def _set_number(data: bytearray, rng: random.Random) -> None:
    size = rng.choice((2, 4, 4, 8, 8))
    if len(data) >= size:
        value = rng.choice(_EDGES) * rng.choice((1, 1, 1, -1)) % (1 << 8 * size)
        at = _place(data, rng, size)
        data[at : at + size] = value.to_bytes(size, rng.choice(("little", "little", "big")))


def _add_to_number(data: bytearray, rng: random.Random) -> None:
    size = rng.choice((1, 4, 8))
    if len(data) >= size:
        at = _place(data, rng, size)
        value = int.from_bytes(data[at : at + size], "little") + rng.choice((-8, -1, 1, 8, 32))
        data[at : at + size] = (value % (1 << 8 * size)).to_bytes(size, "little")


def _set_float(data: bytearray, rng: random.Random) -> None:
    layout = rng.choice(("<f", "<d", "<e"))
    value = rng.choice((float("nan"), float("inf"), -float("inf"), 0.0, -1.0, 6e4))
    at = _place(data, rng, 8)
    data[at : at + struct.calcsize(layout)] = struct.pack(layout, value)


def _cut(data: bytearray, rng: random.Random) -> None:
    del data[_place(data, rng) :]


def _take_out(data: bytearray, rng: random.Random) -> None:
    at = _place(data, rng)
    del data[at : at + rng.choice((1, 2, 4, 8, 32, rng.randrange(1, 1000)))]


def _put_twice(data: bytearray, rng: random.Random) -> None:
    at = _place(data, rng)
    piece = data[at : at + rng.choice((1, 4, 8, 32, rng.randrange(1, 1000)))]
    data[at:at] = piece * rng.choice((1, 1, 2, 20))


def _copy_elsewhere(data: bytearray, rng: random.Random) -> None:
    n = rng.choice((4, 8, 16, 64))
    start, at = _place(data, rng, n), _place(data, rng, n)
    data[at : at + n] = data[start : start + n]


def _insert(data: bytearray, rng: random.Random) -> None:
    at = _place(data, rng)
    data[at:at] = rng.choice(_WORDS) if rng.random() < 0.3 else rng.randbytes(rng.choice((1, 4, 8, 100)))


def _append(data: bytearray, rng: random.Random) -> None:
    data += rng.randbytes(rng.choice((1, 32, 1000)))


_CHANGES: list[Change] = [
    _flip_bit, _flip_bit, _set_byte, _set_number, _set_number, _set_number, _add_to_number, _set_float, _cut, _take_out,
    _put_twice, _copy_elsewhere, _insert, _append,
]  # fmt: skip
