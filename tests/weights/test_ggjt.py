"""ggjt files: what is written comes back, and what cannot be is refused."""

from __future__ import annotations

import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from llamachat.errors import WeightsError
from llamachat.vocabulary import TokenKind
from llamachat.weights import open_weights
from tests.support.blocks import dequantize
from tests.support.containers import RawTensor, ggjt
from tests.support.tiny_models import TinyShape, ggjt_bytes, meta_name, random_model, spm_vocabulary, write_ggjt

SHAPE = TinyShape(n_vocab=300, n_layers=1, tied=False)
HPARAMS = (300, 64, 32, 4, 1, 16, 0)
TOKENS = [(b"x", 0.0)] * 300
TENSORS = [
    RawTensor(meta_name(name), tuple(reversed(v.shape)), 0, v.astype("<f4").tobytes())
    for name, v in random_model(SHAPE).weights.items()
]


@pytest.mark.parametrize("label", ["F32", "F16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0"])
def test_every_type_comes_back_as_it_was_written(tmp_path: Path, label: str) -> None:
    held = write_ggjt(tmp_path / "m", random_model(TinyShape(tied=False)), types=label)
    with open_weights(tmp_path / "m") as weights:
        assert (weights.format, weights.type_name) == ("ggjt v3", label)
        assert set(weights.tensors) == set(held)
        for name, expected in held.items():
            tensor = weights.tensors[name]
            got = dequantize(tensor.type.label, weights.read(name, 0, tensor.rows), expected.shape)
            np.testing.assert_array_equal(got, expected)


def test_what_the_file_does_not_state_follows_from_tensors(tmp_path: Path) -> None:
    write_ggjt(tmp_path / "m", random_model(TinyShape(n_heads=8, n_kv_heads=2, n_ff=100, tied=False)))
    with open_weights(tmp_path / "m") as weights:
        h = weights.hyperparameters
    assert (h.n_heads, h.n_kv_heads, h.head_dim, h.n_ff) == (8, 2, 8, 100)
    assert (h.n_ctx_train, h.norm_eps, h.rope_base, h.rope_scale) == (2048, 1e-5, 10000.0, 1.0)


def test_tokens_are_told_by_their_ids(tmp_path: Path) -> None:
    write_ggjt(tmp_path / "m", random_model(), vocabulary=spm_vocabulary())
    with open_weights(tmp_path / "m") as weights:
        assert weights.vocabulary == spm_vocabulary()


def test_added_tokens_cannot_be_typed(tmp_path: Path) -> None:
    vocabulary = spm_vocabulary()
    pieces = (*vocabulary.pieces[:-1], "<|im_end|>")
    scores = (*vocabulary.scores[:-1], -1000.0)
    write_ggjt(tmp_path / "m", random_model(), vocabulary=replace(vocabulary, pieces=pieces, scores=scores))
    with open_weights(tmp_path / "m") as weights:
        v = weights.vocabulary
    assert v is not None
    assert v.kinds[319] is TokenKind.CONTROL
    assert v.stop_ids == {2, 319}


def test_tables_that_are_computed_here_are_ignored(tmp_path: Path) -> None:
    table = RawTensor("layers.0.attention.inner_attention.rope.freqs", (8,), 0, bytes(32))
    (tmp_path / "m").write_bytes(ggjt(HPARAMS, TOKENS, [*TENSORS, table]))
    with open_weights(tmp_path / "m") as weights:
        assert len(weights.tensors) == len(TENSORS)


def refusal(path: Path, data: bytes) -> str:
    path.write_bytes(data)
    with pytest.raises(WeightsError) as caught:
        open_weights(path)
    assert caught.value.reason.isprintable()
    return caught.value.reason


def spoiled(tensor: str, /, **changes: Any) -> list[RawTensor]:
    return [replace(t, **changes) if t.name == tensor else t for t in TENSORS]


WK = "layers.0.attention.wk.weight"


@pytest.mark.parametrize(
    ("hparams", "tensors", "words"),
    [
        ((300, 64, 32, 0, 1, 16, 0), TENSORS, "0 heads do not divide"),
        ((300, 64, 32, 5, 1, 16, 0), TENSORS, "an embedding of 64, which 5 heads do not divide"),
        ((300, 0, 32, 4, 1, 16, 0), TENSORS, "n_embd 0"),
        ((300, 128, 32, 8, 1, 16, 0), TENSORS, "of 300 x 64 where the model needs 300 x 128"),
        ((300, 64, 32, 4, 2, 16, 0), TENSORS, "no tensor 'blk.1.attn_norm.weight'"),
        ((300, 64, 32, 4, 0, 16, 0), TENSORS, "n_layers 0"),
        ((300, 64, 32, 4, 2**32 - 1, 16, 0), TENSORS, "n_layers 4294967295"),
        ((301, 64, 32, 4, 1, 16, 0), TENSORS, ""),
        ((2**32 - 1, 64, 32, 4, 1, 16, 0), TENSORS, "claims 4294967295 entries in its vocabulary"),
        ((1 << 19, 64, 32, 4, 1, 16, 0), TENSORS, "it ends inside its vocabulary"),
        (HPARAMS, TENSORS[:-3], "no tensor"),
        (HPARAMS, [], "no tensor 'blk.0.ffn_gate.weight'"),
        (HPARAMS, [*TENSORS, TENSORS[0]], "'token_embd.weight' twice"),
        (HPARAMS, spoiled(WK, ne=(64, 24)), "no tensor starts at byte"),
        (HPARAMS, spoiled(WK, ne=(64, 48), data=bytes(64 * 48 * 4)), "4 heads, which 3 key-value heads do not divide"),
        (HPARAMS, spoiled(WK, ne=(64, 40), data=bytes(64 * 40 * 4)), "of 40 x 64 where the model needs 32 x 64"),
        (HPARAMS, spoiled(WK, ne=(64, 8), data=bytes(64 * 8 * 4)), "n_kv_heads 0"),
        (HPARAMS, spoiled(WK, ne=(1 << 31, 1 << 31)), "it ends inside the data of tensor 'blk.0.attn_k.weight'"),
        (HPARAMS, spoiled(WK, ne=(2**32 - 1, 2**32 - 1)), "of impossible size"),
        (HPARAMS, spoiled(WK, ne=(64, 0)), "of impossible size 64 x 0"),
        (HPARAMS, spoiled(WK, ne=(64, 32, 1)), "no tensor starts at byte"),
        (HPARAMS, spoiled(WK, ne=()), "no tensor starts at byte"),
        (HPARAMS, spoiled(WK, name="n" * 4096), "no tensor starts at byte"),
        (HPARAMS, spoiled(WK, name=""), "no tensor starts at byte"),
        (HPARAMS, spoiled(WK, type_id=77), "of an unknown type, number 77"),
        (HPARAMS, spoiled(WK, type_id=12), "not whole Q4_K blocks of 256"),
        (HPARAMS, [*TENSORS, RawTensor("lora.a", (8,), 0, bytes(32))], "'lora.a', which a Llama model has not"),
        (HPARAMS, spoiled("norm.weight", type_id=1, data=bytes(128)), "it must be F32"),
    ],
)  # fmt: skip
def test_refusals(tmp_path: Path, hparams: tuple[int, ...], tensors: list[RawTensor], words: str) -> None:
    assert words in refusal(tmp_path / "m", ggjt(hparams, TOKENS, tensors))


@pytest.mark.parametrize(("version", "words"), [(0, "never was"), (1, "not supported yet"), (2, "not supported yet")])
def test_versions(tmp_path: Path, version: int, words: str) -> None:
    data, _ = ggjt_bytes(random_model(), version=version)
    assert words in refusal(tmp_path / "m", data)


@pytest.mark.parametrize(
    ("tokens", "words"),
    [
        ([(b"x", float("inf"))] * 300, "scores that are no finite numbers"),
        ([(b"x" * 70000, 0.0)] * 300, "an entry of 70000 bytes in its vocabulary"),
        ([(b"\xff\xfe", 0.0)] * 300, None),
        ([(b"", 0.0)] * 300, None),
        ([(b"x", 0.0)] * 100, ""),
    ],
)
def test_vocabularies(tmp_path: Path, tokens: list[tuple[bytes, float]], words: str | None) -> None:
    data = ggjt(HPARAMS, tokens, TENSORS)
    if words is None:
        (tmp_path / "m").write_bytes(data)
        open_weights(tmp_path / "m").close()
    else:
        assert words in refusal(tmp_path / "m", data)


def test_a_vocabulary_too_small_for_the_fixed_tokens(tmp_path: Path) -> None:
    reason = refusal(tmp_path / "m", ggjt((10, *HPARAMS[1:]), TOKENS[:10], TENSORS))
    assert reason == "has a vocabulary of 10 tokens; those of Llama begin with 259 fixed ones"


def test_a_length_that_passes_the_end(tmp_path: Path) -> None:
    data = bytearray(ggjt(HPARAMS, TOKENS, TENSORS))
    struct.pack_into("<I", data, 36, 2**32 - 1)
    assert "it ends inside its vocabulary" in refusal(tmp_path / "m", bytes(data))
