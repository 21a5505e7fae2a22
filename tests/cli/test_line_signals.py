"""Line mode when it is interrupted: Ctrl+C, Ctrl+Z and the signals that end it."""

from __future__ import annotations

import json
import shlex
import shutil
import signal
import sys
from pathlib import Path

import pytest

from llamachat.chat.conversation import Status
from tests.cli.talks import CTRL_C, CTRL_D, CTRL_Z, ENTER, WORDS, Stored, Talk, questions, ready
from tests.cli.terminal import Terminal


def test_ctrl_c_stops_the_answer_and_not_the_program(talk: Talk, stored: Stored) -> None:
    terminal = ready(talk(answers=[WORDS, "The rest."], tokens_per_second=50))
    terminal.press("go" + ENTER)
    terminal.wait_for("word3")
    terminal.press(CTRL_C + CTRL_C + CTRL_C)
    terminal.wait_for("stopped; /continue goes on")
    ready(terminal).press("/continue" + ENTER)
    terminal.wait_for("The rest.")
    ready(terminal).press(CTRL_D)
    assert terminal.wait() == 0
    answer = stored().path[1]
    assert answer.status is Status.COMPLETE
    assert answer.text.startswith("word0 word1 word2 word3")
    assert answer.text.endswith("The rest.")


def test_ctrl_c_before_the_answer_begins_says_how_to_ask_again(talk: Talk, stored: Stored) -> None:
    terminal = ready(talk(answers=["At last."], prefill_ms=3000))
    terminal.press("go" + ENTER)
    terminal.wait_for("reading the prompt")
    terminal.press(CTRL_C)
    terminal.wait_for("stopped before it began; /regenerate asks again")
    assert "0 t/s" not in terminal.output
    ready(terminal).press("/again" + ENTER)
    terminal.wait_for("At last.")
    ready(terminal).press(CTRL_D)
    assert terminal.wait() == 0
    assert [message.text for message in stored().path] == ["go", "At last."]


def test_ctrl_c_while_a_question_waits_for_the_model_says_how_to_load_it(talk: Talk) -> None:
    terminal = ready(talk(answers=["At last."], load_seconds=4))
    terminal.press("go" + ENTER)
    terminal.wait_for("loading the model")
    terminal.press(CTRL_C)
    terminal.wait_for("loading was stopped: /model /models/scripted.gguf loads it")
    ready(terminal).press(CTRL_D)
    assert terminal.wait() == 0
    assert "error" not in terminal.output


def test_ctrl_c_at_the_prompt_says_how_to_leave(talk: Talk) -> None:
    terminal = ready(talk())
    terminal.press("unfinished" + CTRL_C)
    terminal.wait_for("Ctrl+D quits; /help lists the commands.")
    ready(terminal).press("/quit" + ENTER)
    assert terminal.wait() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it_at_the_prompt_and_keeps_the_draft(talk: Talk, number: signal.Signals) -> None:
    terminal = talk()
    before = terminal.settings()
    ready(terminal).press("half a thou")
    terminal.wait_for("half a thou")
    terminal.signal(number)
    assert terminal.wait() == 128 + number
    assert terminal.settings() == before
    assert "Traceback" not in terminal.output
    terminal = ready(talk())
    assert "half a thou" in terminal.screen_text
    terminal.press(CTRL_C)
    terminal.wait_for("/help lists the commands.")
    ready(terminal).press(CTRL_D)
    assert terminal.wait() == 0


def test_a_signal_in_the_middle_of_an_answer_keeps_what_is_there(talk: Talk, stored: Stored) -> None:
    terminal = ready(talk(answers=[WORDS], tokens_per_second=50))
    terminal.press("go" + ENTER)
    terminal.wait_for("word3")
    terminal.signal(signal.SIGTERM)
    assert terminal.wait() == 128 + signal.SIGTERM
    assert "Traceback" not in terminal.output
    answer = stored().path[1]
    assert answer.status is Status.STOPPED
    assert answer.text.startswith("word0 word1 word2 word3")


def test_ctrl_z_suspends_and_what_is_typed_after_fg_waits_unseen(tmp_path: Path, stored: Stored) -> None:
    shell = shutil.which("bash")
    if shell is None:
        pytest.skip("no shell with job control here")
    options = json.dumps({"answers": [WORDS, "Yes."], "tokens_per_second": 100})
    command = [sys.executable, "-m", "tests.cli.scripted_chat", str(tmp_path), options]
    (tmp_path / "talk").write_text(f"exec {shlex.join(command)}\n")
    with Terminal([shell, "--norc", "-i"], {"PS1": "shell> "}) as terminal:
        terminal.wait_for("shell> ")
        terminal.press(f"sh {tmp_path}/talk" + ENTER)
        terminal.wait_for("/help")  # the line under the prompt
        terminal.press(CTRL_Z)
        terminal.wait_for("shell> ")
        terminal.press("fg" + ENTER)
        terminal.wait_for("/help")
        terminal.press("go" + ENTER)
        terminal.wait_for("word3")
        terminal.press(CTRL_Z)
        terminal.wait_for("shell> ")
        terminal.press("fg" + ENTER)
        terminal.wait_for("word1")
        terminal.press("ahead" + ENTER)
        terminal.wait_for("word399")
        assert "ahead" not in terminal.waited_for
        terminal.wait_for("Yes.")
        terminal.wait_for("/help")
        terminal.press(CTRL_D)
        terminal.wait_for("shell> ")
    assert questions(stored()) == ["go", "ahead"]


@pytest.mark.parametrize("step", [1, 2])
def test_a_signal_between_two_steps_of_the_prompt_ends_it_too(talk: Talk, step: int) -> None:
    terminal = ready(talk(hang_up_at_step=step))
    terminal.press("half a thou")
    assert terminal.wait() == 128 + signal.SIGHUP
    assert "half a thou" in ready(talk()).screen_text
