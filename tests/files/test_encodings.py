"""The letters of text files, however they were written."""

from __future__ import annotations

import random

import pytest

from llamachat.errors import FileError
from llamachat.files.encodings import decoded

TEXT = "Grüße aus Köln,\nund „mehr“.\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_what_people_have(encoding: str, newline: str) -> None:
    assert decoded(TEXT.replace("\n", newline).encode(encoding), "x")[0] == TEXT


def test_both_orders_of_utf_16_are_told_by_their_mark() -> None:
    for mark, encoding in ((b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be")):
        assert decoded(mark + TEXT.encode(encoding), "x") == (TEXT, "read as UTF-16")


def test_what_is_odd_is_said() -> None:
    assert decoded(TEXT.encode(), "x")[1] == ""
    assert decoded(TEXT.encode("latin-1", "replace"), "x")[1] == "not UTF-8, so it is read as Latin-1 (Windows-1252)"


def test_damage_does_not_make_another_encoding_of_utf_8() -> None:
    data = TEXT.encode()
    cut = data[: data.index("ö".encode()) + 1]
    assert decoded(cut, "x") == ("Grüße aus K\ufffd", "1 character of it cannot be read as UTF-8")
    assert decoded(data + b"\xff \xfe", "x") == (TEXT + "\ufffd \ufffd", "2 characters of it cannot be read as UTF-8")


@pytest.mark.parametrize("data", [b"a\0b", b"\xff\xfea\0\0\0", b"\xff\xfe\0\0a\0\0\0"])
def test_zero_bytes_are_in_no_text(data: bytes) -> None:
    with pytest.raises(FileError, match="x: not a text: it holds zero bytes"):
        decoded(data, "x")


def test_random_bytes_are_no_text_even_without_zeros() -> None:
    some = random.Random(3)
    for _ in range(200):
        data = some.randbytes(200).replace(b"\0", b"")
        with pytest.raises(FileError, match="x: not a text: neither UTF-8 nor Latin-1"):
            decoded(data, "x")
