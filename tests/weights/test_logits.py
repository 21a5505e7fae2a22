"""Every container and type against a float64 evaluation of the values it holds, and against the same in another file.

Shapes are odd where the format allows it: grouped heads, sizes that fill no register, tied and untied outputs.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from llamachat.weights import open_weights
from tests.support.blocks import IDS, Floats, dequantize, quantize
from tests.support.containers import RawTensor, gguf_plain
from tests.support.greedy import logits_after
from tests.support.huggingface_files import write_huggingface
from tests.support.llama_reference import TinyLlama
from tests.support.ncnn_files import write_ncnn
from tests.support.super_blocks import SUPER_BLOCKS
from tests.support.tiny_models import (
    TinyModel,
    TinyShape,
    gguf_metadata,
    gguf_parts,
    llama2c_bytes,
    llama2c_later_bytes,
    meta_name,
    random_model,
    spm_vocabulary,
    write_ggml,
    write_gguf,
    write_tokenizer_bin,
)
from tests.support.torch_files import archive, checkpoint, contiguous, pickled

#: Rows of 32 at least, so that every block type fits; the rest divides nothing evenly.
ODD = TinyShape(n_vocab=331, n_embd=96, n_ff=160, n_layers=3, n_heads=6, n_kv_heads=2, tied=False)
#: Rows that no block fits into, for files that hold plain numbers.
ODDER = replace(ODD, n_embd=72, n_ff=86)
WIDE = replace(ODD, n_vocab=307, n_embd=256, n_ff=512, n_layers=2, n_heads=8, n_kv_heads=2)
#: Whose matrices can be cut in two.
EVEN = replace(ODD, n_vocab=332, n_embd=128, n_ff=192, n_layers=2, n_heads=8)
TEXT = [1, 300, 7, 306, 260, 33, 3, 3, 290]

Made = tuple[Path, dict[str, Floats]]


@dataclass(frozen=True)
class Row:
    """A kind of file: how it is written, and as which type the same weights are in a GGUF file."""

    write: Callable[[Path, TinyModel], Made]
    twin: str = "F32"
    shape: TinyShape = ODD
    from_held: bool = True  #: whether the twin is made of the values that the file holds, and not of the model's


def gguf(label: str) -> Row:
    def write(folder: Path, model: TinyModel) -> Made:
        return folder / "m.gguf", write_gguf(folder / "m.gguf", model, types=label)

    return Row(write, label, WIDE if label in SUPER_BLOCKS else ODD, from_held=False)


def plain_gguf(version: int, order: str, label: str = "F32") -> Row:
    def write(folder: Path, model: TinyModel) -> Made:
        raw, held = [], {}
        for name, values in model.weights.items():
            kind = label if values.ndim == 2 else "F32"
            data = quantize(kind, values)
            held[name] = dequantize(kind, data, values.shape)
            data = (
                np.frombuffer(data, f"<u{4 if kind == 'F32' else 2}")
                .astype(f"{order}u{4 if kind == 'F32' else 2}")
                .tobytes()
            )
            raw.append(RawTensor(name, tuple(reversed(values.shape)), IDS[kind], data))
        records = gguf_metadata(model.shape, spm_vocabulary(model.shape.n_vocab))
        (folder / "m").write_bytes(gguf_plain(records, raw, version=version, order=order))
        return folder / "m", held

    return Row(write, label, ODDER)


def split(folder: Path, model: TinyModel) -> Made:
    for i, data in enumerate(gguf_parts(model, 4)):
        (folder / f"m-{i + 1:05d}-of-00004.gguf").write_bytes(data)
    return folder / "m-00001-of-00004.gguf", model.weights


def ggml(kind: str, label: str, parts: int = 1) -> Row:
    def write(folder: Path, model: TinyModel) -> Made:
        return folder / "m.bin", write_ggml(folder / "m.bin", model, kind=kind, types=label, parts=parts)

    current = kind == "ggjt v3" or label in ("F32", "F16") or label.startswith("Q5")
    shape = WIDE if label in SUPER_BLOCKS else EVEN if parts > 1 else ODD
    return Row(write, label if current else "F32", shape, from_held=kind != "ggjt v3")


def llama2c(version: int, group: int = 0) -> Row:
    def write(folder: Path, model: TinyModel) -> Made:
        data, held = llama2c_bytes(model), dict(model.weights)
        if version:
            data, held = llama2c_later_bytes(model, version=version, group=group or 64)
        (folder / "m.bin").write_bytes(data)
        write_tokenizer_bin(folder / "tokenizer.bin", spm_vocabulary(model.shape.n_vocab))
        return folder / "m.bin", held

    return Row(write, shape=ODD if group > 8 else ODDER)


def training(folder: Path, model: TinyModel) -> Made:
    s = model.shape
    state = {
        f"_orig_mod.{meta_name(n)}": contiguous(str(i), "F32", v) for i, (n, v) in enumerate(model.weights.items())
    }
    args = {"dim": s.n_embd, "n_layers": s.n_layers, "n_heads": s.n_heads, "n_kv_heads": s.n_kv_heads}
    whole = {"model": state, "model_args": args | {"vocab_size": s.n_vocab, "max_seq_len": s.n_ctx}, "iter_num": 9}
    storages = {str(i): quantize("F32", values) for i, values in enumerate(model.weights.values())}
    (folder / "ckpt.pt").write_bytes(archive(pickled(whole), storages))
    write_tokenizer_bin(folder / "tokenizer.bin", spm_vocabulary(s.n_vocab))
    return folder / "ckpt.pt", model.weights


def meta(label: str, shards: int) -> Row:
    def write(folder: Path, model: TinyModel) -> Made:
        s, by_columns = model.shape, ("token_embd.weight", "attn_output.weight", "ffn_down.weight")
        cut: list[dict[str, Floats]] = [{} for _ in range(shards)]
        held = {}
        for name, values in model.weights.items():
            held[name] = dequantize(label, quantize(label, values), values.shape)
            whole = values.ndim == 1
            pieces = [values] * shards if whole else np.split(values, shards, int(name.endswith(by_columns)))
            for shard, piece in zip(cut, pieces, strict=True):
                shard[meta_name(name)] = np.ascontiguousarray(piece)
        for i, shard in enumerate(cut):
            (folder / f"consolidated.{i:02d}.pth").write_bytes(checkpoint(shard, label))
        params = {"dim": s.n_embd, "n_layers": s.n_layers, "n_heads": s.n_heads, "n_kv_heads": s.n_kv_heads}
        (folder / "params.json").write_text(json.dumps({**params, "norm_eps": s.norm_eps}))
        write_tokenizer_bin(folder / "tokenizer.bin", spm_vocabulary(s.n_vocab))
        return folder, held

    return Row(write, label, EVEN)


def huggingface(**how: Any) -> Row:
    def write(folder: Path, model: TinyModel) -> Made:
        held = write_huggingface(folder / "m", model, **how)
        write_tokenizer_bin(folder / "m" / "tokenizer.bin", spm_vocabulary(model.shape.n_vocab))
        return folder / "m", held

    return Row(write, how.get("label", "F32"), ODDER)


def ncnn(folder: Path, model: TinyModel) -> Made:
    held = write_ncnn(folder, model)
    write_tokenizer_bin(folder / "tokenizer.bin", spm_vocabulary(model.shape.n_vocab))
    return folder / "tiny.param", held


_NEW = ("Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K")
ROWS: dict[str, Row] = {f"gguf {label}": gguf(label) for label in IDS}
ROWS |= {
    "gguf v1": plain_gguf(1, "<"),
    "gguf v2 big-endian": plain_gguf(2, ">"),
    "gguf v3 big-endian F16": plain_gguf(3, ">", "F16"),
    "gguf split": Row(split, shape=ODDER),
    **{f"ggml {label}": ggml("ggml", label) for label in ("F32", "F16", "Q4_0", "Q4_1")},
    **{f"ggmf {label} in 2 parts": ggml("ggmf v1", label, 2) for label in ("F16", "Q4_0", "Q4_1")},
    **{
        f"ggjt v1 {label}": ggml("ggjt v1", label) for label in ("Q4_0", "Q4_1", "Q4_2", "Q4_3", "Q5_0", "Q5_1", "Q8_0")
    },
    **{f"ggjt v2 {label}": ggml("ggjt v2", label) for label in ("Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0")},
    **{f"ggjt v3 {label}": ggml("ggjt v3", label) for label in _NEW},
    "llama2.c v0": llama2c(0),
    "llama2.c v1": llama2c(1),
    "llama2.c v2, groups of 32": llama2c(2, 32),
    "llama2.c v2, groups that straddle rows": llama2c(2, 8),
    "llama2.c ckpt.pt": Row(training, shape=ODDER),
    "meta F16": meta("F16", 1),
    "meta BF16 in 2 shards": meta("BF16", 2),
    "safetensors": huggingface(),
    "safetensors BF16 in shards": huggingface(label="BF16", shards=3),
    "pytorch_model.bin F16": huggingface(label="F16", torch=True),
    "pytorch_model.bin in shards": huggingface(torch=True, shards=2),
    "ncnn": Row(ncnn, shape=ODD),
}


def float64_logits(held: dict[str, Floats], shape: TinyShape) -> Any:
    """Of the values, by the papers' formulas."""
    names = ("n_vocab", "n_embd", "n_ff", "n_layers", "n_heads", "n_kv_heads")
    tied = "output.weight" not in held
    reference = TinyLlama(**{name: getattr(shape, name) for name in names}, head_dim=shape.head, tied=tied)
    for name, values in held.items():
        words = name.removesuffix(".weight").split(".")
        place = (words[-1], int(words[1])) if words[0] == "blk" else (words[0], 0)
        reference.values[place] = np.atleast_2d(values).astype(np.float64)
    return reference.logits(TEXT)


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("name", ROWS)
def test_logits(name: str, tied: bool, tmp_path: Path) -> None:
    row = ROWS[name]
    shape = replace(row.shape, tied=tied)
    model = random_model(shape, seed=len(name))
    (tmp_path / "a").mkdir()
    path, held = row.write(tmp_path / "a", model)
    found = logits_after(path, TEXT)
    expected = float64_logits(held, shape)
    assert np.abs(found - expected).max() < 2e-3 * expected.std()
    with open_weights(path) as weights:
        assert weights.tensors["blk.0.ffn_gate.weight"].type.label == row.twin
    if name == "ggjt v1 Q5_0":  # whose scales the quantiser of the tests does not find again in its values
        return
    twin = TinyModel(replace(shape, tied="output.weight" not in held), dict(held) if row.from_held else model.weights)
    write_gguf(tmp_path / "twin.gguf", twin, types=row.twin)
    np.testing.assert_array_equal(found, logits_after(tmp_path / "twin.gguf", TEXT))
