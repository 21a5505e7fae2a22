"""Meta's checkpoints and llama2.c's: what is written comes back, whole or in shards."""

from __future__ import annotations

import json
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from llamachat.errors import WeightsError
from llamachat.weights import open_weights
from tests.support.blocks import Floats, dequantize, quantize
from tests.support.tiny_models import TinyModel, TinyShape, meta_name, random_model, write_tokenizer_bin
from tests.support.tiny_vocabularies import spm_vocabulary
from tests.support.torch_files import View, archive, checkpoint, contiguous, pickled

SHAPE = TinyShape(n_vocab=320, n_embd=64, n_ff=96, n_layers=2, n_heads=8, n_kv_heads=4, tied=False)


def params_of(shape: TinyShape, **more: Any) -> str:
    numbers = {"dim": shape.n_embd, "n_layers": shape.n_layers, "n_heads": shape.n_heads, "norm_eps": 1e-5}
    return json.dumps(numbers | {"n_kv_heads": shape.n_kv_heads, "vocab_size": -1, "multiple_of": 32} | more)


def write_meta(
    folder: Path, model: TinyModel, *, label: str = "F32", shards: int = 1, embedding_axis: int = 1, **params: Any
) -> dict[str, Floats]:
    """A folder in Meta's layout, with tables that are to be ignored; returns the values that it holds."""
    folder.mkdir(exist_ok=True)
    (folder / "params.json").write_text(params_of(model.shape, **params))
    pieces: list[dict[str, Floats]] = [{"rope.freqs": np.ones(4, np.float32)} for _ in range(shards)]
    for name, values in model.weights.items():
        axis = int(name.endswith(("attn_output.weight", "ffn_down.weight")))
        axis = embedding_axis if name == "token_embd.weight" else axis
        parts = np.split(values, shards, axis) if values.ndim == 2 else [values] * shards
        for piece, part in zip(pieces, parts, strict=True):
            piece[meta_name(name)] = np.ascontiguousarray(part)
    for i, piece in enumerate(pieces):
        (folder / f"consolidated.{i:02d}.pth").write_bytes(checkpoint(piece, label))
    return {name: dequantize(label, quantize(label, v), v.shape) for name, v in model.weights.items()}


def check(path: Path, held: dict[str, Floats], label: str = "F32") -> None:
    with open_weights(path) as weights:
        assert set(weights.tensors) == set(held)
        for name, expected in held.items():
            tensor = weights.tensors[name]
            assert tensor.type.label == (label if expected.ndim == 2 else "F32")
            got = b"".join(weights.read(name, i, min(5, tensor.rows - i)) for i in range(0, tensor.rows, 5))
            np.testing.assert_array_equal(dequantize(tensor.type.label, got, expected.shape), expected)


@pytest.mark.parametrize("label", ["F32", "F16", "BF16"])
@pytest.mark.parametrize(("shards", "embedding_axis"), [(1, 1), (2, 1), (4, 1), (2, 0)])
def test_it_comes_back_as_it_was_written(tmp_path: Path, label: str, shards: int, embedding_axis: int) -> None:
    held = write_meta(tmp_path / "m", random_model(SHAPE), label=label, shards=shards, embedding_axis=embedding_axis)
    check(tmp_path / "m", held, label)
    check(tmp_path / "m/consolidated.00.pth", held, label)
    with open_weights(tmp_path / "m") as weights:
        h = weights.hyperparameters
        assert (h.n_vocab, h.n_embd, h.n_ff, h.n_layers, h.n_heads, h.n_kv_heads) == (320, 64, 96, 2, 8, 4)
        assert (weights.format, weights.type_name, weights.name) == ("PyTorch checkpoint of Meta", label, "m")
        assert weights.size_bytes == sum(p.stat().st_size for p in (tmp_path / "m").glob("*.pth"))


@pytest.mark.parametrize(
    ("params", "context", "base"),
    [
        ({"norm_eps": 1e-6}, 2048, 1e4),
        ({"norm_eps": 1e-5}, 4096, 1e4),
        ({"rope_theta": 5e5}, 8192, 5e5),
        ({"rope_theta": 5e5, "use_scaled_rope": True}, 131072, 5e5),
        ({"max_seq_len": 77}, 77, 1e4),
    ],
)
def test_what_params_say(tmp_path: Path, params: dict[str, Any], context: int, base: float) -> None:
    write_meta(tmp_path / "m", random_model(SHAPE), **params)
    with open_weights(tmp_path / "m") as weights:
        assert (weights.hyperparameters.n_ctx_train, weights.hyperparameters.rope_base) == (context, base)
        assert ("rope_freqs.weight" in weights.tensors) == ("use_scaled_rope" in params)


def test_llama_3_1_stretches_long_waves(tmp_path: Path) -> None:
    """Of 64 frequencies of Llama 3.1 the first are left alone, the last divided by 8; values of Meta's own function."""
    shape = replace(SHAPE, n_embd=256, n_heads=2, n_kv_heads=1, n_layers=1)
    write_meta(tmp_path / "m", random_model(shape), rope_theta=5e5, use_scaled_rope=True)
    with open_weights(tmp_path / "m") as weights:
        assert weights.hyperparameters.head_dim == 128
        factors = np.frombuffer(weights.read("rope_freqs.weight", 0, 1), "<f4")
    wave = 2 * np.pi * 5e5 ** (2 * np.arange(64) / 128)
    smooth = np.clip((8192 / wave - 1) / 3, 0, 1)
    np.testing.assert_allclose(1 / factors, (1 - smooth) / 8 + smooth, rtol=1e-6)
    assert (factors[0], factors[-1]) == (1.0, 8.0)
    assert 0 < np.count_nonzero((factors > 1) & (factors < 8)) < 12


def test_a_vocabulary_beside(tmp_path: Path) -> None:
    write_meta(tmp_path / "m", random_model(SHAPE))
    write_tokenizer_bin(tmp_path / "m/tokenizer.bin", spm_vocabulary())
    with open_weights(tmp_path / "m") as weights:
        assert weights.vocabulary == spm_vocabulary()


def test_parameters_under_another_name(tmp_path: Path) -> None:
    write_meta(tmp_path / "m", random_model(SHAPE))
    (tmp_path / "m/params.json").rename(tmp_path / "m/other.json")
    (tmp_path / "m/unrelated.json").write_text("{}")
    open_weights(tmp_path / "m").close()


@pytest.mark.parametrize("compiled", ["", "_orig_mod."])
def test_a_training_checkpoint_of_llama2c(tmp_path: Path, compiled: str) -> None:
    shape = replace(SHAPE, tied=True)
    held = random_model(shape).weights
    model: dict[str, Any] = {
        compiled + meta_name(n): contiguous(str(i), "F32", v) for i, (n, v) in enumerate(held.items())
    }
    model[compiled + "output.weight"] = model[compiled + "tok_embeddings.weight"]
    args = json.loads(params_of(shape, vocab_size=320, max_seq_len=256, dropout=0.0))
    root = {"model": model, "optimizer": {"state": {0: {"step": 5}}, "param_groups": [{"lr": 0.1}]}, "model_args": args}
    (tmp_path / "m").write_bytes(
        archive(pickled(root), {str(i): quantize("F32", v) for i, v in enumerate(held.values())})
    )
    check(tmp_path / "m", held)
    with open_weights(tmp_path / "m") as weights:
        assert (weights.format, weights.hyperparameters.n_ctx_train) == ("llama2.c checkpoint", 256)


def test_views_of_one_storage(tmp_path: Path) -> None:
    """Tensors may share a storage, begin within it, and be rows of a wider matrix."""
    held = random_model(SHAPE).weights
    state: dict[str, Any] = {}
    shared, wide, at = [], held["blk.0.attn_q.weight"], 0
    n_shared = sum(v.size for v in held.values()) - wide.size
    for name, values in held.items():
        if name == "blk.0.attn_q.weight":
            continue
        stride = (values.shape[1], 1) if values.ndim == 2 else (1,)
        state[meta_name(name)] = View("all", "F32", n_shared, at, values.shape, stride)
        shared.append(values.ravel())
        at += values.size
    padded = np.concatenate([wide, np.zeros((64, 9), np.float32)], axis=1)
    state[meta_name("blk.0.attn_q.weight")] = View("wide", "F32", padded.size, 0, (64, 64), (73, 1))
    data = archive(pickled(state), {"all": quantize("F32", np.concatenate(shared)), "wide": quantize("F32", padded)})
    (tmp_path / "consolidated.00.pth").write_bytes(data)
    (tmp_path / "params.json").write_text(params_of(SHAPE))
    check(tmp_path, held)


def test_storages_in_the_other_byte_order(tmp_path: Path) -> None:
    held = random_model(SHAPE).weights
    state = {meta_name(n): contiguous(str(i), "F32", v) for i, (n, v) in enumerate(held.items())}
    storages = {str(i): v.astype(">f4").tobytes() for i, v in enumerate(held.values())}
    (tmp_path / "consolidated.00.pth").write_bytes(archive(pickled(state), storages, byteorder=b"big"))
    (tmp_path / "params.json").write_text(params_of(SHAPE))
    check(tmp_path, held)


# ---- refusals ----


def refusal(path: Path) -> str:
    with pytest.raises(WeightsError) as caught:
        open_weights(path)
    assert caught.value.reason.isprintable()
    assert len(caught.value.reason) <= 200
    return str(caught.value)


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ("[]", "params.json: is JSON, but no object"),
        ("{", "params.json: is broken: it is no valid JSON"),
        ('{"dim": 1, "dim": 2}', "params.json: is broken: its JSON has a key twice"),
        ('{"dim": NaN}', "params.json: has 'NaN' where a number must be"),
        ("[" * 100_000, "params.json: is broken: it is no valid JSON"),
        ("[" * 300_000, "params.json: is JSON of some 300000 values"),
        ('{"dim": "64"}', "params.json: has under 'dim' something else than an integer"),
        ("{}", "params.json: does not state 'dim'"),
        (params_of(SHAPE, dim=32), "of 320 x 64 where the model needs 320 x 32"),
        (params_of(SHAPE, n_heads=0), "params.json: has an embedding of 64, which 0 heads do not divide"),
        (params_of(SHAPE, n_heads=4), "'layers.0.attention.wk.weight' of 32 x 64 where the model needs 64 x 64"),
        (params_of(SHAPE, n_layers=3), "no tensor 'layers.2.attention_norm.weight'"),
        (params_of(SHAPE, n_layers=1), "'layers.1.attention_norm.weight', of a layer beyond its 1"),
        (params_of(SHAPE, n_layers=10**30), "params.json: has under 'n_layers' a number of 31 digits"),
        (params_of(SHAPE, vocab_size=77), "a vocabulary of 77 tokens where the embedding has 320"),
        (params_of(SHAPE, norm_eps=1e999), "params.json: has 'Infinity' where a number must be"),
        ('{"dim": 64, "norm_eps": 1e999, "n_heads": 8, "n_layers": 2}', "'norm_eps' something else than a number"),
    ],
)  # fmt: skip
def test_parameters(tmp_path: Path, params: str, words: str) -> None:
    write_meta(tmp_path / "m", random_model(SHAPE))
    (tmp_path / "m/params.json").write_text(params)
    assert words in refusal(tmp_path / "m")


def test_shards(tmp_path: Path) -> None:
    folder = tmp_path / "m"
    write_meta(folder, random_model(SHAPE), shards=2)
    assert "is one shard of a model" in refusal(folder / "consolidated.01.pth")
    second = (folder / "consolidated.01.pth").read_bytes()
    (folder / "consolidated.01.pth").unlink()
    assert "00.pth: is one of 2 shards, and 'consolidated.01.pth' is not beside it" in refusal(folder)
    (folder / "consolidated.01.pth").write_bytes(checkpoint({"norm.weight": np.ones(64, np.float32)}))
    assert "consolidated.01.pth: is no shard of the same model" in refusal(folder)
    (folder / "consolidated.01.pth").write_bytes(second[:-30])
    assert "consolidated.01.pth: is cut short" in refusal(folder)
    (folder / "params.json").unlink()
    (folder / "consolidated.01.pth").unlink()
    assert "no params.json is beside it" in refusal(folder)


@pytest.mark.parametrize(
    ("view", "words"),
    [
        (View("0", "F32", 320 * 64, 0, (64, 320), (1, 64)), "columns apart"),
        (View("0", "F32", 320 * 64, 1, (320, 64), (64, 1)), "passes the end of its storage"),
        (View("0", "F32", 320 * 64, 0, (320, 64), (1 << 40, 1)), "passes the end of its storage"),
        (View("0", "F32", 1 << 40, 0, (320, 64), (64, 1)), "is shorter than stated"),
        (View("0", "F32", 320 * 64, 0, (320, 64, 1), (64, 1, 1)), "of impossible size"),
        (View("0", "F32", 320 * 64, 0, (), ()), "of impossible size"),
        (View("0", "F32", 320 * 64, 0, (0, 64), (64, 1)), "of impossible size"),
        (View("0", "F32", 320 * 64, 0, (1 << 40, 64), (0, 1)), "of impossible size"),
        (View("0", "F32", 320 * 64, -1, (320, 64), (64, 1)), "its pickle makes no sense"),
        (View("0", "F32", 320 * 64, 0, (320, 64), (64,)), "its pickle makes no sense"),
        (View("none", "F32", 320 * 64, 0, (320, 64), (64, 1)), "has no member 'archive/data/none'"),
        (View("../x", "F32", 320 * 64, 0, (320, 64), (64, 1)), "has no member"),
    ],
)  # fmt: skip
def test_views_that_cannot_be(tmp_path: Path, view: View, words: str) -> None:
    held = random_model(SHAPE).weights
    state: dict[str, Any] = {meta_name(n): contiguous(str(i), "F32", v) for i, (n, v) in enumerate(held.items())}
    state["tok_embeddings.weight"] = view
    storages = {str(i): quantize("F32", v) for i, v in enumerate(held.values())}
    (tmp_path / "consolidated.00.pth").write_bytes(archive(pickled(state), storages))
    (tmp_path / "params.json").write_text(params_of(SHAPE))
    assert words in refusal(tmp_path)


def test_a_wrong_checksum_is_found_when_the_data_is_read(tmp_path: Path) -> None:
    write_meta(tmp_path / "m", random_model(SHAPE))
    path = tmp_path / "m/consolidated.00.pth"
    data = bytearray(path.read_bytes())
    needle = random_model(SHAPE).weights["blk.0.attn_q.weight"].tobytes()
    data[data.index(needle) + 100] ^= 1
    path.write_bytes(data)
    with open_weights(tmp_path / "m") as weights:
        weights.read("blk.0.attn_q.weight", 0, 60)
        with pytest.raises(WeightsError, match="is damaged: the checksum of 'archive/data/"):
            weights.read("blk.0.attn_q.weight", 60, 4)


def test_opening_reads_no_weights(tmp_path: Path) -> None:
    """The file could be of any size: here its storages are holes of a gigabyte."""
    big = TinyShape(n_vocab=32000, n_embd=4096, n_ff=11008, n_layers=1, n_heads=32, n_kv_heads=32, tied=False)
    folder = tmp_path / "m"
    folder.mkdir()
    (folder / "params.json").write_text(params_of(big))
    state, directory, at = {}, b"", 0
    path = folder / "consolidated.00.pth"
    with path.open("wb") as file:
        for i, (name, size) in enumerate(big.tensors().items()):
            n = int(np.prod(size))
            stride = (size[1], 1) if len(size) == 2 else (1,)
            state[meta_name(name)] = View(str(i), "BF16", n, 0, size, stride)
            at, directory = _member(file, at, directory, f"a/data/{i}", None, 2 * n)
        at, directory = _member(file, at, directory, "a/data.pkl", pickled(state), 0)
        file.seek(at)
        end = struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, len(state) + 1, len(state) + 1, len(directory), at, 0)
        file.write(directory + end)
    with open_weights(folder) as weights:
        assert weights.size_bytes > 800 << 20
        assert weights.type_name == "BF16"
        assert weights.read("output.weight", 31999, 1) == bytes(8192)


def _member(file: Any, at: int, directory: bytes, name: str, data: bytes | None, size: int) -> tuple[int, bytes]:
    """Writes a member, a hole where there is no data; its checksum is not that of the hole."""
    import zlib

    size = size if data is None else len(data)
    crc = 0 if data is None else zlib.crc32(data)
    file.seek(at)
    file.write(struct.pack("<4s5H3I2H", b"PK\x03\x04", 20, 0, 0, 0, 0, crc, size, size, len(name), 0) + name.encode())
    file.write(data or b"")
    numbers = (20, 20, 0, 0, 0, 0, crc, size, size, len(name), 0, 0, 0, 0, 0, at)
    directory += struct.pack("<4s6H3I5H2I", b"PK\x01\x02", *numbers) + name.encode()
    return at + 30 + len(name) + size, directory
