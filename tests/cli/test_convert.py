"""``llamachat convert`` and ``quantize``, as a person runs them."""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import struct
import subprocess
import time
from pathlib import Path

import pytest

from llamachat.cli.convert import FORMAT_KEYS, TYPE_NAMES
from llamachat.weights import open_weights
from llamachat.weights.write import CHOICES, FORMATS
from tests.cli.program import COMMAND, Run, assert_one_line
from tests.cli.terminal import Terminal
from tests.support.tiny_models import (
    TinyShape,
    bpe_vocabulary,
    random_model,
    spm_vocabulary,
    write_ggml,
    write_gguf,
    write_llama2c,
)
from tests.support.tiny_models import write_tokenizer_bin as write_vocabulary


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A model in float32, its vocabulary in it."""
    write_gguf(tmp_path / "m.gguf", random_model(TinyShape(n_heads=4, n_kv_heads=4)))
    return tmp_path / "m.gguf"


def test_help_tells_what_there_is() -> None:
    assert tuple(FORMATS) == FORMAT_KEYS
    assert tuple(CHOICES) == TYPE_NAMES


def test_quantize_wants_to_know_as_what(llamachat: Run, model: Path) -> None:
    done = llamachat("quantize", model, model.with_name("new.gguf"))
    assert (done.returncode, done.stdout) == (2, "")
    assert_one_line(done.stderr, "Give --type, such as q4_0")
    assert not model.with_name("new.gguf").exists()


@pytest.mark.parametrize("command", ["convert", "quantize"])
def test_a_type(llamachat: Run, model: Path, command: str) -> None:
    done = llamachat(command, model, model.with_name("new.gguf"), "--type", "Q8_0")
    assert (done.returncode, done.stdout) == (0, "")
    assert re.fullmatch(r".*/new\.gguf: GGUF, [\d.]+ kB in [\d.]+ s\n", done.stderr)
    with open_weights(model.with_name("new.gguf")) as weights:
        assert weights.type_name == "Q8_0"
        assert weights.name == "tiny"


@pytest.mark.parametrize(
    ("name", "kind", "expected"),
    [
        ("new.gguf", None, "GGUF v3"),
        ("new.bin", None, "llama2.c v0"),
        ("new.bin", "q8_0", "llama2.c v2"),
        ("new.ggmlv3.q4_0.bin", "q4_0", "ggjt v3"),
        ("new.ggjt", None, "ggjt v3"),
        ("new.safetensors", "bf16", "Hugging Face"),
    ],
)
def test_the_name_tells_the_format(llamachat: Run, model: Path, name: str, kind: str | None, expected: str) -> None:
    folder = model.with_name("out")
    folder.mkdir()
    done = llamachat("convert", model, folder / name, *(("--type", kind) if kind else ()))
    assert done.returncode == 0, done.stderr
    with open_weights(folder / name) as weights:
        assert weights.format == expected


def test_to_tells_it_before_the_name(llamachat: Run, model: Path) -> None:
    assert llamachat("convert", model, model.with_name("new.gguf"), "--to", "llama2.c-v1").returncode == 0
    with open_weights(model.with_name("new.gguf")) as weights:
        assert weights.format == "llama2.c v1"


def test_a_vocabulary_of_its_own(llamachat: Run, tmp_path: Path) -> None:
    write_llama2c(tmp_path / "m.bin", random_model())
    write_vocabulary(tmp_path / "v", spm_vocabulary())
    assert llamachat("convert", tmp_path / "m.bin", tmp_path / "m.gguf", "--tokenizer", tmp_path / "v").returncode == 0
    assert llamachat("complete", "-m", tmp_path / "m.gguf", "-n", "2", "the").returncode == 0
    done = llamachat("convert", tmp_path / "m.bin", tmp_path / "bare.gguf")
    assert done.returncode == 0
    assert "llamachat: the new file has no vocabulary" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["m.gguf"], 2, "missing argument"),
        (["m.gguf", "new"], 1, "no format is known by this name; give --to"),
        (["m.gguf", "new.gguf", "--to", "onnx"], 2, "one of gguf"),
        (["m.gguf", "new.gguf", "--type", "q3_x"], 2, "one of f32"),
        (["m.gguf", "new.bin", "--type", "q4_0"], 1, "llama2.c v0 holds no Q4_0"),
        (["m.gguf", "new.safetensors", "--type", "q8_0"], 1, "f32, f16, bf16"),
        (["m.gguf", "m.gguf"], 1, "would be read from"),
        (["m.gguf", "m.gguf", "--force"], 1, "would be read from"),
        (["m.gguf", "."], 1, "no format is known"),
        (["m.gguf", "", "--to", "gguf"], 1, "name a file"),
        (["m.gguf", "", "--to", "ncnn"], 1, "name a file or a folder"),
        (["m.gguf", "none/new.gguf"], 1, "no such folder"),
        (["none.gguf", "new.gguf"], 1, "no such file"),
        (["m.gguf", "x\x1b]0;title\x07.gguf", "--to", "nothing"], 2, "one of gguf"),
        (["m.gguf", "no\x1b[31m/new.gguf"], 1, "no such folder"),
    ],
)
def test_refusals(
    llamachat: Run, model: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], status: int, said: str
) -> None:
    monkeypatch.chdir(model.parent)
    before = model.read_bytes()
    done = llamachat("convert", *arguments)
    assert done.returncode == status
    assert_one_line(done.stderr, said)
    assert "\x1b" not in done.stderr
    assert [path.name for path in model.parent.glob("*") if path.is_file()] == ["m.gguf"]
    assert model.read_bytes() == before


def test_a_full_disk_leaves_nothing(model: Path, own_home: Path) -> None:
    done = subprocess.run(
        [COMMAND, "convert", model, model.with_name("new.gguf")],
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000)),
        check=False,
    )
    assert done.returncode == 1
    assert_one_line(done.stderr, "new.gguf: cannot be written: file too large")
    assert [path.name for path in model.parent.glob("*") if path.is_file()] == ["m.gguf"]


def test_no_rights_in_the_folder(model: Path, llamachat: Run) -> None:
    if os.geteuid() == 0:
        pytest.skip("the administrator may write anywhere")
    folder = model.with_name("closed")
    folder.mkdir(mode=0o500)
    done = llamachat("convert", model, folder / "new.gguf")
    assert_one_line(done.stderr, "permission denied")


def vast_model(path: Path) -> None:
    """A model of zeros that takes no room on the disk, and seconds to convert."""
    dim, ff, layers, vocab, context = 2048, 5632, 20, 32000, 16
    weights = vocab * dim + layers * (4 * dim * dim + 3 * dim * ff + 2 * dim) + dim
    path.write_bytes(struct.pack("<7i", dim, ff, layers, 32, 32, vocab, context))
    os.truncate(path, 28 + 4 * (weights + context * dim // 32))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_and_leaves_nothing(tmp_path: Path, own_home: Path, number: signal.Signals) -> None:
    vast_model(tmp_path / "m.bin")
    command = [str(COMMAND), "convert", str(tmp_path / "m.bin"), str(tmp_path / "new.gguf"), "--type", "q5_1"]
    with Terminal(command, columns=100) as terminal:
        terminal.wait_for(" left")  # progress with the time it will take
        assert len(list(tmp_path.iterdir())) == 2
        terminal.signal(number)
        assert terminal.wait() == 128 + number
    assert re.search(r"new\.gguf \S+ +\d+ % [\d.]+ MB of [\d.]+ MB, (\d+ min )?[\d.]+ s left", terminal.screen_text)
    assert [path.name for path in tmp_path.iterdir()] == ["m.bin"]


def test_what_a_killed_one_left_goes_at_the_next_start(llamachat: Run, tmp_path: Path) -> None:
    vast_model(tmp_path / "m.bin")
    write_gguf(tmp_path / "small.gguf", random_model())

    def started(name: str) -> tuple[subprocess.Popen[bytes], set[Path]]:
        before = set(tmp_path.glob(".llamachat-*"))
        command = [str(COMMAND), "convert", str(tmp_path / "m.bin"), str(tmp_path / name), "--type", "q5_1"]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 30
        while not (new := set(tmp_path.glob(".llamachat-*")) - before):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        return process, new

    running, held = started("running.gguf")
    try:
        killed, left = started("killed.gguf")
        killed.kill()
        killed.wait()
        assert set(tmp_path.glob(".llamachat-*")) == held | left
        done = llamachat("convert", tmp_path / "small.gguf", tmp_path / "new.gguf", "--type", "f16")
        assert done.returncode == 0, done.stderr
        assert set(tmp_path.glob(".llamachat-*")) == held  # which the other is still writing
        assert running.poll() is None
    finally:
        running.terminate()
        running.wait()
    assert {path.name for path in tmp_path.iterdir()} == {"m.bin", "small.gguf", "new.gguf"}


# ---- what goes along ----


def prompt_format(llamachat: Run, path: Path) -> dict[str, str]:
    found: dict[str, str] = json.loads(llamachat("inspect", "--json", path).stdout)["prompt_format"]
    return found


@pytest.mark.parametrize(("to", "out"), [("gguf", "chat.gguf"), ("safetensors", "folder")])
def test_a_prompt_format_that_only_the_name_tells_goes_along(llamachat: Run, tmp_path: Path, to: str, out: str) -> None:
    old = tmp_path / "llama-2-7b-chat.ggmlv3.q4_0.bin"
    write_ggml(old, random_model(TinyShape(tied=False)), types="Q4_0")
    assert prompt_format(llamachat, old) == {"name": "llama2", "how": "guessed"}
    done = llamachat("convert", old, tmp_path / out, "--to", to, "--type", "f16")
    assert "its prompt format, llama2, is known by its name alone" in done.stderr
    assert prompt_format(llamachat, tmp_path / out) == {"name": "llama2", "how": "recognised"}


def test_what_the_vocabulary_tells_needs_no_template(llamachat: Run, tmp_path: Path) -> None:
    write_gguf(tmp_path / "dolphin.gguf", random_model(), vocabulary=bpe_vocabulary())
    assert llamachat("convert", tmp_path / "dolphin.gguf", tmp_path / "new.gguf").stderr.count("\n") == 1
    with open_weights(tmp_path / "new.gguf") as weights:
        assert weights.chat_template is None
    assert prompt_format(llamachat, tmp_path / "new.gguf") == {"name": "chatml", "how": "guessed"}


def test_a_format_without_place_for_it_says_what_is_lost(llamachat: Run, tmp_path: Path) -> None:
    write_gguf(tmp_path / "vicuna-7b.gguf", random_model())
    write_gguf(tmp_path / "own.gguf", random_model(), metadata={"tokenizer.chat_template": "{{ messages }}"})
    done = llamachat("convert", tmp_path / "vicuna-7b.gguf", tmp_path / "chat.ggjt")
    assert "ggjt v3 has no place for a chat template" in done.stderr
    assert "--prompt-format vicuna" in done.stderr
    assert "template" not in llamachat("convert", tmp_path / "vicuna-7b.gguf", tmp_path / "vicuna.ggjt").stderr
    done = llamachat("convert", tmp_path / "own.gguf", tmp_path / "own.ggjt")
    assert "the model's own does not go along" in done.stderr
