"""The commands in their table: found, checked and completed."""

from __future__ import annotations

from pathlib import Path

import pytest

from llamachat.chat.commands import (
    COMMANDS,
    as_message,
    complete_line,
    complete_path_line,
    find_command,
    is_command,
    run_line,
)
from llamachat.chat.session import ChatSession
from llamachat.errors import LlamachatError
from tests.support.noting_face import NotingFace
from tests.support.sessions import finish


def test_names_are_unique_and_helped() -> None:
    names = [name for command in COMMANDS for name in (command.name, *command.aliases)]
    assert len(names) == len(set(names))
    for command in COMMANDS:
        assert command.name == command.name.lower()
        assert command.help.endswith(".")
        assert len(command.usage) + len(command.help) < 110
    for wanted in ("new", "open", "rename", "delete", "sessions", "regenerate", "again", "continue", "edit", "prev",
                   "next", "stop", "set", "params", "show", "preset", "system", "model", "info", "theme", "copy",
                   "examples", "help", "quit"):  # fmt: skip
        assert find_command(wanted) in COMMANDS


def test_what_is_a_command() -> None:
    assert is_command("/help")
    assert not is_command("//help")
    assert not is_command("a /help")
    assert as_message("//usr/bin is a folder") == "/usr/bin is a folder"
    assert as_message("plain") == "plain"


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("/temprature 1", "/set temperature"),
        ("/regnerate", "/regenerate"),
        ("/sess", "/sessions"),
        ("/quti", "/quit"),
        ("/etc/passwd", "/help"),
    ],
)
def test_unknown_commands_name_the_nearest(session: ChatSession, face: NotingFace, typed: str, meant: str) -> None:
    with pytest.raises(LlamachatError, match=f"no command {typed.split()[0]}: .*{meant}") as caught:
        run_line(session, face, typed)
    assert "\n" not in str(caught.value)


def test_arguments_are_checked(session: ChatSession, face: NotingFace) -> None:
    with pytest.raises(LlamachatError, match="/new takes nothing after it"):
        run_line(session, face, "/new chat")
    with pytest.raises(LlamachatError, match="/set needs something after it: /set NAME"):
        run_line(session, face, "/set")


@pytest.mark.parametrize("command", [c for c in COMMANDS if c.otherwise], ids=lambda c: c.name)
def test_what_makes_no_sense_says_so(session: ChatSession, face: NotingFace, command: object) -> None:
    """In an empty chat at rest, these have nothing to work on."""
    assert command in COMMANDS
    for known in COMMANDS:
        if known is command:
            with pytest.raises(LlamachatError) as caught:
                run_line(session, face, f"/{known.name}")
            assert str(caught.value) == known.otherwise


def test_every_command_can_be_typed(
    talk: ChatSession, face: NotingFace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No command falls over its own feet: each does something or says one line."""
    monkeypatch.chdir(tmp_path)  # one of them writes files
    for command in COMMANDS:
        for argument in ("", " x", " 1", " \x1b[31m"):
            error = _refusal(talk, face, f"/{command.name}{argument}")
            assert error is None or (error.strip() and "\n" not in error)
            finish(talk)


def _refusal(session: ChatSession, face: NotingFace, line: str) -> str | None:
    try:
        run_line(session, face, line)
    except LlamachatError as error:
        return str(error)
    return None


def test_completion_of_names(session: ChatSession, face: NotingFace) -> None:
    assert complete_line(session, face, "/re") == ["/rename", "/read", "/regenerate", "/reset"]
    assert complete_line(session, face, "/REN") == ["/rename"]
    assert complete_line(session, face, "/") == [f"/{command.name}" for command in COMMANDS]
    assert complete_line(session, face, "/nothing x") == []


def test_completion_of_arguments(talk: ChatSession, face: NotingFace, data_dir: Path) -> None:
    (data_dir / "models").mkdir()
    (data_dir / "models" / "Tiny-1B.Q4_0.gguf").write_bytes(b"")
    (data_dir / "models" / "parted-00001-of-00002.gguf").write_bytes(b"")
    (data_dir / "models" / "parted-00002-of-00002.gguf").write_bytes(b"")
    (data_dir / "models" / "Hub-v1.0").mkdir()
    (data_dir / "models" / "Hub-v1.0" / "model.safetensors").write_bytes(b"")
    lines = {
        "/set to": ["/set top-p 0.95", "/set top-k 40"],
        "/set top-k ": ["/set top-k 40"],
        "/reset te": ["/reset temperature"],
        "/preset GR": ["/preset greedy"],
        "/theme ni": ["/theme night"],
        "/format mis": ["/format mistral-v1", "/format mistral-v3"],
        "/open FIR": ["/open first question"],
        "/model tiny": ["/model Tiny-1B.Q4_0"],
        "/model p": ["/model parted"],
        "/model hub": ["/model Hub-v1.0"],
        "/copy c": ["/copy code"],
        "/help ren": ["/help rename"],
        "/new ": [],
    }
    for line, whole in lines.items():
        assert complete_line(talk, face, line) == whole, line


def test_where_no_path_is_typed_files_are_those_where_the_program_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "notes.txt").touch()
    monkeypatch.chdir(tmp_path)
    assert complete_path_line("/read ") == ["/read notes.txt"]


def test_completion_of_paths(tmp_path: Path) -> None:
    (tmp_path / "a b").mkdir()
    (tmp_path / "a b/x.gguf").touch()
    assert complete_path_line(f"/model {tmp_path}/a") == [f"/model {tmp_path}/a b/"]
    assert complete_path_line(f"/MODEL  {tmp_path}/a b/") == [f"/MODEL  {tmp_path}/a b/x.gguf"]
    (tmp_path / "a b/y.txt").touch()
    assert complete_path_line(f"/read {tmp_path}/a b/y") == [f"/read {tmp_path}/a b/y.txt"]
    for line in (
        "/model",
        "/model ",
        "/read",
        f"/model {tmp_path}/a b/y",
        f"/open {tmp_path}/",
        f"/nothing {tmp_path}/",
        "/",
    ):
        assert complete_path_line(line) == []
