"""Chats into files: the right form, nothing lost, nothing half written."""

from __future__ import annotations

import errno
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from llamachat.chat.conversation import Conversation
from llamachat.chat.exchange.portable import dumps, loads
from llamachat.chat.exchange.writing import Form, as_written, form_of, proposed_name, target_of, write_file
from llamachat.errors import FileError
from tests.support.exchanged_chats import rich_chat, told
from tests.support.exporting_process import numbered

ROOT = Path(__file__).resolve().parents[3]


def _names(folder: Path) -> set[str]:
    return {entry.name for entry in folder.iterdir()}


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("a.json", Form.JSON), ("a.md", Form.MARKDOWN), ("a.MARKDOWN", Form.MARKDOWN), ("a.Txt", Form.TEXT),
        ("a", Form.JSON), ("a.md.bak", Form.JSON), (".md", Form.JSON),
    ],
)  # fmt: skip
def test_the_ending_tells_the_form(tmp_path: Path, name: str, form: Form) -> None:
    chat = rich_chat()
    assert form_of(Path(name)) is form
    write_file(chat, tmp_path / name)
    assert (tmp_path / name).read_bytes() == as_written(chat, form).encode()
    write_file(chat, tmp_path / f"other-{name}", Form.TEXT)
    assert (tmp_path / f"other-{name}").read_bytes() == as_written(chat, Form.TEXT).encode()


def test_a_chat_comes_through_json_whole(tmp_path: Path) -> None:
    chat = rich_chat()
    write_file(chat, tmp_path / "chat.json")
    assert told(loads((tmp_path / "chat.json").read_bytes())) == told(chat)


def test_json_cannot_steer_a_terminal() -> None:
    chat = rich_chat()
    chat.title = "lone \ud800 surrogate"
    text = dumps(chat)
    assert not re.search(
        "[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff\U000e0000-\U000e007f]", text
    )
    assert "🦙" in text
    assert json.loads(text)["messages"][0]["text"] == next(iter(chat.messages.values())).text


def test_what_is_there_is_not_replaced_unless_that_is_wanted(tmp_path: Path) -> None:
    path = tmp_path / "mine.md"
    path.write_text("mine")
    with pytest.raises(FileError, match=r"mine\.md: is there already; --force replaces it"):
        write_file(rich_chat(), path)
    with pytest.raises(FileError, match=r"mine\.md: is there already$"):
        write_file(rich_chat(), path, taken="is there already")
    assert path.read_text() == "mine"
    path.chmod(0o600)
    write_file(rich_chat(), path, replace=True)
    assert path.read_text().startswith("# T")
    assert path.stat().st_mode & 0o777 == 0o600
    assert _names(tmp_path) == {"mine.md"}


def test_a_file_that_appears_meanwhile_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.fsync

    def appears(descriptor: int) -> None:
        (tmp_path / "chat.md").write_text("precious")
        real(descriptor)

    monkeypatch.setattr("llamachat.files.new_files.os.fsync", appears)
    with pytest.raises(FileError, match="is there already"):
        write_file(rich_chat(), tmp_path / "chat.md")
    assert _names(tmp_path) == {"chat.md"}
    assert (tmp_path / "chat.md").read_text() == "precious"


def test_a_link_leads_to_what_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep/real.md").write_text("mine")
    (tmp_path / "link.md").symlink_to("deep/real.md")
    with pytest.raises(FileError, match="is there already"):
        write_file(rich_chat(), tmp_path / "link.md")
    write_file(rich_chat(), tmp_path / "link.md", replace=True)
    assert (tmp_path / "link.md").is_symlink()
    assert (tmp_path / "deep/real.md").read_text().startswith("# T")
    (tmp_path / "broken.md").symlink_to("nowhere.md")
    with pytest.raises(FileError, match="is there already"):
        write_file(rich_chat(), tmp_path / "broken.md")
    (tmp_path / "loop.md").symlink_to("loop.md")
    write_file(rich_chat(), tmp_path / "loop.md", replace=True)
    assert (tmp_path / "loop.md").read_text().startswith("# T")


def test_what_is_no_file_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "null").symlink_to("/dev/null")
    for name, reason in (
        ("folder", "is a folder; name a file to write"),
        ("pipe", "is a device, a pipe or a socket"),
        ("null", "is a device, a pipe or a socket"),
        ("none/chat.md", "no such folder"),
        ("pipe/chat.md", "is no folder|not a directory"),
        ("x" * 300, "name too long"),
    ):
        with pytest.raises(FileError, match=reason):
            write_file(rich_chat(), tmp_path / name, replace=True)
    assert _names(tmp_path) == {"folder", "pipe", "null"}
    assert not Path("/dev/null").is_file()


def test_names_as_they_are_typed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert target_of("~/a b.md") == tmp_path / "a b.md"
    assert target_of("~nobody-of-that-name/x") == Path("~nobody-of-that-name/x")
    for typed, reason in (("", "name a file to write"), ("a\0b", "a\ufffdb: name a file"), ("new/", "name of a folder"),
                          (str(tmp_path), "is a folder"), (".", "is a folder"), ("/", "name of a folder")):  # fmt: skip
        with pytest.raises(FileError, match=reason):
            target_of(typed)


def test_a_full_disk_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    (tmp_path / "old.md").write_text("old")
    monkeypatch.setattr("llamachat.files.new_files.os.fsync", full)
    for name in ("old.md", "new.md"):
        with pytest.raises(FileError, match=f"{name}: cannot be written: no space left on device"):
            write_file(rich_chat(), tmp_path / name, replace=True)
    assert _names(tmp_path) == {"old.md"}
    assert (tmp_path / "old.md").read_text() == "old"


@pytest.mark.parametrize(
    ("title", "name"),
    [
        ("Autumn article", "Autumn article.md"),
        ("What is gravity?", "What is gravity.md"),
        ('a/b\\c:d*e<f>|"g"', "a b c d e f g.md"),
        ("../../.bashrc", "bashrc.md"),
        ("~root/x", "root x.md"),
        ("-rf .", "rf.md"),
        ("...", "chat.md"),
        ("???", "chat.md"),
        ("\x1b]0;t\x07\u202e\n\0 llama 🦙", "]0;t llama 🦙.md"),
        ("", "New chat.md"),
        ("é" * 80, "é" * 50 + ".md"),
        ("🦙" * 80, "🦙" * 25 + ".md"),
    ],
)
def test_a_title_becomes_a_name(title: str, name: str) -> None:
    assert proposed_name(Conversation(title=title)) == name


def test_killed_while_writing(tmp_path: Path) -> None:
    """The file that is there is the one that was said to be written last, or the next one: whole."""
    moments = [random.Random(number).uniform(0.0, 0.4) for number in range(12)]
    path = tmp_path / "chat.json"
    for moment in moments:
        command = [sys.executable, "-m", "tests.support.exporting_process", str(path)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
        assert process.stdout is not None
        assert process.stdout.readline() == "1\n"
        time.sleep(moment)
        os.kill(process.pid, signal.SIGKILL)
        rest, _ = process.communicate()
        said = int(rest.split()[-1]) if rest else 1
        there = loads(path.read_bytes())
        assert there.title in (f"chat {said}", f"chat {said + 1}")
        expected = numbered(int(there.title.split()[1]))
        assert [message.text for message in there.path] == [message.text for message in expected.path]
    left = _names(tmp_path) - {"chat.json"}
    assert all(name.startswith(".llamachat-") for name in left)
    write_file(rich_chat(), tmp_path / "another.md")
    assert _names(tmp_path) == {"chat.json", "another.md"}  # what was killed is swept up
