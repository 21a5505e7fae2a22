"""Help: quick, complete, with examples."""

from __future__ import annotations

import subprocess
import sys

import pytest

from llamachat import __version__
from llamachat.engine.settings import PARAMETERS
from tests.cli.program import Run

COMMANDS: tuple[list[str], ...] = (
    [],
    ["ask"],
    ["complete"],
    ["tokenize"],
    ["pull"],
    ["models"],
    ["bench"],
    ["perplexity"],
    ["inspect"],
    ["convert"],
    ["quantize"],
    ["config"],
    ["sessions"],
    ["sessions", "list"],
    ["sessions", "show"],
    ["sessions", "export"],
    ["sessions", "import"],
    ["sessions", "delete"],
)

#: What costs more than help may: the libraries, and our own rooms that bring them in.
HEAVY = {
    "asyncio", "jinja2", "logging", "numpy", "prompt_toolkit", "rich", "sentencepiece", "sqlite3", "textual",
    "tokenizers",    "llamachat._native", "llamachat.engine.worker", "llamachat.tui", "llamachat.weights.gguf",
}  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_every_command_has_help_with_examples(llamachat: Run, command: list[str], flag: str) -> None:
    done = llamachat(*command, flag)
    assert done.returncode == 0
    assert done.stderr == ""
    assert done.stdout.startswith("Usage: llamachat")
    assert "Examples:" in done.stdout
    assert "--data-dir DIR" in done.stdout
    assert [line for line in done.stdout.splitlines() if len(line) > 80] == []


def test_help_names_every_common_option_with_its_range(llamachat: Run) -> None:
    text = " ".join(llamachat("--help").stdout.split())
    for flag in ("-m, --model FILE|NAME", "--tokenizer FILE", "--system TEXT", "--prompt-format NAME", "--n-ctx N",
                 "--threads N", "--kv-type f16|q8_0", "--exact / --no-exact", "--data-dir DIR", "--config FILE",
                 "--plain / --no-plain", "--preset NAME", "--theme NAME", "--version",
                 "-n, --max-tokens N"):  # fmt: skip
        assert flag in text
    for parameter in PARAMETERS:
        assert parameter.flag in text
        assert parameter.range_text in text


def test_help_names_no_negation_of_a_command_s_own_switch(llamachat: Run) -> None:
    text = llamachat("complete", "--help").stdout
    assert "--echo " in text
    assert "--no-echo" not in text


@pytest.mark.parametrize("command", [[], ["sessions"]], ids=" ".join)
def test_no_command_s_summary_is_cut(llamachat: Run, command: list[str]) -> None:
    _, heading, text = llamachat(*command, "--help").stdout.partition("\nCommands:\n")
    assert heading
    assert "..." not in text


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_help_imports_nothing_heavy(command: list[str]) -> None:
    code = (
        "import sys; from llamachat.cli.main import main\n"
        f"try: main({[*command, '-h']!r})\n"
        "except SystemExit: print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "Usage:" in done.stdout
    assert not HEAVY & set(done.stderr.split())


def test_version(llamachat: Run) -> None:
    done = llamachat("--version")
    assert (done.returncode, done.stdout) == (0, f"llamachat {__version__}\n")


def test_help_of_a_session_is_help(llamachat: Run) -> None:
    assert "the chat goes line by line" in llamachat("Autumn article", "--help").stdout


def test_the_module_is_the_command() -> None:
    done = subprocess.run([sys.executable, "-m", "llamachat", "-h"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("Usage: llamachat")
