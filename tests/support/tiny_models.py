"""Tiny Llama models with random weights, written in every container the program opens.

    model = random_model(TinyShape(n_kv_heads=2))
    held = write_gguf(folder / "tiny.gguf", model, types="Q4_0")

``model.weights`` are the float32 weights by canonical name; each writer returns the values that its file really holds,
after quantisation, so that results can be compared number by number.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from llamachat.vocabulary import SPM_SPACE, TokenKind, Vocabulary
from tests.support.blocks import IDS, Floats, block_size, dequantize, quantize
from tests.support.containers import RawTensor, ggml, gguf, tokenizer_bin
from tests.support.old_blocks import OLD_IDS, dequantize_old, quantize_old
from tests.support.tiny_vocabularies import bpe_vocabulary, spm_vocabulary

__all__ = [
    "TinyModel",
    "TinyShape",
    "bpe_vocabulary",
    "ggml_bytes",
    "ggml_files",
    "gguf_bytes",
    "gguf_parts",
    "llama2c_bytes",
    "llama2c_later_bytes",
    "random_model",
    "spm_vocabulary",
    "write_ggml",
    "write_gguf",
    "write_llama2c",
    "write_tokenizer_bin",
]

#: The tensor type of every matrix, of each by name, or a function of the name ("F32" where the name is missing).
Types = str | Mapping[str, str] | Callable[[str], str]


@dataclass(frozen=True)
class TinyShape:
    """What ``Hyperparameters`` says, of a model small enough for a test. ``head_dim`` 0 is n_embd / n_heads."""

    n_vocab: int = 320
    n_embd: int = 64
    n_ff: int = 96
    n_layers: int = 2
    n_heads: int = 4
    n_kv_heads: int = 2
    head_dim: int = 0
    n_ctx: int = 128
    norm_eps: float = 1e-5
    rope_base: float = 10000.0
    rope_factor: float = 1.0  #: positions are divided by it
    tied: bool = True
    rope_freqs: bool = False  #: a tensor of frequency factors

    @property
    def head(self) -> int:
        return self.head_dim or self.n_embd // self.n_heads

    def tensors(self) -> dict[str, tuple[int, ...]]:
        """The shape of every tensor by canonical name: (rows, cols), or (n,) for vectors."""
        q, kv = self.n_heads * self.head, self.n_kv_heads * self.head
        shapes: dict[str, tuple[int, ...]] = {"token_embd.weight": (self.n_vocab, self.n_embd)}
        if self.rope_freqs:
            shapes["rope_freqs.weight"] = (self.head // 2,)
        for i in range(self.n_layers):
            shapes |= {
                f"blk.{i}.attn_norm.weight": (self.n_embd,),
                f"blk.{i}.attn_q.weight": (q, self.n_embd),
                f"blk.{i}.attn_k.weight": (kv, self.n_embd),
                f"blk.{i}.attn_v.weight": (kv, self.n_embd),
                f"blk.{i}.attn_output.weight": (self.n_embd, q),
                f"blk.{i}.ffn_norm.weight": (self.n_embd,),
                f"blk.{i}.ffn_gate.weight": (self.n_ff, self.n_embd),
                f"blk.{i}.ffn_down.weight": (self.n_embd, self.n_ff),
                f"blk.{i}.ffn_up.weight": (self.n_ff, self.n_embd),
            }
        shapes["output_norm.weight"] = (self.n_embd,)
        if not self.tied:
            shapes["output.weight"] = (self.n_vocab, self.n_embd)
        return shapes


@dataclass(frozen=True)
class TinyModel:
    """A shape, and float32 weights for it by canonical name; q and k rows in Meta order."""

    shape: TinyShape
    weights: dict[str, Floats] = field(repr=False)


def random_model(shape: TinyShape | None = None, *, seed: int = 0) -> TinyModel:
    """Weights drawn so that activations stay near 1 and logits differ clearly."""
    shape = shape or TinyShape()
    rng = np.random.default_rng(seed)
    weights = {}
    for name, size in shape.tensors().items():
        noise = rng.standard_normal(size, np.float32)
        if name == "rope_freqs.weight":
            weights[name] = 1 + np.abs(noise)
        elif len(size) == 1:
            weights[name] = 1 + 0.1 * noise
        elif name == "token_embd.weight":
            weights[name] = noise
        else:
            weights[name] = noise * np.float32(size[1] ** -0.5)
    return TinyModel(shape, weights)


def write_gguf(path: Path, model: TinyModel, **how: Any) -> dict[str, Floats]:
    """Writes ``gguf_bytes``; returns the values that the file holds."""
    data, held = gguf_bytes(model, **how)
    path.write_bytes(data)
    return held


def gguf_bytes(
    model: TinyModel,
    *,
    vocabulary: Vocabulary | None = None,
    types: Types = "F32",
    version: int = 3,
    metadata: Mapping[str, Any] | None = None,
    without: frozenset[str] = frozenset(),
) -> tuple[bytes, dict[str, Floats]]:
    """A GGUF file: ``metadata`` is added to (or put over) what a converter writes, ``without`` are keys left out."""
    records = gguf_metadata(model.shape, vocabulary or spm_vocabulary(model.shape.n_vocab)) | dict(metadata or {})
    raw, held = _raw_tensors(model, types, lambda name: name)
    alignment = records.get("general.alignment", 32)
    return gguf({k: v for k, v in records.items() if k not in without}, raw, version=version, alignment=alignment), held


def gguf_metadata(shape: TinyShape, vocabulary: Vocabulary) -> dict[str, Any]:
    """The metadata of a model and its vocabulary, as converters write it."""
    records: dict[str, Any] = {
        "general.architecture": "llama",
        "general.name": "tiny",
        "llama.context_length": shape.n_ctx,
        "llama.embedding_length": shape.n_embd,
        "llama.block_count": shape.n_layers,
        "llama.feed_forward_length": shape.n_ff,
        "llama.attention.head_count": shape.n_heads,
        "llama.attention.head_count_kv": shape.n_kv_heads,
        "llama.attention.layer_norm_rms_epsilon": shape.norm_eps,
        "llama.rope.dimension_count": shape.head,
        "llama.rope.freq_base": shape.rope_base,
    }
    if shape.head_dim:
        records |= {"llama.attention.key_length": shape.head, "llama.attention.value_length": shape.head}
    if shape.rope_factor != 1.0:
        records |= {"llama.rope.scaling.type": "linear", "llama.rope.scaling.factor": shape.rope_factor}
    return records | vocabulary_metadata(vocabulary)


def vocabulary_metadata(vocabulary: Vocabulary) -> dict[str, Any]:
    """The ``tokenizer.*`` metadata of a vocabulary."""
    records: dict[str, Any] = {
        "tokenizer.ggml.model": {"spm": "llama", "bpe": "gpt2"}[vocabulary.model],
        "tokenizer.ggml.tokens": list(vocabulary.pieces),
        "tokenizer.ggml.token_type": [int(kind) for kind in vocabulary.kinds],
        "tokenizer.ggml.add_bos_token": vocabulary.add_bos,
        "tokenizer.ggml.add_eos_token": vocabulary.add_eos,
        "tokenizer.ggml.add_space_prefix": vocabulary.add_space_prefix,
    }
    if vocabulary.model == "bpe":
        records["tokenizer.ggml.pre"] = vocabulary.pre
        records["tokenizer.ggml.merges"] = list(vocabulary.merges)
    else:
        records["tokenizer.ggml.scores"] = list(vocabulary.scores)
    ids = {"bos": vocabulary.bos_id, "eos": vocabulary.eos_id, "unknown": vocabulary.unk_id}
    return records | {f"tokenizer.ggml.{name}_token_id": id_ for name, id_ in ids.items() if id_ is not None}


_META_NAMES = {
    "token_embd.weight": "tok_embeddings.weight",
    "output_norm.weight": "norm.weight",
    "output.weight": "output.weight",
    "attn_norm.weight": "attention_norm.weight",
    "attn_q.weight": "attention.wq.weight",
    "attn_k.weight": "attention.wk.weight",
    "attn_v.weight": "attention.wv.weight",
    "attn_output.weight": "attention.wo.weight",
    "ffn_norm.weight": "ffn_norm.weight",
    "ffn_gate.weight": "feed_forward.w1.weight",
    "ffn_down.weight": "feed_forward.w2.weight",
    "ffn_up.weight": "feed_forward.w3.weight",
}


def meta_name(name: str) -> str:
    """Meta's name of a tensor, which ggml files use."""
    if name.startswith("blk."):
        _, layer, role = name.split(".", 2)
        return f"layers.{layer}.{_META_NAMES[role]}"
    return _META_NAMES[name]


def write_ggml(path: Path, model: TinyModel, **how: Any) -> dict[str, Floats]:
    """Writes ``ggml_files``, the parts beside the first; returns the values that they hold."""
    files, held = ggml_files(model, **how)
    for i, data in enumerate(files):
        path.with_name(path.name + (f".{i}" if i else "")).write_bytes(data)
    return held


def ggml_bytes(model: TinyModel, **how: Any) -> tuple[bytes, dict[str, Floats]]:
    """``ggml_files`` where there is one file."""
    (data,), held = ggml_files(model, **how)
    return data, held


def ggml_files(
    model: TinyModel,
    *,
    kind: str = "ggjt v3",
    vocabulary: Vocabulary | None = None,
    types: Types = "F32",
    ftype: int = 0,
    parts: int = 1,
) -> tuple[list[bytes], dict[str, Floats]]:
    """The files of a ggml model (SentencePiece vocabularies only), whose matrices are cut into ``parts``.

    Such files state no epsilon, RoPE base, scale or context.
    """
    shape = model.shape
    if shape.tied:  # every ggml file has an output matrix of its own
        untied = {**model.weights, "output.weight": model.weights["token_embd.weight"]}
        model = TinyModel(replace(shape, tied=False), untied)
    hparams = (shape.n_vocab, shape.n_embd, 32, shape.n_heads, shape.n_layers, shape.head, ftype)
    tokens = _ggml_tokens(vocabulary or spm_vocabulary(shape.n_vocab))
    held: dict[str, Floats] = {}
    raw: list[list[RawTensor]] = [[] for _ in range(parts)]
    for name, values in model.weights.items():
        axis = int(name.endswith(("token_embd.weight", "attn_output.weight", "ffn_down.weight")))
        pieces = np.split(values, parts, axis) if values.ndim == 2 else [values] * parts
        expanded = []
        for part, piece in zip(raw, pieces, strict=True):
            type_id, data, back = _ggml_blocks(kind, _label(types, name), piece)
            part.append(RawTensor(meta_name(name), tuple(reversed(piece.shape)), type_id, data))
            expanded.append(back)
        held[name] = np.concatenate(expanded, axis) if values.ndim == 2 else expanded[0]
    return [ggml(kind, hparams, tokens, part) for part in raw], held


def _ggml_blocks(kind: str, label: str, values: Floats) -> tuple[int, bytes, Floats]:
    """(type number, bytes, the values they hold) of a tensor in a kind of ggml file."""
    if values.ndim == 1:
        label = "F32"
    version = int(kind[-1]) if kind[-1].isdecimal() and kind != "ggmf v1" else 1
    if version < 3 and label in OLD_IDS and not (version == 2 and label.startswith("Q5")):
        data = quantize_old(label, version, values)
        return OLD_IDS[label], data, dequantize_old(label, version, data, values.shape)
    data = quantize(label, values)
    return IDS[label], data, dequantize(label, data, values.shape)


def write_llama2c(path: Path, model: TinyModel) -> dict[str, Floats]:
    """Writes ``llama2c_bytes``; returns the values that the file holds."""
    path.write_bytes(llama2c_bytes(model))
    return dict(model.weights)


def llama2c_bytes(model: TinyModel) -> bytes:
    """A llama2.c version 0 file: seven i32, then float32 arrays in run.c's order."""
    s, w = model.shape, model.weights
    header = (s.n_embd, s.n_ff, s.n_layers, s.n_heads, s.n_kv_heads, s.n_vocab if s.tied else -s.n_vocab, s.n_ctx)
    arrays = [w["token_embd.weight"]]
    for role in (
        "attn_norm",
        "attn_q",
        "attn_k",
        "attn_v",
        "attn_output",
        "ffn_norm",
        "ffn_gate",
        "ffn_down",
        "ffn_up",
    ):
        arrays += [w[f"blk.{i}.{role}.weight"] for i in range(s.n_layers)]
    arrays += [w["output_norm.weight"], np.zeros((2, s.n_ctx, s.head // 2), np.float32)]
    if not s.tied:
        arrays.append(w["output.weight"])
    return struct.pack("<7i", *header) + b"".join(a.astype("<f4").tobytes() for a in arrays)


def llama2c_later_bytes(model: TinyModel, *, version: int, group: int = 64) -> tuple[bytes, dict[str, Floats]]:
    """A llama2.c file of version 1 (float32) or 2 (int8 in groups), and the values that it holds."""
    s, held = model.shape, dict(model.weights)
    numbers = (s.n_embd, s.n_ff, s.n_layers, s.n_heads, s.n_kv_heads, s.n_vocab, s.n_ctx)
    out = b"24ka" + struct.pack("<i7iB", version, *numbers, s.tied)
    out += struct.pack("<i", group) if version == 2 else b""
    out += bytes(256 - len(out))
    norms = [f"blk.{i}.{role}.weight" for role in ("attn_norm", "ffn_norm") for i in range(s.n_layers)]
    for name in [*norms, "output_norm.weight"]:
        out += held[name].astype("<f4").tobytes()
    roles = ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_down", "ffn_up")
    matrices = ["token_embd.weight", *(f"blk.{i}.{role}.weight" for role in roles for i in range(s.n_layers))]
    for name in matrices if s.tied else [*matrices, "output.weight"]:
        if version == 1:
            out += held[name].astype("<f4").tobytes()
            continue
        groups = held[name].reshape(-1, group)
        scales = (np.abs(groups).max(axis=1, keepdims=True) / 127).astype(np.float32)
        q = np.rint(groups / scales).astype(np.int8)
        out += q.tobytes() + scales.astype("<f4").tobytes()
        held[name] = (q.astype(np.float32) * scales).reshape(held[name].shape)
    return out, held


def gguf_parts(model: TinyModel, count: int, **records: Any) -> list[bytes]:
    """The files of a split GGUF; the first has all metadata, and no tensors if there are fewer than parts."""
    raw, _ = _raw_tensors(model, "F32", lambda name: name)
    files = []
    for i in range(count):
        metadata = {"split.no": i, "split.count": count, "split.tensors.count": len(raw)} | records
        if i == 0:
            metadata = gguf_metadata(model.shape, spm_vocabulary(model.shape.n_vocab)) | metadata
        files.append(gguf(metadata, raw[i::count]))
    return files


def write_tokenizer_bin(path: Path, vocabulary: Vocabulary) -> None:
    """llama2.c's tokenizer.bin of a SentencePiece vocabulary."""
    texts = ["\n<s>\n" if i == 1 else "\n</s>\n" if i == 2 else p for i, p in enumerate(vocabulary.pieces)]
    surfaces = [text.replace(SPM_SPACE, " ").encode() for text in texts]
    path.write_bytes(tokenizer_bin(list(zip(surfaces, vocabulary.scores, strict=True))))


def _ggml_tokens(vocabulary: Vocabulary) -> list[tuple[bytes, float]]:
    """Tokens as ggml files write them: the first three as surfaces, bytes raw, spaces plain."""
    texts = []
    for id_, (piece, kind) in enumerate(zip(vocabulary.pieces, vocabulary.kinds, strict=True)):
        if kind is TokenKind.BYTE:
            texts.append(bytes([int(piece[3:5], 16)]))
        else:
            texts.append({0: " \u2047 ", 1: "", 2: ""}.get(id_, piece.replace(SPM_SPACE, " ")).encode())
    return list(zip(texts, vocabulary.scores, strict=True))


def _raw_tensors(
    model: TinyModel, types: Types, rename: Callable[[str], str]
) -> tuple[list[RawTensor], dict[str, Floats]]:
    raw, held = [], {}
    for name, values in model.weights.items():
        label = _label(types, name) if values.ndim == 2 else "F32"
        if values.shape[-1] % block_size(label)[0]:
            label = "F32"  # rows that do not fill blocks stay as they are, as quantisers do
        data = quantize(label, values)
        raw.append(RawTensor(rename(name), tuple(reversed(values.shape)), IDS[label], data))
        held[name] = dequantize(label, data, values.shape)
    return raw, held


def _label(types: Types, name: str) -> str:
    if isinstance(types, str):
        return types
    return types.get(name, "F32") if isinstance(types, Mapping) else types(name)
