"""Line mode's prompt, with keys through a pipe."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

import pytest
from prompt_toolkit.application import create_app_session
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.output import DummyOutput

from llamachat.cli import terminal_reader
from llamachat.cli.terminal_reader import TerminalReader

CTRL_U = "\x15"


def test_a_folder_that_does_not_answer_holds_up_no_prompt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither this one nor the next, and what is typed instead is completed, however much was typed before."""
    asked, answers, answered = threading.Event(), threading.Event(), threading.Event()
    completed: list[str] = []
    paths: list[str] = []

    def complete_path_line(line: str) -> list[str]:
        paths.append(line)
        if line.startswith("/model /net/"):
            asked.set()
            answers.wait(10)
            answered.set()
        return []

    def complete(line: str) -> list[str]:
        completed.append(line)
        return []

    def type_on() -> None:
        asked.wait(10)
        for place in range(6):  # more than there are threads
            while f"/model /net/{'x' * place}" not in completed and not answered.wait(0.05):
                keys.send_text(f"{CTRL_U}/model /net/{'x' * place}")
        while "/model /home/" not in paths and not answered.wait(0.05):
            keys.send_text(f"{CTRL_U}/model /home/")
        keys.send_text(f"{CTRL_U}hello\r")

    monkeypatch.setattr(terminal_reader, "complete_path_line", complete_path_line)
    with (
        (tmp_path / "nothing").open("w+") as nothing,
        create_pipe_input() as keys,
        create_app_session(input=keys, output=DummyOutput()),
    ):
        monkeypatch.setattr(sys, "stdin", nothing)
        reader = TerminalReader(tmp_path / "history", complete, lambda: "", lambda: "", lambda _text: None)
        keys.send_text("/model /net/x")
        typing = threading.Thread(target=type_on)
        typing.start()
        assert reader.message() == "hello"
        assert "/model /home/" in paths
        keys.send_text("again\r")
        assert reader.message() == "again"
    assert asked.is_set()
    assert not answered.is_set()
    answers.set()
    typing.join()
