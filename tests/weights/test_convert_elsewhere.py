"""What is written opens in the formats' own programs, and means the same there.

They are no part of the usual installation: ``pip install -e .[formats]`` has these tests run.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from llamachat.weights import open_weights
from tests.support.blocks import Floats
from tests.support.conversions import converted, values_in, values_of
from tests.support.huggingface_files import huggingface_state
from tests.support.llama_reference import TinyLlama
from tests.support.shared import shared_model
from tests.support.stock_ncnn import StockNcnn
from tests.support.tiny_models import TinyModel, TinyShape, bpe_vocabulary, random_model, spm_vocabulary, write_gguf

SHAPE = TinyShape(n_embd=256, n_ff=320, n_heads=8, n_kv_heads=2, n_layers=3, tied=False)


def package(name: str) -> Any:
    return pytest.importorskip(name, reason=f"needs the package {name}: pip install -e .[formats]")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    write_gguf(tmp_path / "m.gguf", random_model(SHAPE))
    return tmp_path / "m.gguf"


# ---- gguf ----


@pytest.mark.parametrize("kind", ["f16", "bf16", "q8_0", "q4_0", "q4_1", "q5_0", "q5_1", "q4_k", "q5_k", "q6_k"])
def test_gguf_reads_the_same_numbers(tmp_path: Path, model: Path, kind: str) -> None:
    gguf = package("gguf")
    converted(model, tmp_path / "new.gguf", "gguf", kind)
    reader = gguf.GGUFReader(tmp_path / "new.gguf")
    with open_weights(tmp_path / "new.gguf") as weights:
        ours = values_of(weights)
        assert [tensor.name for tensor in reader.tensors] == list(weights.tensors)
        for tensor in reader.tensors:
            assert tensor.tensor_type.name == weights.tensors[tensor.name].type.label
            theirs = gguf.dequantize(tensor.data, tensor.tensor_type)
            np.testing.assert_allclose(np.atleast_2d(theirs), ours[tensor.name], rtol=3e-7, atol=1e-9)


@pytest.mark.parametrize("vocabulary", [spm_vocabulary(), bpe_vocabulary(add_bos=True)], ids=["spm", "bpe"])
def test_gguf_reads_the_metadata(tmp_path: Path, vocabulary: Any) -> None:
    gguf = package("gguf")
    write_gguf(tmp_path / "m.gguf", random_model(SHAPE), vocabulary=vocabulary,
               metadata={"tokenizer.chat_template": "{{ messages }}"})  # fmt: skip
    converted(tmp_path / "m.gguf", tmp_path / "new.gguf", "gguf")
    fields = gguf.GGUFReader(tmp_path / "new.gguf").fields
    read = {name: field.contents() for name, field in fields.items()}
    assert read["tokenizer.ggml.tokens"] == list(vocabulary.pieces)
    assert read["tokenizer.ggml.token_type"] == [int(kind) for kind in vocabulary.kinds]
    assert read["tokenizer.ggml.add_bos_token"] is True
    assert read["tokenizer.chat_template"] == "{{ messages }}"
    assert read["llama.attention.head_count_kv"] == 2
    assert read["general.file_type"] == 0


# ---- safetensors ----


def test_safetensors_reads_the_same_numbers(tmp_path: Path, model: Path) -> None:
    numpy_reader = package("safetensors.numpy")
    converted(model, tmp_path / "new", "safetensors")
    read = numpy_reader.load_file(tmp_path / "new/model.safetensors")
    expected = huggingface_state(random_model(SHAPE))
    assert read.keys() == expected.keys()
    for name, values in expected.items():
        np.testing.assert_array_equal(read[name], values)


@pytest.mark.parametrize("kind", ["f16", "bf16"])
def test_safetensors_finds_every_tensor_in_its_place(tmp_path: Path, model: Path, kind: str) -> None:
    safetensors = package("safetensors")
    converted(model, tmp_path / "new", "safetensors", kind)
    data = (tmp_path / "new/model.safetensors").read_bytes()
    entries = dict(safetensors.deserialize(data))
    assert entries["model.layers.0.mlp.up_proj.weight"]["dtype"] == kind.upper()
    assert entries["model.layers.0.mlp.up_proj.weight"]["shape"] == [320, 256]
    assert json.loads((tmp_path / "new/config.json").read_text())["torch_dtype"] in ("float16", "bfloat16")


# ---- ncnn ----

IDS = [1, 40, 299, 7, 7, 260, 3, 301, 42, 11]


def reference(path: Path) -> Floats:
    """The logits of what a file holds, in float64."""
    with open_weights(path) as weights:
        h, values = weights.hyperparameters, values_of(weights)
    names = ("n_vocab", "n_embd", "n_ff", "n_layers", "n_heads", "n_kv_heads", "head_dim", "norm_eps", "rope_base",
             "rope_scale")  # fmt: skip
    numbers = {name: getattr(h, name) for name in names}
    exact = TinyLlama(**numbers, tied=False, rope_freqs="rope_freqs.weight" in values)
    for name, value in values.items():
        words = name.removesuffix(".weight").split(".")
        place = (words[2], int(words[1])) if words[0] == "blk" else (words[0].replace("token_embd", "token_embd"), 0)
        exact.values[place] = value.astype(np.float64)
    return np.asarray(exact.logits(IDS, kv="F64"), np.float32)


def run(folder: Path, **options: Any) -> Floats:
    """A prompt of four, one token, and the others at once."""
    net = StockNcnn(package("ncnn"), folder, **options)
    return np.concatenate([net.eval(IDS[:4]), net.eval(IDS[4:5]), net.eval(IDS[5:])])


@pytest.mark.parametrize("kind", ["f32", "f16"])
@pytest.mark.parametrize(
    "shape",
    [
        SHAPE,
        replace(SHAPE, n_embd=48, n_ff=88, n_heads=4, n_kv_heads=4, tied=True),
        replace(SHAPE, n_embd=60, n_heads=6, head_dim=14, n_kv_heads=3, norm_eps=1e-6, rope_base=5e5, rope_factor=2.0),
        replace(SHAPE, rope_freqs=True),
    ],
    ids=["grouped", "tied", "odd", "factors"],
)
def test_stock_ncnn_computes_the_same_logits(tmp_path: Path, shape: TinyShape, kind: str) -> None:
    model = random_model(shape)
    small = TinyModel(shape, {name: values * np.float32(1 if values.ndim == 1 else 0.7)
                              for name, values in model.weights.items()})  # fmt: skip
    write_gguf(tmp_path / "m.gguf", small)
    converted(tmp_path / "m.gguf", tmp_path / "new.ncnn", "ncnn", kind)
    expected = reference(tmp_path / "new.ncnn")
    for options in ({}, {"use_packing_layout": False}, {"lightmode": False}):
        np.testing.assert_allclose(run(tmp_path / "new.ncnn", **options), expected, atol=1e-3)
    assert np.abs(expected).max() > 1


def test_stock_ncnn_runs_int8(tmp_path: Path, model: Path) -> None:
    """It rounds activations to 8 bits too."""
    converted(model, tmp_path / "new.ncnn", "ncnn", "q8_0")
    expected = reference(tmp_path / "new.ncnn")
    assert np.corrcoef(run(tmp_path / "new.ncnn").ravel(), expected.ravel())[0, 1] > 0.999


def test_stock_ncnn_tells_a_real_story(tmp_path: Path) -> None:
    converted(shared_model("salty260K/hf-f32"), tmp_path / "new.ncnn", "ncnn", "f16")
    golden = json.loads(shared_model("salty260K/hf-f32/golden_greedy60.json").read_text())
    expected = next(value for value in golden.values() if isinstance(value, list) and len(value) > 20)
    net = StockNcnn(package("ncnn"), tmp_path / "new.ncnn")
    told = [1]
    for _ in range(len(expected)):
        told.append(int(np.argmax(net.eval(told[-1:])[-1])))
    assert expected in (told, told[1:], told[:-1])


def test_int8_comes_back_as_it_stands(tmp_path: Path, model: Path) -> None:
    """Blocks of a row that is no multiple of 32, too; needs no ncnn."""
    shape = replace(SHAPE, n_embd=40, n_ff=72, n_heads=4, n_kv_heads=2)
    weights = random_model(shape).weights
    write_gguf(tmp_path / "m.gguf", TinyModel(shape, weights))
    converted(tmp_path / "m.gguf", tmp_path / "new.ncnn", "ncnn", "q8_0")
    held = values_in(tmp_path / "new.ncnn")
    for name, values in weights.items():
        error = np.abs(held[name] - values).max()
        bound = np.abs(values).max() * (2.0**-11 if name == "token_embd.weight" else 0.5 / 127 * 1.001)
        assert error <= (bound if values.ndim == 2 else 0)
