"""Messages out of plain lines."""

from __future__ import annotations

import io
import time
from types import SimpleNamespace

import pytest

from llamachat.cli.line_reader import PlainReader, is_open, without_quotes
from llamachat.errors import FileError


def messages(monkeypatch: pytest.MonkeyPatch, data: bytes) -> list[str]:
    stdin = SimpleNamespace(buffer=io.BytesIO(data), isatty=lambda: False)
    monkeypatch.setattr("sys.stdin", stdin)
    reader = PlainReader()
    return list(iter(reader.message, None))


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", []),
        (b"one\ntwo\r\n\nlast", ["one", "two", "", "last"]),
        (b'"""\na\n\nb\n"""\nc\n', ["a\n\nb", "c"]),
        (b'"""a\nb"""\n', ["a\nb"]),
        (b'"""a"""\n', ["a"]),
        (b'"""never\nclosed', ["never\nclosed"]),
        (b'say """ this\n', ['say """ this']),
        (b"\xff\n", ["\ufffd"]),
    ],
)
def test_lines_and_quoted_blocks(monkeypatch: pytest.MonkeyPatch, data: bytes, expected: list[str]) -> None:
    assert messages(monkeypatch, data) == expected


def test_a_block_is_open_until_it_is_closed() -> None:
    assert is_open('"""')
    assert is_open('"""a')
    assert is_open('  """a\nb')
    assert not is_open('"""a"""')
    assert not is_open('""""""')
    assert not is_open("a")
    assert without_quotes('"""a') == "a"


@pytest.mark.parametrize(
    "data", [b"12345678901\n", b"1234567890", b'"""\n1\n2\n3\n4', b'"""\n' + 4 * b"\xff\n", b'"""\n\n\n\n\n\n\n\n']
)
def test_a_message_without_end_is_refused(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.setattr("llamachat.files.texts.MOST_BYTES", 9)
    with pytest.raises(FileError, match="standard input: too large for a text"):
        messages(monkeypatch, data)


def test_messages_are_not_added_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llamachat.files.texts.MOST_BYTES", 9)
    assert messages(monkeypatch, b"12345678\n" * 5) == ["12345678"] * 5


def test_zero_bytes_are_no_message_but_from_a_keyboard(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FileError, match="standard input: not a text: it holds zero bytes"):
        messages(monkeypatch, b"a\0b\n")
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(b"a\0b\n"), isatty=lambda: True))
    assert PlainReader().message() == "a\0b"


def test_a_block_of_many_lines_takes_no_time_for_each(monkeypatch: pytest.MonkeyPatch) -> None:
    """To look at all of it at every line took 100,000 lines a minute."""
    lines = "x" * 50 + "\n"
    began = time.process_time()
    assert messages(monkeypatch, f'"""\n{lines * 100_000}"""\n'.encode()) == [(lines * 100_000).rstrip()]
    assert time.process_time() - began < 10
