"""llama2.c files and the vocabularies beside them."""

from __future__ import annotations

import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from llamachat.errors import WeightsError
from llamachat.weights import open_weights
from tests.support.blocks import Floats, dequantize
from tests.support.tiny_models import (
    TinyShape,
    bpe_vocabulary,
    llama2c_bytes,
    llama2c_later_bytes,
    random_model,
    spm_vocabulary,
    write_gguf,
    write_llama2c,
    write_tokenizer_bin,
)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize(("heads", "kv_heads"), [(4, 4), (4, 2), (8, 1)])
def test_it_comes_back_as_it_was_written(tmp_path: Path, tied: bool, heads: int, kv_heads: int) -> None:
    shape = TinyShape(n_ff=172, n_heads=heads, n_kv_heads=kv_heads, tied=tied)
    held = write_llama2c(tmp_path / "m.bin", random_model(shape))
    with open_weights(tmp_path / "m.bin") as weights:
        h = weights.hyperparameters
        assert (weights.format, weights.type_name, weights.name) == ("llama2.c v0", "F32", "m")
        assert (h.n_vocab, h.n_embd, h.n_ff, h.n_layers, h.n_heads, h.n_kv_heads) == (320, 64, 172, 2, heads, kv_heads)
        assert (h.head_dim, h.n_ctx_train, h.norm_eps, h.rope_base) == (64 // heads, 128, 1e-5, 10000.0)
        assert set(weights.tensors) == set(held)
        for name, expected in held.items():
            got = np.frombuffer(weights.read(name, 0, weights.tensors[name].rows), "<f4")
            np.testing.assert_array_equal(got, expected.reshape(-1))


@pytest.mark.parametrize("dim", [640, 896, 1152, 1408])
def test_sizes_that_look_like_a_pickle(tmp_path: Path, dim: int) -> None:
    shape = TinyShape(n_vocab=300, n_embd=dim, n_ff=32, n_layers=1, n_heads=2, n_kv_heads=1, n_ctx=8)
    write_llama2c(tmp_path / "m", random_model(shape))
    with open_weights(tmp_path / "m") as weights:
        assert weights.hyperparameters.n_embd == dim


def test_a_vocabulary_named_or_found_beside(tmp_path: Path) -> None:
    write_llama2c(tmp_path / "m.bin", random_model())
    with open_weights(tmp_path / "m.bin") as weights:
        assert weights.vocabulary is None
    write_tokenizer_bin(tmp_path / "named.bin", spm_vocabulary())
    with open_weights(tmp_path / "m.bin", tokenizer=tmp_path / "named.bin") as weights:
        assert weights.vocabulary is not None
        assert weights.vocabulary.pieces == spm_vocabulary().pieces
        assert weights.vocabulary.stop_ids == {1, 2}  # run.c ends a text at BOS too
    (tmp_path / "named.bin").rename(tmp_path / "tokenizer.bin")
    with open_weights(tmp_path / "m.bin") as weights:
        assert weights.vocabulary is not None
    write_gguf(tmp_path / "v.gguf", random_model(), vocabulary=bpe_vocabulary())
    with open_weights(tmp_path / "m.bin", tokenizer=str(tmp_path / "v.gguf")) as weights:
        assert weights.vocabulary is not None
        assert weights.vocabulary.stop_ids == {0, 1, 2}


def test_a_vocabulary_of_another_model(tmp_path: Path) -> None:
    write_llama2c(tmp_path / "m.bin", random_model())
    write_tokenizer_bin(tmp_path / "tokenizer.bin", spm_vocabulary(400))
    with pytest.raises(WeightsError, match=r"tokenizer\.bin: has 400 tokens where the model has 320; .*--tokenizer"):
        open_weights(tmp_path / "m.bin")
    with pytest.raises(WeightsError, match="missing: no such file"):
        open_weights(tmp_path / "m.bin", tokenizer=tmp_path / "missing")


@pytest.mark.parametrize("change", [-1000, -1, 1, 4, 1000])
def test_the_size_must_be_exact(tmp_path: Path, change: int) -> None:
    data = llama2c_bytes(random_model())
    (tmp_path / "m").write_bytes(data[:change] if change < 0 else data + bytes(change))
    words = "is cut short" if change < 0 else "is no weight file that llamachat knows"
    with pytest.raises(WeightsError, match=f"{words}: as a llama2.c model it would have {len(data)} bytes"):
        open_weights(tmp_path / "m")


@pytest.mark.parametrize("place", range(7))
@pytest.mark.parametrize("value", [0, -1, 1, 3, 0x7FFFFFFF, -0x80000000, 1 << 20])
def test_numbers_that_are_no_model_s(tmp_path: Path, place: int, value: int) -> None:
    data = bytearray(llama2c_bytes(random_model()))
    struct.pack_into("<i", data, 4 * place, value)
    (tmp_path / "m").write_bytes(data)
    with pytest.raises(WeightsError):
        open_weights(tmp_path / "m")


# ---- versions 1 and 2 ----

STRADDLING = TinyShape(n_vocab=300, n_embd=64, n_ff=172, n_layers=2, n_heads=8, n_kv_heads=4)


def check_values(path: Path, held: dict[str, Floats], version: int, group: int = 0) -> None:
    """int8 stays so where groups of whole blocks of 32 meet rows of such; the values are exact in any case."""
    with open_weights(path) as weights:
        assert weights.format == f"llama2.c v{version}"
        assert set(weights.tensors) == set(held)
        for name, expected in held.items():
            tensor = weights.tensors[name]
            in_blocks = group and group % 32 == 0 and expected.ndim == 2 and tensor.cols % 32 == 0
            assert tensor.type.label == ("Q8_0 (f32 scales)" if in_blocks else "F32"), name
            got = b"".join(weights.read(name, i, min(3, tensor.rows - i)) for i in range(0, tensor.rows, 3))
            np.testing.assert_array_equal(dequantize(tensor.type.label, got, expected.shape), expected)


@pytest.mark.parametrize("tied", [True, False])
def test_version_1(tmp_path: Path, tied: bool) -> None:
    data, held = llama2c_later_bytes(random_model(replace(STRADDLING, tied=tied)), version=1)
    (tmp_path / "m").write_bytes(data)
    check_values(tmp_path / "m", held, 1)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("group", [1, 4, 8, 32, 64, 128])
def test_version_2_with_groups_that_begin_in_one_row_and_end_in_another(tmp_path: Path, tied: bool, group: int) -> None:
    data, held = llama2c_later_bytes(random_model(replace(STRADDLING, tied=tied)), version=2, group=group)
    (tmp_path / "m").write_bytes(data)
    check_values(tmp_path / "m", held, 2, group)


@pytest.mark.parametrize("group", [32, 64, 96, 192])
def test_groups_of_whole_blocks_stay_int8_though_they_straddle_rows(tmp_path: Path, group: int) -> None:
    shape = TinyShape(n_vocab=300, n_embd=96, n_ff=160, n_layers=1, n_heads=6, n_kv_heads=2)
    data, held = llama2c_later_bytes(random_model(shape), version=2, group=group)
    (tmp_path / "m").write_bytes(data)
    check_values(tmp_path / "m", held, 2, group)
    with open_weights(tmp_path / "m") as weights:
        assert weights.type_name == "Q8_0 (f32 scales)"


def test_groups_that_are_no_power_of_two(tmp_path: Path) -> None:
    shape = TinyShape(n_vocab=300, n_embd=96, n_ff=120, n_layers=1, n_heads=4, n_kv_heads=2)
    data, held = llama2c_later_bytes(random_model(shape), version=2, group=48)
    (tmp_path / "m").write_bytes(data)
    check_values(tmp_path / "m", held, 2, 48)


@pytest.mark.parametrize(
    ("place", "layout", "value", "words"),
    [
        (4, "<i", 3, "is a llama2.c file of version 3; versions 0 to 2 are known"),
        (4, "<i", -1, "of version -1"),
        (8, "<i", 0, "n_embd 0"),
        (20, "<i", 0, "its numbers are no model's"),
        (28, "<i", -300, "a vocabulary of -300 tokens"),
        (28, "<i", 301, "is cut short: as a llama2.c model it would have"),
        (36, "<B", 2, "it states 2 where 0 or 1 must be"),
        (36, "<B", 0, "is cut short"),
        (37, "<i", 0, "states groups of 0 weights"),
        (37, "<i", -64, "states groups of -64 weights"),
        (37, "<i", 7, "states groups of 7 weights, which do not divide"),
        (37, "<i", 0x7FFFFFFF, "which do not divide"),
        (37, "<i", 32, "is cut short"),
        (37, "<i", 128, "has more than it should"),
    ],
)
def test_what_is_refused_of_version_2(tmp_path: Path, place: int, layout: str, value: int, words: str) -> None:
    data = bytearray(llama2c_later_bytes(random_model(STRADDLING), version=2)[0])
    struct.pack_into(layout, data, place, value)
    (tmp_path / "m").write_bytes(data)
    with pytest.raises(WeightsError) as caught:
        open_weights(tmp_path / "m")
    assert words in caught.value.reason


@pytest.mark.parametrize("end", [4, 8, 40, 255, 256, 257, -1])
def test_a_later_version_cut_short(tmp_path: Path, end: int) -> None:
    (tmp_path / "m").write_bytes(llama2c_later_bytes(random_model(STRADDLING), version=1)[0][:end])
    with pytest.raises(WeightsError, match="is cut short"):
        open_weights(tmp_path / "m")
