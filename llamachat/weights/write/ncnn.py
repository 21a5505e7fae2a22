"""ncnn models of stock layers: X.param, the graph, X.bin, the weights, X.desc, the numbers that the host needs.

X.bin, per layer that loads weights, in the graph's order:
    Embed      u32 flag, values, zeros to a multiple of 4
    RMSNorm    f32 values
    Gemm       the same as Embed; in int8: bytes, zeros to a multiple of 4, f32 inverse scales of blocks of 32
X.desc: context, layers, dimensions, heads; then a line ``name=value`` for what those do not tell
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import PurePath

import numpy as np

from llamachat.weights.base import WeightFile
from llamachat.weights.ncnn import F16_FLAG, INT8_BLOCK
from llamachat.weights.rope_scaling import NAME as ROPE_FREQS
from llamachat.weights.tensors import Tensor, TensorType
from llamachat.weights.write.encodings import Blocks, expanded
from llamachat.weights.write.huggingface_config import shortest
from llamachat.weights.write.ncnn_graph import llama_graph
from llamachat.weights.write.parts import Encoded, Known, Layout, Model, Part, new_file, padding
from llamachat.weights.write.plain_vocabulary import TOKENIZER_BIN, losses, plain_tokens, tokenizer_bin
from llamachat.weights.write.types import types_of

HOLDS = frozenset(TensorType[label] for label in ("F32", "F16"))
_F32_FLAG = 0


@dataclass(frozen=True)
class BlockBytes:
    """int8 rows in blocks of neighbours, the last of a row perhaps shorter; all bytes, then all inverse scales."""

    block: int = INT8_BLOCK
    rows_together: int = 1

    def size(self, tensor: Tensor) -> int:  # noqa: D102  (see Encoding)
        n = tensor.rows * tensor.cols
        return n + -n % 4 + 4 * tensor.rows * -(-tensor.cols // self.block)

    def encode(self, weights: WeightFile, tensor: Tensor, first: int, count: int) -> tuple[bytes, bytes]:  # noqa: D102
        values = expanded(weights, tensor, first, count)
        values = np.pad(values, ((0, 0), (0, -tensor.cols % self.block)))
        blocks = values.reshape(count, -1, self.block)
        largest = np.abs(blocks).max(axis=2)
        inverse = np.float32(127) / np.where(largest > 0, largest, np.float32(127))
        inverse = np.where(np.isfinite(inverse), inverse, np.float32(1))  # of subnormal weights, which become zeros
        q = np.clip(np.rint(blocks * inverse[:, :, None]), -127, 127).astype(np.int8)
        data = q.reshape(count, -1)[:, : tensor.cols].tobytes()
        if first + count == tensor.rows:
            data += bytes(-(tensor.rows * tensor.cols) % 4)
        return data, inverse.astype("<f4").tobytes()


def ncnn_layout(model: Model, wanted: TensorType | None, file_name: str) -> Layout:
    """The three files, and tokenizer.bin for the vocabulary."""
    stem = PurePath(file_name).stem
    int8 = wanted is TensorType.Q8_0
    types = types_of(model, TensorType.F16 if int8 else wanted, HOLDS, mixed=False)
    graph = llama_graph(model.hyperparameters, tied=model.tied, int8=int8)
    parts: list[Part] = []
    for kind, name in graph.weights:
        parts += _weights(kind, model.tensors[name], types[name], int8=int8)
    notes = ["matrices in int8 need ncnn 20261020 or later: before, it knew no blocks of bytes"] if int8 else []
    files = [new_file(f"{stem}.bin", parts), new_file(f"{stem}.desc", [_description(model)])]
    tokens = plain_tokens(model.vocabulary) if model.vocabulary else None
    if model.vocabulary and tokens:
        files.append(new_file(TOKENIZER_BIN, [tokenizer_bin(tokens)]))
        notes += losses(model.vocabulary)
    else:
        kind = "none was found" if model.vocabulary is None else "it is not of the kind that this holds"
        notes.append(f"no {TOKENIZER_BIN} is written for the vocabulary: {kind}")
    return Layout((*files, new_file(file_name, [graph.text().encode()])), tuple(notes))


def _weights(kind: str, tensor: Tensor, stored: TensorType, *, int8: bool) -> list[Part]:
    if kind == "RMSNorm":
        return [Encoded(tensor, Blocks(TensorType.F32))]
    if kind == "Gemm" and int8:
        return [Encoded(tensor, BlockBytes())]
    flag = F16_FLAG if stored is TensorType.F16 else _F32_FLAG
    part = Encoded(tensor, Blocks(stored))
    return [Known(struct.pack("<I", flag)), part, padding(part.n_bytes, 4)]


def _description(model: Model) -> bytes:
    h = model.hyperparameters
    lines = [str(n) for n in (h.n_ctx_train, h.n_layers, h.n_embd, h.n_heads)]
    lines += [f"head_dim={h.head_dim}", f"norm_eps={shortest(h.norm_eps)}", f"rope_base={shortest(h.rope_base)}"]
    if h.rope_scale != 1.0:
        lines.append(f"rope_scale={h.rope_scale!r}")
    if ROPE_FREQS in model.tensors:
        factors = struct.unpack(f"<{h.head_dim // 2}f", model.weights.read(ROPE_FREQS, 0, 1))
        lines.append("rope_freqs=" + ",".join(str(shortest(factor)) for factor in factors))
    return ("\n".join(lines) + "\n").encode()
