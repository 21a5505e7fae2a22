"""Line mode in a terminal, with an engine that follows a script."""

from __future__ import annotations

import json
import shlex
import shutil
import signal
import stat
import sys
import termios
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from llamachat.chat.conversation import Conversation, Role, Status
from llamachat.chat.store import SessionStore
from tests.cli.terminal import Terminal

ENTER, CTRL_C, CTRL_D, CTRL_J, CTRL_Z = "\r", "\x03", "\x04", "\x0a", "\x1a"
ALT_ENTER, TAB, UP = "\x1b\r", "\t", "\x1b[A"
WORDS = " ".join(f"word{number}" for number in range(400))

Talk = Callable[..., Terminal]


@pytest.fixture
def talk(tmp_path: Path) -> Iterator[Talk]:
    """``talk(answers=[...])``: line mode in a terminal, which is closed at the end."""
    with ExitStack() as terminals:

        def start(*arguments: str, env: dict[str, str] | None = None, **options: Any) -> Terminal:
            command = [sys.executable, "-m", "tests.cli.scripted_chat", str(tmp_path), json.dumps(options), *arguments]
            return terminals.enter_context(Terminal(command, env))

        yield start


@pytest.fixture
def stored(tmp_path: Path) -> Callable[[], Conversation]:
    """The chat that was used last, as it is on disk."""

    def load() -> Conversation:
        with closing(SessionStore(tmp_path)) as store:
            return store.load(store.sessions()[0].id)

    return load


Stored = Callable[[], Conversation]


def ready(terminal: Terminal) -> Terminal:
    """Waits until it reads keys."""
    terminal.wait_for_prompt()
    return terminal


def questions(conversation: Conversation) -> list[str]:
    return [message.text for message in conversation.path if message.role is Role.USER]


def test_a_question_is_answered_and_stored(talk: Talk, stored: Stored) -> None:
    terminal = ready(talk(answers=["Hello there, friend."]))
    terminal.press("hi" + ENTER)
    terminal.wait_for("Hello there, friend.")
    terminal.wait_for("5 tokens, context")
    ready(terminal).press(CTRL_D)
    assert terminal.wait() == 0
    assert [message.text for message in stored().path] == ["hi", "Hello there, friend."]


def test_the_prompt_is_there_before_the_model(talk: Talk, stored: Stored) -> None:
    terminal = talk(answers=["At last."], load_seconds=2.5)
    terminal.wait_for("what you send waits for it")
    terminal.press("hi" + ENTER)
    terminal.wait_for("loading the model")  # a wait of more than a second explains itself
    terminal.wait_for("At last.")
    ready(terminal).press(CTRL_D)
    assert terminal.wait() == 0
    assert questions(stored()) == ["hi"]


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
    terminal.wait_for("stopped before it began; /again asks again")
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


def test_what_is_typed_during_an_answer_waits_unseen_for_the_next_prompt(talk: Talk, stored: Stored) -> None:
    terminal = ready(talk(answers=[WORDS, "Yes."], tokens_per_second=400))
    terminal.press("go" + ENTER)
    terminal.wait_for("word3")
    terminal.press("ahead" + ENTER + CTRL_D)
    terminal.wait_for("word399")
    assert "ahead" not in terminal.waited_for
    terminal.wait_for("Yes.")
    assert terminal.wait() == 0
    assert questions(stored()) == ["go", "ahead"]


def test_ctrl_c_at_the_prompt_says_how_to_leave(talk: Talk) -> None:
    terminal = ready(talk())
    terminal.press("unfinished" + CTRL_C)
    terminal.wait_for("Ctrl+D quits; /help lists the commands.")
    ready(terminal).press("/quit" + ENTER)
    assert terminal.wait() == 0


def test_the_terminal_is_put_back(talk: Talk) -> None:
    terminal = talk()
    before = terminal.settings()
    ready(terminal)
    assert terminal.settings() != before
    terminal.press(CTRL_D)
    assert terminal.wait() == 0
    assert terminal.settings() == before
    assert terminal.output.rindex("\x1b[?2004l") > terminal.output.rindex("\x1b[?2004h")
    assert "\x1b[?1049h" not in terminal.output


@pytest.mark.parametrize(
    "typed",
    [
        "\x1b[200~one\r\ntwo\nthree\x1b[201~",
        f"one{CTRL_J}two{ALT_ENTER}three",
        f'"""{ENTER}one{ENTER}two{ENTER}three{ENTER}"""',
    ],
    ids=["pasted", "keys", "quotes"],
)
def test_a_message_of_several_lines_goes_as_one(talk: Talk, stored: Stored, typed: str) -> None:
    terminal = ready(talk(answers=["Yes."]))
    terminal.press(typed)
    terminal.wait_for("three")
    terminal.press(ENTER)
    terminal.wait_for("Yes.")
    ready(terminal).press(CTRL_D)
    assert terminal.wait() == 0
    assert questions(stored()) == ["one\ntwo\nthree"]


def test_commands_complete_and_run(talk: Talk, stored: Stored) -> None:
    terminal = ready(talk(answers=["First.", "Second."]))
    terminal.press("hi" + ENTER)
    terminal.wait_for("First.")
    ready(terminal).press("/regen")
    terminal.wait_for("/regenerate")  # in the menu
    terminal.press(TAB + ENTER)
    terminal.wait_for("Second.")
    ready(terminal).press("/previous" + ENTER)
    terminal.wait_for("1 of 2")
    terminal.wait_for("First.")
    ready(terminal).press("/set top-k 7" + ENTER)
    terminal.wait_for("top-k 7")
    ready(terminal).press("/nonsense" + ENTER)
    terminal.wait_for("llamachat: error: no command /nonsense")
    ready(terminal).press("//etc is a folder" + ENTER)
    terminal.wait_for("Second.")
    ready(terminal).press("/quit" + ENTER)
    assert terminal.wait() == 0
    assert questions(stored()) == ["hi", "/etc is a folder"]
    assert stored().settings.top_k == 7


def test_what_was_sent_comes_back_with_the_up_key_also_next_time(talk: Talk, stored: Stored, tmp_path: Path) -> None:
    terminal = ready(talk(answers=["Yes."]))
    terminal.press("remember me" + ENTER)
    terminal.wait_for("Yes.")
    ready(terminal).press(CTRL_D)
    terminal.wait()
    assert stat.S_IMODE((tmp_path / "history").stat().st_mode) == 0o600
    terminal = ready(talk(answers=["Again."]))
    terminal.press(UP)
    terminal.wait_for("remember me")
    terminal.press(ENTER)
    terminal.wait_for("Again.")
    ready(terminal).press(CTRL_D)
    assert terminal.wait() == 0
    assert questions(stored()) == ["remember me"]


def test_a_model_that_does_not_load_is_told_above_the_prompt(talk: Talk) -> None:
    terminal = talk(load_error="a.gguf: is a picture", load_seconds=0.5)
    terminal.wait_for("a.gguf: is a picture")
    ready(terminal).press("/help" + ENTER)
    terminal.wait_for("/regenerate")
    ready(terminal).press(CTRL_D)
    assert terminal.wait() == 0


def test_without_a_model_the_next_command_is_named(talk: Talk) -> None:
    terminal = talk(no_model=True)
    terminal.wait_for("no model yet; /pull fetches the default one, /model FILE opens another")
    ready(terminal).press("hi" + ENTER)
    terminal.wait_for("/pull fetches the default one")
    ready(terminal).press(CTRL_D)
    assert terminal.wait() == 0


def test_words_are_not_broken_at_the_edge(talk: Talk) -> None:
    words = [f"word{number}" for number in range(40)]
    terminal = ready(talk(answers=[" ".join(words)]))
    terminal.press("hi" + ENTER)
    terminal.wait_for("40 tokens, context")
    lines = [line for line in terminal.screen_text.splitlines() if line.startswith("word")]
    assert [word for line in lines for word in line.split()] == words
    assert max(map(len, lines)) <= 80
    ready(terminal).press(CTRL_D)
    assert terminal.wait() == 0


def test_notes_are_not_broken_within_a_word_either(talk: Talk, tmp_path: Path) -> None:
    (tmp_path / "sessions.db").mkdir()  # of which a long sentence is said
    terminal = ready(talk())
    lines = [line for line in terminal.screen_text.splitlines() if line.strip()]
    assert len(lines) > 1
    assert all(len(line) <= 80 for line in lines[:2])
    folder = str(tmp_path)  # which has no space: it is on one line, however long the sentence
    assert any(folder in line for line in lines)
    terminal.press(CTRL_D)
    assert terminal.wait() == 0


def test_an_opened_chat_shows_where_it_was_left(talk: Talk, stored: Stored) -> None:
    terminal = ready(talk(answers=["An answer to keep."]))
    terminal.press("A question to keep" + ENTER)
    terminal.wait_for("An answer to keep.")
    ready(terminal).press(CTRL_D)
    terminal.wait()
    terminal = talk("last", answers=["More."])
    terminal.wait_for("A question to keep (2 messages)")
    terminal.wait_for("> A question to keep")
    terminal.wait_for("An answer to keep.")
    ready(terminal).press("go on" + ENTER)
    terminal.wait_for("More.")
    ready(terminal).press(CTRL_D)
    assert terminal.wait() == 0
    assert questions(stored()) == ["A question to keep", "go on"]


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


def test_what_a_model_says_cannot_steer_the_terminal(talk: Talk) -> None:
    terminal = ready(talk(answers=["a \x1b]52;c;eA==\x07 b \x1b[2J c \x9b31m \u202e d."]))
    terminal.press("hi" + ENTER)
    terminal.wait_for("d.")
    for hostile in ("\x1b]52", "\x1b[2J", "\x9b", "\u202e", "\x07"):
        assert hostile not in terminal.output
    ready(terminal).press(CTRL_D)
    assert terminal.wait() == 0


def test_a_dumb_terminal_gets_no_escape_sequence(talk: Talk, stored: Stored) -> None:
    terminal = talk(answers=["Plainly.", WORDS], tokens_per_second=200, env={"TERM": "dumb"})
    terminal.wait_for("> ")
    terminal.press("hi" + ENTER)
    terminal.wait_for("Plainly.")
    terminal.wait_for("> ")
    terminal.press("more" + ENTER)
    terminal.wait_for("word3")
    terminal.press(CTRL_C)
    terminal.wait_for("stopped; /continue goes on")
    terminal.wait_for("> ")
    terminal.press("/delete" + ENTER)
    terminal.wait_for("[y/N]")
    terminal.press("n" + ENTER)
    terminal.wait_for("> ")
    terminal.press(CTRL_D)
    assert terminal.wait() == 0
    assert "\x1b" not in terminal.output
    assert questions(stored()) == ["hi", "more"]


def test_no_color_leaves_colours_out(talk: Talk) -> None:
    terminal = ready(talk(answers=["Yes."], env={"NO_COLOR": "1"}))
    terminal.press("hi" + ENTER)
    terminal.wait_for("Yes.")
    ready(terminal).press(CTRL_D)
    assert terminal.wait() == 0
    assert "\x1b[2m" not in terminal.output
    assert "90m" not in terminal.output


def test_a_chat_is_chosen_from_a_list(talk: Talk) -> None:
    terminal = ready(talk(answers=["One."]))
    terminal.press("first chat" + ENTER)
    terminal.wait_for("One.")
    ready(terminal).press("/new" + ENTER)
    terminal.wait_for("New chat (0 messages)")
    ready(terminal).press("second chat" + ENTER)
    terminal.wait_for("One.")
    ready(terminal).press("/sessions" + ENTER)
    terminal.wait_for("2  first chat")
    terminal.wait_for("Which chat?")
    terminal.press("2" + ENTER)
    terminal.wait_for("first chat (2 messages)")
    ready(terminal).press(CTRL_D)
    assert terminal.wait() == 0


def test_terminal_modes_are_compared_by_value(talk: Talk) -> None:
    """The comparison that the tests above rest on can tell a raw terminal from another."""
    terminal = ready(talk())
    flags = terminal.settings()[3]
    assert isinstance(flags, int)
    assert not flags & termios.ICANON
    terminal.press(CTRL_D)
    assert terminal.wait() == 0


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


def test_what_commands_say_is_broken_between_words(talk: Talk) -> None:
    terminal = ready(talk())
    for line in ("/format", "/set nosuch 1"):
        terminal.press(line + ENTER)
        ready(terminal)
    assert "mistral-v1,\r\nmistral-v3" in terminal.screen_text
    assert "top-k,\r\nmin-p" in terminal.screen_text


def test_an_alternative_that_is_none_and_an_answer_that_is_over_say_so(talk: Talk, stored: Stored) -> None:
    terminal = ready(talk(answers=["One.", "Two.", ""]))
    terminal.press("go" + ENTER)
    terminal.wait_for("One.")
    ready(terminal).press("/again" + ENTER)
    terminal.wait_for("Two.")
    ready(terminal).press("/next" + ENTER)
    terminal.wait_for("there is no alternative after this one")
    ready(terminal).press("/continue" + ENTER)
    terminal.wait_for("there is nothing more to say")
    ready(terminal).press(CTRL_D)
    assert terminal.wait() == 0
    answer = stored().path[1]
    assert answer.status is Status.COMPLETE
    assert answer.timings is not None
    assert answer.timings.answer_tokens > 0  # the figures of its words
