"""ggml, ggmf and ggjt files: what is written comes back, and what cannot be is refused."""

from __future__ import annotations

import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from llamachat.errors import WeightsError
from llamachat.vocabulary import TokenKind
from llamachat.weights import WeightFile, open_weights, read_vocabulary
from tests.support.blocks import Floats, dequantize
from tests.support.containers import RawTensor, ggml
from tests.support.old_blocks import KEPT_AS
from tests.support.super_blocks import SUPER, SUPER_BLOCKS
from tests.support.tiny_models import TinyShape, ggml_bytes, meta_name, random_model, spm_vocabulary, write_ggml

SHAPE = TinyShape(n_vocab=300, n_layers=1, tied=False)
HPARAMS = (300, 64, 32, 4, 1, 16, 0)
TOKENS = [(b"x", 0.0)] * 300
TENSORS = [
    RawTensor(meta_name(name), tuple(reversed(v.shape)), 0, v.astype("<f4").tobytes())
    for name, v in random_model(SHAPE).weights.items()
]


#: What a file of each kind can hold.
TYPES = {
    "ggml": ("F32", "F16", "Q4_0", "Q4_1"),
    "ggmf v1": ("F32", "F16", "Q4_0", "Q4_1"),
    "ggjt v1": ("F32", "F16", "Q4_0", "Q4_1", "Q4_2", "Q4_3", "Q5_0", "Q5_1", "Q8_0"),
    "ggjt v2": ("F32", "F16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0"),
    "ggjt v3": ("F32", "F16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K"),
}
CASES = [(kind, label) for kind, labels in TYPES.items() for label in labels]


def read_all(weights: WeightFile, name: str, shape: tuple[int, ...], step: int = 7) -> Floats:
    """A tensor's values, read a few rows at a time."""
    tensor = weights.tensors[name]
    parts = [weights.read(name, i, min(step, tensor.rows - i)) for i in range(0, tensor.rows, step)]
    return dequantize(tensor.type.label, b"".join(parts), shape)


@pytest.mark.parametrize(("kind", "label"), CASES)
def test_every_type_comes_back_as_it_was_written(tmp_path: Path, kind: str, label: str) -> None:
    shape = replace(SHAPE, n_embd=SUPER, n_ff=SUPER) if label in SUPER_BLOCKS else SHAPE
    held = write_ggml(tmp_path / "m", random_model(shape), kind=kind, types=label)
    with open_weights(tmp_path / "m") as weights:
        assert (weights.format, weights.type_name) == (kind, label if kind == "ggjt v3" else KEPT_AS.get(label, label))
        assert set(weights.tensors) == set(held)
        for name, expected in held.items():
            np.testing.assert_array_equal(read_all(weights, name, expected.shape), expected)


@pytest.mark.parametrize("label", ["Q4_2", "Q4_3"])
def test_rows_that_fill_blocks_of_16_and_not_of_32(tmp_path: Path, label: str) -> None:
    """Those become F32, and the others stay as they are."""
    shape = replace(SHAPE, n_ff=80)
    held = write_ggml(tmp_path / "m", random_model(shape), kind="ggjt v1", types=label)
    with open_weights(tmp_path / "m") as weights:
        for name, expected in held.items():
            whole = expected.ndim == 2 and expected.shape[1] % 32 == 0
            assert weights.tensors[name].type.label == (label if whole else "F32")
            np.testing.assert_array_equal(read_all(weights, name, expected.shape), expected)
        assert weights.tensors["blk.0.ffn_down.weight"].type.label == "F32"


@pytest.mark.parametrize("label", ["Q4_2", "Q4_3"])
def test_columns_cut_into_parts_of_16(tmp_path: Path, label: str) -> None:
    """Where a part's rows do not fill blocks the joined ones are F32 too."""
    model = random_model(replace(SHAPE, n_embd=96, n_ff=96))
    held = write_ggml(tmp_path / "m", model, kind="ggjt v1", types=label, parts=2)
    with open_weights(tmp_path / "m") as weights:
        labels = {name: tensor.type.label for name, tensor in weights.tensors.items()}
        assert (labels["blk.0.ffn_down.weight"], labels["blk.0.ffn_up.weight"]) == ("F32", label)
        for name, expected in held.items():
            np.testing.assert_array_equal(read_all(weights, name, expected.shape), expected)


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("parts", [2, 4])
def test_a_model_in_parts(tmp_path: Path, kind: str, parts: int) -> None:
    model = random_model(replace(SHAPE, n_embd=128, n_ff=256))
    held = write_ggml(tmp_path / "whole", model, kind=kind, types="Q4_0")
    write_ggml(tmp_path / "m", model, kind=kind, types="Q4_0", parts=parts)
    with open_weights(tmp_path / "m") as weights, open_weights(tmp_path / "whole") as whole:
        assert (weights.hyperparameters, weights.vocabulary) == (whole.hyperparameters, whole.vocabulary)
        assert weights.size_bytes == sum(path.stat().st_size for path in tmp_path.glob("m*"))
        for name, expected in held.items():
            np.testing.assert_array_equal(read_all(weights, name, expected.shape), expected)
            assert weights.tensors[name] == whole.tensors[name]


def test_parts_that_do_not_belong_together(tmp_path: Path) -> None:
    write_ggml(tmp_path / "m", random_model(SHAPE), parts=2)
    (tmp_path / "m").rename(tmp_path / "first")
    with pytest.raises(WeightsError, match=r"is one of 2 parts, and 'first.1' is not beside it"):
        open_weights(tmp_path / "first")
    write_ggml(tmp_path / "first.1", random_model(SHAPE), types="F16")
    with pytest.raises(WeightsError, match=r"differ in the shape or type of tensor 'tok_embeddings.weight'"):
        open_weights(tmp_path / "first")
    write_ggml(tmp_path / "first.1", random_model(replace(SHAPE, n_layers=2)))
    with pytest.raises(WeightsError, match=r"first.1: is no part of the same model as 'first'"):
        open_weights(tmp_path / "first")
    (tmp_path / "first.1").write_bytes(b"fmgg")
    with pytest.raises(WeightsError, match=r"first.1: is cut short"):
        open_weights(tmp_path / "first")
    (tmp_path / "first.1").unlink()
    (tmp_path / "first.1").symlink_to("/etc/passwd")
    with pytest.raises(WeightsError, match=r"first.1: is a link that leads out of the model's folder"):
        open_weights(tmp_path / "first")


def test_for_two_days_the_number_of_q8_0_was_6(tmp_path: Path) -> None:
    data, held = ggml_bytes(random_model(SHAPE), kind="ggjt v1", types="Q8_0", ftype=7)
    name = b"layers.0.attention.wq.weight"
    old = data
    for meta in {meta_name(n) for n, v in held.items() if v.ndim == 2}:
        at = old.index(meta.encode()) - 8 - 4
        assert old[at : at + 4] == struct.pack("<I", 8)
        old = old[:at] + struct.pack("<I", 6) + old[at + 4 :]
    (tmp_path / "m").write_bytes(old)
    with open_weights(tmp_path / "m") as weights:
        expected = held["blk.0.attn_q.weight"]
        np.testing.assert_array_equal(read_all(weights, "blk.0.attn_q.weight", expected.shape), expected)
    at = data.index(name)
    assert at > 0
    (tmp_path / "m").write_bytes(old[: 8 + 24] + struct.pack("<I", 8) + old[8 + 28 :])  # "mostly Q5_0": then 6 is that
    with pytest.raises(WeightsError):
        open_weights(tmp_path / "m")


def test_scores_that_the_first_files_did_not_store(tmp_path: Path) -> None:
    write_ggml(tmp_path / "m", random_model(SHAPE), kind="ggml", vocabulary=spm_vocabulary(300))
    with open_weights(tmp_path / "m") as weights:
        assert weights.vocabulary == spm_vocabulary(300)


@pytest.mark.parametrize("label", ["Q4_0", "Q4_1"])
def test_rows_of_the_first_days(tmp_path: Path, label: str) -> None:
    """All scales of a row came before all its quants then: nothing says so, and it would be read as noise."""
    data, held = ggml_bytes(random_model(SHAPE), kind="ggml", types=label)
    size = {"Q4_0": 20, "Q4_1": 24}[label]
    first = data.index(b"tok_embeddings.weight") + len(b"tok_embeddings.weight")
    rows = np.frombuffer(data, np.uint8, 300 * 2 * size, first).reshape(300, 2, size)
    if label == "Q4_0":
        parts = [rows[:, :, :4].reshape(300, -1), rows[:, :, 4:].reshape(300, -1)]
    else:
        parts = [rows[:, :, 4:8].reshape(300, -1), rows[:, :, :4].reshape(300, -1), rows[:, :, 8:].reshape(300, -1)]
    old = data[:first] + np.concatenate(parts, axis=1).tobytes() + data[first + 300 * 2 * size :]
    (tmp_path / "m").write_bytes(old)
    with pytest.raises(WeightsError, match=r"as only files of 10 to 17 March 2023 have"):
        open_weights(tmp_path / "m")
    assert held


def test_scales_below_zero_are_scales(tmp_path: Path) -> None:
    data, _ = ggml_bytes(random_model(SHAPE), kind="ggml", types="Q4_0")
    first = data.index(b"tok_embeddings.weight") + len(b"tok_embeddings.weight")
    scales = np.frombuffer(data, np.uint8, 300 * 2 * 20, first).reshape(-1, 20).copy()
    scales[::2, 3] ^= 0x80  # the sign of a float32
    (tmp_path / "m").write_bytes(data[:first] + scales.tobytes() + data[first + scales.size :])
    open_weights(tmp_path / "m").close()


def test_what_the_file_does_not_state_follows_from_tensors(tmp_path: Path) -> None:
    write_ggml(tmp_path / "m", random_model(TinyShape(n_heads=8, n_kv_heads=2, n_ff=100, tied=False)))
    with open_weights(tmp_path / "m") as weights:
        h = weights.hyperparameters
    assert (h.n_heads, h.n_kv_heads, h.head_dim, h.n_ff) == (8, 2, 8, 100)
    assert (h.n_ctx_train, h.norm_eps, h.rope_base, h.rope_scale) == (2048, 1e-5, 10000.0, 1.0)


def test_tokens_are_told_by_their_ids(tmp_path: Path) -> None:
    write_ggml(tmp_path / "m", random_model(), vocabulary=spm_vocabulary())
    with open_weights(tmp_path / "m") as weights:
        assert weights.vocabulary == spm_vocabulary()


def test_added_tokens_cannot_be_typed(tmp_path: Path) -> None:
    vocabulary = spm_vocabulary()
    pieces = (*vocabulary.pieces[:-1], "<|im_end|>")
    scores = (*vocabulary.scores[:-1], -1000.0)
    write_ggml(tmp_path / "m", random_model(), vocabulary=replace(vocabulary, pieces=pieces, scores=scores))
    with open_weights(tmp_path / "m") as weights:
        v = weights.vocabulary
    assert v is not None
    assert v.kinds[319] is TokenKind.CONTROL
    assert v.stop_ids == {2, 319}


def test_tables_that_are_computed_here_are_ignored(tmp_path: Path) -> None:
    table = RawTensor("layers.0.attention.inner_attention.rope.freqs", (8,), 0, bytes(32))
    (tmp_path / "m").write_bytes(ggml("ggjt v3", HPARAMS, TOKENS, [*TENSORS, table]))
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
        ((300, 128, 32, 8, 1, 16, 0), TENSORS, "is one of 2 parts, and 'm.1' is not beside it"),
        ((300, 64, 32, 4, 2, 16, 0), TENSORS, "no tensor 'layers.1.attention_norm.weight'"),
        ((300, 64, 32, 4, 0, 16, 0), TENSORS, "n_layers 0"),
        ((300, 64, 32, 4, 2**32 - 1, 16, 0), TENSORS, "n_layers 4294967295"),
        ((301, 64, 32, 4, 1, 16, 0), TENSORS, ""),
        ((2**32 - 1, 64, 32, 4, 1, 16, 0), TENSORS, "claims 4294967295 entries in its vocabulary"),
        ((1 << 19, 64, 32, 4, 1, 16, 0), TENSORS, "it ends inside its vocabulary"),
        (HPARAMS, TENSORS[:-3], "no tensor"),
        (HPARAMS, [], "holds a vocabulary and no weights"),
        (HPARAMS, [*TENSORS, TENSORS[0]], "'tok_embeddings.weight' twice"),
        (HPARAMS, spoiled(WK, ne=(64, 24)), "no tensor starts at byte"),
        (HPARAMS, spoiled(WK, ne=(64, 48), data=bytes(64 * 48 * 4)), "4 heads, which 3 key-value heads do not divide"),
        (HPARAMS, spoiled(WK, ne=(64, 40), data=bytes(64 * 40 * 4)), "of 40 x 64 where the model needs 32 x 64"),
        (HPARAMS, spoiled(WK, ne=(64, 8), data=bytes(64 * 8 * 4)), "n_kv_heads 0"),
        (HPARAMS, spoiled(WK, ne=(1 << 31, 1 << 31)), "inside the data of tensor 'layers.0.attention.wk.weight'"),
        (HPARAMS, spoiled(WK, ne=(2**32 - 1, 2**32 - 1)), "of impossible size"),
        (HPARAMS, spoiled(WK, ne=(64, 0)), "of impossible size 64 x 0"),
        (HPARAMS, spoiled(WK, ne=(64, 32, 1)), "no tensor starts at byte"),
        (HPARAMS, spoiled(WK, ne=()), "no tensor starts at byte"),
        (HPARAMS, spoiled(WK, name="n" * 4096), "no tensor starts at byte"),
        (HPARAMS, spoiled(WK, name=""), "no tensor starts at byte"),
        (HPARAMS, spoiled(WK, type_id=77), "of type number 77, unknown in ggjt v3"),
        (HPARAMS, spoiled(WK, type_id=12), "not whole Q4_K blocks of 256"),
        (HPARAMS, [*TENSORS, RawTensor("lora.a", (8,), 0, bytes(32))], "'lora.a', which a Llama model has not"),
        (HPARAMS, TENSORS[:1], "no tensor 'layers.0.feed_forward.w1.weight'"),
        (HPARAMS, spoiled("norm.weight", type_id=1, data=bytes(128)), "it must be F32"),
    ],
)  # fmt: skip
def test_refusals(tmp_path: Path, hparams: tuple[int, ...], tensors: list[RawTensor], words: str) -> None:
    assert words in refusal(tmp_path / "m", ggml("ggjt v3", hparams, TOKENS, tensors))


@pytest.mark.parametrize("head", [b"tjgg\0\0\0\0", b"tjgg\4\0\0\0", b"fmgg\2\0\0\0"])
def test_versions(tmp_path: Path, head: bytes) -> None:
    assert "which never was" in refusal(tmp_path / "m", head + bytes(400))


@pytest.mark.parametrize(
    ("kind", "type_id"), [("ggjt v1", 10), ("ggjt v1", 99), ("ggjt v2", 4), ("ggjt v2", 5), ("ggjt v3", 4)]
)
def test_types_that_a_version_had_not(tmp_path: Path, kind: str, type_id: int) -> None:
    reason = refusal(tmp_path / "m", ggml(kind, HPARAMS, TOKENS, spoiled(WK, type_id=type_id)))
    assert f"of type number {type_id}, unknown in {kind}" in reason


@pytest.mark.parametrize("kind", TYPES)
def test_a_vocabulary_alone(tmp_path: Path, kind: str) -> None:
    assert "holds a vocabulary and no weights" in refusal(tmp_path / "m", ggml(kind, HPARAMS, TOKENS, []))
    assert len(read_vocabulary(tmp_path / "m", 300)) == 300


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
    data = ggml("ggjt v3", HPARAMS, tokens, TENSORS)
    if words is None:
        (tmp_path / "m").write_bytes(data)
        open_weights(tmp_path / "m").close()
    else:
        assert words in refusal(tmp_path / "m", data)


def test_a_vocabulary_too_small_for_the_fixed_tokens(tmp_path: Path) -> None:
    reason = refusal(tmp_path / "m", ggml("ggjt v3", (10, *HPARAMS[1:]), TOKENS[:10], TENSORS))
    assert reason == "has a vocabulary of 10 tokens; those of Llama begin with 259 fixed ones"


def test_a_length_that_passes_the_end(tmp_path: Path) -> None:
    data = bytearray(ggml("ggjt v3", HPARAMS, TOKENS, TENSORS))
    struct.pack_into("<I", data, 36, 2**32 - 1)
    assert "it ends inside its vocabulary" in refusal(tmp_path / "m", bytes(data))
