"""GGUF files: what is written comes back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from llamachat.vocabulary import TokenKind
from llamachat.weights import WeightFile, open_weights
from tests.support.blocks import GGUF_IDS, dequantize
from tests.support.containers import RawTensor, array, gguf, scalar
from tests.support.super_blocks import SUPER, SUPER_BLOCKS
from tests.support.tiny_models import (
    TinyShape,
    bpe_vocabulary,
    gguf_bytes,
    gguf_metadata,
    random_model,
    spm_vocabulary,
    write_gguf,
)


def values(weights: WeightFile, name: str, step: int = 7) -> np.ndarray[Any, np.dtype[np.float32]]:
    """A tensor's values, read a few rows at a time."""
    tensor = weights.tensors[name]
    data = b"".join(weights.read(name, i, min(step, tensor.rows - i)) for i in range(0, tensor.rows, step))
    return dequantize(tensor.type.label, data, (tensor.rows, tensor.cols))


@pytest.mark.parametrize("label", GGUF_IDS)
@pytest.mark.parametrize("version", [2, 3])
def test_every_type_comes_back_as_it_was_written(tmp_path: Path, label: str, version: int) -> None:
    width = {"n_embd": SUPER, "n_ff": SUPER} if label in SUPER_BLOCKS else {}
    model = random_model(TinyShape(tied=version == 2, rope_freqs=version == 3, **width))
    held = write_gguf(tmp_path / "m", model, types=label, version=version)
    with open_weights(tmp_path / "m") as weights:
        assert weights.format == f"GGUF v{version}"
        assert weights.type_name == label
        assert set(weights.tensors) == set(held)
        assert weights.n_params == sum(v.size for v in held.values())
        assert weights.size_bytes == (tmp_path / "m").stat().st_size
        for name, expected in held.items():
            np.testing.assert_array_equal(values(weights, name), expected.reshape(-1, expected.shape[-1]))


def test_types_may_differ_from_tensor_to_tensor(tmp_path: Path) -> None:
    labels = {"token_embd.weight": "Q8_0", "blk.0.attn_q.weight": "Q4_0", "blk.1.ffn_down.weight": "BF16"}
    held = write_gguf(tmp_path / "m", random_model(), types=labels)
    with open_weights(tmp_path / "m") as weights:
        for name in held:
            assert weights.tensors[name].type.label == labels.get(name, "F32")


def test_hyperparameters(tmp_path: Path) -> None:
    shape = TinyShape(
        n_vocab=300, n_embd=48, n_ff=80, n_layers=3, n_heads=6, n_kv_heads=3, head_dim=10, n_ctx=77, norm_eps=2e-6
    )
    write_gguf(tmp_path / "m", random_model(shape), metadata={"llama.rope.freq_base": 5e5})
    with open_weights(tmp_path / "m") as weights:
        h = weights.hyperparameters
    assert (h.n_vocab, h.n_embd, h.n_ff, h.n_layers, h.n_heads, h.n_kv_heads) == (300, 48, 80, 3, 6, 3)
    assert (h.head_dim, h.n_ctx_train, h.rope_base, h.rope_scale) == (10, 77, 5e5, 1.0)
    assert h.norm_eps == pytest.approx(2e-6)


def test_what_a_file_need_not_state(tmp_path: Path) -> None:
    left_out = frozenset({"llama.attention.head_count_kv", "llama.rope.dimension_count", "llama.rope.freq_base"})
    write_gguf(tmp_path / "m", random_model(TinyShape(n_kv_heads=4)), without=left_out | {"general.name"})
    with open_weights(tmp_path / "m") as weights:
        h = weights.hyperparameters
        assert (h.n_kv_heads, h.head_dim, h.rope_base) == (4, 16, 10000.0)
        assert weights.name == "m"
        assert weights.chat_template is None


@pytest.mark.parametrize(
    ("metadata", "scale"),
    [
        ({"llama.rope.scaling.type": "linear", "llama.rope.scaling.factor": 4.0}, 0.25),
        ({"llama.rope.scaling.factor": 2.0}, 0.5),
        ({"llama.rope.scale_linear": 8.0}, 0.125),
        ({"llama.rope.scaling.type": "none", "llama.rope.scaling.factor": 4.0}, 1.0),
        ({"llama.rope.scaling.type": "linear", "llama.rope.scaling.factor": 0.0}, 1.0),
    ],
)
def test_rope_scaling(tmp_path: Path, metadata: dict[str, Any], scale: float) -> None:
    write_gguf(tmp_path / "m", random_model(), metadata=metadata)
    with open_weights(tmp_path / "m") as weights:
        assert weights.hyperparameters.rope_scale == scale


@pytest.mark.parametrize("type_name", ["u8", "i8", "u16", "i16", "u32", "i32", "u64", "i64"])
def test_integers_of_any_width(tmp_path: Path, type_name: str) -> None:
    write_gguf(tmp_path / "m", random_model(), metadata={"llama.block_count": scalar(type_name, 2)})
    with open_weights(tmp_path / "m") as weights:
        assert weights.hyperparameters.n_layers == 2


def test_numbers_stated_for_each_layer(tmp_path: Path) -> None:
    per_layer = {"llama.attention.head_count_kv": [2, 2], "llama.feed_forward_length": [96, 96]}
    write_gguf(tmp_path / "m", random_model(), metadata=per_layer)
    with open_weights(tmp_path / "m") as weights:
        assert weights.hyperparameters.n_kv_heads == 2
        assert weights.hyperparameters.n_ff == 96


def test_a_context_beyond_all_measure_is_cut(tmp_path: Path) -> None:
    write_gguf(tmp_path / "m", random_model(), metadata={"llama.context_length": scalar("u64", 10**12)})
    with open_weights(tmp_path / "m") as weights:
        assert weights.hyperparameters.n_ctx_train == 1 << 24


def test_another_alignment(tmp_path: Path) -> None:
    held = write_gguf(tmp_path / "m", random_model(TinyShape(n_ff=100)), metadata={"general.alignment": 256})
    with open_weights(tmp_path / "m") as weights:
        np.testing.assert_array_equal(values(weights, "blk.1.ffn_up.weight"), held["blk.1.ffn_up.weight"])


def test_name_and_template(tmp_path: Path) -> None:
    template = "{% for m in messages %}é{{ m }}{% endfor %}"
    write_gguf(
        tmp_path / "m", random_model(), metadata={"general.name": "A\x1b[31m", "tokenizer.chat_template": template}
    )
    with open_weights(tmp_path / "m") as weights:
        assert weights.name == "A\x1b[31m"  # untrusted as it is; faces clean what they show
        assert weights.chat_template == template


def test_values_of_no_use_are_passed_over(tmp_path: Path) -> None:
    extra = {
        "general.tags": ["a", "b", ""],
        "general.huge": b"x" * (2 << 20),
        "tokenizer.huggingface.json": b"{" * (3 << 20),
        "other.numbers": array("f64", [1.0, 2.0]),
        "other.flags": array("bool", [True, False]),
        "other.nothing": array("u64", []),
        "other.latin": b"\xff\xfe",
    }
    write_gguf(tmp_path / "m", random_model(), metadata=extra)
    with open_weights(tmp_path / "m") as weights:
        assert len(weights.tensors) == 20


@pytest.mark.parametrize("name", ["blk.0.attn_rot_embd", "rope.freqs", "blk.1.attention.inner_attention.rope.freqs"])
def test_tables_that_are_computed_here_are_ignored(tmp_path: Path, name: str) -> None:
    records = gguf_metadata(TinyShape(), spm_vocabulary())
    raw = [
        RawTensor(n, tuple(reversed(v.shape)), 0, v.astype("<f4").tobytes()) for n, v in random_model().weights.items()
    ]
    (tmp_path / "m").write_bytes(gguf(records, [*raw, RawTensor(name, (8,), 0, bytes(32))]))
    with open_weights(tmp_path / "m") as weights:
        assert name not in weights.tensors


def test_the_vocabulary_is_the_one_written(tmp_path: Path) -> None:
    for vocabulary in (spm_vocabulary(), spm_vocabulary(add_space_prefix=False), bpe_vocabulary(pre="llama-bpe")):
        write_gguf(tmp_path / "m", random_model(), vocabulary=vocabulary)
        with open_weights(tmp_path / "m") as weights:
            assert weights.vocabulary == vocabulary


def test_defaults_of_a_vocabulary(tmp_path: Path) -> None:
    stated = frozenset(f"tokenizer.ggml.{key}" for key in ("add_bos_token", "add_eos_token", "add_space_prefix"))
    ids = frozenset(f"tokenizer.ggml.{key}_token_id" for key in ("bos", "eos", "unknown"))
    write_gguf(tmp_path / "spm", random_model(), without=stated | ids)
    write_gguf(
        tmp_path / "bpe", random_model(), vocabulary=bpe_vocabulary(), without=stated | ids | {"tokenizer.ggml.pre"}
    )
    with open_weights(tmp_path / "spm") as weights:
        v = weights.vocabulary
    assert v is not None
    assert (v.bos_id, v.eos_id, v.unk_id, v.add_bos, v.add_eos, v.add_space_prefix) == (1, 2, 0, True, False, True)
    with open_weights(tmp_path / "bpe") as weights:
        v = weights.vocabulary
    assert v is not None
    assert (v.bos_id, v.eos_id, v.pre, v.add_bos, v.add_space_prefix) == (None, None, "", False, False)
    assert v.stop_ids == {0, 2}  # by their texts


def test_no_token_and_stop_tokens(tmp_path: Path) -> None:
    vocabulary = bpe_vocabulary()
    metadata = {
        "tokenizer.ggml.padding_token_id": 0xFFFFFFFF,
        "tokenizer.ggml.bos_token_id": 0xFFFFFFFF,
        "tokenizer.ggml.eot_token_id": 300,
        "tokenizer.ggml.eom_token_id": 301,
        "tokenizer.ggml.token_type": [1] * 320,
    }
    write_gguf(tmp_path / "m", random_model(), vocabulary=vocabulary, metadata=metadata)
    with open_weights(tmp_path / "m") as weights:
        v = weights.vocabulary
    assert v is not None
    assert v.bos_id is None
    assert v.stop_ids == {0, 2, 300, 301}
    # none of them can be typed any more, though the file calls them ordinary
    assert {i for i, kind in enumerate(v.kinds) if kind is TokenKind.CONTROL} == v.stop_ids


def test_a_file_without_a_vocabulary(tmp_path: Path) -> None:
    without = frozenset(k for k in gguf_metadata(TinyShape(), spm_vocabulary()) if k.startswith("tokenizer."))
    write_gguf(tmp_path / "m", random_model(), without=without)
    with open_weights(tmp_path / "m") as weights:
        assert weights.vocabulary is None


def test_a_tokenizer_named_wins_over_the_file_s_own(tmp_path: Path) -> None:
    write_gguf(tmp_path / "m", random_model())
    write_gguf(tmp_path / "other", random_model(), vocabulary=bpe_vocabulary())
    with open_weights(tmp_path / "m", tokenizer=tmp_path / "other") as weights:
        assert weights.vocabulary == bpe_vocabulary()


def test_many_threads_may_read(tmp_path: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    held = write_gguf(tmp_path / "m", random_model())
    with open_weights(tmp_path / "m") as weights, ThreadPoolExecutor(8) as pool:
        for name, got in zip(held, pool.map(lambda n: values(weights, n, 1), held), strict=True):
            np.testing.assert_array_equal(got, held[name].reshape(got.shape))


def test_rows_outside_a_tensor_are_a_mistake_of_the_caller(tmp_path: Path) -> None:
    write_gguf(tmp_path / "m", random_model())
    with open_weights(tmp_path / "m") as weights:
        for first, n in ((-1, 1), (0, 321), (320, 1), (5, -1)):
            with pytest.raises(IndexError):
                weights.read("token_embd.weight", first, n)
        assert weights.read("token_embd.weight", 320, 0) == b""


def test_the_same_bytes_whatever_the_name(tmp_path: Path) -> None:
    data, _ = gguf_bytes(random_model())
    for name in ("model.bin", "model.pth", "model.txt", "ключ 🦙", "x" * 200):
        (tmp_path / name).write_bytes(data)
        with open_weights(str(tmp_path / name)) as weights:
            assert weights.format == "GGUF v3"
