"""Files that are no models: each is told in one line, at once."""

from __future__ import annotations

import os
import random
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cli.program import Run, assert_one_line
from tests.support.tiny_models import gguf_bytes, random_model, write_llama2c

PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\1\0\0\0\1\x08\6\0\0\0\x1f\x15\xc4\x89"


def broken_files() -> Iterator[tuple[str, Callable[[Path], object]]]:
    """Names of broken files, and what makes each."""
    whole = gguf_bytes(random_model())[0]
    yield "empty.gguf", lambda path: path.touch()
    yield "picture.png", lambda path: path.write_bytes(PNG)
    yield "picture.gguf", lambda path: path.write_bytes(PNG * 1000)
    yield "folder", lambda path: path.mkdir()
    yield "missing.gguf", lambda path: None
    yield "pipe.gguf", lambda path: os.mkfifo(path)
    yield "socket.gguf", _make_socket
    yield "dangling.gguf", lambda path: path.symlink_to("nowhere")
    yield "loop.gguf", lambda path: path.symlink_to(path)
    yield "under/file.gguf", lambda path: path.parent.touch()
    yield "text.gguf", lambda path: path.write_text("The quick brown fox\n" * 100)
    yield "zeros.gguf", _make_sparse
    for share in (4, 24, 200, len(whole) // 3, len(whole) - 1):
        yield f"cut-{share}.gguf", lambda path, share=share: path.write_bytes(whole[:share])  # type: ignore[misc]
    yield "bad\x1b[31m\nname.gguf", lambda path: path.write_bytes(b"GGUF")
    yield "x" * 240 + ".gguf", lambda path: path.write_bytes(b"GGUF")


def _make_socket(path: Path) -> None:
    home = Path.cwd()
    os.chdir(path.parent)  # a socket's path may not be long
    try:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(path.name)
    finally:
        os.chdir(home)


def _make_sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1 << 40)


FILES = list(broken_files())


@pytest.mark.parametrize("make", [make for _, make in FILES], ids=[ascii(name)[1:20] for name, _ in FILES])
def test_a_broken_file_is_one_line_at_once_and_exit_1(
    llamachat: Run, tmp_path: Path, make: Callable[[Path], object], request: pytest.FixtureRequest
) -> None:
    path = tmp_path / next(name for name, maker in FILES if maker is make)
    make(path)
    for arguments in (("complete", "-m", path, "x"), ("-m", path)):
        started = time.monotonic()
        done = llamachat(*arguments)
        assert time.monotonic() - started < 20  # nothing waits for a pipe
        assert (done.returncode, done.stdout) == (1, "")
        assert_one_line(done.stderr, path.name[-12:].replace("\n", " ") + ": ")
        assert "\x1b" not in done.stderr
        assert "unexpected" not in done.stderr


def test_a_broken_tokenizer_file_is_told_by_its_name(llamachat: Run, tmp_path: Path) -> None:
    write_llama2c(tmp_path / "model.bin", random_model())
    for content in (b"", PNG, random.Random(0).randbytes(4000)):
        (tmp_path / "words.bin").write_bytes(content)
        done = llamachat("complete", "-m", tmp_path / "model.bin", "--tokenizer", tmp_path / "words.bin", "x")
        assert (done.returncode, done.stdout) == (1, "")
        assert_one_line(done.stderr, "words.bin: ")
