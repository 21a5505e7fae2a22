"""``bench``: the table, its JSON form, and how it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from llamachat.engine.core import default_threads, select_isa, supported_isas
from tests.cli.program import COMMAND, Run, assert_one_line
from tests.cli.terminal import Terminal
from tests.support.tiny_models import TinyShape, random_model, write_gguf

QUICK = ("-p", "16", "-n", "4", "--repeat", "2")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "tiny-Q8_0.gguf"
    write_gguf(path, random_model(), types="Q8_0")
    return path


@pytest.fixture
def long_bench(tmp_path: Path) -> list[str]:
    """A command that has its first figure at once, and its second in an hour."""
    path = tmp_path / "long.gguf"
    write_gguf(path, random_model(TinyShape(n_ctx=32_768)))
    return [str(COMMAND), "bench", "-m", str(path), "-p", "1", "-n", "20000", "--depth", "0", "--repeat", "100"]


def measured(llamachat: Run, *arguments: str | Path, notice: str = "", **how: Any) -> Any:
    done = llamachat("bench", "--json", *arguments, **how)
    assert (done.returncode, done.stderr) == (0, notice)
    assert done.stdout.count("\n") == 1
    return json.loads(done.stdout)


def test_the_json_is_a_list_of_measurements(llamachat: Run, model: Path) -> None:
    found = measured(llamachat, "-m", model, *QUICK, "--depth", "0,64", "--threads", "2", "--kv-type", "q8_0")
    assert [(one["phase"], one["n"], one["depth"]) for one in found] == [
        ("prompt", 16, 0), ("answer", 4, 0), ("prompt", 16, 64), ("answer", 4, 64),
    ]  # fmt: skip
    for one in found:
        assert one["tokens_per_second"] > 0
        assert one["stddev"] >= 0
        assert one["read_bandwidth"] > 0
        assert (one["repeat"], one["threads"], one["isa"]) == (2, 2, select_isa())
        assert (one["model"], one["type"], one["kv_type"]) == ("tiny", "Q8_0", "q8_0")
        if one["phase"] == "prompt":
            assert one["bandwidth_share"] is None
        else:
            read = one["weight_bytes"] + one["cache_bytes"] * (one["depth"] + 2.5)
            share = read * one["tokens_per_second"] / one["read_bandwidth"]
            assert one["bandwidth_share"] == pytest.approx(share, abs=1e-3)


def test_the_table_says_what_was_used_and_found(llamachat: Run, model: Path) -> None:
    done = llamachat("bench", "-m", model, *QUICK, "--depth", "64")
    assert (done.returncode, done.stderr) == (0, "")
    about, machine, empty, head, *rows = done.stdout.splitlines()
    assert about.startswith("tiny: Q8_0, 0.1 M parameters, ")
    n_threads = default_threads()
    assert machine.startswith(f"{select_isa()}, {n_threads} thread{'s' if n_threads > 1 else ''}, memory read at ")
    assert machine.endswith(" GB/s, KV cache f16")
    assert empty == ""
    assert head.split() == ["phase", "tokens", "depth", "tokens/s", "stddev", "bandwidth"]
    assert [row.split()[:3] for row in rows] == [["prompt", "16", "64"], ["answer", "4", "64"]]
    assert rows[0].endswith(" -")
    assert rows[1].endswith(" %")
    assert len({len(row) for row in (head, *rows)}) == 1
    for row in rows:
        assert float(row.split()[3].replace(",", "")) > 0


def test_defaults_are_clipped_to_the_context_with_a_word(llamachat: Run, model: Path) -> None:
    done = llamachat("bench", "-m", model, "--repeat", "1", "--json")
    assert done.returncode == 0
    assert [(one["phase"], one["n"], one["depth"]) for one in json.loads(done.stdout)] == [
        ("prompt", 128, 0),
        ("answer", 128, 0),
    ]
    assert done.stderr == (
        "llamachat: the context holds 128 tokens: prompt of 128 at depth 0 instead of prompt of 512 at depth 0\n"
    )


def test_a_longer_context_has_room(llamachat: Run, model: Path) -> None:
    notice = "llamachat: a context of 256 tokens, but the model was trained on 128 at most\n"
    found = measured(llamachat, "-m", model, *QUICK, "--depth", "200", "--n-ctx", "256", notice=notice)
    assert [one["depth"] for one in found] == [200, 200]


def test_zero_leaves_a_phase_out(llamachat: Run, model: Path) -> None:
    (answer,) = measured(llamachat, "-m", model, "-p", "0", "-n", "4", "--repeat", "1")
    assert (answer["phase"], answer["stddev"]) == ("answer", 0)
    (prompt,) = measured(llamachat, "-m", model, "-p", "4", "-n", "0", "--repeat", "1")
    assert prompt["phase"] == "prompt"


def test_the_forced_instruction_set_is_the_one_measured(llamachat: Run, model: Path) -> None:
    first = supported_isas()[0]
    found = measured(llamachat, "-m", model, *QUICK, env={"LLAMACHAT_ISA": first})
    assert {one["isa"] for one in found} == {first}


def test_a_reply_length_is_no_size_to_measure(llamachat: Run, model: Path) -> None:
    """``-n`` means the answer here; what chats are told elsewhere does not change what is measured."""
    found = measured(llamachat, "-m", model, *QUICK, env={"LLAMACHAT_MAX_TOKENS": "99"})
    assert {one["n"] for one in found} == {16, 4}


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (("-p", "-1"), ("--prompt-tokens takes 0 to 16777216", "'-1'")),
        (("-n", "many"), ("--answer-tokens takes 0 to 16777216", "'many'")),
        (("--depth", "0,x"), ("--depth takes 0 to 16777216", "commas", "'0,x'")),
        (("--depth", ""), ("--depth takes 0 to 16777216",)),
        (("--repeat", "0"), ("--repeat takes 1 to 1000", "'0'")),
        (("--threads", "0"), ("--threads takes 1 to 256",)),
        (("-p", "0", "-n", "0"), ("-p and -n are both 0",)),
        (("extra",), ("unexpected extra argument",)),
    ],
)
def test_wrong_usage_says_what_would_be_right(
    llamachat: Run, model: Path, arguments: tuple[str, ...], parts: tuple[str, ...]
) -> None:
    done = llamachat("bench", "-m", model, *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert_one_line(done.stderr, *parts)


@pytest.mark.parametrize("form", [(), ("--json",)])
def test_a_broken_model_is_one_line(llamachat: Run, tmp_path: Path, form: tuple[str, ...]) -> None:
    (tmp_path / "broken.gguf").write_bytes(b"GGUF\x03\0\0\0")
    done = llamachat("bench", "-m", tmp_path / "broken.gguf", *form)
    assert (done.returncode, done.stdout) == (1, "")
    assert_one_line(done.stderr, "broken.gguf: ")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_keeps_what_was_measured(own_home: Path, long_bench: list[str], number: signal.Signals) -> None:
    with subprocess.Popen(
        long_bench, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=dict(os.environ)
    ) as process:
        assert process.stdout is not None
        lines: list[bytes] = []
        while not (lines and lines[-1].startswith(b"prompt")):
            lines.append(process.stdout.readline())
            assert lines[-1], lines
        process.send_signal(number)
        rest, errors = process.communicate(timeout=30)
    assert process.returncode == 128 + number
    assert errors == b""
    assert rest == b"" or rest.startswith(b"answer")  # where a repetition was done


def test_ctrl_c_at_a_terminal_takes_the_progress_line_away_and_gives_whole_json(
    own_home: Path, long_bench: list[str]
) -> None:
    with Terminal([*long_bench, "--json"]) as terminal:
        terminal.wait_for("answer of 20,000 at depth 0")
        terminal.press("\x03")
        assert terminal.wait() == 130
        last = terminal.output.rsplit("\x1b[K", 1)[1]
    found = json.loads(last)
    assert (found[0]["phase"], found[0]["n"], found[0]["repeat"]) == ("prompt", 1, 100)
    assert all(one["repeat"] < 100 for one in found[1:])
