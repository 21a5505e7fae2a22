"""Text files that are put into a message."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from llamachat.chat.commands import run_line
from llamachat.chat.file_blocks import behind, file_block
from llamachat.chat.prompt import message_room
from llamachat.chat.reading import MOST_BYTES, text_file
from llamachat.chat.session import ChatSession
from llamachat.cli.failures import error_line
from llamachat.engine.source import ModelSource
from llamachat.errors import FileError, LlamachatError, PromptError
from tests.chat.conftest import Open
from tests.support.noting_face import NotingFace
from tests.support.scripted_engine import ScriptedEngine
from tests.support.sessions import finish


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.fixture
def face() -> NotingFace:
    return NotingFace()


def room_of(session: ChatSession) -> int:
    return message_room(session.context_total, session.settings.max_tokens)


# ---- the file ----------------------------------------------------------------------


def test_files_are_named_as_they_are_told_apart(tmp_path: Path) -> None:
    Path("sub").mkdir()
    Path("sub/a b.txt").write_text("one")
    for typed, name in (
        ("sub/a b.txt", "sub/a b.txt"),
        ("./sub/a b.txt", "sub/a b.txt"),
        (f"{tmp_path}/sub/a b.txt", "a b.txt"),
        ("~/sub/a b.txt", "a b.txt"),
    ):
        assert text_file(typed).name == name


def test_what_could_steer_a_terminal_is_left_behind() -> None:
    Path("a\x1b]0;x.log").write_bytes(b"\x1b[31mred\x1b[0m\x0c\x1b]0;title\x07 \x07end\r\n")
    file = text_file("a\x1b]0;x.log")
    assert (file.name, file.text) == ("a\ufffd]0;x.log", "red \ufffdend\n")


def test_what_is_no_text_is_refused() -> None:
    Path("empty").touch()
    Path("blank").write_text(" \n\n")
    Path("binary").write_bytes(b"\x7fELF\0\0")
    os.truncate(os.open("large", os.O_CREAT | os.O_WRONLY), MOST_BYTES + 1)
    os.mkfifo("pipe")
    for name, reason in (
        ("empty", "is empty"),
        ("blank", "is empty"),
        ("binary", "not a text: it holds zero bytes"),
        ("large", "too large for a text (4 MB at most)"),
        ("pipe", "a pipe or a device, not a text"),
        (".", "a folder, not a text"),
        ("none", "no such file"),
    ):
        with pytest.raises(FileError) as caught:
            text_file(name)
        assert str(caught.value) == f"{name}: {reason}"


# ---- the command -------------------------------------------------------------------


def test_a_file_goes_behind_what_is_written(session: ChatSession, face: NotingFace) -> None:
    Path("notes.txt").write_text("one two three\n")
    run_line(session, face, "/read notes.txt")
    block = file_block("notes.txt", "one two three\n")
    assert face.message == f"{block}\n\n"
    n, room = len(session.tokenizer.encode(block)), room_of(session)
    assert session.take_notices() == [f"read notes.txt: {n} tokens of {room:,} that fit"]
    session.save_draft(face.message)
    assert session.draft_tokens == n


def test_files_add_up(session: ChatSession, face: NotingFace) -> None:
    Path("a").write_text("one\n")
    Path("b").write_bytes("dö\r\n".encode("latin-1"))
    face.message = "Compare:"
    run_line(session, face, "/read a")
    run_line(session, face, "/read b")
    block = file_block("b", "dö\n")
    assert face.message == behind(behind("Compare:", file_block("a", "one\n")), block)
    alone, total = (len(session.tokenizer.encode(text)) for text in (block, face.message.strip()))
    room = f"{room_of(session):,}"
    assert session.take_notices()[1] == (
        f"read b: {alone} tokens, with the text before it {total} of {room} that fit; "
        "not UTF-8, so it is read as Latin-1 (Windows-1252)"
    )


def test_what_does_not_fit_is_refused_in_tokens(session: ChatSession, face: NotingFace) -> None:
    Path("long").write_text("word " * 3000)
    Path("half").write_text("word " * (room_of(session) * 2 // 3))
    with pytest.raises(PromptError, match=r"with long this message is too long: .*3,0\d\d of 1,9\d\d tokens that fit"):
        run_line(session, face, "/read long")
    assert face.message == ""
    run_line(session, face, "/read half")
    message = face.message
    with pytest.raises(PromptError, match="with half this message is too long"):
        run_line(session, face, "/read half")
    assert face.message == message
    assert len(session.take_notices()) == 1


def test_a_long_name_does_not_hide_what_is_said(session: ChatSession, face: NotingFace) -> None:
    name = "n" * 250
    Path(name).write_text("word " * 3000)
    with pytest.raises(PromptError) as caught:
        run_line(session, face, f"/read {name}")
    assert "tokens that fit the context" in error_line(caught.value)


def test_the_limit_is_exact(session: ChatSession, face: NotingFace) -> None:
    room = room_of(session)
    around = len(session.tokenizer.encode(file_block("x", "a"))) - 1
    Path("x").write_text(" ".join(["a"] * (room - around)))
    run_line(session, face, "/read x")
    assert session.tokens_of(face.message.strip()) == room
    face.message = ""
    Path("x").write_text(" ".join(["a"] * (room - around + 1)))
    with pytest.raises(PromptError, match=f"{room + 1:,} of {room:,} tokens"):
        run_line(session, face, "/read x")


def test_without_a_model_nothing_is_counted(open_session: Open, face: NotingFace) -> None:
    engine = ScriptedEngine()
    session = open_session(engine)
    Path("x").write_text("word " * 10_000)
    run_line(session, face, "/read x")
    session.open_model(ModelSource(Path("/models/tiny.gguf")))
    session.wait(5)
    while engine.info is None:
        time.sleep(0.01)
    run_line(session, face, "/read x")  # it is loaded, and nobody has looked yet
    assert session.take_notices() == ["read x: 50,000 characters"] * 2
    assert "word word" in face.message
    finish(session)
    with pytest.raises(PromptError):
        run_line(session, face, "/read x")


def test_a_failed_command_leaves_the_message(session: ChatSession, face: NotingFace) -> None:
    face.message = "mine"
    for line in ("/read", "/read nothing", "/read .", "/read a\0b"):
        with pytest.raises(LlamachatError):
            run_line(session, face, line)
    assert face.message == "mine"
    assert session.take_notices() == []


def test_the_chat_is_called_after_the_question(session: ChatSession, face: NotingFace) -> None:
    Path("x").write_text("one")
    run_line(session, face, "/read x")
    session.send(f"{face.message}What is it?")
    finish(session)
    assert session.conversation.title == "What is it?"
