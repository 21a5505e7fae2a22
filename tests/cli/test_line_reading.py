"""Text files in line mode: in a terminal, in one that knows nothing, and through a pipe."""

from __future__ import annotations

from pathlib import Path

import pytest

from llamachat.chat.file_blocks import behind, file_block
from tests.cli.program import Run, assert_one_line
from tests.cli.talks import CTRL_C, CTRL_D, ENTER, TAB, UP, Stored, Talk, questions, ready
from tests.support.tiny_models import random_model, write_gguf

NOTES = file_block("notes.txt", "one two\n")
CODE = "".join(f"line {number}\n" for number in range(300))
CODE_LABEL = "[code.py: 2,589 characters, 300 lines]"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "notes.txt").write_text("one two\n")
    (tmp_path / "code.py").write_text(CODE)
    return tmp_path


def test_a_file_is_what_the_next_prompt_begins_with(talk: Talk, stored: Stored, folder: Path) -> None:
    terminal = ready(talk(answers=["Yes."]))
    terminal.press(f"/read {folder}/no")
    terminal.wait_for("notes.txt")  # in the menu
    terminal.press(TAB + ENTER)
    terminal.wait_for("read notes.txt: ")
    terminal.wait_for(" tokens of 1,920 that fit")
    ready(terminal).press("What is it?" + ENTER)
    terminal.wait_for("Yes.")
    ready(terminal).press(CTRL_D)
    assert terminal.wait() == 0
    assert questions(stored()) == [f"{NOTES}\n\nWhat is it?"]
    history = (folder / "history").read_text()
    assert "+What is it?" in history
    assert "one two" not in history


def test_files_add_up_as_labels_and_commands_leave_them(talk: Talk, stored: Stored, folder: Path) -> None:
    terminal = ready(talk(answers=["Yes."]))
    for line, seen in (
        (f"/read {folder}/code.py", CODE_LABEL),
        (f"/read {folder}/nothing", "/nothing"),
        ("\x7f" * len(f"/read {folder}/nothing") + f"/read {folder}/notes.txt", "one two"),
        ("/set seed 3", "one two"),
    ):
        terminal.press(line + ENTER)
        terminal.wait_for_prompt()
        terminal.wait_for(seen)
    assert "nothing: no such file" in terminal.screen_text
    assert "tokens, with the text before it" in terminal.screen_text
    terminal.press("Which?" + ENTER)
    terminal.wait_for("Yes.")
    ready(terminal).press(UP)
    terminal.wait_for(CODE_LABEL)
    terminal.press(ENTER)
    terminal.wait_for("Yes.")
    ready(terminal).press(CTRL_D)
    assert terminal.wait() == 0
    assert "line 7" not in terminal.screen_text
    both = behind(behind("", file_block("code.py", CODE)), NOTES)
    assert questions(stored()) == [f"{both}Which?"] * 2
    assert stored().settings.seed == 3


def test_ctrl_c_drops_the_file(talk: Talk, stored: Stored, folder: Path) -> None:
    terminal = ready(talk(answers=["Yes."]))
    terminal.press(f"/read {folder}/code.py" + ENTER)
    terminal.wait_for_prompt()
    terminal.wait_for(CODE_LABEL)
    terminal.press(CTRL_C)
    ready(terminal).press("hi" + ENTER)
    terminal.wait_for("Yes.")
    ready(terminal).press(CTRL_D)
    assert terminal.wait() == 0
    assert questions(stored()) == ["hi"]


def test_an_opened_chat_shows_the_label_of_a_long_file(talk: Talk, folder: Path) -> None:
    terminal = ready(talk(answers=["Yes."], n_ctx=20_000))
    (folder / "code.py").write_text(CODE * 5)
    terminal.press(f"/read {folder}/code.py" + ENTER)
    ready(terminal).press("What is it?" + ENTER)
    terminal.wait_for("Yes.")
    ready(terminal).press(CTRL_D)
    assert terminal.wait() == 0
    terminal = ready(talk("last"))
    assert "> [code.py: 12,949 characters, 1,500 lines]" in terminal.screen_text
    terminal.press(CTRL_D)
    assert terminal.wait() == 0


def test_a_terminal_that_cannot_offer_it_keeps_it_for_the_next_message(
    talk: Talk, stored: Stored, folder: Path
) -> None:
    terminal = talk(answers=["Yes."], env={"TERM": "dumb"})
    for line in (f"/read {folder}/notes.txt", "/set seed 3", "What is it?", "And then?"):
        terminal.wait_for("> ")
        terminal.press(line + ENTER)
    terminal.wait_for("Yes.")
    terminal.wait_for("> ")
    terminal.press(CTRL_D)
    assert terminal.wait() == 0
    assert questions(stored()) == [f"{NOTES}\n\nWhat is it?", "And then?"]


def test_ctrl_c_drops_what_a_terminal_cannot_offer(talk: Talk, stored: Stored, folder: Path) -> None:
    terminal = talk(answers=["Yes."], env={"TERM": "dumb"})
    terminal.wait_for("> ")
    terminal.press(f"/read {folder}/notes.txt{ENTER}")
    terminal.wait_for("read notes.txt")
    terminal.press(CTRL_C)
    terminal.wait_for("Ctrl+D quits")
    terminal.press("What is it?" + ENTER)
    terminal.wait_for("Yes.")
    terminal.wait_for("> ")
    terminal.press(CTRL_D)
    assert terminal.wait() == 0
    assert questions(stored()) == ["What is it?"]


def test_in_a_pipe_files_stand_before_the_next_message(llamachat: Run, own_home: Path, folder: Path) -> None:
    write_gguf(folder / "tiny.gguf", random_model())
    lines = f'/read {folder}/notes.txt\n\n/set seed 3\n"""\nCompare:\n/read {folder}/notes.txt\n"""\nthe on\n'
    done = llamachat("-m", folder / "tiny.gguf", "-n", "1", stdin=lines)
    assert done.stdout.count("seed 3") == 1
    assert "read notes.txt" not in done.stdout
    assert "read notes.txt: " in done.stderr.split("\n")[0]
    shown = llamachat("sessions", "show", "last")
    assert behind(behind(behind("", NOTES) + "Compare:", NOTES), "the on").strip() in shown.stdout


def test_in_a_pipe_what_cannot_be_read_is_an_error_and_the_rest_goes_on(llamachat: Run, folder: Path) -> None:
    write_gguf(folder / "tiny.gguf", random_model())
    done = llamachat("-m", folder / "tiny.gguf", "-n", "1", stdin=f"/read {folder}/nothing\nthe on\n")
    assert done.returncode == 1
    assert_one_line(done.stderr, "nothing: no such file")
    assert "the on" in llamachat("sessions", "show", "last").stdout
