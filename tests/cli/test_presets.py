"""``--preset``, ``LLAMACHAT_PRESET`` and the key ``preset``: what wins over what, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import click
import pytest

from llamachat.chat.conversation import Conversation
from llamachat.chat.store import SessionStore
from llamachat.engine.settings import SamplingSettings
from llamachat.errors import FileError
from tests.cli.program import COMMAND, Run, assert_one_line
from tests.cli.terminal import Terminal
from tests.cli.test_options import resolve
from tests.support.tiny_models import random_model, write_gguf

PRECISE = {"temperature": 0.2, "top_p": 0.9, "top_k": 40, "min_p": 0.05, "repeat_penalty": 1.1, "repeat_window": 128}


@pytest.fixture
def config(own_home: Path) -> Path:
    path = own_home / ".config/llamachat/config.toml"
    path.parent.mkdir(parents=True)
    return path


@pytest.fixture
def own(config: Path) -> Path:
    """The folder of one's own presets, with one of each kind."""
    folder = config.parent / "presets"
    folder.mkdir()
    (folder / "teacher.toml").write_text("temperature = 0.3\nmax-tokens = 2\nsystem = 'Teach.'")
    (folder / "bad.toml").write_text("temperature = 30\nwarmth = 1")
    return folder


@pytest.fixture
def stored(own_home: Path) -> Callable[[], Conversation]:
    """The chat that was used last, as it is on disk."""

    def load() -> Conversation:
        with closing(SessionStore(own_home / ".local/share/llamachat")) as store:
            return store.load(store.sessions()[0].id)

    return load


# ---- what wins -------------------------------------------------------------------


def test_a_preset_gives_its_sampling_and_leaves_seed_and_reply_length() -> None:
    assert resolve("--preset", "precise").sampling == PRECISE
    assert resolve("--preset", "PREC", "--seed", "5", "-n", "9").sampling == {**PRECISE, "seed": 5, "max_tokens": 9}


def test_options_given_beside_it_win_over_it(config: Path, own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config.write_text("preset = 'precise'\ntemperature = 0.6\nsystem = 'file'")
    assert resolve().sampling == {**PRECISE, "temperature": 0.6}
    assert resolve("--temperature", "0.7").sampling == {**PRECISE, "temperature": 0.7}
    config.unlink()
    monkeypatch.setenv("LLAMACHAT_PRESET", "precise")
    monkeypatch.setenv("LLAMACHAT_TOP_K", "3")
    assert resolve().sampling == {**PRECISE, "top_k": 3}
    monkeypatch.delenv("LLAMACHAT_PRESET")
    monkeypatch.delenv("LLAMACHAT_TOP_K")
    for line in (("--temperature", "0.7", "--preset", "precise"), ("--preset", "precise", "--temperature", "0.7")):
        assert resolve(*line).sampling == {**PRECISE, "temperature": 0.7}
    assert resolve("--preset", "precise", before=("--temperature", "0.7")).sampling["temperature"] == 0.7
    assert resolve("--preset", "teacher", "--system", "line").get("system") == "line"


def test_it_wins_over_what_is_given_farther_off(config: Path, own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config.write_text("temperature = 0.6\nseed = 7\nsystem = 'file'\npreset = 'creative'")
    assert resolve("--preset", "precise").sampling == {**PRECISE, "seed": 7}
    assert resolve("--preset", "precise").get("system") == "file"
    taught = resolve("--preset", "teacher")
    assert (taught.get("system"), taught.sampling["max_tokens"]) == ("Teach.", 2)
    monkeypatch.setenv("LLAMACHAT_TEMPERATURE", "0.65")
    assert resolve("--preset", "precise").sampling["temperature"] == 0.2
    monkeypatch.setenv("LLAMACHAT_PRESET", "greedy")
    assert resolve().sampling["temperature"] == 0.65  # both stand in the environment
    monkeypatch.delenv("LLAMACHAT_TEMPERATURE")
    assert resolve().sampling["temperature"] == 0.0
    assert resolve("--preset", "precise").sampling["temperature"] == 0.2


# ---- what is refused -------------------------------------------------------------


@pytest.mark.parametrize("command", [["ask", "hi"], ["complete", "hi"], ["models"], []])
def test_an_unknown_name_is_one_line_that_lists_those_there_are(llamachat: Run, command: list[str]) -> None:
    done = llamachat("--preset", "nope", *command)
    assert (done.returncode, done.stdout) == (2, "")
    assert_one_line(done.stderr, "--preset takes one of greedy, precise, balanced, creative, not 'nope'", "--help")


@pytest.mark.parametrize("name", ["", " ", "../presets/greedy", "p" * 4000, "\x1b[2J"])
def test_what_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(click.UsageError) as caught:
        resolve("--preset", name)
    assert caught.value.message.startswith("--preset takes ")


def test_the_variable_and_the_file_are_named(llamachat: Run, config: Path) -> None:
    done = llamachat("ask", "hi", env={"LLAMACHAT_PRESET": "nope"})
    assert done.returncode == 2
    assert_one_line(done.stderr, "LLAMACHAT_PRESET takes one of greedy, precise")
    for content in ("preset = 'nope'", "preset = 3"):
        config.write_text(content)
        done = llamachat("ask", "hi")
        assert done.returncode == 1
        assert_one_line(done.stderr, f"{config}: preset takes ")


def test_a_broken_file_says_what_is_wrong_with_it(llamachat: Run, config: Path, own: Path) -> None:
    done = llamachat("ask", "--preset", "bad", "hi")
    assert done.returncode == 1
    assert_one_line(done.stderr, "bad.toml: preset not used: temperature takes 0.00 to 5.00", "unknown key 'warmth'")
    config.write_text("preset = 'bad'")
    with pytest.raises(FileError) as caught:
        resolve()
    assert caught.value.path == own / "bad.toml"


# ---- what it does ----------------------------------------------------------------


def test_one_shot_commands_answer_with_it(llamachat: Run, model: Path, own: Path) -> None:
    plain = llamachat("complete", "-m", model, "--temperature", "0", "-n", "12", "the").stdout
    for command, env in (
        (("--preset", "greedy"), {}),
        ((), {"LLAMACHAT_PRESET": "greedy"}),
    ):
        done = llamachat("complete", "-m", model, "-n", "12", *command, "the", env=env)
        assert (done.returncode, done.stdout, done.stderr) == (0, plain, "")
    template = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    write_gguf(model, random_model(), metadata={"tokenizer.chat_template": template})
    asked = json.loads(llamachat("ask", "-m", model, "--preset", "teacher", "--json", "the").stdout)
    spoken = json.loads(llamachat("ask", "-m", model, "--system", "Teach.", "-n", "2", "--json", "the").stdout)
    assert asked["prompt_ids"] == spoken["prompt_ids"]
    assert len(asked["tokens"]) == 2


def test_a_chat_begins_with_it(llamachat: Run, model: Path, stored: Callable[[], Conversation]) -> None:
    done = llamachat("-m", model, "--preset", "greedy", "-n", "4", stdin="the\n/preset\n")
    assert (done.returncode, done.stderr) == (0, "")
    assert "greedy    in use: always the likeliest token" in done.stdout
    assert stored().settings == SamplingSettings(temperature=0.0, max_tokens=4)


def test_it_wins_over_what_is_stored_with_a_chat(
    llamachat: Run, model: Path, stored: Callable[[], Conversation]
) -> None:
    assert llamachat("-m", model, "--temperature", "2", "-n", "4", stdin="the\n").returncode == 0
    assert llamachat("-m", model, "last", "--preset", "greedy", stdin="on\n").returncode == 0
    assert stored().settings == SamplingSettings(temperature=0.0, max_tokens=4)


def test_of_equal_ones_the_one_named_is_shown(llamachat: Run, model: Path, own: Path) -> None:
    for name in ("a-greedy", "z-greedy"):
        (own / f"{name}.toml").write_text("temperature = 0")
        done = llamachat("-m", model, "--preset", name, stdin="/preset\n")
        assert f"{name}  in use: " in done.stdout


def test_line_mode_completes_and_refuses(model: Path) -> None:
    with Terminal([str(COMMAND), "-m", str(model), "--plain"], rows=30, columns=100) as terminal:
        terminal.wait_for_prompt()
        terminal.press("/preset pre\t\r")
        terminal.wait_for("preset precise: temperature 0.20, top-p 0.90")
        terminal.press("/preset nope\r")
        terminal.wait_for("no preset 'nope': there are greedy, precise, balanced, creative")
        terminal.press("/quit\r")
        assert terminal.wait() == 0
