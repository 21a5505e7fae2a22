"""Every family of files becomes every format, and nothing is lost that the format can hold."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from llamachat.errors import LlamachatError
from llamachat.vocabulary import TokenKind, Vocabulary
from llamachat.weights import open_weights
from llamachat.weights.write import CHOICES, FORMATS
from llamachat.weights.write.encodings import grouped
from tests.support.conversions import assert_same_values, converted, values_in, values_of
from tests.support.huggingface_files import write_huggingface
from tests.support.ncnn_files import write_ncnn
from tests.support.shared import shared_model
from tests.support.tiny_models import (
    TinyShape,
    bpe_vocabulary,
    llama2c_later_bytes,
    meta_name,
    random_model,
    spm_vocabulary,
    write_ggml,
    write_gguf,
    write_llama2c,
    write_tokenizer_bin,
)
from tests.support.torch_files import checkpoint

SHAPE = TinyShape(n_heads=4, n_kv_heads=2, tied=False)
MODEL = random_model(SHAPE)
MIXED = {"blk.0.attn_q.weight": "Q8_0", "blk.1.attn_k.weight": "Q4_1", "blk.0.ffn_down.weight": "F16"}


def gguf(folder: Path) -> Path:
    write_gguf(folder / "m.gguf", MODEL, types=MIXED)
    return folder / "m.gguf"


def tied_gguf(folder: Path) -> Path:
    write_gguf(folder / "m.gguf", random_model(replace(SHAPE, tied=True)), types="F16")
    return folder / "m.gguf"


def ggml(kind: str, types: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        write_ggml(folder / "m.bin", MODEL, kind=kind, types=types)
        return folder / "m.bin"

    return make


def in_parts(folder: Path) -> Path:
    write_ggml(folder / "m.bin", MODEL, kind="ggmf v1", types="F16", parts=2)
    return folder / "m.bin"


def llama2c(folder: Path) -> Path:
    write_llama2c(folder / "m.bin", MODEL)
    return folder / "m.bin"


def llama2c_v2(folder: Path) -> Path:
    """Groups of 64, which straddle rows of 96."""
    (folder / "m.bin").write_bytes(llama2c_later_bytes(MODEL, version=2, group=64)[0])
    return folder / "m.bin"


def meta(folder: Path) -> Path:
    numbers = {"dim": SHAPE.n_embd, "n_layers": SHAPE.n_layers, "n_heads": SHAPE.n_heads, "norm_eps": 1e-5}
    (folder / "params.json").write_text(json.dumps(numbers | {"n_kv_heads": SHAPE.n_kv_heads, "vocab_size": -1}))
    state = {meta_name(name): values for name, values in MODEL.weights.items()}
    (folder / "consolidated.00.pth").write_bytes(checkpoint(state, "BF16"))
    return folder


def huggingface(folder: Path) -> Path:
    write_huggingface(folder, MODEL, label="BF16")
    return folder


def huggingface_torch(folder: Path) -> Path:
    write_huggingface(folder, MODEL, shards=2, torch=True)
    return folder


def ncnn(folder: Path) -> Path:
    write_ncnn(folder, random_model(replace(SHAPE, n_kv_heads=4)))
    return folder / "tiny.param"


SOURCES = {
    "gguf": gguf, "tied-gguf": tied_gguf, "ggml": ggml("ggml", "F16"), "ggmf-parts": in_parts,
    "ggjt-v1-q4_0": ggml("ggjt v1", "Q4_0"), "ggjt-v2-q5_1": ggml("ggjt v2", "Q5_1"),
    "ggjt-v1-q4_3": ggml("ggjt v1", "Q4_3"), "ggjt-v2-q8_0": ggml("ggjt v2", "Q8_0"),
    "ggjt-v3-q4_1": ggml("ggjt v3", "Q4_1"), "llama2c": llama2c, "llama2c-v2": llama2c_v2, "meta": meta,
    "hf": huggingface, "hf-torch": huggingface_torch, "ncnn": ncnn,
}  # fmt: skip
#: Formats that hold every source without a loss.
LOSSLESS = tuple(key for key in FORMATS if key != "llama2c-v2")


@pytest.mark.parametrize("to", LOSSLESS)
@pytest.mark.parametrize("source", SOURCES)
def test_every_family_becomes_every_format_to_the_last_bit(tmp_path: Path, source: str, to: str) -> None:
    (tmp_path / "in").mkdir()
    path = SOURCES[source](tmp_path / "in")
    write_tokenizer_bin(tmp_path / "vocabulary", spm_vocabulary())
    with open_weights(path, tokenizer=tmp_path / "vocabulary") as weights:
        values, h = values_of(weights), weights.hyperparameters
    converted(path, tmp_path / "new", to, tokenizer=tmp_path / "vocabulary")
    assert_same_values(tmp_path / "new", values)
    with open_weights(tmp_path / "new") as weights:
        stated = replace(h, n_ctx_train=2048) if to == "ggjt" else h
        assert asdict(weights.hyperparameters) == pytest.approx(asdict(stated), rel=1e-7)  # float32 in some
        assert weights.vocabulary is not None
        assert weights.vocabulary.pieces == spm_vocabulary().pieces
        assert weights.vocabulary.kinds == spm_vocabulary().kinds
        assert weights.vocabulary.scores == spm_vocabulary().scores


@pytest.mark.parametrize("to", ["gguf", "ggjt"])
@pytest.mark.parametrize("kind", ["q4_0", "q8_0"])
@pytest.mark.parametrize("source", ["ggjt-v1-q4_0", "ggjt-v1-q4_3", "ggjt-v2-q8_0", "llama2c-v2", "ncnn"])
def test_old_blocks_are_quantised_as_their_values_are(tmp_path: Path, source: str, kind: str, to: str) -> None:
    """As F32, which no new format has a better type for, or in any type that is asked for."""
    (tmp_path / "in").mkdir()
    path = SOURCES[source](tmp_path / "in")
    write_tokenizer_bin(tmp_path / "vocabulary", spm_vocabulary())
    converted(path, tmp_path / "exact.gguf", "gguf", tokenizer=tmp_path / "vocabulary")
    with open_weights(tmp_path / "exact.gguf") as weights:
        assert {tensor.type.label for tensor in weights.tensors.values()} <= {"F32", "F16"}
    converted(tmp_path / "exact.gguf", tmp_path / "through.gguf", to, kind)
    converted(path, tmp_path / "at-once.gguf", to, kind, tokenizer=tmp_path / "vocabulary")
    with open_weights(tmp_path / "at-once.gguf") as weights:
        assert weights.tensors["blk.0.ffn_gate.weight"].type.label == kind.upper()
    assert_same_values(tmp_path / "at-once.gguf", values_in(tmp_path / "through.gguf"))


def test_types_are_kept_where_the_format_holds_them(tmp_path: Path) -> None:
    path = gguf(tmp_path)
    for to, kept in (("gguf", {"Q8_0", "Q4_1", "F16", "F32"}), ("safetensors", {"F16", "F32"})):
        converted(path, tmp_path / f"new.{to}", to)
        with open_weights(tmp_path / f"new.{to}") as weights:
            assert {tensor.type.label for tensor in weights.tensors.values()} == kept
            assert weights.tensors["blk.0.ffn_down.weight"].type.label == "F16"


def test_which_matrices_get_more_bits(tmp_path: Path) -> None:
    """As files called Q4_K_M have it; rows that fill no blocks of 256 get the neighbour with blocks of 32."""
    model = random_model(TinyShape(n_embd=256, n_ff=320, n_layers=8, n_vocab=300, tied=False))
    write_gguf(tmp_path / "m.gguf", model)
    converted(tmp_path / "m.gguf", tmp_path / "new.gguf", "gguf", "q4_k")
    with open_weights(tmp_path / "new.gguf") as weights:
        types = {name: tensor.type.label for name, tensor in weights.tensors.items()}
    assert types["output.weight"] == "Q6_K"
    assert types["blk.3.attn_q.weight"] == types["token_embd.weight"]
    assert types["blk.3.ffn_up.weight"] == "Q4_K"
    assert types["output_norm.weight"] == types["blk.3.ffn_norm.weight"] == "F32"
    assert [types[f"blk.{i}.attn_v.weight"] for i in range(8)] == [
        "Q6_K", "Q4_K", "Q4_K", "Q6_K", "Q4_K", "Q4_K", "Q6_K", "Q6_K",
    ]  # fmt: skip
    assert {types[f"blk.{i}.attn_k.weight"] for i in range(8)} == {"Q4_K"}
    # 320 columns: whole blocks of 32 only
    assert [types[f"blk.{i}.ffn_down.weight"] for i in range(3)] == ["Q8_0", "Q5_0", "Q5_0"]


@pytest.mark.parametrize("kind", [name for name in CHOICES if name not in ("f32", "f16", "bf16")])
def test_every_type_is_near_the_model_it_was_made_of(tmp_path: Path, kind: str) -> None:
    model = random_model(TinyShape(n_embd=256, n_ff=512, n_layers=1, n_vocab=300))
    write_gguf(tmp_path / "m.gguf", model)
    converted(tmp_path / "m.gguf", tmp_path / "new.gguf", "gguf", kind)
    held = values_in(tmp_path / "new.gguf")
    bits = int(kind[1])
    for name, values in model.weights.items():
        error = np.sqrt(((held[name] - values) ** 2).sum() / (values**2).sum())
        assert error <= 1.6 * 2.0**-bits
        assert (error > 0) == (values.ndim > 1)


def test_int8_in_groups_comes_back_as_it_was(tmp_path: Path) -> None:
    data, held = llama2c_later_bytes(MODEL, version=2, group=64)
    (tmp_path / "m.bin").write_bytes(data)
    converted(tmp_path / "m.bin", tmp_path / "again.bin", "llama2c-v2")
    assert (tmp_path / "again.bin").read_bytes() == data
    # Through float32, too, groups that were once int8 are found again.
    converted(tmp_path / "m.bin", tmp_path / "m.gguf", "gguf")
    assert_same_values(tmp_path / "m.gguf", {name: np.atleast_2d(values) for name, values in held.items()})


def test_version_2_is_as_the_exporter_makes_it(tmp_path: Path) -> None:
    write_llama2c(tmp_path / "m.bin", MODEL)
    converted(tmp_path / "m.bin", tmp_path / "v2.bin", "llama2c-v2")
    assert (tmp_path / "v2.bin").read_bytes() == llama2c_later_bytes(MODEL, version=2, group=32)[0]


def test_llama2c_versions_come_back_as_they_were(tmp_path: Path) -> None:
    for tied in (True, False):
        model = random_model(replace(SHAPE, tied=tied))
        (tmp_path / "v1.bin").write_bytes(data := llama2c_later_bytes(model, version=1)[0])
        converted(tmp_path / "v1.bin", tmp_path / "v0.bin", "llama2c-v0", force=True)
        converted(tmp_path / "v0.bin", tmp_path / "again.bin", "llama2c-v1", force=True)
        assert (tmp_path / "again.bin").read_bytes() == data


def test_real_models_come_back_as_their_own_exporter_wrote_them(tmp_path: Path) -> None:
    """Version 0 too, but for tables of RoPE that nothing reads, whose numbers differ in the last bits."""
    first, second = shared_model("salty260K/model.bin"), shared_model("salty260K/salty260K.v1.bin")
    converted(first, tmp_path / "v1.bin", "llama2c-v1")
    converted(second, tmp_path / "v0.bin", "llama2c-v0")
    assert (tmp_path / "v1.bin").read_bytes() == second.read_bytes()
    ours, theirs = (tmp_path / "v0.bin").read_bytes(), first.read_bytes()
    assert ours[:28] == theirs[:28]
    assert len(ours) == len(theirs)
    assert_same_values(tmp_path / "v0.bin", values_in(first))
    np.testing.assert_allclose(np.frombuffer(ours[28:], "<f4"), np.frombuffer(theirs[28:], "<f4"), atol=2e-6)


@pytest.mark.parametrize("group", [4, 32])
def test_real_int8_models_are_made_as_their_own_exporter_made_them(tmp_path: Path, group: int) -> None:
    path = shared_model(f"salty260K/salty260K.v2-gs{group}.bin")
    converted(path, tmp_path / "again.bin", "llama2c-v2")
    assert (tmp_path / "again.bin").read_bytes() == path.read_bytes()
    exact, stored = values_in(shared_model("salty260K/salty260K.v1.bin")), values_in(path)
    for name, values in exact.items():
        if len(values) > 1:
            q, scales = grouped(values.reshape(-1, group))
            np.testing.assert_array_equal((q * scales[:, None]).reshape(values.shape), stored[name])


# ---- vocabulary and prompt format ----


@pytest.mark.parametrize(
    "vocabulary",
    [
        spm_vocabulary(add_space_prefix=False),
        bpe_vocabulary(),
        bpe_vocabulary(pre="llama-bpe", add_bos=True),
        bpe_vocabulary(pre="gpt-2"),
    ],
    ids=["spm", "smollm", "llama-bpe", "gpt-2"],
)
@pytest.mark.parametrize("to", ["gguf", "safetensors"])
def test_a_vocabulary_goes_along(tmp_path: Path, vocabulary: Vocabulary, to: str) -> None:
    template = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}é"
    write_gguf(tmp_path / "m.gguf", MODEL, vocabulary=vocabulary, metadata={"tokenizer.chat_template": template})
    with open_weights(tmp_path / "m.gguf") as weights:
        before = weights.vocabulary
    assert converted(tmp_path / "m.gguf", tmp_path / "new", to) == ()
    with open_weights(tmp_path / "new") as weights:
        after = weights.vocabulary
        assert weights.chat_template == template
    assert before is not None
    assert after is not None
    assert replace(after, model_proto=None, unk_id=before.unk_id) == before


def test_further_ends_of_an_answer_go_along(tmp_path: Path) -> None:
    ends = {"tokenizer.ggml.eot_token_id": 300, "tokenizer.ggml.eom_token_id": 301}
    write_gguf(tmp_path / "m.gguf", MODEL, metadata=ends)
    for to in ("gguf", "safetensors"):
        converted(tmp_path / "m.gguf", tmp_path / f"new.{to}", to)
        with open_weights(tmp_path / f"new.{to}") as weights:
            assert weights.vocabulary is not None
            assert weights.vocabulary.stop_ids == {2, 300, 301}


def test_added_tokens_in_files_that_know_them_by_their_place(tmp_path: Path) -> None:
    plain = spm_vocabulary()
    kinds = (*plain.kinds[:-2], TokenKind.CONTROL, TokenKind.CONTROL)
    pieces = (*plain.pieces[:-2], "<|im_start|>", "<|im_end|>")
    write_gguf(tmp_path / "m.gguf", MODEL, vocabulary=replace(plain, kinds=kinds, pieces=pieces))
    for to in ("ggjt", "llama2c-v0"):
        (tmp_path / to).mkdir()
        converted(tmp_path / "m.gguf", tmp_path / to / "new.bin", to)
        with open_weights(tmp_path / to / "new.bin") as weights:
            assert weights.vocabulary is not None
            assert weights.vocabulary.pieces == pieces
            assert weights.vocabulary.kinds == kinds


def test_a_vocabulary_that_does_not_fit(tmp_path: Path) -> None:
    write_gguf(tmp_path / "m.gguf", MODEL, vocabulary=bpe_vocabulary())
    with pytest.raises(LlamachatError, match="ggjt v3 cannot hold this vocabulary"):
        converted(tmp_path / "m.gguf", tmp_path / "new.bin", "ggjt")
    (note,) = converted(tmp_path / "m.gguf", tmp_path / "new.bin", "llama2c-v0")
    assert "no tokenizer.bin is written" in note
    assert not (tmp_path / "tokenizer.bin").exists()


def test_a_model_without_a_vocabulary(tmp_path: Path) -> None:
    write_llama2c(tmp_path / "m.bin", MODEL)
    assert "no vocabulary" in converted(tmp_path / "m.bin", tmp_path / "m.gguf", "gguf")[0]
    with pytest.raises(LlamachatError, match=r"m\.bin: ggjt v3 must hold a vocabulary.*name one: --tokenizer"):
        converted(tmp_path / "m.bin", tmp_path / "m.ggjt", "ggjt")
    with open_weights(tmp_path / "m.gguf") as weights:
        assert weights.vocabulary is None


# ---- RoPE and other numbers ----


def test_numbers_go_along(tmp_path: Path) -> None:
    shape = replace(SHAPE, head_dim=32, norm_eps=1e-6, rope_base=500000.0, rope_factor=4.0, n_ctx=777)
    write_gguf(tmp_path / "m.gguf", random_model(shape))
    for to in ("gguf", "safetensors"):
        converted(tmp_path / "m.gguf", tmp_path / f"new.{to}", to)
        with open_weights(tmp_path / "m.gguf") as old, open_weights(tmp_path / f"new.{to}") as new:
            for name in ("head_dim", "n_ctx_train", "rope_base", "rope_scale", "n_kv_heads"):
                assert getattr(new.hyperparameters, name) == getattr(old.hyperparameters, name)
            assert np.float32(new.hyperparameters.norm_eps) == np.float32(old.hyperparameters.norm_eps)


def test_llama_3_scaling_is_found_in_its_factors(tmp_path: Path) -> None:
    scaling = {"rope_type": "llama3", "factor": 32.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
    scaling |= {"original_max_position_embeddings": 8192}
    write_huggingface(tmp_path / "hf", MODEL, rope_scaling=scaling, rope_theta=500000.0)
    converted(tmp_path / "hf", tmp_path / "m.gguf", "gguf")
    with open_weights(tmp_path / "m.gguf") as weights:
        values = values_of(weights)
    assert "rope_freqs.weight" in values
    converted(tmp_path / "m.gguf", tmp_path / "again", "safetensors")
    assert json.loads((tmp_path / "again/config.json").read_text())["rope_scaling"] == scaling
    assert_same_values(tmp_path / "again", values)


def test_llama_3_scaling_by_any_numbers_goes_along_as_it_was_stated(tmp_path: Path) -> None:
    scaling = {"rope_type": "llama3", "factor": 3.5, "low_freq_factor": 0.5, "high_freq_factor": 8.0}
    scaling |= {"original_max_position_embeddings": 96}
    write_huggingface(tmp_path / "hf", MODEL, rope_scaling=scaling)
    with open_weights(tmp_path / "hf") as weights:
        values = values_of(weights)
    converted(tmp_path / "hf", tmp_path / "again", "safetensors")
    assert json.loads((tmp_path / "again/config.json").read_text())["rope_scaling"] == scaling
    assert_same_values(tmp_path / "again", values)


def test_rope_that_a_format_cannot_state_is_refused(tmp_path: Path) -> None:
    cases = {
        "RoPE base of 500000": replace(SHAPE, rope_base=500000.0),
        "scaled RoPE": replace(SHAPE, rope_factor=2.0),
        "heads of 32": replace(SHAPE, head_dim=32),
    }
    for reason, shape in cases.items():
        write_gguf(tmp_path / "m.gguf", random_model(shape))
        for to in ("llama2c-v0", "llama2c-v1", "llama2c-v2", "ggjt"):
            with pytest.raises(LlamachatError, match=rf"m\.gguf: .*{reason}.*; GGUF can \(--to gguf\)"):
                converted(tmp_path / "m.gguf", tmp_path / "new", to)
    write_gguf(tmp_path / "m.gguf", random_model(replace(SHAPE, rope_freqs=True)))
    with pytest.raises(LlamachatError, match="follow no rule"):
        converted(tmp_path / "m.gguf", tmp_path / "new", "safetensors")
    assert not (tmp_path / "new").exists()


def test_an_epsilon_that_is_lost_is_told(tmp_path: Path) -> None:
    write_gguf(tmp_path / "m.gguf", random_model(replace(SHAPE, norm_eps=1e-6)))
    assert "1e-06" in " ".join(converted(tmp_path / "m.gguf", tmp_path / "new.bin", "llama2c-v0"))


def test_every_choice_has_a_format_that_holds_it() -> None:
    assert all(set(known.types) <= set(CHOICES) for known in FORMATS.values())
    assert set(FORMATS["gguf"].types) == set(CHOICES)
