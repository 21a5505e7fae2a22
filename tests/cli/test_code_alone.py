"""``ask --code``: the code of an answer, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from llamachat.cli.generation import Answer
from llamachat.cli.oneshot import _code
from llamachat.engine.events import Finished, StopReason, Timings, TokenEvent
from llamachat.errors import LlamachatError
from tests.cli.program import Run, assert_one_line
from tests.support.default_model import DEFAULT_MODEL, needs_default_model

GREEDY = ("--temperature", "0")


def answer_of(text: str, *, interruption: BaseException | None = None) -> Answer:
    finished = Finished(StopReason.END, Timings())
    return Answer([TokenEvent(1, text)], finished, interruption)


def test_the_first_block_is_the_code() -> None:
    assert _code(answer_of("Sure:\n```python\nx = 1\n\ny = 2\n```\nand\n```\nz\n```")) == "x = 1\n\ny = 2"
    assert _code(answer_of("```sh\necho hi")) == "echo hi"  # cut before its end


def test_words_are_no_code() -> None:
    with pytest.raises(LlamachatError, match="there is no code in this answer"):
        _code(answer_of("Use `x = 1` there."))
    assert _code(answer_of("Use", interruption=KeyboardInterrupt())) == ""


def test_code_alone_is_printed_or_the_reason_why_not(llamachat: Run, chat_model: Path) -> None:
    done = llamachat("ask", "-x", "-m", chat_model, *GREEDY, "-n", "4", "hello")
    assert done.returncode == 1
    assert done.stdout == ""
    assert_one_line(done.stderr, "there is no code in this answer (without --code it is shown whole)")
    done = llamachat("ask", "-x", "-m", chat_model, "--n-ctx", "64", "--seed", "3", "What?")
    assert (done.returncode, done.stdout) == (1, "")
    assert_one_line(done.stderr, "there is no code in this answer (cut: the context is full")
    done = llamachat("ask", "--code", "--json", "-m", chat_model, "hello")
    assert done.returncode == 2
    assert "--code goes without --json" in done.stderr


@needs_default_model
def test_the_default_model_writes_code(llamachat: Run) -> None:
    question = "Write a Python function that adds two numbers, in a code block."
    done = llamachat("ask", "-x", "-m", DEFAULT_MODEL, "--seed", "3", question)
    assert done.returncode == 0, done.stderr
    assert "```" not in done.stdout
    assert done.stdout.startswith("def ")
