"""Hugging Face's layout: what is written comes back in Meta's order, out of any number of files."""

from __future__ import annotations

import json
import os
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from llamachat.engine.model import Model
from llamachat.engine.source import ModelSource
from llamachat.errors import WeightsError
from llamachat.weights import open_weights
from tests.support.blocks import Floats, dequantize
from tests.support.greedy import logits_after
from tests.support.huggingface_files import config_of, huggingface_state, safetensors, write_huggingface
from tests.support.tiny_models import TinyShape, random_model, spm_vocabulary, write_gguf, write_tokenizer_bin
from tests.support.torch_files import checkpoint

SHAPE = TinyShape(n_vocab=320, n_embd=64, n_ff=96, n_layers=2, n_heads=8, n_kv_heads=4, tied=False)
ODD = TinyShape(n_vocab=301, n_embd=48, n_ff=55, n_layers=3, n_heads=6, n_kv_heads=2, head_dim=10, tied=True)


def check(path: Path, held: dict[str, Floats], label: str = "F32", step: int = 5) -> None:
    with open_weights(path) as weights:
        assert (weights.format, weights.type_name) == ("Hugging Face", label)
        assert set(weights.tensors) == set(held)
        for name, expected in held.items():
            tensor = weights.tensors[name]
            got = b"".join(weights.read(name, i, min(step, tensor.rows - i)) for i in range(0, tensor.rows, step))
            np.testing.assert_array_equal(dequantize(tensor.type.label, got, expected.shape), expected)


@pytest.mark.parametrize("label", ["F32", "F16", "BF16"])
@pytest.mark.parametrize("torch", [False, True])
@pytest.mark.parametrize("shards", [0, 1, 3])
@pytest.mark.parametrize("shape", [SHAPE, ODD])
def test_it_comes_back_as_it_was_written(
    tmp_path: Path, label: str, torch: bool, shards: int, shape: TinyShape
) -> None:
    held = write_huggingface(tmp_path / "m", random_model(shape), label=label, torch=torch, shards=shards)
    for step in (1, 7, 1000):
        check(tmp_path / "m", held, label, step)
    with open_weights(tmp_path / "m") as weights:
        h = weights.hyperparameters
        assert (h.n_vocab, h.n_embd, h.n_ff, h.n_layers) == (shape.n_vocab, shape.n_embd, shape.n_ff, shape.n_layers)
        assert (h.n_heads, h.n_kv_heads, h.head_dim) == (shape.n_heads, shape.n_kv_heads, shape.head)


@pytest.mark.parametrize(
    ("name", "torch", "shards"),
    [("model.safetensors", False, 0), ("pytorch_model.bin", True, 0), ("model.safetensors.index.json", False, 2)],
)
def test_a_file_may_be_named_itself(tmp_path: Path, name: str, torch: bool, shards: int) -> None:
    held = write_huggingface(tmp_path / "m", random_model(SHAPE), torch=torch, shards=shards)
    check(tmp_path / "m" / name, held)


@pytest.mark.parametrize("label", ["F32", "F16"])
def test_the_same_weights_give_the_same_logits_to_the_last_bit(tmp_path: Path, label: str) -> None:
    shape = replace(SHAPE, rope_factor=2.0)
    model = random_model(shape)
    words = tmp_path / "words"
    write_tokenizer_bin(words, spm_vocabulary())
    write_huggingface(tmp_path / "m", model, label=label, rope_scaling={"rope_type": "linear", "factor": 2.0})
    write_gguf(tmp_path / "g", model, types=label)
    ids = [1, 300, 7, 319, 260, 33]
    found = logits_after(tmp_path / "m", ids, tokenizer=words)
    if label == "F32":  # norms are F32 in the GGUF, and rounded to F16 in the other
        np.testing.assert_array_equal(found, logits_after(tmp_path / "g", ids, tokenizer=words))
    else:
        np.testing.assert_allclose(found, logits_after(tmp_path / "g", ids, tokenizer=words), atol=0.02)


def test_a_folder_gives_the_model_its_name(tmp_path: Path) -> None:
    write_huggingface(tmp_path / "Tiny-1.5", random_model(SHAPE))
    write_tokenizer_bin(tmp_path / "words", spm_vocabulary())
    model = Model.load(ModelSource(tmp_path / "Tiny-1.5", tmp_path / "words", n_ctx=16, threads=1))
    model.close()
    assert (model.info.name, model.info.path) == ("Tiny-1.5", tmp_path / "Tiny-1.5")


@pytest.mark.parametrize(
    ("config", "scale", "base"),
    [
        ({}, 1.0, 1e4),
        ({"rope_scaling": None, "rope_theta": 5e5}, 1.0, 5e5),
        ({"rope_scaling": {"type": "linear", "factor": 4}}, 0.25, 1e4),
        ({"rope_theta": None, "rope_parameters": {"rope_type": "default", "rope_theta": 1e6}}, 1.0, 1e6),
        ({"rope_theta": None, "rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 1e6}}, 0.5, 1e6),
        ({"model_type": "mistral", "sliding_window": None}, 1.0, 1e4),
        ({"model_type": "mistral", "sliding_window": 4096}, 1.0, 1e4),
    ],
)
def test_rope(tmp_path: Path, config: dict[str, Any], scale: float, base: float) -> None:
    write_huggingface(tmp_path / "m", random_model(SHAPE), **config)
    with open_weights(tmp_path / "m") as weights:
        assert (weights.hyperparameters.rope_scale, weights.hyperparameters.rope_base) == (scale, base)
        assert "rope_freqs.weight" not in weights.tensors


def test_llama3_scaling(tmp_path: Path) -> None:
    """Llama 3.2's numbers. The factors are those of the rule, in float32."""
    scaling = {"rope_type": "llama3", "factor": 32.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
    shape = replace(SHAPE, n_heads=1, n_kv_heads=1)
    write_huggingface(
        tmp_path / "m",
        random_model(shape),
        rope_theta=5e5,
        rope_scaling=scaling | {"original_max_position_embeddings": 8192},
    )
    with open_weights(tmp_path / "m") as weights:
        factors = np.frombuffer(weights.read("rope_freqs.weight", 0, 1), "<f4")
    wave = 2 * np.pi * 5e5 ** (2 * np.arange(32) / 64)
    smooth = np.clip((8192 / wave - 1) / 3, 0, 1)
    np.testing.assert_allclose(1 / factors, (1 - smooth) / 32 + smooth, rtol=1e-6)
    assert (factors[0], factors[-1]) == (1.0, 32.0)


@pytest.mark.parametrize("has_output", [True, False])
@pytest.mark.parametrize("tied", [True, None])
def test_tied_and_untied(tmp_path: Path, tied: bool | None, has_output: bool) -> None:
    """A tied model has no output of its own even where its files have one."""
    write_huggingface(tmp_path / "m", random_model(replace(SHAPE, tied=not has_output)), tie_word_embeddings=tied)
    with open_weights(tmp_path / "m") as weights:
        assert ("output.weight" in weights.tensors) == (has_output and not tied)


def test_names_without_their_prefix_and_tables(tmp_path: Path) -> None:
    state = {name.removeprefix("model."): v for name, v in huggingface_state(random_model(SHAPE)).items()}
    state["model.layers.0.self_attn.rotary_emb.inv_freq"] = np.ones(4, np.float32)
    (tmp_path / "config.json").write_text(json.dumps(config_of(SHAPE)))
    (tmp_path / "model.safetensors").write_bytes(safetensors(state))
    open_weights(tmp_path).close()


# ---- refusals ----


def refusal(path: Path) -> str:
    with pytest.raises(WeightsError) as caught:
        open_weights(path)
    assert caught.value.reason.isprintable()
    assert len(caught.value.reason) <= 200
    return str(caught.value)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"hidden_size": 128}, "the embedding has 320 x 64 weights, where that states 320 x 128"),
        ({"hidden_size": None}, "config.json: does not state 'hidden_size'"),
        ({"hidden_size": 64.5}, "config.json: has under 'hidden_size' something else than an integer"),
        ({"hidden_size": 10**40}, "config.json: has under 'hidden_size' a number of 41 digits"),
        ({"vocab_size": 77}, "contradicts its config.json"),
        ({"num_hidden_layers": 3}, "has no tensor 'model.layers.2.input_layernorm.weight'"),
        ({"num_hidden_layers": 1}, "of a layer beyond its 1"),
        ({"num_attention_heads": 0}, "which 0 heads do not divide"),
        ({"num_key_value_heads": 3}, "which 3 key-value heads do not divide"),
        ({"intermediate_size": 97}, "'model.layers.0.mlp.gate_proj.weight' of 96 x 64 where the model needs 97 x 64"),
        ({"model_type": "gpt2"}, "a model of the type 'gpt2'; supported are llama, mistral"),
        ({"hidden_act": "gelu"}, "the activation 'gelu'"),
        ({"attention_bias": True}, "a model with biases"),
        ({"attention_bias": "no"}, "something else than true or false"),
        ({"quantization_config": {"quant_method": "gptq"}}, "weights quantised by 'gptq'"),
        ({"model_type": "mistral", "sliding_window": 64}, "attention through a window of 64 tokens"),
        ({"rope_scaling": {"type": "yarn", "factor": 2.0}}, "scales RoPE by 'yarn'"),
        ({"rope_scaling": {"type": "linear"}}, "config.json: does not state 'factor'"),
        ({"rope_scaling": {"type": "linear", "factor": 0}}, "scales RoPE by the factor 0; it must be above 0"),
        ({"rope_scaling": {"type": "llama3", "low_freq_factor": 4.0}}, "numbers that make no sense"),
        ({"rope_scaling": "linear"}, "something else than an object"),
        ({"rms_norm_eps": "1e-5"}, "something else than a number"),
        ({"rope_theta": 1e300}, "states rope_base"),
    ],
)  # fmt: skip
def test_configurations(tmp_path: Path, config: dict[str, Any], words: str) -> None:
    write_huggingface(tmp_path / "m", random_model(SHAPE), **config)
    assert words in refusal(tmp_path / "m")


def test_without_a_configuration(tmp_path: Path) -> None:
    write_huggingface(tmp_path / "m", random_model(SHAPE))
    (tmp_path / "m/config.json").unlink()
    assert "model.safetensors: holds weights, but no config.json is beside it" in refusal(tmp_path / "m")


def test_an_output_that_is_missing(tmp_path: Path) -> None:
    write_huggingface(tmp_path / "m", random_model(replace(SHAPE, tied=True)), tie_word_embeddings=False)
    assert "has no tensor 'lm_head.weight'" in refusal(tmp_path / "m")


def test_indices(tmp_path: Path) -> None:
    folder = tmp_path / "m"
    write_huggingface(folder, random_model(SHAPE), shards=3)
    index = folder / "model.safetensors.index.json"
    good = json.loads(index.read_text())["weight_map"]
    first = "model-00001-of-00003.safetensors"
    assert "is one shard of a model; name its folder" in refusal(folder / first)
    index.rename(tmp_path / "elsewhere")
    assert "m: holds 3 shards of a model, and no index of them" in refusal(folder)
    (tmp_path / "elsewhere").rename(index)
    for outside in ("../secret", "/etc/passwd", "a/b", "..", ".", "", "x\0y"):
        index.write_text(json.dumps({"weight_map": good | {"lm_head.weight": outside}}))
        assert "as one of its files, which is no plain file name" in refusal(folder)
    for weight_map, words in (
        ({}, "is JSON text, no model"),
        ([], "is JSON text, no model"),
        ({"lm_head.weight": 5}, "something else than a file's name"),
        ({f"t{i}": f"f{i}" for i in range(600)}, "names 600 files"),
        (good | {"lm_head.weight": "gone"}, "gone: no such file"),
        (good | {"lm_head.weight": good["model.norm.weight"]}, "has no tensor 'lm_head.weight', which"),
    ):
        index.write_text(json.dumps({"weight_map": weight_map}))
        assert words in refusal(folder)
    index.write_text("{" * 100_000)
    assert "is JSON of some" in refusal(folder) or "no valid JSON" in refusal(folder)
    os.truncate(index, 1 << 33)
    assert "is JSON text, no model" in refusal(folder)


def test_no_link_leads_out_of_the_folder(tmp_path: Path) -> None:
    write_huggingface(tmp_path / "m", random_model(SHAPE))
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json", "tokenizer.model"):
        kept = (tmp_path / "m/config.json").read_bytes()
        (tmp_path / "outside").write_bytes(kept)
        (tmp_path / "m" / name).unlink(missing_ok=True)
        (tmp_path / "m" / name).symlink_to("../outside")
        assert f"{name}: is a link that leads out of the model's folder" in refusal(tmp_path / "m")
        (tmp_path / "m" / name).unlink()
        (tmp_path / "m/config.json").write_bytes(kept)
    open_weights(tmp_path / "m").close()


def test_the_cache_of_the_hub(tmp_path: Path) -> None:
    """There every file is a link into a folder of its model."""
    model = tmp_path / "models--someone--tiny"
    (model / "blobs").mkdir(parents=True)
    (model / "snapshots").mkdir()
    snapshot = model / "snapshots/0123"
    held = write_huggingface(snapshot, random_model(SHAPE), shards=2)
    for i, path in enumerate(sorted(snapshot.iterdir())):
        path.rename(model / "blobs" / str(i))
        path.symlink_to(f"../../blobs/{i}")
    check(snapshot, held)


GOOD = huggingface_state(random_model(SHAPE))
NAME = "model.norm.weight"


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        (None, "has no description"),
        ({}, "of type 'None'"),
        ({"dtype": "F8_E4M3", "shape": [256], "data_offsets": [0, 256]}, "does not begin where the one before it ends"),
        ({"dtype": "U4", "shape": [64], "data_offsets": [0, 32]}, "of type 'U4': not supported"),
        ({"dtype": "F32", "shape": [65], "data_offsets": [0, 256]}, "a shape that is not as long as its data"),
        ({"dtype": "F32", "shape": [1 << 62, 1 << 62], "data_offsets": [0, 256]}, "a shape that is not as long"),
        ({"dtype": "F32", "shape": [-64], "data_offsets": [0, 256]}, "no shape or no place"),
        ({"dtype": "F32", "shape": "64", "data_offsets": [0, 256]}, "no shape or no place"),
        ({"dtype": "F32", "shape": [64], "data_offsets": [256, 0]}, "no shape or no place"),
        ({"dtype": "F32", "shape": [64], "data_offsets": [0]}, "no shape or no place"),
        ({"dtype": "F32", "shape": [64], "data_offsets": [True, 256]}, "no shape or no place"),
        ({"dtype": "F32", "shape": [64], "data_offsets": [1 << 40, (1 << 40) + 256]}, "does not begin where"),
    ],
)  # fmt: skip
def test_safetensors_that_lie(tmp_path: Path, entry: Any, words: str) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config_of(SHAPE)))
    (tmp_path / "model.safetensors").write_bytes(safetensors(GOOD, header={NAME: entry}))
    assert words in refusal(tmp_path)


def test_safetensors_cut_short_or_too_long(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config_of(SHAPE)))
    path = tmp_path / "model.safetensors"
    good = safetensors(GOOD)
    for end in (*range(0, 300, 3), *range(300, len(good), len(good) // 100)):
        path.write_bytes(good[:end])
        refusal(tmp_path)
    path.write_bytes(good + b"\0")
    assert "is broken: its tensors end at byte" in refusal(tmp_path)
    path.write_bytes(struct.pack("<Q", 50_000_000) + b"{")
    os.truncate(path, 1 << 30)
    assert "has a header of 50000000 bytes; at most 4194304" in refusal(tmp_path)
    for bomb, words in (
        (b"[" * 4_000_000, "no safetensors"),
        (b'{"a":' * 200_000 + b"1" + b"}" * 200_000, "is JSON of some 200000 keys"),
        (b'{"a":' * 50_000 + b"1" + b"}" * 50_000, "no valid JSON"),
        (b'{"a":[' + b"[]," * 1_000_000 + b"1]}", "is JSON of some"),
        (b'{"x":1,"x":2}', "has a key twice"),
        (b'{"x":NaN}', "'NaN'"),
        (b'{"x":' + b"9" * 100_000 + b"}", "no valid JSON"),
    ):
        path.write_bytes(struct.pack("<Q", len(bomb)) + bomb)
        reason = refusal(tmp_path)
        assert words in reason or "no weight file that llamachat knows" in reason


def test_a_checkpoint_of_no_model(tmp_path: Path) -> None:
    (tmp_path / "pytorch_model.bin").write_bytes(checkpoint({"bert.pooler.dense.weight": np.ones((4, 4), np.float32)}))
    assert "is a PyTorch checkpoint, but of no Llama model" in refusal(tmp_path)
