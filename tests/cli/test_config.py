"""``llamachat config``: what is set, and where."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from llamachat.cli.options import COMMON
from tests.cli.program import Run, assert_one_line


@pytest.fixture
def file(own_home: Path) -> Path:
    path = own_home / ".config/llamachat/config.toml"
    path.parent.mkdir(parents=True)
    return path


def rows(text: str) -> dict[str, list[str]]:
    """The table by its first column."""
    return {line.split()[0]: line.split()[1:] for line in text.splitlines()[1:]}


def test_every_option_says_where_it_stands(llamachat: Run, file: Path) -> None:
    file.write_text("temperature = 0.1\ntop-k = 7\nmodel = 'small'\nexact = true\n")
    env = {"LLAMACHAT_TOP_K": "9", "LLAMACHAT_SEED": "5"}
    done = llamachat("--min-p", "0.2", "config", "--seed", "6", env=env)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[0] == str(file)
    found = rows(done.stdout)
    assert set(found) == {option.key for option in COMMON} - {"config"}
    assert found["temperature"] == ["0.10", "config.toml"]
    assert found["model"] == ["small", "config.toml"]
    assert found["exact"] == ["true", "config.toml"]
    assert found["top-k"] == ["9", "LLAMACHAT_TOP_K"]
    assert found["min-p"] == ["0.20", "command", "line"]
    assert found["seed"] == ["6", "command", "line"]
    assert found["top-p"] == ["0.95", "default"]
    assert found["plain"] == ["false", "default"]
    assert found["theme"] == ["not", "set"]


def test_what_a_preset_gives_says_so(llamachat: Run, file: Path) -> None:
    file.write_text("top-k = 7\n")
    found = rows(llamachat("config", "--preset", "precise", "--top-p", "0.5").stdout)
    assert found["preset"] == ["precise", "command", "line"]
    assert found["temperature"] == ["0.20", "preset", "precise"]
    assert found["top-p"] == ["0.50", "command", "line"]
    told = json.loads(llamachat("config", "--json", env={"LLAMACHAT_PRESET": "greedy"}).stdout)["options"]
    assert told["preset"] == {"value": "greedy", "from": "LLAMACHAT_PRESET"}
    assert told["temperature"] == {"value": 0.0, "from": "preset greedy"}


def test_without_a_file(llamachat: Run, own_home: Path) -> None:
    done = llamachat("config")
    assert done.stdout.splitlines()[0] == f"{own_home}/.config/llamachat/config.toml  (not there)"
    assert rows(done.stdout)["data-dir"] == [f"{own_home}/.local/share/llamachat", "default"]
    assert rows(done.stdout)["seed"] == ["random", "default"]


def test_json(llamachat: Run, file: Path, tmp_path: Path) -> None:
    named = tmp_path / "other.toml"
    named.write_text("temperature = 0.3\ntokenizer = 'vocab.model'\n")
    told = json.loads(llamachat("config", "--json", "--config", named, "--no-exact").stdout)
    assert told["file"] == str(named)
    assert told["exists"] is True
    assert told["options"]["temperature"] == {"value": 0.3, "from": "config.toml"}
    assert told["options"]["tokenizer"] == {"value": str(tmp_path / "vocab.model"), "from": "config.toml"}
    assert told["options"]["exact"] == {"value": False, "from": "command line"}
    assert told["options"]["seed"] == {"value": None, "from": "default"}
    assert told["options"]["kv-type"]["value"] is None


def test_a_broken_file_is_told(llamachat: Run, file: Path) -> None:
    file.write_text("temprature = 0.1\n")
    done = llamachat("config")
    assert done.returncode == 1
    assert_one_line(done.stderr, "config.toml", "unknown key 'temprature'")


def test_what_is_shown_steers_no_terminal(llamachat: Run, file: Path) -> None:
    file.write_text('system = "a\\u001b]0;x\\u0007\\nb"\n')
    done = llamachat("config")
    assert "\x1b" not in done.stdout
    assert rows(done.stdout)["system"][-1] == "config.toml"


# ---- keys of the full screen ---------------------------------------------------------


def test_keys_that_are_set_are_listed_with_the_options(llamachat: Run, file: Path) -> None:
    file.write_text('top-k = 3\n[keys]\n"chat.new" = "ctrl+f"\nmessage.tokens = "t,p"\n"chat.again" = ""\nnope = "x"\n')
    done = llamachat("config")
    assert (done.returncode, done.stderr) == (0, "")  # what is wrong with them, only the screen knows
    found = rows(done.stdout)
    assert found["keys.chat.new"] == ["ctrl+f", "config.toml"]
    assert found["keys.message.tokens"] == ["t,p", "config.toml"]
    assert found["keys.chat.again"] == ["(none)", "config.toml"]
    assert found["keys.nope"] == ["x", "config.toml"]
    told = json.loads(llamachat("config", "--json").stdout)
    assert told["keys"] == {"chat.new": "ctrl+f", "message.tokens": "t,p", "chat.again": "", "nope": "x"}
    assert set(told["options"]) == {option.key for option in COMMON} - {"config"}


def test_every_key_is_listed_with_what_it_does(llamachat: Run, file: Path) -> None:
    file.write_text('[keys]\n"chat.new" = "^f"\n"message.copy" = "e"\n')
    done = llamachat("config", "--keys")
    assert done.returncode == 0
    assert done.stderr == "llamachat: e is message.copy now, message.edit has no key\n"
    assert done.stdout.splitlines()[0] == str(file)
    found = rows(done.stdout)
    assert found["app.quit"] == ["ctrl+q", "default", "Quit"]
    assert found["chat.new"] == ["ctrl+f", "config.toml", "New", "chat"]
    assert found["message.copy"] == ["e", "config.toml", "Copy", "the", "message"]
    assert found["message.edit"][:2] == ["(none)", "config.toml"]
    assert found["composer.newline"] == ["ctrl+j,alt+enter,shift+enter", "default", "New", "line"]
    assert len(found) > 90


def test_every_key_as_json(llamachat: Run, file: Path) -> None:
    file.write_text('[keys]\n"chat.new" = "ctrl+f,f5"\n"chat.nwe" = "x"\n"\\u001b[31m" = "y"\n')
    done = llamachat("config", "--keys", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    told = json.loads(done.stdout)
    assert (told["file"], told["exists"]) == (str(file), True)
    assert told["keys"]["chat.new"] == {
        "keys": ["ctrl+f", "f5"], "from": "config.toml", "default": ["ctrl+n"], "does": "New chat",
    }  # fmt: skip
    assert told["problems"] == ['there is no "chat.nwe" (chat.new?)', 'there is no "\ufffd[31m"']


def test_other_commands_do_without_the_keys(llamachat: Run, file: Path) -> None:
    file.write_text('[keys]\n"chat.nwe" = "ctrl-f"\n')
    done = llamachat("models")
    assert done.returncode == 0
    assert "chat.nwe" not in done.stderr
