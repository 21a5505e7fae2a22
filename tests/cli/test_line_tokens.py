"""``/tokens`` in line mode: on a terminal, and through a pipe."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.cli.talks import CTRL_C, CTRL_D, ENTER, Stored, Talk, ready

TEXT = "one two three four five six seven eight"


def piped(data: Path, lines: str, **options: object) -> subprocess.CompletedProcess[str]:
    """Line mode reading ``lines`` from a pipe."""
    command = [sys.executable, "-m", "tests.cli.scripted_chat", str(data), json.dumps(options)]
    return subprocess.run(command, input=lines, capture_output=True, text=True, timeout=60)


def test_the_least_sure_tokens_and_what_else_could_have_stood_there(tmp_path: Path) -> None:
    done = piped(tmp_path, "count\n/tokens\n", answers=[TEXT])
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == TEXT
    assert lines[1].startswith("8 tokens, perplexity ")
    assert '    4  " four"     4.0 %  " autumn" 57.6 %, " spring" 28.8 %, " winter" 9.6 %' in lines
    assert '    8  " eight"    4.0 %  " autumn" 57.6 %, " spring" 28.8 %, " winter" 9.6 %' in lines
    assert "\x1b" not in done.stdout


def test_a_place_and_going_on_from_it(tmp_path: Path) -> None:
    done = piped(tmp_path, "count\n/tokens 4\n/tokens 4 2\n", answers=[TEXT, " more"])
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[1:] == [
        'place 4 of 9, after “one two three”: " four"',
        "                 model   as set",
        ' 1  " autumn"   57.6 %   57.6 %',
        ' 2  " spring"   28.8 %   28.8 %',
        ' 3  " winter"    9.6 %    0.0 %',
        ' 4 *" four"      4.0 %    0.0 %',
        "one two three spring more",
    ]


def test_what_is_wrong_is_said(tmp_path: Path) -> None:
    done = piped(tmp_path, "/tokens\ncount\n/tokens 4 1\n/tokens 12\n/tokens x\n", answers=[TEXT])
    assert done.returncode == 1
    errors = done.stderr.splitlines()
    assert [error.split("error: ")[1][:30] for error in errors] == [
        "there is no answer here yet",
        "look first, then choose: /toke",
        "a place from 1 to 9, not 12",
        "/tokens takes nothing, a place",
    ]


def test_an_answer_that_was_cut(tmp_path: Path) -> None:
    done = piped(tmp_path, "/set max-tokens 3\ncount\n/tokens 4\n", answers=[TEXT])
    assert "place 4 of 4, after “one two three”: the answer was cut here" in done.stdout


def test_tokens_steer_no_terminal(tmp_path: Path) -> None:
    done = piped(tmp_path, "count\n/tokens\n/tokens 2\n/tokens 3\n", answers=["a\x1b]0;title\x07 \u202eback"])
    assert done.returncode == 0, done.stderr
    tables = done.stdout.partition("12 tokens, perplexity")[2]  # the answer itself goes to a pipe as it is
    assert "bytes 80" in tables
    assert "\ufffd" in tables
    assert "\x1b" not in tables
    assert "\u202e" not in tables


def test_on_a_terminal_in_colours(talk: Talk, stored: Stored) -> None:
    terminal = ready(talk(answers=[TEXT, " more"]))
    terminal.press("count" + ENTER)
    ready(terminal).press("/tokens" + ENTER)
    terminal.wait_for("\x1b[4;31m four\x1b[0m")
    terminal.wait_for("the model was least sure of:")
    ready(terminal).press("/tokens 4 2" + ENTER)
    terminal.wait_for("one two three spring more")
    ready(terminal).press(CTRL_D)
    assert terminal.wait() == 0
    assert [message.text for message in stored().path] == ["count", "one two three spring more"]


def test_ctrl_c_stops_looking(talk: Talk) -> None:
    words = " ".join(f"word{number}" for number in range(40))
    terminal = ready(talk(answers=[words], look_seconds=30))
    terminal.press("count" + ENTER)
    ready(terminal).press("/tokens" + ENTER)
    terminal.wait_for("looking at the tokens")
    terminal.press(CTRL_C)
    terminal.wait_for("looking was stopped")
    ready(terminal).press(CTRL_D)
    assert terminal.wait() == 0
