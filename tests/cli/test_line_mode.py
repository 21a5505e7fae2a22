"""Line mode in a terminal, with an engine that follows a script."""

from __future__ import annotations

import re
import stat
import termios
from pathlib import Path

import pytest

from llamachat.chat.conversation import Status
from tests.cli.talks import ALT_ENTER, CTRL_C, CTRL_D, CTRL_J, ENTER, TAB, UP, WORDS, Stored, Talk, questions, ready


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
    terminal.wait_for("llamachat: error: a.gguf: is a picture")
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
    (tmp_path / "sessions.db").mkdir()  # of which a long sentence is said, and logged on stderr here
    terminal = ready(talk())
    said = [line for line in terminal.screen_text.splitlines() if line.strip() and str(tmp_path) not in line]
    assert said[0].startswith("nothing could be recovered")
    assert len(said[0]) <= 80
    assert re.fullmatch(r"sessions\.db\.corrupt-[\d-]+", said[1])  # which has no space: it is on one line
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
    terminal.press("/delete" + ENTER)
    terminal.wait_for("[y/N]")
    terminal.press(CTRL_C)  # is no answer
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
