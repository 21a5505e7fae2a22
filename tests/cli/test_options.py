"""Values and where they may stand: command line over environment over configuration file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import pytest

from llamachat.cli.help import HelpCommand
from llamachat.cli.invocation import Invocation
from llamachat.cli.options import CHAT, COMMON, flag, with_options
from llamachat.engine.settings import PARAMETERS, Parameter
from llamachat.engine.source import KvType, ModelSource, Rounding
from llamachat.errors import FileError
from tests.cli.program import Run, assert_one_line


def resolve(*arguments: str, before: tuple[str, ...] = ()) -> Invocation:
    """What the options of ``program BEFORE command ARGUMENTS`` come to."""
    seen: list[Invocation] = []

    @with_options(common=CHAT)
    @click.group()
    def program(**_: Any) -> None:
        pass

    @with_options(common=CHAT)
    @click.command(cls=HelpCommand)
    @click.pass_context
    def command(context: click.Context, /, **_: Any) -> None:
        seen.append(Invocation.of(context))

    program.add_command(command)
    program.main([*before, "command", *arguments], standalone_mode=False)
    return seen[0]


@pytest.fixture
def config(own_home: Path) -> Path:
    path = own_home / ".config/llamachat/config.toml"
    path.parent.mkdir(parents=True)
    return path


def test_nothing_is_set_by_itself(own_home: Path) -> None:
    assert resolve().values == {}
    assert resolve().data_dir == own_home / ".local/share/llamachat"


def test_the_command_line_wins_then_the_environment_then_the_file(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config.write_text("temperature = 0.1\ntop-k = 1\nmin_p = 0.1\nsystem = 'file'\n")
    monkeypatch.setenv("LLAMACHAT_TEMPERATURE", "0.2")
    monkeypatch.setenv("LLAMACHAT_TOP_K", "2")
    invocation = resolve("--temperature", "0.4", before=("--temperature", "0.3", "--seed", "5"))
    assert invocation.values == {"temperature": 0.4, "top_k": 2, "min_p": 0.1, "system": "file", "seed": 5}
    assert invocation.sampling == {"temperature": 0.4, "top_k": 2, "min_p": 0.1, "seed": 5}


def test_the_config_file_can_be_named_anywhere(config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config.write_text("top-k = 1")
    (tmp_path / "two.toml").write_text("top-k = 2")
    (tmp_path / "three.toml").write_text("top-k = 3")
    monkeypatch.setenv("LLAMACHAT_CONFIG", str(tmp_path / "two.toml"))
    assert resolve().get("top_k") == 2
    assert resolve("--config", str(tmp_path / "three.toml")).get("top_k") == 3


def test_an_empty_variable_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLAMACHAT_TEMPERATURE", "")
    assert "temperature" not in resolve().values


def test_a_given_none_is_kept_apart_from_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLAMACHAT_SEED", "7")
    assert resolve("--seed", "random").values == {"seed": None}


@pytest.mark.parametrize(("word", "value"), [("1", True), ("yes", True), ("False", False), ("off", False)])
def test_switches_in_the_environment(monkeypatch: pytest.MonkeyPatch, word: str, value: bool) -> None:
    monkeypatch.setenv("LLAMACHAT_PLAIN", word)
    assert resolve().get("plain") is value
    assert resolve("--plain").get("plain") is True
    assert resolve("--no-plain").get("plain") is False


def test_a_switch_is_taken_back_on_the_command_line(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config.write_text("exact = true\nplain = true\n")
    assert resolve().values == {"exact": True, "plain": True}
    assert resolve("--no-exact", before=("--no-plain",)).values == {"exact": False, "plain": False}
    assert resolve("--no-exact", "--exact").get("exact") is True  # the last one counts
    assert resolve("--no-exact", before=("--exact",)).get("exact") is False
    monkeypatch.setenv("LLAMACHAT_EXACT", "yes")
    assert resolve("--no-exact").get("exact") is False


def test_so_is_a_command_s_own(llamachat: Run, tmp_path: Path) -> None:
    folder = ("--data-dir", tmp_path)
    assert llamachat("models", *folder, env={"LLAMACHAT_JSON": "1"}).stdout == "[]\n"
    assert llamachat("models", "--no-json", *folder, env={"LLAMACHAT_JSON": "1"}).stdout == ""


def test_what_is_negative_is_taken_back_by_what_is_not() -> None:
    assert [flag(name, "", "").negation for name in ("exact", "if_missing", "no_bos")] == [
        "--no-exact", "--no-if-missing", "--bos"
    ]  # fmt: skip


def test_what_a_model_is_loaded_with(monkeypatch: pytest.MonkeyPatch, own_home: Path) -> None:
    path = own_home / "model.gguf"
    assert resolve().source(path) == ModelSource(path)
    given = resolve("--exact", "--threads", "3", "--n-ctx", "77", "--kv-type", "Q8_0").source(path)
    assert given == ModelSource(path, n_ctx=77, threads=3, kv_type=KvType.Q8_0, rounding=Rounding.EXACT)
    monkeypatch.setenv("LLAMACHAT_EXACT", "yes")
    monkeypatch.setenv("LLAMACHAT_KV_TYPE", "q8_0")
    assert resolve().source(path) == ModelSource(path, kv_type=KvType.Q8_0, rounding=Rounding.EXACT)
    assert resolve("--kv-type", "f16").source(path) == ModelSource(path, rounding=Rounding.EXACT)


def test_paths_in_a_file_are_meant_from_there(config: Path, own_home: Path) -> None:
    config.write_text("data-dir = '~/chats'\ntokenizer = 'tok.model'\nmodel = './m.gguf'\n")
    invocation = resolve()
    assert invocation.data_dir == own_home / "chats"
    assert invocation.get("tokenizer") == config.parent / "tok.model"
    assert Path(invocation.get("model")) == config.parent / "m.gguf"
    config.write_text("model = 'smollm2'")
    assert resolve().get("model") == "smollm2"


def test_text_that_is_no_utf8_becomes_text() -> None:
    assert resolve("--system", "caf\udce9").get("system") == "caf\ufffd"


@pytest.mark.parametrize("option", COMMON, ids=lambda option: option.name)
def test_every_option_has_a_flag_a_variable_and_a_key(
    option: Any, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    special = {"temperature": "0.5", "top_p": "0.5", "min_p": "0.5", "repeat_penalty": "1.5"}
    special |= {"prompt_format": "ChatML", "theme": "moss", "kv_type": "q8_0", "preset": "greedy"}
    text = special.get(option.name, "3")
    if option.name == "config":
        text = str(tmp_path / "named.toml")
        Path(text).touch()
    value = option.read(text if option.metavar else "true")
    arguments = (option.flag, text) if option.metavar else (option.flag,)
    assert resolve(*arguments).get(option.name) == value
    monkeypatch.setenv(option.variable, text if option.metavar else "true")
    assert resolve().get(option.name) == value
    monkeypatch.delenv(option.variable)
    if option.name != "config":
        config.write_text(f"{option.key} = {repr(text) if option.metavar else 'true'}")
        found = resolve().get(option.name)
        assert found == (config.parent / value if isinstance(value, Path) else value)


@pytest.mark.parametrize("parameter", PARAMETERS, ids=lambda parameter: parameter.name)
def test_a_value_out_of_range_is_refused_naming_the_range(
    parameter: Parameter, monkeypatch: pytest.MonkeyPatch
) -> None:
    below, above = str(parameter.minimum - 1), str(parameter.maximum + 1)
    for text in (below, above, "many", "nan", "1e999", "9" * 400):
        with pytest.raises(click.UsageError) as refusal:
            resolve(parameter.flag, text)
        assert refusal.value.message.startswith(f"{parameter.flag} takes {parameter.range_text}, not ")
    monkeypatch.setenv("LLAMACHAT_" + parameter.name.upper(), above)
    with pytest.raises(click.UsageError, match="LLAMACHAT_" + parameter.name.upper()):
        resolve()


def test_usage_errors_are_one_line_and_exit_2(llamachat: Run) -> None:
    for arguments, part in (
        (["--temperature", "9"], "--temperature takes 0.00 to 5.00, not '9'"),
        (["ask", "--top-k", "x", "hi"], "--top-k takes 0 to 1000000, not 'x'"),
        (["--n-ctx", "0", "complete", "x"], "--n-ctx takes 1 to "),
        (["--threads", "0", "models"], "--threads takes 1 to "),
        (["--kv-type", "q4_0", "complete", "x"], "--kv-type takes one of f16, q8_0"),
        (["complete", "--frobnicate"], "--frobnicate"),
        (["ask", "--system"], "--system"),
        (["ask", "one", "two"], "unexpected extra argument"),
        (["asck", "one"], "no command 'asck': there are ask, complete,"),
        (["complete", "--logprobs", "2", "x"], "--logprobs goes with --json"),
        (["complete", "--json", "--logprobs", "1001", "x"], "--logprobs takes 0 to 1000"),
        (["ask", "--prompt-format", "nope", "x"], "--prompt-format takes one of llama2, "),
        (["ask"], "no question"),
        (["sessions", "frob"], "frob"),
        (["sessions"], ""),
        (["pull", "a", "b"], "unexpected extra argument"),
    ):
        done = llamachat(*arguments)
        assert done.returncode == 2, arguments
        assert done.stdout == ""
        assert_one_line(done.stderr, part, "--help")


@pytest.mark.parametrize(
    ("command", "unused"),
    [
        (["ask", "hi"], ["--plain"]),
        (["complete", "hi"], ["--system", "x"]),
        (["complete", "hi"], ["--prompt-format", "plain"]),
        (["tokenize", "hi"], ["--temperature", "0"]),
        (["pull"], ["-m", "x"]),
        (["models"], ["--no-exact"]),
        (["inspect"], ["--kv-type", "q8_0"]),
        (["bench"], ["--seed", "1"]),
        (["perplexity"], ["--top-k", "1"]),
        (["convert", "a", "b"], ["-m", "x"]),
        (["quantize", "a", "b"], ["--exact"]),
        (["sessions"], ["--plain", "list"]),
        (["sessions", "list"], ["--theme", "moss"]),
    ],
    ids=lambda words: " ".join(words),
)
def test_a_command_refuses_what_it_has_no_use_for(
    llamachat: Run, tmp_path: Path, command: list[str], unused: list[str]
) -> None:
    done = llamachat("--data-dir", tmp_path, *command, *unused)
    assert (done.returncode, done.stdout) == (2, "")
    assert_one_line(done.stderr, f"error: {unused[0]} is of no use here (", f"{command[0]} ", "--help)")


def test_what_no_command_knows_is_no_option(llamachat: Run) -> None:
    for command in ([], ["models"], ["sessions", "list"]):
        done = llamachat(*command, "--nope")
        assert (done.returncode, done.stdout) == (2, "")
        assert_one_line(done.stderr, "no such option '--nope'")


def test_before_a_command_s_name_every_option_stands(llamachat: Run, tmp_path: Path) -> None:
    for_others = ("--system", "x", "--top-k", "3", "--exact", "--theme", "moss", "-m", "none", "--plain")
    assert llamachat("--data-dir", tmp_path, *for_others, "models", "--json").stdout == "[]\n"


def test_behind_a_chat_s_name_every_option_stands(llamachat: Run, tmp_path: Path) -> None:
    done = llamachat("nope", "--data-dir", tmp_path, "--plain", "--theme", "moss", "--system", "x", "--top-k", "3")
    assert done.returncode == 1
    assert_one_line(done.stderr, "nope: no such chat")


def test_a_control_byte_in_an_argument_reaches_no_terminal(llamachat: Run) -> None:
    done = llamachat("--seed", "\x1b]52;c;eA==\x07")
    assert_one_line(done.stderr)
    assert "\x1b" not in done.stderr


BAD_FILES = [
    (b"temprature = 1", "unknown key 'temprature'", "temperature"),
    (b"temperature = 9", "temperature takes 0.00 to 5.00, not 9"),
    (b"temperature = true", "temperature takes"),
    (b"top-k = 1.5", "top-k takes 0 to 1000000, not 1.5"),
    (b"plain = 1", "plain takes true or false, not 1"),
    (b"prompt-format = 'nope'", "prompt-format takes one of llama2, ", "not 'nope'"),
    (b"system = 3", "system takes a text, not 3"),
    (b"model = ['a']", "model takes a file or a name"),
    (b'data-dir = "a\\u0000b"', "data-dir takes a folder"),
    (b"config = 'x'", "unknown key 'config'"),
    (b"[sampling]\ntemperature = 1", "unknown key 'sampling'", "[keys]"),
    (b"keys = 3", '[keys] takes lines like "chat.new" = "ctrl+f", not 3'),
    (b"[[keys]]\n'chat.new' = 'ctrl+f'", "[keys] takes lines like"),
    (b"[keys]\n'chat.new' = 5", "[keys] chat.new takes keys like", "not 5"),
    (b"[keys]\nchat.new = ['ctrl+f']", "[keys] chat.new takes keys like", "not ['ctrl+f']"),
    (b"[keys]\nchat.new.now = 'ctrl+f'", "[keys] chat.new takes keys like"),
    (b"[keys]\n'chat.new' = '" + b"x" * 101 + b"'", "[keys] chat.new takes keys like"),
    (b"[keys]\n" + b"x" * 61 + b" = 'f5'", "[keys] xxxx", "takes keys like"),
    (b"[keys]\n" + b"".join(b"a%d = 'f5'\n" % n for n in range(201)), "[keys] has 201 lines, 200 at most"),
    (b'[keys]\n"a\\u001b]0;b\\u0007" = 1', "[keys] a\ufffd]0;b"),
    (b"\n temperature = x", "is no TOML", "line 2"),
    (b"temperature = 1" + b"0" * 5000, "is no TOML: it holds a number of thousands of digits"),
    (b"\xff\xfe", "is not UTF-8 text"),
    (b"a = " + b"[" * 5000, "is no TOML: nested too deeply"),
]


def test_a_config_may_begin_with_a_mark(config: Path) -> None:
    config.write_text("temperature = 0.5", encoding="utf-8-sig")
    assert resolve().values["temperature"] == 0.5


@pytest.mark.parametrize(("content", "parts"), [(bad[0], bad[1:]) for bad in BAD_FILES], ids=range(len(BAD_FILES)))
def test_a_bad_config_is_refused_naming_file_and_key(config: Path, content: bytes, parts: tuple[str, ...]) -> None:
    config.write_bytes(content)
    with pytest.raises(FileError) as refusal:
        resolve()
    assert str(refusal.value).startswith(f"{config}: ")
    for part in parts:
        assert part in str(refusal.value)


def test_a_config_that_is_no_file_is_refused_at_once(llamachat: Run, tmp_path: Path) -> None:
    import os

    os.mkfifo(tmp_path / "pipe")
    with (tmp_path / "large").open("wb") as file:
        file.truncate(1 << 40)
    for name, reason in (
        ("absent", ": no such file\n"),
        ("pipe", "not a file"),
        ("", "is a folder"),
        ("large", "too large"),
    ):
        done = llamachat("--config", tmp_path / name, "models")
        assert done.returncode == 1
        assert_one_line(done.stderr, str(tmp_path / name), reason)


def test_an_unknown_theme_is_refused_with_those_there_are(llamachat: Run, own_home: Path) -> None:
    done = llamachat("--theme", "nope", "ask", "hi")
    assert done.returncode == 2
    assert_one_line(done.stderr, "--theme takes one of dusk, contrast, moss, paper, not 'nope'")
    own = own_home / ".config/llamachat/themes"
    own.mkdir(parents=True)
    (own / "mine.toml").write_text("broken")
    assert resolve("--theme", "mine").get("theme") == "mine"  # what is wrong with it is told on the screen


def test_a_refused_variable_keeps_its_name(llamachat: Run) -> None:
    done = llamachat("ask", "hi", env={"LLAMACHAT_TOP_P": "7"})
    assert done.returncode == 2
    assert_one_line(done.stderr, "error: LLAMACHAT_TOP_P takes")
