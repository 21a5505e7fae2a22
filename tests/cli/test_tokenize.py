"""Text as token ids."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest

from llamachat.tokenizer import load_tokenizer
from tests.cli.program import COMMAND, Run, assert_one_line
from tests.cli.terminal import Terminal
from tests.support.shared import shared_model
from tests.support.tiny_models import (
    TinyShape,
    bpe_vocabulary,
    random_model,
    spm_vocabulary,
    write_gguf,
    write_llama2c,
    write_tokenizer_bin,
)

TEXT = "Hello  wörld <s>\n"


def test_ids_come_as_a_json_list(llamachat: Run, model: Path) -> None:
    expected = load_tokenizer(spm_vocabulary()).encode(TEXT)
    done = llamachat("tokenize", "-m", model, TEXT)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == expected
    with_bos = json.loads(llamachat("tokenize", "-m", model, "--bos", TEXT).stdout)
    assert with_bos == [spm_vocabulary().bos_id, *expected]
    assert json.loads(
        llamachat("tokenize", TEXT, env={"LLAMACHAT_MODEL": str(model), "LLAMACHAT_BOS": "1"}).stdout
    ) == (with_bos)


def test_pieces_stand_beside_their_ids(llamachat: Run, model: Path) -> None:
    done = llamachat("tokenize", "-m", model, "--bos", "--pieces", TEXT)
    lines = [line.split(maxsplit=1) for line in done.stdout.splitlines()]
    assert [int(id_) for id_, _ in lines] == json.loads(llamachat("tokenize", "-m", model, "--bos", TEXT).stdout)
    assert lines[0][1] == '"<s>"'
    written = [json.loads(piece) for _, piece in lines[1:]]
    assert "".join(written).startswith(" Hello  w")
    assert written[-1] == "\n"


def test_standard_input_is_read_to_the_letter(llamachat: Run, model: Path) -> None:
    given = llamachat("tokenize", "-m", model, TEXT).stdout
    assert llamachat("tokenize", "-m", model, stdin=TEXT).stdout == given
    assert llamachat("tokenize", "-m", model, "-", stdin=TEXT).stdout == given
    assert llamachat("tokenize", "-m", model, "", stdin=TEXT).stdout == "[]\n"


def test_bytes_that_are_no_text_are_no_trouble(llamachat: Run, model: Path) -> None:
    assert llamachat("tokenize", "-m", model, stdin=b"a\xff\xfe").returncode == 0


def test_a_tokenizer_file_is_enough(llamachat: Run, tmp_path: Path) -> None:
    vocabulary = spm_vocabulary()
    write_tokenizer_bin(tmp_path / "tokenizer.bin", vocabulary)
    done = llamachat("tokenize", "--tokenizer", tmp_path / "tokenizer.bin", TEXT)
    assert json.loads(done.stdout) == load_tokenizer(vocabulary).encode(TEXT)


def test_a_model_without_vocabulary_asks_for_one(llamachat: Run, tmp_path: Path) -> None:
    write_llama2c(tmp_path / "model.bin", random_model())
    done = llamachat("tokenize", "-m", tmp_path / "model.bin", TEXT)
    assert done.returncode == 1
    assert_one_line(done.stderr, "--tokenizer FILE")


def test_a_vocabulary_without_bos_says_so(llamachat: Run, tmp_path: Path) -> None:
    vocabulary = replace(bpe_vocabulary(), bos_id=None, add_bos=False)
    shape = TinyShape(n_vocab=len(vocabulary))
    write_gguf(tmp_path / "tiny.gguf", random_model(shape), vocabulary=vocabulary)
    done = llamachat("tokenize", "--bos", "-m", tmp_path / "tiny.gguf", TEXT)
    assert done.returncode == 1
    assert_one_line(done.stderr, "no token that begins a text")


@pytest.mark.parametrize(
    ("vocabulary", "vectors"),
    [
        ("tokenizers/llama2/tokenizer.model", "tokenizers/spm-vectors-llama2.json"),
        ("stories260K/tok512.model", "tokenizers/spm-vectors-tok512.json"),
    ],
)
def test_ids_are_those_of_the_original_library(llamachat: Run, vocabulary: str, vectors: str) -> None:
    cases = json.loads(shared_model(vectors).read_text())
    for case in cases["cases"][::20]:
        done = llamachat("tokenize", "--tokenizer", shared_model(vocabulary), stdin=case["text"])
        assert json.loads(done.stdout) == case["ids"]


def test_a_gguf_of_nothing_but_a_vocabulary_is_enough(llamachat: Run) -> None:
    path = shared_model("tokenizers/llama2/ggml-vocab-llama-spm.gguf")
    assert json.loads(llamachat("tokenize", "-m", path, "Hello").stdout) == [15043]


# ---- large texts ----


@pytest.mark.parametrize("kind", ["spm", "bpe"])
def test_a_text_of_many_parts_has_the_ids_of_the_whole(llamachat: Run, tmp_path: Path, kind: str) -> None:
    vocabulary = spm_vocabulary() if kind == "spm" else bpe_vocabulary()
    write_gguf(tmp_path / "m.gguf", random_model(TinyShape(n_vocab=len(vocabulary))), vocabulary=vocabulary)
    text = "the king was in\nhis counting house, counting\n" * 5000
    expected = load_tokenizer(vocabulary).encode(text)
    assert json.loads(llamachat("tokenize", "-m", tmp_path / "m.gguf", stdin=text).stdout) == expected
    lines = llamachat("tokenize", "-m", tmp_path / "m.gguf", "--pieces", "--bos", stdin=text).stdout.splitlines()
    assert [int(line.split()[0]) for line in lines] == [vocabulary.bos_id, *expected]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_large_one_at_once(model: Path, own_home: Path, tmp_path: Path, number: signal.Signals) -> None:
    (tmp_path / "large").write_bytes(b"Q29uc2lkZXIgd2hhdCBpdCB0YWtlcyB0byByZWFk\n" * 3_000_000)
    with (tmp_path / "large").open("rb") as text:
        process = subprocess.Popen([COMMAND, "tokenize", "-m", model], stdin=text, stdout=subprocess.PIPE)
    assert process.stdout is not None
    with process.stdout as ids:
        assert ids.read(1) == b"["  # the first part is done, of some thousand
        began = time.monotonic()
        process.send_signal(number)
        ids.read()
        assert process.wait() == 128 + number
    assert time.monotonic() - began < 5


def test_a_large_one_shows_how_far_it_is(model: Path, own_home: Path, tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(b"Q29uc2lkZXIgd2hhdCBpdCB0YWtlcyB0byByZWFk\n" * 3_000_000)
    command = f"exec '{COMMAND}' tokenize -m '{model}' < '{tmp_path}/large' > '{tmp_path}/ids'"
    with Terminal(["/bin/sh", "-c", command], columns=80) as terminal:
        terminal.wait_for("reading the text ━")
        terminal.signal(signal.SIGTERM)
        assert terminal.wait() == 128 + signal.SIGTERM
