"""What ``inspect_weights`` says of a file of every family, and that it reads nothing but headers."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from llamachat.errors import WeightsError
from llamachat.vocabulary import TokenKind
from llamachat.weights.files import RegularFile
from llamachat.weights.inspection import Inspection, inspect_weights
from llamachat.weights.tensors import TensorType
from tests.support import huge_files
from tests.support.containers import RawTensor, gguf, gguf_plain
from tests.support.conversions import converted
from tests.support.huge_files import LLAMA_1_65B, LLAMA_3_70B
from tests.support.huggingface_files import write_huggingface
from tests.support.ncnn_files import write_ncnn
from tests.support.tiny_models import (
    TinyShape,
    bpe_vocabulary,
    gguf_metadata,
    gguf_parts,
    llama2c_later_bytes,
    meta_name,
    random_model,
    spm_vocabulary,
    vocabulary_metadata,
    write_ggml,
    write_gguf,
    write_llama2c,
    write_tokenizer_bin,
)
from tests.support.torch_files import checkpoint

UNTIED = TinyShape(tied=False)
PARAMETERS = sum(w.size for w in random_model().weights.values())
PARAMS_JSON = {"dim": 64, "n_layers": 2, "n_heads": 4, "n_kv_heads": 2, "norm_eps": 1e-5}


def note(found: Inspection, words: str) -> bool:
    return any(words in sentence for sentence in found.notes)


def types(found: Inspection) -> dict[str, int]:
    return {label: count for label, count, _ in found.types}


# ---- each family ------------------------------------------------------------


def test_gguf(tmp_path: Path) -> None:
    path = tmp_path / "tiny.gguf"
    vocabulary = bpe_vocabulary()
    metadata = {"tokenizer.chat_template": "{{ x }}", "llama.unheard_of": 7, "general.author": "somebody"}
    write_gguf(path, random_model(), types="Q4_0", vocabulary=vocabulary, metadata=metadata)
    found = inspect_weights(path)
    assert (found.format, found.name, found.n_files, found.size_bytes) == ("GGUF v3", "tiny", 1, path.stat().st_size)
    assert (found.problem, found.n_params, found.chat_template) == ("", PARAMETERS, "{{ x }}")
    assert found.hyperparameters is not None
    assert (found.hyperparameters.n_kv_heads, found.hyperparameters.n_ctx_train) == (2, 128)
    assert found.vocabulary is not None
    assert found.vocabulary.pieces == vocabulary.pieces
    assert types(found) == {"Q4_0": 15, "F32": 5}
    assert found.weight_bytes == sum(t.n_bytes for t in found.tensors)
    (embedding,) = [t for t in found.tensors if t.name == "token_embd.weight"]
    assert (embedding.label, embedding.rows, embedding.cols, embedding.n_bytes) == ("Q4_0", 320, 64, 320 * 2 * 18)
    assert found.used == {t.name for t in found.tensors}
    assert note(found, "tied to its embedding")
    assert [n for n in found.notes if "no use for" in n] == ["metadata that llamachat has no use for: llama.unheard_of"]
    assert found.metadata["llama.unheard_of"] == 7
    assert "tokenizer.ggml.tokens" not in found.metadata


def test_split_gguf(tmp_path: Path) -> None:
    for i, data in enumerate(gguf_parts(random_model(), 3)):
        (tmp_path / f"tiny-{i + 1:05d}-of-00003.gguf").write_bytes(data)
    found = inspect_weights(tmp_path)
    assert (found.n_files, found.n_params, len(found.tensors)) == (3, PARAMETERS, 20)
    assert found.size_bytes == sum(path.stat().st_size for path in tmp_path.iterdir())


def test_big_endian_gguf(tmp_path: Path) -> None:
    model = random_model()
    raw = [RawTensor(name, tuple(reversed(w.shape)), 0, w.astype(">f4").tobytes()) for name, w in model.weights.items()]
    metadata = gguf_metadata(model.shape, spm_vocabulary())
    (tmp_path / "big.gguf").write_bytes(gguf_plain(metadata, raw, version=3, order=">"))
    found = inspect_weights(tmp_path / "big.gguf")
    assert (found.format, types(found)) == ("GGUF v3 (big-endian)", {"F32": 20})
    assert note(found, "numbers are big-endian")
    assert not note(found, "scales")


@pytest.mark.parametrize(
    ("kind", "label", "kept"),
    [("ggml", "Q4_0", "Q4_0 (f32 scales)"), ("ggmf v1", "F16", "F16"), ("ggjt v1", "Q5_1", "Q5_1"),
     ("ggjt v1", "Q4_3", "Q4_3"), ("ggjt v2", "Q8_0", "Q8_0 (f32 scales)"), ("ggjt v3", "Q4_0", "Q4_0")],
)  # fmt: skip
def test_ggml(tmp_path: Path, kind: str, label: str, kept: str) -> None:
    path = tmp_path / "tiny.bin"
    write_ggml(path, random_model(UNTIED), kind=kind, types=label)
    found = inspect_weights(path)
    assert (found.format, types(found), found.problem) == (kind, {kept: 16, "F32": 5}, "")
    assert {t.tensor.type.label for t in found.tensors if t.label == kept} == {kept}
    assert note(found, "context is not stated")
    assert not note(found, "more in memory")
    data = sum(t.n_bytes for t in found.tensors)
    assert path.stat().st_size - 16_000 < data < path.stat().st_size
    assert found.weight_bytes == data


def test_groups_of_one_take_less_as_floats(tmp_path: Path) -> None:
    data, _ = llama2c_later_bytes(random_model(UNTIED), version=2, group=1)
    (tmp_path / "tiny.bin").write_bytes(data)
    found = inspect_weights(tmp_path / "tiny.bin")
    stored = sum(tensor.n_bytes for tensor in found.tensors)
    assert found.weight_bytes < stored
    assert note(found, f"they become F32 and take {(stored - found.weight_bytes) / 1e6:.1f} MB less in memory")


def test_rows_that_do_not_fill_blocks(tmp_path: Path) -> None:
    write_ggml(tmp_path / "tiny.bin", random_model(replace(UNTIED, n_ff=80)), kind="ggjt v1", types="Q4_2")
    found = inspect_weights(tmp_path / "tiny.bin")
    assert types(found) == {"Q4_2": 16, "F32": 5}
    (down,) = [t for t in found.tensors if t.name == "blk.0.ffn_down.weight"]
    assert (down.label, down.tensor.type.label, down.n_bytes) == ("Q4_2", "F32", 64 * 80 // 16 * 10)
    more = 2 * (64 * 80 * 4 - down.n_bytes)
    assert note(found, f"its Q4_2 weights do not fill blocks of 32 that share a scale: they become F32 and take "
                       f"{more / 1e6:.1f} MB more in memory")  # fmt: skip
    assert found.weight_bytes == sum(t.n_bytes for t in found.tensors) + more


def test_ggml_in_parts(tmp_path: Path) -> None:
    write_ggml(tmp_path / "tiny.bin", random_model(UNTIED), parts=2, types="F16")
    found = inspect_weights(tmp_path / "tiny.bin")
    assert (found.n_files, types(found)) == (2, {"F16": 16, "F32": 5})
    (down,) = [t for t in found.tensors if t.name == "blk.0.ffn_down.weight"]
    assert (down.rows, down.cols, down.n_bytes) == (64, 96, 64 * 96 * 2)


def test_llama2c(tmp_path: Path) -> None:
    write_llama2c(tmp_path / "model.bin", random_model())
    found = inspect_weights(tmp_path / "model.bin")
    assert (found.format, types(found), found.vocabulary) == ("llama2.c v0", {"F32": 20}, None)
    assert note(found, "holds no vocabulary")
    write_tokenizer_bin(tmp_path / "words.bin", spm_vocabulary())
    found = inspect_weights(tmp_path / "model.bin", tokenizer=tmp_path / "words.bin")
    assert found.vocabulary is not None
    assert not note(found, "vocabulary")


def test_llama2c_in_groups(tmp_path: Path) -> None:
    data, _ = llama2c_later_bytes(random_model(UNTIED), version=2, group=32)
    (tmp_path / "q.bin").write_bytes(data)
    found = inspect_weights(tmp_path / "q.bin")
    assert types(found) == {"int8 in groups of 32": 16, "F32": 5}
    assert sum(t.n_bytes for t in found.tensors) == found.weight_bytes == len(data) - 256
    assert {t.tensor.type.label for t in found.tensors if t.rows > 1} == {"Q8_0 (f32 scales)"}
    assert not note(found, "in memory")


@pytest.mark.parametrize(
    ("group", "kept", "said"),
    [(64, "Q8_0 (f32 scales)", "its int8 in groups of 64 weights are kept as Q8_0 (f32 scales) and take"),
     (16, "F32", "its int8 in groups of 16 weights do not fill blocks of 32 that share a scale: they become F32")],
)  # fmt: skip
def test_llama2c_in_groups_of_other_sizes(tmp_path: Path, group: int, kept: str, said: str) -> None:
    data, held = llama2c_later_bytes(random_model(UNTIED), version=2, group=group)
    (tmp_path / "q.bin").write_bytes(data)
    found = inspect_weights(tmp_path / "q.bin")
    assert types(found) == {f"int8 in groups of {group}": 16, "F32": 5}
    assert {t.tensor.type.label for t in found.tensors if t.rows > 1} == {kept}
    assert note(found, said)
    assert found.weight_bytes == sum(v.size * (1.125 if v.ndim > 1 and kept != "F32" else 4) for v in held.values())


def test_metas_checkpoint(tmp_path: Path) -> None:
    state = {meta_name(name): w for name, w in random_model(UNTIED).weights.items()}
    (tmp_path / "consolidated.00.pth").write_bytes(checkpoint(state, "BF16"))
    (tmp_path / "params.json").write_text(json.dumps(PARAMS_JSON))
    found = inspect_weights(tmp_path)
    assert (found.format, types(found)) == ("PyTorch checkpoint of Meta", {"BF16": 21})
    assert found.hyperparameters is not None
    assert found.hyperparameters.n_ctx_train == 4096
    assert note(found, "4,096 tokens follow from its other numbers")
    assert not note(found, "scales")  # norms that are widened are nothing to tell


@pytest.mark.parametrize(("shards", "torch"), [(0, False), (3, False), (2, True)])
def test_huggingface(tmp_path: Path, shards: int, torch: bool) -> None:
    rope = {"rope_type": "llama3", "factor": 8.0, "original_max_position_embeddings": 64}
    write_huggingface(tmp_path / "m", random_model(), shards=shards, torch=torch, label="F16", rope_scaling=rope)
    found = inspect_weights(tmp_path / "m")
    assert (found.format, found.name, types(found)) == ("Hugging Face", "m", {"F16": 20})
    assert found.n_files == (shards + 1 if shards else 1)  # the index is one
    assert note(found, "frequency factors are computed")


def test_a_tied_models_second_matrix_is_told_of(tmp_path: Path) -> None:
    write_huggingface(tmp_path / "m", random_model(UNTIED), tie_word_embeddings=True)
    found = inspect_weights(tmp_path / "m")
    assert note(found, "tensors that are not used: output.weight")
    assert found.n_params == PARAMETERS


def test_ncnn(tmp_path: Path) -> None:
    write_ncnn(tmp_path, random_model(UNTIED))
    found = inspect_weights(tmp_path / "tiny.param")
    assert types(found) == {"int8 in groups of 32": 15, "F16": 1, "F32": 5}
    assert {t.tensor.type.label for t in found.tensors if "int8" in t.label} == {"Q8_0 (f32 scales)"}
    assert (found.format, found.n_files) == ("ncnn", 2)


@pytest.mark.parametrize(("n_embd", "kept"), [(64, {"Q8_0 (f32 scales)"}), (80, {"F32", "Q8_0 (f32 scales)"})])
def test_ncnn_of_llamachat_in_int8(tmp_path: Path, n_embd: int, kept: set[str]) -> None:
    write_gguf(tmp_path / "m.gguf", random_model(replace(UNTIED, n_embd=n_embd, n_kv_heads=4)))
    converted(tmp_path / "m.gguf", tmp_path / "new.ncnn", "ncnn", "q8_0")
    found = inspect_weights(tmp_path / "new.ncnn")
    assert types(found) == {"int8 in blocks of 32": 15, "F16": 1, "F32": 5}
    int8 = [t for t in found.tensors if "int8" in t.label]
    assert {t.tensor.type.label for t in int8} == kept
    assert sum(t.n_bytes for t in int8) == sum(t.rows * (t.cols + -(-t.cols // 32) * 4) for t in int8)
    assert note(found, "in blocks of 32 weights do not fill") == ("F32" in kept)


# ---- what cannot be run, and what is odd ---------------------------------------


def gguf_of(path: Path, label: str, **metadata: Any) -> Path:
    """A GGUF file whose output matrix is of some type, zeros for weights."""
    shape = replace(UNTIED, n_embd=256)
    kind = TensorType[label]
    raw = []
    for name, size in shape.tensors().items():
        rows, cols = (1, *size)[-2:]
        own = kind if name == "output.weight" else TensorType.F32
        data = bytes(rows * cols // own.block_elements * own.block_bytes)
        raw.append(RawTensor(name, tuple(reversed(size)), own.id, data))
    path.write_bytes(gguf(gguf_metadata(shape, spm_vocabulary()) | metadata, raw))
    return path


@pytest.mark.parametrize("label", ["IQ2_XXS", "IQ1_S", "TQ1_0", "MXFP4", "I8"])
def test_a_type_that_is_not_computed_is_named(tmp_path: Path, label: str) -> None:
    found = inspect_weights(gguf_of(tmp_path / "odd.gguf", label))
    assert found.problem.startswith(f"has a tensor 'output.weight' of type {label}")
    assert types(found)[label] == 1
    assert found.hyperparameters is not None
    assert found.vocabulary is not None
    assert (found.used, found.n_params) == (frozenset(), sum(t.rows * t.cols for t in found.tensors))


def test_another_architecture_is_shown(tmp_path: Path) -> None:
    found = inspect_weights(gguf_of(tmp_path / "q.gguf", "F32", **{"general.architecture": "qwen2"}))
    assert "architecture 'qwen2'" in found.problem
    assert (found.hyperparameters, len(found.tensors)) == (None, 21)
    assert found.metadata["general.architecture"] == "qwen2"


def test_a_vocabulary_alone_is_shown(tmp_path: Path) -> None:
    metadata = {"general.architecture": "llama"} | vocabulary_metadata(spm_vocabulary())
    (tmp_path / "v.gguf").write_bytes(gguf(metadata, []))
    found = inspect_weights(tmp_path / "v.gguf")
    assert "no weights" in found.problem
    assert (len(found.vocabulary or ""), found.tensors, found.n_params) == (320, (), 0)


def test_odd_numbers_and_tokens_are_told(tmp_path: Path) -> None:
    plain = bpe_vocabulary()
    kinds = (TokenKind.NORMAL,) * 319 + (TokenKind.UNDEFINED,)
    vocabulary = replace(plain, pieces=(*plain.pieces[:-2], "<|tool|>", plain.pieces[-1]), kinds=kinds)
    model = random_model(TinyShape(head_dim=32, rope_factor=4.0, rope_freqs=True))
    write_gguf(tmp_path / "odd.gguf", model, vocabulary=vocabulary)
    found = inspect_weights(tmp_path / "odd.gguf")
    for words in (
        "scaled by 0.25",
        "heads of 32 are not its embedding of 64",
        "frequency factors of its own",
        "1 tokens are of no stated kind",
        "not marked as such: <|tool|>",
    ):
        assert note(found, words), words


def test_what_contradicts_or_belongs_to_nothing(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    write_gguf(path, random_model(), metadata={"llama.vocab_size": 299})
    with path.open("ab") as file:
        file.write(bytes(1000))
    found = inspect_weights(path)
    assert note(found, "it states a vocabulary of 299 tokens; its embedding has 320")
    assert note(found, "bytes at its end belong to no tensor")
    assert not note(found, "no use for")
    write_gguf(path, random_model(), metadata={"llama.vocab_size": 320})
    assert not any(note(inspect_weights(path), words) for words in ("states a vocabulary", "belong to no tensor"))


def test_another_file_of_the_model_can_be_to_blame(tmp_path: Path) -> None:
    write_huggingface(tmp_path / "m", random_model())
    (tmp_path / "m/tokenizer.json").write_text('{"model": {"type": "WordPiece"}}')
    found = inspect_weights(tmp_path / "m")
    assert (found.culprit, "WordPiece" in found.problem) == ("tokenizer.json", True)
    assert (found.n_params, found.vocabulary) == (PARAMETERS, None)


@pytest.mark.parametrize(
    ("content", "reason"), [(b"", "is empty"), (b"\x89PNG", "picture"), (b"GGUF\3\0\0\0", "cut short")]
)
def test_what_is_no_model_is_refused(tmp_path: Path, content: bytes, reason: str) -> None:
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(WeightsError, match=reason):
        inspect_weights(tmp_path / "x")


# ---- nothing but headers -----------------------------------------------------


@pytest.mark.parametrize(
    ("write", "name", "n_files", "shape", "most_read"),
    [
        (huge_files.write_huge_gguf, "huge.gguf", 1, LLAMA_3_70B, 12 << 20),
        (lambda path: huge_files.write_huge_gguf(path, parts=4), "huge-00001-of-00004.gguf", 4, LLAMA_3_70B, 12 << 20),
        (huge_files.write_huge_ggjt, "huge.bin", 8, LLAMA_1_65B, 40 << 20),
        (huge_files.write_huge_safetensors, "huge", 31, LLAMA_3_70B, 1 << 20),
        (huge_files.write_huge_pth, "huge", 8, LLAMA_3_70B, 4 << 20),
        (huge_files.write_huge_ncnn, "huge", 2, LLAMA_1_65B, 1 << 20),
        (huge_files.write_huge_llama2c, "huge.bin", 1, LLAMA_1_65B, 1 << 10),
    ],
    ids=["gguf", "split gguf", "ggjt in parts", "safetensors", "pth", "ncnn", "llama2.c"],
)
def test_of_tens_of_gigabytes_only_headers_are_read(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    write: Callable[[Path], object],
    name: str,
    n_files: int,
    shape: TinyShape,
    most_read: int,
) -> None:
    write(tmp_path / name.replace("-00001-of-00004", ""))
    read = 0
    plain = RegularFile.read

    def counted(self: RegularFile, offset: int, n_bytes: int) -> bytes:
        nonlocal read
        read += n_bytes
        return plain(self, offset, n_bytes)

    monkeypatch.setattr(RegularFile, "read", counted)
    found = inspect_weights(tmp_path / name)
    assert (found.problem, found.n_files) == ("", n_files)
    assert found.size_bytes > 35e9
    sizes = [(1, *size)[-2:] for size in shape.tensors().values()]
    assert found.n_params == sum(rows * cols for rows, cols in sizes)
    assert 0 < read < most_read
