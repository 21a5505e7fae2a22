"""``llamachat`` itself: which face, which model, which chat; and the same through a pipe."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from llamachat.chat.conversation import Conversation, Role
from llamachat.chat.store import SessionStore
from tests.cli.program import COMMAND, QUICK, Run, assert_one_line
from tests.cli.talks import Stored, questions
from tests.cli.terminal import Terminal
from tests.support.tiny_models import random_model, write_gguf, write_llama2c, write_tokenizer_bin
from tests.support.tiny_vocabularies import spm_vocabulary


@pytest.fixture
def stored(own_home: Path) -> Callable[[], Conversation]:
    """The chat that was used last, as it is on disk."""

    def load() -> Conversation:
        with closing(SessionStore(own_home / ".local/share/llamachat")) as store:
            return store.load(store.sessions()[0].id)

    return load


# ---- through a pipe ---------------------------------------------------------


def test_messages_come_line_by_line_and_answers_go_out(llamachat: Run, model: Path, stored: Stored) -> None:
    done = llamachat("-m", model, *QUICK, stdin='the\n\n"""\non the\nin\n"""\n')
    assert (done.returncode, done.stderr) == (0, "")
    assert questions(stored()) == ["the", "on the\nin"]
    answers = [message.text for message in stored().path if message.role is Role.ASSISTANT]
    assert done.stdout == "".join(answer + "\n" for answer in answers)
    assert all(answers)


@pytest.mark.parametrize("command", ["/delete", "/rename", "/edit", "/sessions", "/model"])
def test_a_question_to_a_person_takes_no_message_from_a_pipe(
    llamachat: Run, model: Path, stored: Stored, own_home: Path, command: str
) -> None:
    models = own_home / ".local/share/llamachat/models"
    models.mkdir(parents=True)
    (models / "a.gguf").write_bytes(model.read_bytes())
    done = llamachat("-m", model, *QUICK, stdin=f"the\n{command}\non the\n")
    assert done.returncode == 1
    assert_one_line(done.stderr, "nobody is here to answer")
    assert questions(stored()) == ["the", "on the"]


def test_prompt_format_and_system_prompt_are_told_in_a_pipe(llamachat: Run, model: Path) -> None:
    done = llamachat("-m", model, "--prompt-format", "chatml", stdin="/format\n/system\n/system Be.\n/system\n")
    assert (done.returncode, done.stderr) == (0, "")
    first, names, none, own = done.stdout.splitlines()
    assert first == "prompt format: chatml (set for this chat)"
    assert names.startswith("there are: auto, ")
    assert none == "system prompt: none, or the model's own"
    assert own == "system prompt: Be."


def test_a_model_that_cannot_be_opened_leaves_the_one_before(
    llamachat: Run, model: Path, stored: Stored, tmp_path: Path
) -> None:
    broken = tmp_path / "zero.gguf"
    broken.touch()
    done = llamachat("-m", model, *QUICK, stdin=f"the\n/model {broken}\non the\n")
    assert done.returncode == 1
    assert_one_line(done.stderr, "zero.gguf")
    assert questions(stored()) == ["the", "on the"]
    assert len(stored().path) == 4


def test_what_the_context_has_no_room_for_is_told_in_a_pipe(llamachat: Run, model: Path) -> None:
    done = llamachat("-m", model, "-n", "40", "--n-ctx", "64", "--temperature", "0", stdin="the on in\n" * 6)
    assert done.returncode == 0
    assert done.stderr.splitlines() == [f"the first {2 * n} messages left out" for n in range(1, 6)]


def test_commands_work_through_a_pipe(llamachat: Run, model: Path, stored: Stored) -> None:
    done = llamachat("-m", model, *QUICK, stdin="the\n/again\n/set top-k 3\n/quit\nnever read\n")
    assert (done.returncode, done.stderr) == (0, "")
    assert questions(stored()) == ["the"]
    chat = stored()
    assert chat.siblings(chat.path[1]) == (1, 2)
    assert "top-k 3" in done.stdout
    assert chat.settings.top_k == 3


def test_a_message_that_cannot_be_taken_is_told_and_the_next_one_answered(
    llamachat: Run, model: Path, stored: Stored
) -> None:
    done = llamachat("-m", model, *QUICK, stdin="on " * 200 + "\n/nonsense\nthe\n")
    assert done.returncode == 1
    first, second = done.stderr.splitlines()
    assert_one_line(first + "\n", "tokens that fit the context")
    assert_one_line(second + "\n", "no command /nonsense")
    assert questions(stored()) == ["the"]
    assert done.stdout


def test_a_stored_chat_keeps_its_own_whatever_the_configuration_says(
    llamachat: Run, model: Path, stored: Stored, own_home: Path
) -> None:
    llamachat("--plain", "-m", model, "-n", "4", "--temperature", "0.5", "--system", "Mine.", stdin="the\n")
    config = own_home / ".config/llamachat/config.toml"
    config.parent.mkdir(parents=True)
    config.write_text("temperature = 0.1\ntop-k = 3\nsystem = 'Usual.'\nprompt-format = 'alpaca'\n")
    done = llamachat("last", "--plain", "--top-k", "7", stdin="on the\n", env={"LLAMACHAT_MIN_P": "0.4"})
    assert done.returncode == 0, done.stderr
    chat = stored()
    assert questions(chat) == ["the", "on the"]
    assert (chat.system, chat.prompt_format) == ("Mine.", "")
    assert (chat.settings.temperature, chat.settings.top_k, chat.settings.min_p) == (0.5, 7, 0.4)
    llamachat("last", "--plain", "--preset", "greedy", stdin="on\n")
    assert stored().settings.temperature == 0.0
    llamachat("--plain", "-m", model, "-n", "4", stdin="new one\n")
    assert (stored().system, stored().settings.temperature) == ("Usual.", 0.1)


def test_a_stored_chat_goes_on_with_its_model_and_settings(llamachat: Run, model: Path, stored: Stored) -> None:
    llamachat("-m", model, *QUICK, "--top-k", "9", "--system", "Be.", stdin="the\n")
    assert llamachat("last", stdin="on the\n").returncode == 0
    chat = stored()
    assert questions(chat) == ["the", "on the"]
    assert (chat.settings.temperature, chat.settings.max_tokens, chat.settings.top_k) == (0.0, 4, 9)
    assert (chat.system, chat.model_path) == ("Be.", str(model))
    done = llamachat("the", "--top-k", "5", "--system", "", stdin="in\n", env={"LLAMACHAT_MIN_P": "0.5"})
    assert done.returncode == 0, done.stderr
    chat = stored()
    assert questions(chat) == ["the", "on the", "in"]
    assert (chat.settings.top_k, chat.settings.min_p, chat.settings.max_tokens, chat.system) == (5, 0.5, 4, "")


def test_the_model_used_last_is_used_again_by_a_person_and_by_no_script(
    llamachat: Run, model: Path, stored: Stored, own_home: Path
) -> None:
    llamachat("-m", os.path.relpath(model), *QUICK, stdin="the\n")
    with Terminal([str(COMMAND), "--plain", *QUICK]) as terminal:
        terminal.wait_for("tiny · context")
        terminal.press("on the\r")
        terminal.wait_for("4 tokens, context")
        terminal.press("/quit\r")
        assert terminal.wait() == 0
    assert questions(stored()) == ["on the"]

    for script in ([], ["ask", "the"], ["complete", "the"], ["tokenize", "the"]):
        done = llamachat(*QUICK, *script, stdin="the\n")
        assert (done.returncode, done.stdout) == (1, "")
        assert_one_line(done.stderr, "no model yet")
    shelf = own_home / ".local/share/llamachat/models"
    shelf.mkdir()
    for name in ("b.gguf", "a.gguf"):
        write_gguf(shelf / name, random_model())
    assert_one_line(llamachat("ask", "the").stderr, "which model? Name one with -m", ": a, b")
    done = llamachat("ask", *QUICK, "the", env={"LLAMACHAT_MODEL": "b"})
    assert done.returncode == 0, done.stderr
    (shelf / "b.gguf").unlink()
    assert llamachat("ask", *QUICK, "the").returncode == 0  # the only one there is


def test_a_model_without_vocabulary_takes_one(llamachat: Run, tmp_path: Path) -> None:
    write_llama2c(tmp_path / "model.bin", random_model())
    write_tokenizer_bin(tmp_path / "words.bin", spm_vocabulary())
    done = llamachat("-m", tmp_path / "model.bin", *QUICK, stdin="the\n")
    assert done.returncode == 1
    assert_one_line(done.stderr, "--tokenizer FILE")
    arguments = ("-m", tmp_path / "model.bin", "--tokenizer", tmp_path / "words.bin")
    assert llamachat(*arguments, *QUICK, stdin="the\n").returncode == 0
    assert llamachat("the", stdin="in\n").returncode == 0  # a chat need not be given it again
    done = llamachat("complete", "-m", tmp_path / "model.bin", *QUICK, "in")
    assert_one_line(done.stderr, "--tokenizer FILE")  # a command does not look at what chats did
    assert llamachat("complete", *arguments, *QUICK, "in").returncode == 0


def test_an_interrupt_ends_a_piped_chat_and_keeps_the_answer(endless: Path, stored: Stored) -> None:
    command = [str(COMMAND), "-m", str(endless), "-n", "1000000", "--seed", "1"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b"the\non the\n")
        process.stdin.flush()
        first = os.read(process.stdout.fileno(), 1)
        process.send_signal(signal.SIGINT)
        rest, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (130, b"")
    chat = stored()
    assert questions(chat) == ["the"]
    answer = chat.path[1]
    assert (first + rest).decode() == answer.text + ("" if answer.text.endswith("\n") else "\n")


def test_a_home_that_is_nobodys_is_no_such_file(llamachat: Run) -> None:
    done = llamachat("-m", "~nobody-of-this-name/model.gguf")
    assert done.returncode == 1
    assert_one_line(done.stderr, "~nobody-of-this-name/model.gguf: no such file")


def test_an_unknown_chat_is_refused(llamachat: Run, model: Path) -> None:
    done = llamachat("-m", model, "nope", stdin="hi\n")
    assert done.returncode == 1
    assert_one_line(done.stderr, "nope: no such chat", "llamachat --help")


def test_an_unknown_format_is_refused(llamachat: Run, model: Path) -> None:
    done = llamachat("-m", model, "--prompt-format", "nope")
    assert done.returncode == 2
    assert_one_line(done.stderr, "--prompt-format takes one of llama2, ")


def test_a_closed_pipe_ends_it_quietly(model: Path) -> None:
    with subprocess.Popen(
        [COMMAND, "-m", model, "-n", "100"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        process.stdin.write(b"the\n")
        process.stdin.close()
        assert process.stderr.read() == b""
    assert process.returncode == 128 + signal.SIGPIPE


# ---- faces ------------------------------------------------------------------


def test_a_terminal_gets_the_full_screen(model: Path) -> None:
    with Terminal([str(COMMAND), "-m", str(model)], rows=40, columns=120) as terminal:
        terminal.wait_for("tiny")
        assert "\x1b[?1049h" in terminal.output
        terminal.press("\x11")  # Ctrl+Q
        assert terminal.wait() == 0
        assert terminal.output.rindex("\x1b[?1049l") > terminal.output.rindex("\x1b[?1049h")


def test_the_full_screen_has_the_keys_of_the_configuration_and_line_mode_needs_none(
    llamachat: Run, model: Path, own_home: Path
) -> None:
    file = own_home / ".config/llamachat/config.toml"
    file.parent.mkdir(parents=True)
    file.write_text('[keys]\n"chat.palette" = "alt+p"\nchat.nwe = "f5"\n"app.quit" = "ctrl+x"\n')
    with Terminal([str(COMMAND), "-m", str(model)], rows=40, columns=120) as terminal:
        terminal.wait_for("alt+p commands")
        terminal.wait_for('Keys: there is no "chat.nwe"')
        terminal.press("\x11\x1bp")  # Ctrl+Q, which does nothing now, and Alt+P as most terminals send it
        terminal.wait_for("/new")
        terminal.press("\x18")
        assert terminal.wait() == 0
    done = llamachat("--plain", "-m", model, stdin="/quit\n")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("arguments", [[], ["--plain"]])
def test_a_long_text_that_was_not_sent_does_not_go_along_with_the_first_question(
    own_home: Path, model: Path, arguments: list[str]
) -> None:
    data, pasted = own_home / ".local/share/llamachat", "pasted " * 10_000
    data.mkdir(parents=True)
    with closing(SessionStore(data)) as store:
        store.save(Conversation(draft=pasted))
    with Terminal([str(COMMAND), "-m", str(model), *QUICK, *arguments], rows=40, columns=120) as terminal:
        terminal.wait_for("a text of 70,000 characters that was not sent waits")
        if arguments:
            terminal.wait_for_prompt()
        terminal.press("the\r")
        terminal.wait_for("cut at the reply length")
        terminal.press("\x11" if not arguments else "/quit\r")
        assert terminal.wait() == 0
    with closing(SessionStore(data)) as store:
        sent, unsent = (store.load(summary.id) for summary in store.sessions())
    assert questions(sent) == ["the"]
    assert unsent.draft == pasted


@pytest.mark.parametrize(
    ("arguments", "env"), [(["--plain"], {}), ([], {"TERM": "dumb"}), ([], {"LLAMACHAT_PLAIN": "1"})]
)
def test_plain_and_dumb_terminals_get_lines(model: Path, arguments: list[str], env: dict[str, str]) -> None:
    with Terminal([str(COMMAND), "-m", str(model), *QUICK, *arguments], env) as terminal:
        terminal.wait_for(">")
        terminal.press("the\r")
        terminal.wait_for("4 tokens, context")
        terminal.press("/quit\r")
        assert terminal.wait() == 0
        assert "\x1b[?1049h" not in terminal.output
        assert ("\x1b" in terminal.output) == ("TERM" not in env)


def test_a_terminal_whose_stderr_goes_elsewhere_gets_lines(model: Path, tmp_path: Path) -> None:
    command = ["/bin/sh", "-c", f'"$0" "$@" 2>{tmp_path}/log', str(COMMAND), "-m", str(model), *QUICK]
    with Terminal(command) as terminal:
        terminal.wait_for(">")
        terminal.press("/quit\r")
        assert terminal.wait() == 0
        assert "\x1b[?1049h" not in terminal.output


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_the_full_screen_ends_cleanly_on_a_signal(model: Path, number: signal.Signals) -> None:
    with Terminal([str(COMMAND), "-m", str(model)], rows=40, columns=120) as terminal:
        terminal.wait_for("tiny")
        terminal.signal(number)
        assert terminal.wait() == 128 + number
        assert terminal.output.rindex("\x1b[?1049l") > terminal.output.rindex("\x1b[?1049h")
        assert "Traceback" not in terminal.output


def test_a_missing_model_is_told_before_the_screen_comes(tmp_path: Path) -> None:
    with Terminal([str(COMMAND), "-m", str(tmp_path / "missing.gguf")]) as terminal:
        assert terminal.wait() == 1
        assert "missing.gguf: no such file" in terminal.output
        assert "\x1b" not in terminal.output
