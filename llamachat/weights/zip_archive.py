"""The zip archives that PyTorch writes: members stored as they are, to be read in place.

Nothing is ever unpacked, so that no small file can become a large one. The sizes in the central directory, which are
those that count, must be the ones before each member's data, and members may not overlap.
"""

from __future__ import annotations

import struct
import threading
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

from llamachat.errors import WeightsError
from llamachat.weights.files import Refusal, RegularFile, quoted

MAGIC = b"PK\x03\x04"

_END = struct.Struct("<4s4H2IH")  # magic, disks, entries, size and offset of the directory, length of a comment
_END64_LOCATOR = struct.Struct("<4sIQI")
_END64 = struct.Struct("<4sQ2H2I4Q")
_ENTRY = struct.Struct("<4s6H3I5H2I")
_LOCAL = struct.Struct("<4s5H3I2H")

_COMMENT_LIMIT = 1 << 16
_DIRECTORY_LIMIT = 4 << 20
_MEMBERS_LIMIT = 1 << 14
_IN_EXTRA = 0xFFFFFFFF  # the true number is in the zip64 extra field
_ENCRYPTED, _SIZES_FOLLOW = 1, 8


@dataclass(frozen=True)
class _Entry:
    """A member as the central directory states it; ``at`` is where its own header is."""

    name: bytes
    size: int
    crc: int
    flags: int
    at: int


class Member:
    """The bytes of a member. Once all have been read in order, their checksum has been compared."""

    def __init__(self, file: RegularFile, name: str, offset: int, size: int, crc: int) -> None:
        self.size = size
        self._file = file
        self._name = name
        self._offset = offset
        self._crc = crc
        self._checked = 0
        self._sum = 0
        self._lock = threading.Lock()

    def read(self, at: int, n_bytes: int) -> bytes:
        """``n_bytes`` from ``at``, both inside. ``WeightsError`` if the file is not what was written."""
        data = self._file.read(self._offset + at, n_bytes)
        with self._lock:
            if at <= self._checked < at + n_bytes:
                self._sum = zlib.crc32(memoryview(data)[self._checked - at :], self._sum)
                self._checked = at + n_bytes
                if self._checked == self.size and self._sum != self._crc:
                    raise WeightsError(self._file.path, f"is damaged: the checksum of {quoted(self._name)} is wrong")
        return data


class ZipArchive:
    """The members of an archive by name; ``Refusal`` says what is wrong with it."""

    def __init__(self, file: RegularFile) -> None:
        self._file = file
        self._entries = _read_directory(file)

    @property
    def names(self) -> list[str]:
        """The names of all members."""
        return list(self._entries)

    def member(self, name: str) -> Member:
        """A member, its own header compared with the directory."""
        entry = self._entries.get(name)
        if entry is None:
            raise Refusal(f"is no whole checkpoint: its archive has no member {quoted(name)}")
        file = self._file
        if entry.at + _LOCAL.size > file.size:
            raise Refusal("is cut short or broken: a member lies outside of it")
        head = _LOCAL.unpack(file.read(entry.at, _LOCAL.size))
        magic, _, flags, method, *_, packed, size, n_name, n_extra = head
        start = entry.at + _LOCAL.size + n_name + n_extra
        if magic != MAGIC or method or start + entry.size > file.size:
            raise Refusal(f"is cut short or broken: the member {quoted(name)} is not where its archive says")
        if file.read(entry.at + _LOCAL.size, n_name) != entry.name:
            raise Refusal(f"is broken: the member {quoted(name)} has two names")
        extra = file.read(start - n_extra, n_extra)
        stated = {*_from_extra(extra, [size, packed])} - ({0} if flags & _SIZES_FOLLOW else set())
        if stated - {entry.size}:
            raise Refusal(f"is broken: the member {quoted(name)} has two sizes")
        return Member(file, name, start, entry.size, entry.crc)


def _read_directory(file: RegularFile) -> Mapping[str, _Entry]:
    count, size, at = _find_directory(file)
    if size > _DIRECTORY_LIMIT or count > _MEMBERS_LIMIT:
        raise Refusal(f"is an archive of {count} members, too much for a checkpoint")
    if at + size > file.size or count * _ENTRY.size > size:
        raise Refusal("is cut short or broken: its archive's directory does not fit in it")
    data = file.read(at, size)
    entries: dict[str, _Entry] = {}
    place = 0
    for _ in range(count):
        entry, place = _read_entry(data, place)
        name = entry.name.decode(errors="replace")
        if name in entries:
            raise Refusal(f"is broken: its archive has the member {quoted(name)} twice")
        entries[name] = entry
    end = 0
    for entry in sorted(entries.values(), key=lambda e: e.at):
        if entry.at < end:
            raise Refusal(f"is broken: the member {quoted(entry.name)} of its archive overlaps another")
        end = entry.at + _LOCAL.size + len(entry.name) + entry.size
    if end > at:
        raise Refusal("is broken: the members of its archive have more bytes than it")
    return entries


def _find_directory(file: RegularFile) -> tuple[int, int, int]:
    """(members, size, offset) of the central directory, from the record at the end of the file."""
    tail_at = max(0, file.size - _END.size - _COMMENT_LIMIT)
    tail = file.read(tail_at, file.size - tail_at)
    found = tail.rfind(b"PK\x05\x06")
    if found < 0 or len(tail) - found < _END.size:
        raise Refusal("is cut short: its archive has no directory")
    *_, count, size, at, _ = _END.unpack_from(tail, found)
    locator_at = tail_at + found - _END64_LOCATOR.size
    if locator_at >= 0:
        magic, _, end64_at, _ = _END64_LOCATOR.unpack(file.read(locator_at, _END64_LOCATOR.size))
        if magic == b"PK\x06\x07":
            if end64_at + _END64.size > file.size:
                raise Refusal("is cut short or broken: its archive's directory does not fit in it")
            magic, *_, count, size, at = _END64.unpack(file.read(end64_at, _END64.size))
            if magic != b"PK\x06\x06":
                raise Refusal("is broken: its archive has no directory")
    return count, size, at


def _read_entry(data: bytes, place: int) -> tuple[_Entry, int]:
    """An entry of the central directory, and where the next one is."""
    if place + _ENTRY.size > len(data):
        raise Refusal("is broken: its archive's directory is cut short")
    fields = _ENTRY.unpack_from(data, place)
    magic, _, _, flags, method, _, _, crc, packed, size, n_name, n_extra, n_comment, *_, at = fields
    name_at = place + _ENTRY.size
    end = name_at + n_name + n_extra + n_comment
    if magic != b"PK\x01\x02" or end > len(data):
        raise Refusal("is broken: its archive's directory is cut short")
    name = data[name_at : name_at + n_name]
    size, packed, at = _from_extra(data[name_at + n_name : name_at + n_name + n_extra], [size, packed, at])
    if flags & _ENCRYPTED:
        raise Refusal(f"has an encrypted member {quoted(name)}")
    if method or packed != size:
        raise Refusal(f"has a compressed member {quoted(name)}, which PyTorch never writes")
    return _Entry(name, size, crc, flags, at), end


def _from_extra(extra: bytes, values: list[int]) -> list[int]:
    """The numbers, those that did not fit into 32 bits from the zip64 field."""
    place = 0
    while place + 4 <= len(extra):
        kind, n = struct.unpack_from("<2H", extra, place)
        field = extra[place + 4 : place + 4 + n]
        if kind == 1:
            wide = iter(struct.unpack(f"<{len(field) // 8}Q", field[: len(field) // 8 * 8]))
            return [next(wide, value) if value == _IN_EXTRA else value for value in values]
        place += 4 + n
    return values
