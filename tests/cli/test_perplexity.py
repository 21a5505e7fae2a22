"""``perplexity``: its figures, its JSON, and how it ends."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from tests.cli.program import COMMAND, Run, assert_one_line
from tests.cli.terminal import Terminal
from tests.support.tiny_models import TinyShape, random_model, spm_vocabulary, write_gguf

TEXT = " ".join(random.Random(5).choices(["the", "cat", "sat", "on", "a mat,", "and", "then", "42.\n"], k=400))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "tiny-Q8_0.gguf"
    write_gguf(path, random_model(TinyShape(n_ctx=1024)), types="Q8_0")
    return path


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "text.txt"
    path.write_text(TEXT)
    return path


@pytest.fixture
def long_run(tmp_path: Path) -> list[str]:
    """A command that has its first window soon, and its last one in an hour."""
    model, text = tmp_path / "long.gguf", tmp_path / "long.txt"
    write_gguf(model, random_model(TinyShape(n_ctx=1024, n_layers=8, n_embd=512, n_ff=1024)))
    text.write_text(TEXT * 400)
    return [str(COMMAND), "perplexity", "-m", str(model), "--text", str(text), "--n-ctx", "128"]


def test_the_figures(llamachat: Run, model: Path, text: Path) -> None:
    done = llamachat("perplexity", "-m", model, "--text", text, "--n-ctx", "64")
    assert done.returncode == 0
    about, size, figure = done.stdout.splitlines()
    assert about == "tiny: Q8_0, rounding llama.cpp"
    n_tokens, n_windows, n_predicted = (int(word.replace(",", "")) for word in re.findall(r"[\d,]*\d", size))
    assert (n_windows, n_predicted) == (n_tokens // 64, n_tokens // 64 * 31)
    assert re.fullmatch(r"perplexity     \d+\.\d{4} \+/- \d+\.\d{5}", figure)
    lines = done.stderr.splitlines()
    assert len(lines) == n_windows
    for number, line in enumerate(lines, 1):
        assert re.fullmatch(
            rf"llamachat: window {number} of {n_windows}: perplexity [\d.]+ \+/- [\d.]+, \d+:\d\d left", line
        )
    assert lines[-1].split("perplexity ")[1].split(",")[0] == figure.split(maxsplit=1)[1]


def test_the_json_has_the_same_and_more(llamachat: Run, model: Path, text: Path) -> None:
    shown = llamachat("perplexity", "-m", model, "--text", text, "--n-ctx", "64").stdout
    done = llamachat("perplexity", "-m", model, "--text", "-", "--n-ctx", "64", "--json", stdin=TEXT)
    assert done.returncode == 0
    assert done.stdout.count("\n") == 1
    found = json.loads(done.stdout)
    assert f"{found['perplexity']:.4f} +/- {found['stderr']:.5f}" in shown
    assert (found["model"], found["type"], found["windows"]) == ("tiny", "Q8_0", found["windows_planned"])
    assert "kl_divergence" not in found
    strided = llamachat("perplexity", "-m", model, "--text", text, "--n-ctx", "64", "--stride", "16", "--json")
    assert json.loads(strided.stdout)["predicted"] == json.loads(strided.stdout)["windows"] * 16


def test_activations_are_rounded_like_llama_cpp_unless_said_otherwise(
    llamachat: Run, model: Path, text: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def found(*options: str) -> tuple[str, float]:
        done = llamachat("perplexity", "-m", model, "--text", text, "--n-ctx", "160", "--json", *options)
        figures = json.loads(done.stdout)
        return figures["rounding"], figures["perplexity"]

    rounded, exact = found(), found("--exact")
    assert (rounded[0], exact[0]) == ("llama.cpp", "exact")
    assert rounded[1] == pytest.approx(exact[1], rel=0.02)
    assert rounded[1] != exact[1]
    assert found("--rounding", "Exact") == exact
    assert found("--rounding", "fast") == exact  # the model is too narrow to be read fast
    monkeypatch.setenv("LLAMACHAT_EXACT", "1")
    assert found() == exact
    assert found("--rounding", "llama.cpp") == rounded


def test_the_usual_window_is_512(llamachat: Run, model: Path) -> None:
    found = json.loads(llamachat("perplexity", "-m", model, "--text", "-", "--json", stdin=TEXT * 3).stdout)
    assert (found["windows"], found["predicted"]) == (found["tokens"] // 512, found["tokens"] // 512 * 255)


def test_compared_with_another_model(llamachat: Run, model: Path, text: Path, tmp_path: Path) -> None:
    exact = tmp_path / "exact.gguf"
    write_gguf(exact, random_model(TinyShape(n_ctx=1024)))
    arguments = ("perplexity", "-m", model, "--text", text, "--n-ctx", "64", "--kl-from")
    lines = llamachat(*arguments, exact).stdout.splitlines()
    assert re.fullmatch(r"KL divergence  [\d.]+ \+/- [\d.]+, 99 % below [\d.]+, highest [\d.]+", lines[3])
    assert re.fullmatch(r"same likeliest [\d.]+ \+/- [\d.]+ %", lines[4])
    found = json.loads(llamachat(*arguments, exact, "--json").stdout)
    assert 0 < found["kl_divergence"] < found["kl_percentile_99"] <= found["kl_max"]
    assert 0.5 < found["same_top"] <= 1
    itself = json.loads(llamachat(*arguments, model, "--json").stdout)
    assert (itself["kl_divergence"], itself["same_top"]) == (0, 1)
    assert itself["perplexity"] == found["perplexity"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "no such file"),
        (b"", "empty"),
        (b"a short text\n", "too short"),
        (b"MZ\0\0" * 100, "not a text: it holds zero bytes"),
        (b"f\xfcr Elise " * 900, "not UTF-8 text: byte 1 begins"),
    ],
)
def test_what_is_no_text_is_one_line(
    llamachat: Run, model: Path, tmp_path: Path, content: bytes | None, reason: str
) -> None:
    path = tmp_path / "it.txt"
    if content is not None:
        path.write_bytes(content)
        from_pipe = llamachat("perplexity", "-m", model, "--text", "-", stdin=content)
        assert (from_pipe.returncode, from_pipe.stdout) == (1, "")
        assert_one_line(from_pipe.stderr, reason)
    done = llamachat("perplexity", "-m", model, "--text", path)
    assert (done.returncode, done.stdout) == (1, "")
    assert_one_line(done.stderr, reason)


def test_a_folder_is_no_text(llamachat: Run, model: Path, tmp_path: Path) -> None:
    done = llamachat("perplexity", "-m", model, "--text", tmp_path, "--json")
    assert (done.returncode, done.stdout) == (1, "")
    assert_one_line(done.stderr, "a folder, not a text")


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        ((), ("no text: give --text FILE",)),
        (("--text", ""), ("--text takes a file, or - for standard input",)),
        (("--text", "x", "--n-ctx", "2"), ("--n-ctx takes 3 or more",)),
        (("--text", "x", "--stride", "0"), ("--stride takes",)),
        (("--text", "x", "--rounding", "fast", "--exact"), ("--exact is --rounding exact",)),
        (("--text", "x", "--rounding", "most"), ("--rounding takes one of fast, exact, llama.cpp",)),
        (("--text", "x", "--n-ctx", "40", "--stride", "41"), ("--stride takes at most --n-ctx (40), not 41",)),
        (("--text", "x", "more"), ("unexpected extra argument",)),
    ],
)
def test_wrong_usage(llamachat: Run, model: Path, arguments: tuple[str, ...], parts: tuple[str, ...]) -> None:
    done = llamachat("perplexity", "-m", model, *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert_one_line(done.stderr, *parts)


def test_models_that_cannot_be_compared(llamachat: Run, model: Path, text: Path, tmp_path: Path) -> None:
    other, broken = tmp_path / "other.gguf", tmp_path / "broken.gguf"
    write_gguf(other, random_model(TinyShape(n_vocab=300)))
    broken.write_bytes(b"GGUF\x03\0\0\0")
    swapped = tmp_path / "swapped.gguf"
    v = spm_vocabulary()
    write_gguf(swapped, random_model(), vocabulary=replace(v, pieces=(*v.pieces[:259], *reversed(v.pieces[259:]))))
    for path, reason in (
        (other, "300 tokens in its vocabulary, not 320"),
        (swapped, "swapped.gguf: reads this text as other tokens than "),
        (broken, "broken.gguf: "),
    ):
        done = llamachat("perplexity", "-m", model, "--text", text, "--n-ctx", "64", "--kl-from", path)
        assert (done.returncode, done.stdout) == (1, "")
        assert_one_line(done.stderr, reason)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_keeps_what_was_measured(own_home: Path, long_run: list[str], number: signal.Signals) -> None:
    with subprocess.Popen(
        long_run, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=dict(os.environ)
    ) as process:
        assert process.stderr is not None
        lines: list[bytes] = []
        while not (lines and b"window 2 of " in lines[-1]):
            lines.append(process.stderr.readline())
            assert lines[-1], lines
        process.send_signal(number)
        output, errors = process.communicate(timeout=30)
    assert process.returncode == 128 + number
    assert all(b": window " in line for line in errors.splitlines())
    n_windows = len(lines) + len(errors.splitlines())
    assert f"(stopped after {n_windows} of ".encode() in output
    assert b"perplexity  " in output


def test_ctrl_c_at_a_terminal_takes_the_progress_line_away(own_home: Path, long_run: list[str]) -> None:
    with Terminal([*long_run, "--json"]) as terminal:
        terminal.wait_for("window ")
        terminal.press("\x03")
        assert terminal.wait() == 130
        last = terminal.output.rsplit("\x1b[K", 1)[1]
    found = json.loads(last)
    assert 0 < found["windows"] < found["windows_planned"]
