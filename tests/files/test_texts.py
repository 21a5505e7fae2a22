"""Text files that are large, are none, or are no files at all."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from llamachat.errors import FileError
from llamachat.files import texts
from llamachat.files.texts import read_file
from tests.cli.program import needs_proc


def refusal(path: Path | str, *, pipes: bool = False, most: int | None = None) -> str:
    with pytest.raises(FileError) as caught:
        read_file(str(path), pipes=pipes, most=most)
    assert str(caught.value) == f"{path}: {caught.value.reason}"
    return caught.value.reason


def test_what_is_no_file_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "loop").symlink_to("loop")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket"))
        for name, reason in (
            ("pipe", "a pipe or a device, not a text"),
            ("socket", "a pipe or a device, not a text"),
            ("", "a folder, not a text"),
            ("nothing", "no such file"),
            ("dangling", "no such file"),
            ("x" * 300, "file name too long"),
        ):
            assert refusal(tmp_path / name) == reason
        assert "symbolic links" in refusal(tmp_path / "loop")
    for device in ("/dev/zero", "/dev/tty"):
        assert refusal(device) == "a pipe or a device, not a text"
    for name in ("~nobody-of-that-name/x", "a\0b", "~a\0b/c"):
        assert refusal(name)
    assert refusal(tmp_path, pipes=True) == "a folder, not a text"


def test_a_pipe_that_takes_a_files_place_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "pipe")
    monkeypatch.setattr(texts, "find_file", lambda name, *, pipes: Path(name))
    assert read_file(str(tmp_path / "pipe"), pipes=False) == b""


@pytest.mark.skipif(os.geteuid() == 0, reason="a superuser may read every file")
def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    (tmp_path / "secret").touch(mode=0)
    assert refusal(tmp_path / "secret") == "permission denied"


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "large"
    path.touch()
    os.truncate(path, 1 << 42)
    monkeypatch.setattr(texts, "read_text", None)
    assert refusal(path) == "too large for a text (256 MB at most)"
    assert refusal(path, most=4 << 20) == "too large for a text (4 MB at most)"


@needs_proc
def test_a_file_that_tells_no_size_is_read_up_to_the_limit(tmp_path: Path) -> None:
    assert b"State" in read_file("/proc/self/status", pipes=False)
    assert refusal("/proc/self/status", most=100) == "too large for a text (0 MB at most)"


def test_a_pipe_is_read_where_it_is_meant() -> None:
    end, begin = os.pipe()
    os.write(begin, b"out of a program")
    os.close(begin)
    assert read_file(f"/dev/fd/{end}", pipes=True) == b"out of a program"
    os.close(end)


def test_the_home_folder_has_its_short_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "notes").write_text("mine")
    assert read_file("~/notes", pipes=False) == b"mine"
