"""``llamachat inspect``: what it prints, and the JSON that programs read."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from llamachat.cli.pull import DEFAULT
from llamachat.tokenizer.model_proto import build_model_proto
from tests.cli.program import Run, assert_one_line
from tests.support.blocks import IDS
from tests.support.containers import RawTensor, gguf
from tests.support.huggingface_files import write_huggingface
from tests.support.tiny_models import (
    TinyShape,
    bpe_vocabulary,
    gguf_metadata,
    llama2c_later_bytes,
    random_model,
    write_ggml,
    write_gguf,
    write_llama2c,
    write_tokenizer_bin,
)
from tests.support.tiny_vocabularies import spm_vocabulary

CHATML = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
KEYS = [
    *("path", "name", "format", "files", "size_bytes", "runs", "problem", "error", "parameters", "hyperparameters"),
    *("vocabulary", "prompt_format", "types", "memory", "notes", "metadata"),
]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.gguf"
    metadata = {"tokenizer.chat_template": CHATML}
    write_gguf(path, random_model(), types="Q4_0", vocabulary=bpe_vocabulary(), metadata=metadata)
    return path


def facts(text: str) -> dict[str, str]:
    return {line[:12].strip(): line[12:] for line in text.splitlines() if line[:12].strip()}


def test_a_person_reads_lines(llamachat: Run, model: Path) -> None:
    done = llamachat("inspect", model, "--n-ctx", "100")
    assert (done.returncode, done.stderr) == (0, "")
    shown = facts(done.stdout)
    assert shown["file"] == str(model)
    assert shown["format"].startswith("GGUF v3, ")
    assert shown["runs"] == "yes"
    assert shown["heads"] == "4 of 16, 2 for keys and values"
    assert shown["vocabulary"] == "byte-level BPE (smollm), 320 tokens, 61 merges"
    assert shown["special"].startswith("BOS 1 <|im_start|>; EOS 2 <|im_end|>; unknown 0 <|endoftext|>; answers end at")
    assert shown["prompt"].startswith("chatml: recognised from the chat template")
    assert shown["types"].split()[0] == "Q4_0"
    assert "for 100 tokens of context" in shown["memory"]
    assert "tied" in shown["to know"]
    assert "blk.0" not in done.stdout


def test_tensors_are_listed(llamachat: Run, model: Path) -> None:
    rows = [line.split() for line in llamachat("inspect", model, "--tensors").stdout.splitlines()]
    assert ["blk.1.ffn_down.weight", "Q4_0", "64", "x", "96", "3.5", "kB"] in rows
    assert ["output_norm.weight", "F32", "1", "x", "64", "0.3", "kB"] in rows


def test_programs_read_json(llamachat: Run, model: Path) -> None:
    done = llamachat("inspect", "--json", model, "--n-ctx", "128")
    found = json.loads(done.stdout)
    assert list(found) == KEYS
    assert (found["runs"], found["problem"], found["files"]) == (True, None, 1)
    assert found["size_bytes"] == model.stat().st_size
    assert found["hyperparameters"] == {
        "n_vocab": 320, "n_embd": 64, "n_ff": 96, "n_layers": 2, "n_heads": 4, "n_kv_heads": 2, "head_dim": 16,
        "n_ctx_train": 128, "norm_eps": pytest.approx(1e-5), "rope_base": 10000.0, "rope_scale": 1.0,
    }  # fmt: skip
    assert found["prompt_format"] == {"name": "chatml", "how": "recognised"}
    vocabulary = found["vocabulary"]
    assert (vocabulary["kind"], vocabulary["pre_tokenizer"], vocabulary["tokens"]) == ("bpe", "smollm", 320)
    assert vocabulary["eos"] == {"id": 2, "text": "<|im_end|>"}
    assert [stop["id"] for stop in vocabulary["stops"]] == [0, 2]
    assert sum(one["share"] for one in found["types"]) == pytest.approx(1, abs=1e-5)
    memory = found["memory"]
    assert (memory["n_ctx"], memory["kv_f16_bytes"]) == (128, 128 * 2 * 2 * 2 * 16 * 2)
    assert memory["total_bytes"] == memory["weight_bytes"] + memory["kv_f16_bytes"] + memory["scratch_bytes"]

    tensors = json.loads(llamachat("inspect", "--json", "--tensors", model).stdout)["tensors"]
    assert {"name": "blk.0.attn_q.weight", "type": "Q4_0", "kept_as": "Q4_0", "rows": 64, "columns": 64,
            "bytes": 64 * 64 // 32 * 18, "used": True} in tensors  # fmt: skip


def test_a_model_without_template_is_guessed_at(llamachat: Run, tmp_path: Path) -> None:
    write_gguf(tmp_path / "vicuna-7b.gguf", random_model())
    write_gguf(tmp_path / "other.gguf", random_model())
    odd = {"tokenizer.chat_template": "{{ anything }}"}
    write_gguf(tmp_path / "odd.gguf", random_model(), metadata=odd)
    expected = (("vicuna-7b", "vicuna", "guessed"), ("other", "plain", "none"), ("odd", "template", "template"))
    for file, name, how in expected:
        found = json.loads(llamachat("inspect", "--json", tmp_path / f"{file}.gguf").stdout)
        assert found["prompt_format"] == {"name": name, "how": how}


def test_what_cannot_be_run_is_shown_with_the_reason(llamachat: Run, tmp_path: Path) -> None:
    shape = replace(TinyShape(tied=False), n_embd=256)
    raw = []
    for name, size in shape.tensors().items():
        rows, cols = (1, *size)[-2:]
        kind, n_bytes = (16, rows * cols // 256 * 66) if name == "output.weight" else (IDS["F32"], rows * cols * 4)
        raw.append(RawTensor(name, tuple(reversed(size)), kind, bytes(n_bytes)))
    (tmp_path / "iq.gguf").write_bytes(gguf(gguf_metadata(shape, spm_vocabulary()), raw))
    done = llamachat("inspect", tmp_path / "iq.gguf")
    assert (done.returncode, done.stderr) == (0, "")
    assert facts(done.stdout)["runs"].startswith("no: it has a tensor 'output.weight' of type IQ2_XXS")
    assert "IQ2_XXS " in done.stdout
    assert json.loads(llamachat("inspect", "--json", tmp_path / "iq.gguf").stdout)["runs"] is False


def test_old_blocks_show_what_they_become(llamachat: Run, tmp_path: Path) -> None:
    write_ggml(tmp_path / "old.bin", random_model(TinyShape(tied=False)), kind="ggjt v1", types="Q4_0")
    done = llamachat("inspect", tmp_path / "old.bin", "--tensors")
    assert facts(done.stdout)["types"].startswith("Q4_0 (f32 scales) ")
    assert re.search(r"^blk\.0\.attn_q\.weight +Q4_0 \(f32 scales\)  64 x 64 ", done.stdout, re.MULTILINE)
    (tmp_path / "groups.bin").write_bytes(llama2c_later_bytes(random_model(), version=2, group=16)[0])
    done = llamachat("inspect", tmp_path / "groups.bin", "--tensors")
    assert facts(done.stdout)["types"].startswith("int8 in groups of 16 ")
    assert "int8 in groups of 16 as F32" in done.stdout
    assert "they become F32 and take" in done.stdout


def test_the_default_model_and_a_tokenizer_beside(llamachat: Run, own_home: Path, tmp_path: Path) -> None:
    shelf = own_home / ".local/share/llamachat/models"
    shelf.mkdir(parents=True)
    write_gguf(shelf / DEFAULT.file_name, random_model())
    write_llama2c(tmp_path / "model.bin", random_model())
    write_tokenizer_bin(tmp_path / "words", spm_vocabulary())
    for arguments in (("inspect",), ("inspect", "smollm2"), ("inspect", "-m", "smollm2")):
        assert facts(llamachat(*arguments).stdout)["file"] == str(shelf / DEFAULT.file_name)
    assert facts(llamachat("inspect", tmp_path / "model.bin").stdout)["vocabulary"] == "none"
    done = llamachat("inspect", tmp_path / "model.bin", "--tokenizer", tmp_path / "words")
    assert facts(done.stdout)["vocabulary"] == "SentencePiece, 320 tokens"


def test_no_text_of_a_file_steers_the_terminal(llamachat: Run, tmp_path: Path) -> None:
    evil = "\x1b[2J\x1b]0;t\x07\u202e\n[/nope]"
    plain = bpe_vocabulary()
    vocabulary = replace(plain, pieces=(evil, *plain.pieces[1:]))
    metadata = {"general.name": evil, "llama." + evil: 1, "tokenizer.chat_template": evil}
    path = tmp_path / "evil\x1b[31m.gguf"
    write_gguf(path, random_model(), vocabulary=vocabulary, metadata=metadata)
    for arguments in ((), ("--tensors",), ("--json", "--tensors")):
        done = llamachat("inspect", path, *arguments)
        assert done.returncode == 0, done.stderr
        for bad in "\x1b\x07\u202e":
            assert bad not in done.stdout
    assert json.loads(done.stdout)["name"] == evil


def test_what_is_no_model_is_one_line(llamachat: Run, tmp_path: Path) -> None:
    (tmp_path / "x.gguf").write_bytes(b"GGUF\3\0\0\0")
    for path, reason in ((tmp_path / "x.gguf", "cut short"), (tmp_path, "x.gguf"), (tmp_path / "no", "no such file")):
        done = llamachat("inspect", path)
        assert (done.returncode, done.stdout) == (1, "")
        assert_one_line(done.stderr, reason)


def test_programs_read_json_of_what_is_no_model_too(llamachat: Run, tmp_path: Path) -> None:
    (tmp_path / "x.gguf").write_bytes(b"GGUF\3\0\0\0")
    (tmp_path / "folder").mkdir()
    for path, reason, size in (
        (tmp_path / "x.gguf", "cut short", 8),
        (tmp_path / "folder", "without a model", None),
    ):
        done = llamachat("inspect", "--json", "--tensors", path)
        assert done.returncode == 1
        assert_one_line(done.stderr, reason)
        found = json.loads(done.stdout)
        assert list(found) == KEYS
        assert (found["path"], found["size_bytes"], found["runs"]) == (str(path), size, False)
        assert reason in found["error"] == found["problem"]


def test_the_file_that_is_to_blame_is_named(llamachat: Run, tmp_path: Path) -> None:
    write_huggingface(tmp_path / "m", random_model())
    (tmp_path / "m/tokenizer.json").write_text('{"model": {"type": "WordPiece"}}')
    done = llamachat("inspect", tmp_path / "m")
    assert "no: tokenizer.json: describes a tokenizer of the kind 'WordPiece'" in facts(done.stdout)["runs"]
    found = json.loads(llamachat("inspect", "--json", tmp_path / "m").stdout)
    assert found["problem"].startswith("tokenizer.json: describes")


def test_a_vocabulary_that_makes_no_tokenizer(llamachat: Run, tmp_path: Path) -> None:
    write_huggingface(tmp_path / "m", random_model())
    proto = build_model_proto(spm_vocabulary())
    (tmp_path / "m/tokenizer.model").write_bytes(proto.replace(b"<0xB1>", b"<0xB1~"))
    runs = facts(llamachat("inspect", tmp_path / "m").stdout)["runs"]
    assert runs.startswith("no: tokenizer.model: SentencePiece refuses the vocabulary")
    done = llamachat("complete", "-m", tmp_path / "m", "x")
    assert done.returncode == 1
    assert_one_line(done.stderr, "tokenizer.model: SentencePiece refuses the vocabulary")
    assert ".cc(" not in runs + done.stderr


def test_threads_are_no_matter_of_it(llamachat: Run) -> None:
    assert "--threads" not in llamachat("inspect", "--help").stdout
