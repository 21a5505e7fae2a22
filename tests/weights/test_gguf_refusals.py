"""GGUF files that contradict themselves: each is refused in one line that says what is wrong."""

from __future__ import annotations

import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from llamachat.errors import WeightsError
from llamachat.weights import open_weights
from tests.support.containers import RawTensor, Typed, array, gguf, gguf_string, scalar
from tests.support.tiny_models import TinyShape, bpe_vocabulary, gguf_metadata, random_model, spm_vocabulary

SHAPE = TinyShape(n_vocab=300, n_layers=1)
RECORDS = gguf_metadata(SHAPE, spm_vocabulary(300))
TENSORS = [
    RawTensor(name, tuple(reversed(v.shape)), 0, v.astype("<f4").tobytes())
    for name, v in random_model(SHAPE).weights.items()
]


def refusal(tmp_path: Path, data: bytes) -> str:
    path = tmp_path / "m.gguf"
    path.write_bytes(data)
    with pytest.raises(WeightsError) as caught:
        open_weights(path)
    message = str(caught.value)
    assert message == f"{path}: {caught.value.reason}"
    assert len(caught.value.reason) <= 200
    assert caught.value.reason.isprintable()
    return caught.value.reason


def test_the_file_that_is_spoiled_below_is_good(tmp_path: Path) -> None:
    (tmp_path / "m").write_bytes(gguf(RECORDS, TENSORS))
    open_weights(tmp_path / "m").close()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"general.architecture": "falcon"}, "the architecture 'falcon'; supported is 'llama'"),
        ({"general.architecture": "fal\x1b[31m\ncon" + "x" * 500}, "the architecture 'fal"),
        ({"general.architecture": 5}, "something else than a text"),
        ({"general.type": "adapter"}, "holds 'adapter' data, not a model"),
        ({"llama.expert_count": 8}, "a mixture of experts"),
        ({"split.count": scalar("u16", 3), "split.no": scalar("u16", 1)}, "is part 2 of 3 of a split GGUF"),
        ({"llama.rope.scaling.type": "yarn"}, "scales RoPE by 'yarn': not supported"),
        ({"llama.rope.scaling.type": "longrope"}, "scales RoPE by 'longrope': not supported"),
        ({"llama.rope.scaling.factor": float("nan")}, "rope_scale nan"),
        ({"llama.rope.scaling.factor": -2.0}, "rope_scale -0.5"),
        ({"llama.rope.scaling.factor": 1e-38}, "rope_scale"),
        ({"llama.rope.freq_base": 0.0}, "rope_base 0.0"),
        ({"llama.rope.freq_base": float("inf")}, "rope_base inf"),
        ({"llama.rope.dimension_count": 8}, "'llama.rope.dimension_count' 8 where its heads have 16"),
        ({"llama.attention.value_length": 32}, "'llama.attention.value_length' 32"),
        ({"llama.attention.key_length": 15}, "where its heads have 15 elements"),
        ({"llama.attention.layer_norm_rms_epsilon": float("nan")}, "norm_eps nan"),
        ({"llama.attention.layer_norm_rms_epsilon": -1.0}, "norm_eps -1.0"),
        ({"llama.attention.layer_norm_rms_epsilon": "small"}, "something else than a number"),
        ({"llama.attention.head_count": 0}, "0 heads do not divide"),
        ({"llama.attention.head_count": 5}, "an embedding of 64, which 5 heads do not divide"),
        ({"llama.attention.head_count": True}, "something else than an integer"),
        ({"llama.attention.head_count": [4, 2]}, "layers that differ in 'llama.attention.head_count'"),
        ({"llama.attention.head_count_kv": 3}, "4 heads, which 3 key-value heads do not divide"),
        ({"llama.attention.head_count_kv": 0}, "n_kv_heads 0"),
        ({"llama.attention.head_count_kv": 4}, "'blk.0.attn_k.weight' of 32 x 64 where the model needs 64 x 64"),
        ({"llama.embedding_length": 128, "llama.attention.head_count": 8}, "300 x 64 where the model needs 300 x 128"),
        ({"llama.embedding_length": scalar("u64", 1 << 63), "llama.attention.key_length": 16}, "n_embd 92233720368547"),
        ({"llama.feed_forward_length": 97}, "'blk.0.ffn_gate.weight' of 96 x 64 where the model needs 97 x 64"),
        ({"llama.block_count": 0}, "n_layers 0"),
        ({"llama.block_count": 2}, "no tensor 'blk.1.attn_norm.weight'"),
        ({"llama.block_count": scalar("i32", -1)}, "n_layers -1"),
        ({"llama.block_count": scalar("u32", 2**32 - 1)}, "n_layers 4294967295"),
        ({"llama.context_length": 0}, "n_ctx_train 0"),
        ({"general.alignment": 0}, "alignment of '0'"),
        ({"general.alignment": 24}, "alignment of '24'"),
        ({"general.alignment": scalar("u32", 1 << 31)}, "alignment of '2147483648'; at most 1048576"),
        ({"general.alignment": "32"}, "alignment of '32'"),
        ({"general.alignment": True}, "alignment of 'True'"),
        ({"tokenizer.ggml.model": "bert"}, "a vocabulary of the kind 'bert'; supported are llama, gpt2"),
        ({"tokenizer.ggml.tokens": ["a"] * 299}, "a vocabulary of 299 tokens and an embedding of 300"),
        ({"tokenizer.ggml.tokens": [1] * 300}, "something else than a list under 'tokenizer.ggml.tokens'"),
        ({"tokenizer.ggml.tokens": array("str", [])}, "an empty vocabulary"),
        ({"tokenizer.ggml.tokens": "abc"}, "something else than a list"),
        ({"tokenizer.ggml.scores": [1.0] * 299}, "300 tokens with 299 scores"),
        ({"tokenizer.ggml.scores": array("f32", [])}, "300 tokens with 0 scores"),
        ({"tokenizer.ggml.scores": [float("nan")] * 300}, "scores that are no finite numbers"),
        ({"tokenizer.ggml.token_type": [1] * 299}, "300 tokens with 299 token types"),
        ({"tokenizer.ggml.token_type": [1.0] * 300}, "something else than a list under 'tokenizer.ggml.token_type'"),
        ({"tokenizer.ggml.bos_token_id": 300}, "'tokenizer.ggml.bos_token_id' 300, outside its vocabulary of 300"),
        ({"tokenizer.ggml.eos_token_id": scalar("i32", -2)}, "outside its vocabulary"),
        ({"tokenizer.ggml.add_bos_token": 1}, "something else than true or false"),
        ({"tokenizer.chat_template": b"x" * (1 << 21)}, "2097152 bytes of text under 'tokenizer.chat_template'"),
        ({"x": Typed(13, b"\0" * 64)}, "a value of unknown type 13 under 'x'"),
        ({"x": array("array", [], 1)}, "arrays in an array under 'x'"),
        ({"x": Typed(9, struct.pack("<IQ", 77, 1))}, "an array of unknown type 77 under 'x'"),
        ({"x": array("u8", [], 1 << 62)}, "it ends inside its metadata"),
        ({"x": array("f64", [], 1 << 61)}, "it ends inside its metadata"),
        ({"x": array("str", [], 1 << 19)}, "it ends inside its metadata"),
        ({"x": array("str", [], 1 << 60)}, "claims 1152921504606846976 entries"),
        ({"llama.x": array("u8", [1] * (1 << 19), (1 << 19) + 1)}, "claims 524289 values under 'llama.x'"),
        ({"x": Typed(8, struct.pack("<Q", 1 << 63))}, "it ends inside its metadata"),
        ({"x": array("str", [b"y" * 70000])}, "an entry of 70000 bytes"),
        ({"k" * 1025: 1}, "a metadata key of 1025 bytes, not 1..1024"),
        ({"": 1}, "a metadata key of 0 bytes"),
    ],
)  # fmt: skip
def test_metadata(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    assert words in refusal(tmp_path, gguf(RECORDS | changes, TENSORS))


@pytest.mark.parametrize(
    "key",
    [key for key in RECORDS if key.startswith(("general.arch", "llama.")) and "_kv" not in key and "rope" not in key],
)
def test_what_a_file_must_state(tmp_path: Path, key: str) -> None:
    reason = refusal(tmp_path, gguf({k: v for k, v in RECORDS.items() if k != key}, TENSORS))
    assert f"does not state '{key}'" in reason


def test_a_key_twice(tmp_path: Path) -> None:
    records = [*RECORDS.items(), ("llama.block_count", 1)]
    assert "'llama.block_count' twice" in refusal(tmp_path, gguf(records, TENSORS))


def test_a_key_that_is_no_text(tmp_path: Path) -> None:
    data = gguf({"zzzz": 1} | RECORDS, TENSORS).replace(gguf_string("zzzz"), gguf_string(b"\xff\xff\xff\xff"))
    assert "a metadata key that is not text" in refusal(tmp_path, data)


def spoiled(tensor: str, /, **changes: Any) -> list[RawTensor]:
    return [replace(t, **changes) if t.name == tensor else t for t in TENSORS]


Q = "blk.0.attn_q.weight"


@pytest.mark.parametrize(
    ("tensors", "words"),
    [
        (TENSORS[:-1], "no tensor 'output_norm.weight': it is not whole"),
        (TENSORS[1:], "no tensor 'token_embd.weight'"),
        ([], "holds a vocabulary and no weights"),
        ([*TENSORS, TENSORS[3]], "twice"),
        (spoiled(Q, ne=(64, 63)), "of 63 x 64 where the model needs 64 x 64"),
        (spoiled(Q, ne=(64,)), "of 1 x 64 where"),
        (spoiled(Q, ne=(64, 32, 1, 1)), "of 32 x 64 where"),
        (spoiled(Q, ne=(64, 0)), "of impossible size 64 x 0"),
        (spoiled(Q, ne=(1 << 33, 1 << 33)), "of impossible size"),
        (spoiled(Q, ne=(1 << 32, 1 << 32)), "of impossible size"),
        (spoiled(Q, ne=(1 << 16,) * 4), "of impossible size"),
        (spoiled(Q, ne=()), "of 0 dimensions, not 1..4"),
        (spoiled(Q, ne=(64, 64, 1, 1, 1)), "of 5 dimensions, not 1..4"),
        (spoiled(Q, ne=(60, 64), type_id=2), "rows of 60, not whole Q4_0 blocks of 32"),
        (spoiled(Q, type_id=12), "rows of 64, not whole Q4_K blocks of 256"),
        (spoiled(Q, type_id=99), "of an unknown type, number 99"),
        (spoiled(Q, type_id=4), "of an unknown type, number 4"),
        *((spoiled(Q, type_id=n), f"of an unknown type, number {n}") for n in range(256, 261)),  # the core's own
        (spoiled(Q, type_id=39), "of type MXFP4: not supported yet"),
        (spoiled(Q, type_id=24), "of type I8: not supported yet"),
        (spoiled(Q, type_id=31), "of type Q4_0_4_4: not supported yet"),
        (spoiled(Q, type_id=38), "of type IQ4_NL_8_8: not supported yet"),
        (spoiled("output_norm.weight", type_id=1), "'output_norm.weight' of type F16; it must be F32"),
        (spoiled(Q, offset=1 << 62), "is cut short: tensor 'blk.0.attn_q.weight' ends at byte"),
        (spoiled(Q, offset=(1 << 64) - 32), "is cut short: tensor"),
        (spoiled(Q, offset=16), "at offset 16, not a multiple of 32"),
        (spoiled(Q, offset=0), "in the same place"),
        (spoiled(Q, offset=32), "in the same place"),
        (spoiled(Q, name="n" * 64), "a tensor name of 64 bytes, not 1..63"),
        (spoiled(Q, name=""), "a tensor name of 0 bytes"),
        ([*TENSORS, RawTensor("blk.0.attn_q.bias", (64,), 0, bytes(256))], "has biases (tensor 'blk.0.attn_q.bias')"),
        ([*TENSORS, RawTensor("blk.0.attn_qkv.weight", (64,), 0, bytes(256))], "query, key and value in one tensor"),
        ([*TENSORS, RawTensor("blk.0.ffn_gate_inp.weight", (64,), 0, bytes(256))], "a mixture of experts"),
        ([*TENSORS, RawTensor("blk.0.ffn_up_exps.weight", (64,), 0, bytes(256))], "a mixture of experts"),
        ([*TENSORS, RawTensor("blk.0.attn_q_norm.weight", (64,), 0, bytes(256))], "norms that a Llama model has not"),
        ([*TENSORS, RawTensor("blk.1.attn_norm.weight", (64,), 0, bytes(256))], "of a layer beyond its 1"),
        ([*TENSORS, RawTensor("cls.weight", (64,), 0, bytes(256))], "'cls.weight', which a Llama model has not"),
        ([*TENSORS, RawTensor("\x1b]52;c;x\x07", (64,), 0, bytes(256))], "a tensor '"),
        ([*TENSORS, RawTensor("rope_freqs.weight", (9,), 0, bytes(64))], "of 1 x 9 where the model needs 1 x 8"),
    ],
)  # fmt: skip
def test_tensors(tmp_path: Path, tensors: list[RawTensor], words: str) -> None:
    assert words in refusal(tmp_path, gguf(RECORDS, tensors))


@pytest.mark.parametrize(
    ("version", "words"),
    [
        (0, "version 0; versions 1 to 3 are known"),
        (1, "dimensions, not 1..4"),
        (4, "version 4; versions 1 to 3 are known"),
        (3 << 24, "metadata records; at most"),  # read as big-endian, nothing fits
        (4 << 24, "version 4; versions 1 to 3"),
        (0x7FFFFFFF, "version 2147483647"),
    ],
)
def test_versions(tmp_path: Path, version: int, words: str) -> None:
    assert words in refusal(tmp_path, gguf(RECORDS, TENSORS, version=version))


@pytest.mark.parametrize("count", [1 << 14, 1 << 16, 1 << 31, 1 << 32, 1 << 60, 1 << 63, (1 << 64) - 1])
def test_counts_that_the_file_cannot_hold(tmp_path: Path, count: int) -> None:
    for what in ("n_tensors", "n_metadata"):
        reason = refusal(tmp_path, gguf(RECORDS, TENSORS, **{what: count}))
        assert "is cut short or broken" in reason or "are allowed" in reason


def test_two_vocabularies_of_one_file(tmp_path: Path) -> None:
    """SentencePiece needs scores, and byte-level BPE has none."""
    records = RECORDS | {"tokenizer.ggml.model": "gpt2"}
    records = {k: v for k, v in records.items() if k != "tokenizer.ggml.scores"}
    (tmp_path / "m").write_bytes(gguf(records, TENSORS))
    open_weights(tmp_path / "m").close()
    assert "with 0 scores" in refusal(tmp_path, gguf(records | {"tokenizer.ggml.model": "llama"}, TENSORS))
    merges = gguf_metadata(SHAPE, bpe_vocabulary(300)) | {"tokenizer.ggml.merges": [1, 2]}
    assert "something else than a list under 'tokenizer.ggml.merges'" in refusal(tmp_path, gguf(merges, TENSORS))


def test_fused_projections_are_named(tmp_path: Path) -> None:
    qkv = [f"blk.0.attn_{part}.weight" for part in "qkv"]
    rows = {tensor.name: tensor for tensor in TENSORS}
    columns = rows[qkv[0]].ne[0]
    data = b"".join(rows[name].data for name in qkv)
    fused = RawTensor("blk.0.attn_qkv.weight", (columns, len(data) // 4 // columns), 0, data)
    others = [tensor for tensor in TENSORS if tensor.name not in qkv]
    reason = refusal(tmp_path, gguf(RECORDS, [*others, fused]))
    assert reason == "has queries, keys and values in one tensor, 'blk.0.attn_qkv.weight': not supported"
