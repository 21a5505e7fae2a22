"""The pages of a damaged database file: a header with which SQLite reads the rest, and rows that no tree leads to.

The layout is SQLite's, https://www.sqlite.org/fileformat2.html; numbers are big-endian, pages are counted from 1.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

#: This program's databases are made by a SQLite that has this since 2016 (3.12).
PAGE_BYTES = 4096

_HEADER_BYTES = 100
_MAGIC = b"SQLite format 3\0"
_LEAF = 0x0D  # a page with rows of a table
_COLUMN_BYTES = (0, 1, 2, 3, 4, 6, 8, 8, 0, 0)  # by serial type; from 12 on it says its length itself
_REAL, _ZERO, _ONE = 7, 8, 9

Value = int | float | str | bytes | None


def page_bytes_of(image: bytes) -> int:
    """The size of a page, as the header says it where that can be."""
    (stated,) = struct.unpack_from(">H", image.ljust(_HEADER_BYTES), 16)
    return stated if image.startswith(_MAGIC) and stated >= 512 and stated & (stated - 1) == 0 else PAGE_BYTES


def with_new_header(image: bytes, first_page: bytes = b"") -> bytearray:
    """The file with a header made anew, for reading: all that it says follows from the file, or is the same in all.

    A ``first_page`` takes the place of the file's own, which says where each table begins.
    """
    size = page_bytes_of(image)
    made = bytearray(image)  # no copy but this one: it may be a gigabyte
    made += bytes(-len(image) % size)
    made[: len(first_page)] = first_page
    n_pages = len(made) // size
    header = bytearray(_HEADER_BYTES)
    header[:24] = _MAGIC + struct.pack(">H6B", size if size < 1 << 16 else 1, 1, 1, 0, 64, 32, 32)
    struct.pack_into(">II", header, 24, 1, n_pages)
    struct.pack_into(">II", header, 40, 1, 4)  # the schema's cookie and format
    struct.pack_into(">I", header, 56, 1)  # UTF-8
    struct.pack_into(">I", header, 92, 1)  # the same as at 24: the number of pages is to be believed
    made[:_HEADER_BYTES] = header
    return made


def leaf_rows(image: bytes) -> Iterator[list[Value]]:
    """The rows on all pages that hold rows of tables and are in use, whether or not a tree still leads to them.

    Of which table a row is must be told from its values. Nothing at all where the list of free pages is damaged: what
    was deleted stands there still.
    """
    size = page_bytes_of(image)
    free = _free_pages(image, size)
    if free is None:
        return
    for number in range(2, len(image) // size + 1):
        start = (number - 1) * size
        if image[start] == _LEAF and number not in free:
            (n_cells,) = struct.unpack_from(">H", image, start + 3)
            for place in range(start + 8, min(start + 8 + 2 * n_cells, start + size - 1), 2):
                (offset,) = struct.unpack_from(">H", image, place)
                try:
                    yield _values(_payload(image, size, start, offset))
                except (ValueError, IndexError, struct.error):
                    continue  # this row is damaged


def _free_pages(image: bytes, size: int) -> set[int] | None:
    """The pages not in use; None if their list is not what it should be."""
    if not image.startswith(_MAGIC):
        return None
    trunk, n_free = struct.unpack_from(">II", image, 32)
    n_pages = len(image) // size
    free: set[int] = set()
    while trunk:
        if trunk > n_pages or trunk in free:
            return None
        free.add(trunk)
        trunk, n_leaves = struct.unpack_from(">II", image, start := (trunk - 1) * size)
        if n_leaves > size // 4 - 2:
            return None
        free.update(struct.unpack_from(f">{n_leaves}I", image, start + 8))
    return free if len(free) == n_free else None


def _payload(image: bytes, size: int, start: int, offset: int) -> bytes:
    """What a cell holds, with what of it stands on other pages. ``ValueError`` if it is not whole."""
    page = image[start : start + size]
    length, offset = _varint(page, offset)
    _rowid, offset = _varint(page, offset)
    if length > len(image):
        raise ValueError("longer than the file")
    most, least = size - 35, (size - 12) * 32 // 255 - 23
    if length <= most:
        local, page_number = length, 0
    else:
        local = least + (length - least) % (size - 4)
        local = local if local <= most else least
        (page_number,) = struct.unpack_from(">I", page, offset + local)
    pieces = [page[offset : offset + local]]
    missing = length - local
    while missing > 0:
        if not 1 < page_number <= len(image) // size:
            raise ValueError("the rest is nowhere")
        here = (page_number - 1) * size
        (page_number,) = struct.unpack_from(">I", image, here)
        pieces.append(image[here + 4 : here + 4 + min(missing, size - 4)])
        missing -= size - 4
    payload = b"".join(pieces)
    if len(payload) != length:
        raise ValueError("cut off")
    return payload


def _values(payload: bytes) -> list[Value]:
    """The columns of a record."""
    end, place = _varint(payload, 0)
    offset = end
    values: list[Value] = []
    while place < end:
        kind, place = _varint(payload, place)
        length = (kind - 12) // 2 if kind >= 12 else _COLUMN_BYTES[kind]
        raw = payload[offset : offset + length]
        offset += length
        if len(raw) != length:
            raise ValueError("cut off")
        values.append(_value(kind, raw))
    return values


def _value(kind: int, raw: bytes) -> Value:
    if kind >= 12:
        return raw.decode("utf-8", "replace") if kind & 1 else raw
    if kind == _REAL:
        return float(struct.unpack(">d", raw)[0])
    if kind in (_ZERO, _ONE):
        return kind - _ZERO
    return int.from_bytes(raw, "big", signed=True) if kind else None


def _varint(data: bytes, place: int) -> tuple[int, int]:
    """A number of 1 to 9 bytes, and the place after it."""
    number = 0
    for n_before in range(9):
        byte = data[place + n_before]
        if n_before == 8:
            return number << 8 | byte, place + 9
        number = number << 7 | byte & 0x7F
        if byte < 0x80:
            return number, place + n_before + 1
    raise ValueError("no number")
