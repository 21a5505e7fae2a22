"""Rows out of a database's pages: just those that SQLite reads, whatever they hold and whatever was deleted."""

from __future__ import annotations

import random
import sqlite3
import struct
from contextlib import closing

import pytest

from llamachat.chat.store.pages import Value, leaf_rows, with_new_header

_NUMBERS = (
    *(None, 0, 1, -1, 2, 127, -128, 128, 32_767, -32_769, 1 << 23, -(1 << 23) - 1, (1 << 31) - 1, 1 << 31),
    *((1 << 47) - 1, 1 << 47, (1 << 63) - 1, -(1 << 63)),
)
_REALS = (None, 0.5, -1e300, 1_700_000_000.25)
N_ROWS = 200


def _row(chance: random.Random, number: int, page_bytes: int) -> tuple[Value, ...]:
    length = chance.choice((0, 5, 60, 63, 64, 1000, page_bytes, chance.randrange(page_bytes), chance.randrange(20_000)))
    data = chance.choice((None, b"", chance.randbytes(40), chance.randbytes(page_bytes)))
    text = "".join(chance.choices("aé重😀", k=length))
    return f"row {number}", chance.choice(_NUMBERS), chance.choice(_REALS), text, data


def _database(chance: random.Random) -> sqlite3.Connection:
    """A table with rows of all kinds, of which many were deleted, and another between whose pages its own are."""
    page_bytes = chance.choice((512, 4096, 4096, 32_768))
    connection = sqlite3.connect(":memory:")
    connection.execute(f"PRAGMA page_size = {page_bytes}")
    connection.execute("PRAGMA secure_delete = OFF")  # what was deleted stands there still
    connection.execute("CREATE TABLE rows (id TEXT PRIMARY KEY, number INTEGER, real REAL, text TEXT, data BLOB)")
    connection.execute("CREATE TABLE others (text TEXT)")
    add = "INSERT OR REPLACE INTO rows VALUES (?, ?, ?, ?, ?)"
    for number in range(N_ROWS):
        connection.execute(add, _row(chance, number, page_bytes))
        connection.execute("INSERT INTO others VALUES (?)", ("z" * chance.randrange(3 * page_bytes),))
    for _ in range(2):
        first = chance.randrange(N_ROWS)
        connection.execute("DELETE FROM rows WHERE rowid BETWEEN ? AND ?", (first, first + chance.randrange(100)))
        for _ in range(10):
            connection.execute(add, _row(chance, chance.randrange(2 * N_ROWS), page_bytes))
        if chance.random() < 0.5:
            connection.execute("DELETE FROM others")
    connection.commit()
    return connection


def _rows(image: bytes) -> list[list[Value]]:
    return sorted((row for row in leaf_rows(image) if str(row[0]).startswith("row ")), key=lambda row: str(row[0]))


@pytest.mark.parametrize("number", range(30))
def test_rows_are_those_that_sqlite_reads(number: int) -> None:
    with closing(_database(random.Random(number))) as connection:
        image = connection.serialize()
        expected = [list(row) for row in connection.execute("SELECT * FROM rows ORDER BY id")]
    assert len(expected) > N_ROWS // 4
    assert _rows(image) == expected
    with closing(sqlite3.connect(":memory:")) as again:
        again.deserialize(with_new_header(bytes(100) + image[100:] if image[16:18] == b"\x10\0" else image))
        assert [list(row) for row in again.execute("SELECT * FROM rows ORDER BY id")] == expected


def test_without_a_sound_list_of_free_pages_no_row_is_believed() -> None:
    """What was deleted would come back."""
    with closing(_database(random.Random(1))) as connection:
        connection.execute("DELETE FROM others")
        connection.commit()
        image = connection.serialize()
    first, n_free = struct.unpack_from(">II", image, 32)
    size = int.from_bytes(image[16:18], "big")
    assert _rows(image)
    assert n_free > 3

    def changed(place: int, number: int) -> bytes:
        return image[:place] + struct.pack(">I", number) + image[place + 4 :]

    trunk = (first - 1) * size
    for spoiled in (
        changed(36, n_free - 1),  # how many there are
        changed(32, len(image)),  # where the list begins: behind the end
        changed(trunk, first),  # goes on: where it was
        changed(trunk, 1 << 31),
        changed(trunk + 4, size),  # how many pages it names there
        bytes(16) + image[16:],
    ):
        assert _rows(spoiled) == []
