"""``ask`` and ``complete``: what comes out, in which form, and how they end."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from llamachat.chat.file_blocks import file_block
from llamachat.cli.generation import Answer
from llamachat.cli.invocation import Invocation
from llamachat.cli.oneshot import _cut
from llamachat.engine.events import Finished, StopReason, Timings, TokenEvent
from llamachat.tokenizer import load_tokenizer
from tests.cli.program import COMMAND, Run, assert_one_line, cpu_seconds_and_state, needs_proc
from tests.support.default_model import DEFAULT_MODEL, needs_default_model
from tests.support.shared import shared_model
from tests.support.tiny_models import TinyShape, bpe_vocabulary, random_model, spm_vocabulary, write_gguf

GREEDY = ("--temperature", "0")


def parsed(llamachat: Run, *arguments: str | Path, **how: Any) -> Any:
    done = llamachat(*arguments, "--json", **how)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") == 1
    return json.loads(done.stdout)


# ---- complete ---------------------------------------------------------------


def test_only_the_continuation_is_printed_and_ends_its_line(llamachat: Run, model: Path) -> None:
    done = llamachat("complete", "-m", model, *GREEDY, "-n", "8", "the")
    assert (done.returncode, done.stderr) == (0, "")
    whole = parsed(llamachat, "complete", "-m", model, *GREEDY, "-n", "8", "the")
    assert done.stdout == whole["text"] + ("" if whole["text"].endswith("\n") else "\n")
    echoed = llamachat("complete", "-m", model, *GREEDY, "-n", "8", "--echo", "the")
    assert echoed.stdout == "the" + done.stdout


def test_the_same_seed_gives_the_same_text(llamachat: Run, model: Path) -> None:
    texts = [llamachat("complete", "-m", model, "--seed", seed, "-n", "30", "the").stdout for seed in "112"]
    assert texts[0] == texts[1] != texts[2]
    assert llamachat("complete", "-m", model, "--seed", "1", "-n", "30", "--threads", "3", "the").stdout == texts[0]


def test_text_comes_from_standard_input_where_there_is_none(llamachat: Run, model: Path) -> None:
    ids = parsed(llamachat, "complete", "-m", model, "-n", "1", "on the")["prompt_ids"]
    for arguments in ((), ("-",)):
        for piped in ("on the", "on the\n", "on the\r\n"):
            found = parsed(llamachat, "complete", "-m", model, "-n", "1", *arguments, stdin=piped)
            assert found["prompt_ids"] == ids
    assert parsed(llamachat, "complete", "-m", model, "-n", "1", "on the", stdin="not this")["prompt_ids"] == ids


def test_bos_is_there_unless_it_is_left_out(llamachat: Run, model: Path) -> None:
    plain = load_tokenizer(spm_vocabulary()).encode("the </s>")
    assert parsed(llamachat, "complete", "-m", model, "-n", "1", "the </s>")["prompt_ids"] == [1, *plain]
    assert parsed(llamachat, "complete", "-m", model, "-n", "1", "--no-bos", "the </s>")["prompt_ids"] == plain
    assert parsed(llamachat, "complete", "-m", model, "-n", "1", "")["prompt_ids"] == [1]


def test_from_nothing_nothing_can_come(llamachat: Run, model: Path) -> None:
    done = llamachat("complete", "-m", model, "--no-bos", "")
    assert done.returncode == 1
    assert_one_line(done.stderr, "give a text of at least one token")


def test_a_vocabulary_that_wants_no_bos_gets_none_but_starts_from_it(llamachat: Run, tmp_path: Path) -> None:
    vocabulary = bpe_vocabulary()
    assert not vocabulary.add_bos
    write_gguf(tmp_path / "bpe.gguf", random_model(TinyShape(n_vocab=len(vocabulary))), vocabulary=vocabulary)
    found = parsed(llamachat, "complete", "-m", tmp_path / "bpe.gguf", "-n", "1", "the")
    assert found["prompt_ids"] == load_tokenizer(vocabulary).encode("the")
    assert parsed(llamachat, "complete", "-m", tmp_path / "bpe.gguf", "-n", "1", "")["prompt_ids"] == [
        vocabulary.bos_id
    ]


# ---- the JSON form ----------------------------------------------------------


def test_the_json_has_its_form_and_its_numbers_agree(llamachat: Run, model: Path) -> None:
    found = parsed(llamachat, "complete", "-m", model, "-n", "12", "--seed", "3", "--logprobs", "320", "on the")
    assert list(found) == ["text", "prompt_ids", "tokens", "stop_reason", "timings"]
    assert list(found["timings"]) == ["prompt_tokens", "reused_tokens", "prompt_ms", "answer_tokens", "answer_ms"]
    assert found["stop_reason"] in {reason.value for reason in StopReason}
    assert found["timings"]["prompt_tokens"] == len(found["prompt_ids"])
    assert found["timings"]["answer_tokens"] == len(found["tokens"]) <= 12
    assert found["timings"]["prompt_ms"] > 0
    assert found["timings"]["answer_ms"] > 0
    for token in found["tokens"]:
        assert list(token) == ["id", "text", "logprob", "top"]
        assert len(token["top"]) == 320
        assert token["logprob"] == {one["id"]: one["logprob"] for one in token["top"]}[token["id"]]
        # The vocabulary whole: natural logarithms of probabilities, best first.
        values = [one["logprob"] for one in token["top"]]
        assert values == sorted(values, reverse=True)
        assert math.fsum(map(math.exp, values)) == pytest.approx(1.0, abs=1e-4)


def test_logprobs_are_those_of_the_raw_logits(llamachat: Run, model: Path) -> None:
    """Temperature, penalties and cuts change what is drawn, never what is told."""
    arguments = ("complete", "-m", model, "-n", "1", "--logprobs", "5", "on the")
    plain = parsed(llamachat, *arguments, "--seed", "1", "--temperature", "1", "--top-k", "0")["tokens"][0]["top"]
    bent = parsed(llamachat, *arguments, "--seed", "1", "--temperature", "4", "--top-k", "2", "--repeat-penalty", "3")
    assert bent["tokens"][0]["top"] == plain


def test_without_logprobs_there_are_none_at_the_side(llamachat: Run, model: Path) -> None:
    found = parsed(llamachat, "complete", "-m", model, "-n", "4", *GREEDY, "on the")
    assert all(token["top"] == [] and token["logprob"] <= 0 for token in found["tokens"])


def test_the_greedy_token_is_the_likeliest(llamachat: Run, model: Path) -> None:
    found = parsed(llamachat, "complete", "-m", model, "-n", "8", *GREEDY, "--logprobs", "1", "on the")
    assert all(token["top"][0]["id"] == token["id"] for token in found["tokens"])


# ---- ask --------------------------------------------------------------------


def test_a_question_goes_into_the_prompt_format(llamachat: Run, chat_model: Path) -> None:
    tokenizer = load_tokenizer(spm_vocabulary())
    found = parsed(llamachat, "ask", "-m", chat_model, "-n", "1", "--system", "Be.", "What?")
    text = tokenizer.decode(found["prompt_ids"])
    assert "system\nBe." in text
    assert text.index("user\nWhat?") < text.index("assistant\n")
    plain = parsed(llamachat, "ask", "-m", chat_model, "-n", "1", "--prompt-format", "plain", "What?")
    assert tokenizer.decode(plain["prompt_ids"]).strip() == "What?"


def test_what_is_piped_in_is_added(llamachat: Run, chat_model: Path) -> None:
    def asked(*arguments: str, stdin: str) -> list[int]:
        ids: list[int] = parsed(llamachat, "ask", "-m", chat_model, "-n", "1", *arguments, stdin=stdin)["prompt_ids"]
        return ids

    assert asked("one", stdin="two\nthree\n") == asked("one\n\ntwo\nthree", stdin="")
    assert asked(stdin="two\n") == asked("two", stdin="") == asked("-", stdin="two")


# ---- files --------------------------------------------------------------------


def test_files_go_before_the_question(llamachat: Run, chat_model: Path, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"on\r\n")
    (tmp_path / "b").write_text("in", encoding="utf-16")

    def asked(*arguments: str | Path, stdin: str = "") -> list[int]:
        arguments = ("ask", "-m", chat_model, "--n-ctx", "512", "-n", "1", *arguments)
        ids: list[int] = parsed(llamachat, *arguments, stdin=stdin)["prompt_ids"]
        return ids

    files = ("-f", tmp_path / "a.txt", "--file", tmp_path / "b")
    whole = asked(f"{file_block('a.txt', 'on')}\n\n{file_block('b', 'in')}\n\nthe")
    assert asked(*files, "the") == asked("the", *files) == asked(*files, stdin="the") == whole
    assert asked(*files, "the", stdin="a") == asked(*files, "the\n\na")


def test_how_a_file_was_read_is_told_where_that_is_odd(llamachat: Run, chat_model: Path, tmp_path: Path) -> None:
    (tmp_path / "old.txt").write_bytes(b"K\xf6ln")
    done = llamachat("ask", "-m", chat_model, "-n", "1", "-f", tmp_path / "old.txt", "the")
    assert done.returncode == 0
    assert done.stderr == "llamachat: old.txt: not UTF-8, so it is read as Latin-1 (Windows-1252)\n"


def test_what_is_no_text_file_is_refused_before_the_model_is_loaded(llamachat: Run, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "large").touch()
    os.truncate(tmp_path / "large", 300_000_000)
    (tmp_path / "binary").write_bytes(b"\0")
    (tmp_path / "empty").touch()
    for name, reason in (
        ("pipe", "a pipe or a device, not a text"), ("large", "too large for a text (4 MB at most)"),
        ("binary", "not a text: it holds zero bytes"), ("nothing", "no such file"), ("", "a folder, not a text"),
        ("empty", "is empty"),
    ):  # fmt: skip
        done = llamachat("ask", "-m", tmp_path / "no-model", "-f", tmp_path / name, "the")
        assert (done.returncode, done.stdout) == (1, "")
        assert_one_line(done.stderr, reason)
    done = llamachat("ask", "-f", "", "the")
    assert done.returncode == 2
    assert_one_line(done.stderr, "--file takes a file, not ''")


def test_a_file_is_no_question(llamachat: Run, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("on")
    done = llamachat("ask", "-f", tmp_path / "a.txt")
    assert done.returncode == 2
    assert_one_line(done.stderr, "no question: give TEXT, or pipe it in")


def test_a_file_beyond_the_context_is_refused_in_tokens(llamachat: Run, chat_model: Path, tmp_path: Path) -> None:
    (tmp_path / "long").write_text("on " * 200)
    done = llamachat("ask", "-m", chat_model, "-f", tmp_path / "long", "the")
    assert done.returncode == 1
    assert_one_line(done.stderr, "this message is too long: ", " tokens that fit the context")


def test_what_the_shell_opened_may_be_a_pipe(own_home: Path, chat_model: Path) -> None:
    end, begin = os.pipe()
    os.write(begin, b"on")
    os.close(begin)
    command: list[str | Path] = [COMMAND, "ask", "-m", chat_model, "-n", "1", "--json", "-f", f"/dev/fd/{end}", "the"]
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, pass_fds=[end], timeout=60, check=True
    )
    os.close(end)
    ids = json.loads(done.stdout)["prompt_ids"]
    assert file_block(str(end), "on") in load_tokenizer(spm_vocabulary()).decode(ids)


def test_bytes_that_are_no_text_are_no_trouble(llamachat: Run, chat_model: Path) -> None:
    assert llamachat("ask", "-m", chat_model, "-n", "1", os.fsdecode(b"caf\xe9"), stdin=b"\xff\xfe").returncode == 0


# ---- what does not fit ------------------------------------------------------


def test_a_text_beyond_the_context_is_refused_in_tokens(llamachat: Run, model: Path, chat_model: Path) -> None:
    n_tokens = len(load_tokenizer(spm_vocabulary()).encode("on " * 200)) + 1
    done = llamachat("complete", "-m", model, "on " * 200)
    assert done.returncode == 1
    assert_one_line(done.stderr, f"{n_tokens} of 127 tokens")
    done = llamachat("ask", "-m", chat_model, "on " * 200)
    assert done.returncode == 1
    assert_one_line(done.stderr, " of ", " tokens that fit the context")
    done = llamachat("complete", "-m", model, "--n-ctx", "8", "on the on the on the on the")
    assert_one_line(done.stderr, " of 7 tokens")


@pytest.mark.parametrize("command", ["ask", "complete"])
def test_a_text_of_megabytes_is_refused_by_its_beginning(llamachat: Run, model: Path, command: str) -> None:
    """To count all of its tokens took minutes, in which no signal was heard, and gigabytes."""
    began = time.monotonic()
    done = llamachat(command, "-m", model, stdin="Q29uc2lkZXIgd2hhdCBpdCB0YWtlcyB0byByZWFk\n" * 1_000_000)
    assert time.monotonic() - began < 15
    assert (done.returncode, done.stdout) == (1, "")
    assert_one_line(done.stderr, "is too long: about ", " tokens that fit the context")


def test_a_full_context_ends_the_answer(llamachat: Run, model: Path) -> None:
    found = parsed(llamachat, "complete", "-m", model, "--n-ctx", "16", "--seed", "3", "-n", "100", "the")
    assert found["stop_reason"] in ("context", "end")
    assert len(found["prompt_ids"]) + len(found["tokens"]) <= 17


def test_an_answer_that_is_cut_is_told_so(llamachat: Run, chat_model: Path) -> None:
    done = llamachat("ask", "-m", chat_model, "--n-ctx", "64", "--seed", "3", "What?")
    assert (done.returncode, done.stderr.count("\n")) == (0, 1)
    assert "cut: the context is full" in done.stderr
    done = llamachat("ask", "-m", chat_model, "-n", "4", "--seed", "3", "What?")
    assert (done.returncode, done.stderr) == (0, "")  # as long as was asked for


def test_the_usual_reply_length_is_told_too() -> None:
    answer = Answer([TokenEvent(1, "a")] * 512, Finished(StopReason.LENGTH, Timings()))
    assert _cut(answer, Invocation({})) == "cut after 512 tokens: -n allows more"
    assert _cut(answer, Invocation({"max_tokens": 512})) == ""
    assert _cut(Answer([], Finished(StopReason.END, Timings())), Invocation({})) == ""


def test_without_a_model_the_next_command_is_named(llamachat: Run) -> None:
    for command in ("ask", "complete", "tokenize"):
        done = llamachat(command, "hello")
        assert done.returncode == 1
        assert done.stderr == "llamachat: error: no model yet; fetch the default one with: llamachat pull\n"


# ---- ends -------------------------------------------------------------------


def long_run(model: Path, *arguments: str) -> subprocess.Popen[bytes]:
    """A completion that would go on for minutes, after its first text came."""
    command: list[str | Path] = [COMMAND, "complete", "-m", model, "--seed", "1", "-n", "1000000", *arguments, "the"]
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_keeps_what_was_printed(endless: Path, number: signal.Signals) -> None:
    with long_run(endless, "--top-k", "40") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        first = os.read(process.stdout.fileno(), 1)
        process.send_signal(number)
        rest, errors = process.communicate(timeout=30)
    assert process.returncode == 128 + number
    assert errors == b""
    assert (first + rest).endswith(b"\n")


@needs_proc
def test_a_signal_still_gives_whole_json(endless: Path) -> None:
    with long_run(endless, "--json") as process:
        _wait_until_busy(process)
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (130, b"")
    assert json.loads(output)["stop_reason"] == "stopped"


def test_a_reader_that_goes_away_ends_it_quietly(endless: Path) -> None:
    with long_run(endless) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        os.read(process.stdout.fileno(), 1)
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 128 + signal.SIGPIPE


def _wait_until_busy(process: subprocess.Popen[bytes]) -> None:
    """Until the process has computed for a while: it is past its start, then."""
    ticks = 0
    while ticks < 2 * os.sysconf("SC_CLK_TCK"):
        assert process.poll() is None
        time.sleep(0.02)
        ticks = cpu_seconds_and_state(process.pid)[0]


# ---- real models ------------------------------------------------------------


@pytest.mark.parametrize("file", ["stories260K/stories260K.bin", "salty260K/model.bin"])
@pytest.mark.parametrize(
    ("n", "text", "golden"), [(200, "", "t0-n200"), (60, "", "t0-n60"), (100, "Tom had a big dog", "t0-n100-Tom")]
)
def test_llama2c_goldens(llamachat: Run, file: str, n: int, text: str, golden: str) -> None:
    model = shared_model(file)
    words = shared_model("stories260K/tok512.bin")
    prompt = json.loads(llamachat("tokenize", "--tokenizer", words, text).stdout)
    arguments = ("complete", "-m", model, "--tokenizer", words, *GREEDY, "-n", str(n - len(prompt)), "--echo", text)
    assert llamachat(*arguments).stdout == Path(f"{model}.golden-{golden}.txt").read_text()


@pytest.mark.parametrize(
    ("file", "golden"),
    [
        ("stories260K/gguf/stories260Ktok512.gguf", ".golden-p-Once_upon_a_time-n60.txt"),
        ("stories260K/gguf/stories260Ktok512.f16.gguf", ".golden-p-Once_upon_a_time-n60.txt"),
        ("stories260K/ggml/stories260K-mha.ggjt-v3.f16.bin", ".golden.txt"),
        ("salty260K/ggml/salty260K-mha.ggjt-v3.f32.bin", ".golden.txt"),
    ],
)
def test_ggml_goldens(llamachat: Run, file: str, golden: str) -> None:
    model = shared_model(file)
    done = llamachat("complete", "-m", model, *GREEDY, "-n", "60", "--echo", "Once upon a time")
    expected = Path(f"{model}{golden}").read_text().strip()
    assert len(expected) > 150
    assert done.stdout.strip().startswith(expected)  # the original counted the first token too


@needs_default_model
def test_the_default_model_answers(llamachat: Run) -> None:
    done = llamachat("complete", "-m", DEFAULT_MODEL, *GREEDY, "-n", "6", "The capital of France is")
    assert done.stdout.startswith(" Paris.")
    done = llamachat("ask", "-m", DEFAULT_MODEL, *GREEDY, "-n", "20", "What is the capital of France?")
    assert "Paris" in done.stdout
