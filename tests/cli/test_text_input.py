"""Texts that end nowhere or are none, given to each command that reads some."""

from __future__ import annotations

import io
import os
import subprocess
from pathlib import Path

import pytest

from llamachat.errors import FileError
from llamachat.files.texts import read_line, read_text
from tests.cli.program import COMMAND, Run, assert_one_line

READING = [("ask",), ("complete",), ("ask", "-"), ("perplexity", "--text", "-"), ("chat",)]


def arguments_of(command: tuple[str, ...], model: Path) -> list[str]:
    return [*(() if command == ("chat",) else command), "-m", str(model)]


def test_a_text_of_the_most_bytes_is_read_and_no_larger_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llamachat.files.texts.MOST_BYTES", 10)
    monkeypatch.setattr("llamachat.files.texts._CHUNK", 4)
    assert read_text(io.BytesIO(b"0123456789")) == b"0123456789"
    assert read_line(io.BytesIO(b"012345678\n9")) == b"012345678\n"
    for read in (read_text, read_line):
        file = io.BytesIO(b"0123456789" * 9)
        with pytest.raises(FileError, match="too large for a text"):
            read(file)
        assert file.tell() <= 12


@pytest.mark.parametrize("command", READING, ids=" ".join)
def test_binary_data_is_no_text(llamachat: Run, model: Path, command: tuple[str, ...]) -> None:
    done = llamachat(*arguments_of(command, model), stdin=b"\x7fELF\2\1\1\0\0\n" * 50)
    assert (done.returncode, done.stdout) == (1, "")
    assert_one_line(done.stderr, "standard input: not a text: it holds zero bytes")


@pytest.mark.usefixtures("own_home")
@pytest.mark.parametrize("command", READING, ids=" ".join)
def test_a_device_without_end_is_refused_at_once(model: Path, command: tuple[str, ...]) -> None:
    with Path("/dev/zero").open("rb") as zeros:
        done = subprocess.run(
            [COMMAND, *arguments_of(command, model)],
            stdin=zeros,
            capture_output=True,
            env=dict(os.environ),
            timeout=20,
            check=False,
        )
    assert done.returncode == 1
    assert_one_line(done.stderr.decode(), "standard input: not a text")


def test_tokenize_takes_zero_bytes_to_the_letter(llamachat: Run, model: Path) -> None:
    done = llamachat("tokenize", "--pieces", "-m", model, stdin=b"a\0b")
    assert (done.returncode, done.stdout.count('"\\u0000"')) == (0, 1)
