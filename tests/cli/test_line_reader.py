"""Messages out of plain lines."""

from __future__ import annotations

import io
from types import SimpleNamespace

import pytest

from llamachat.cli.line_reader import PlainReader, is_open, without_quotes


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
