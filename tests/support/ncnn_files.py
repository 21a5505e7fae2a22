"""ncnn models as llama2.c-to-ncnn wrote them: a graph, of which only the layers with weights matter here."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

from tests.support.blocks import Floats
from tests.support.tiny_models import TinyModel

_GROUP = 32


def write_ncnn(folder: Path, model: TinyModel, *, w3_first: bool = False) -> dict[str, Floats]:
    """Writes tiny.param, tiny.bin and tiny.desc; returns the values that they hold.

    ``w3_first``: compilers differed in which of two arguments they evaluated first, and so in the order of layers.
    """
    s, w = model.shape, model.weights
    lines, data, held = ["Input in_op0 0 1 in"], bytearray(), {}

    def layer(kind: str, name: str, params: str) -> None:
        lines.append(f"{kind} {name}_op{len(lines)} 1 1 {len(lines)} {len(lines) + 1} {params}")

    def gain(name: str) -> None:
        layer("MemoryData", "gain", f"0={s.n_embd} 1=1 2=0")
        data.extend(w[name].astype("<f4").tobytes())
        held[name] = w[name]

    def linear(name: str, label: str) -> None:
        values = w[name if name in w else "token_embd.weight"]
        layer("LinearInt8", label, f"0={values.shape[1]} 1={values.shape[0]} 2={_GROUP}")
        groups = values.reshape(-1, _GROUP)
        scales = (np.abs(groups).max(axis=1, keepdims=True) / np.float32(127)).astype(np.float32)
        q = np.trunc(groups / scales).astype(np.int8)
        data.extend(scales.astype("<f4").tobytes() + struct.pack("<I", 0x000D4B38) + q.tobytes())
        held[name] = (q.astype(np.float32) * scales).reshape(values.shape)

    layer("Embed", "embed", f"0={s.n_embd} 1={s.n_vocab} 2=0 3={s.n_embd * s.n_vocab}")
    embedding = w["token_embd.weight"].astype("<f2")
    data += struct.pack("<I", 0x01306B47) + embedding.tobytes()
    data += bytes(-len(data) % 4)
    held["token_embd.weight"] = embedding.astype(np.float32)
    for i in range(s.n_layers):
        lines.append(f"Split _op{len(lines)} 1 2 a b c")
        lines.append(f"Reduction _op{len(lines)} 1 1 b d 0=3 1=0 4=1 5=1 -23303=1,1")
        lines.append(f"BinaryOp _op{len(lines)} 1 1 d e 0=0 1=1 2=0.000010")
        gain(f"blk.{i}.attn_norm.weight")
        for role, label in (("attn_q", "xq"), ("attn_k", "xk"), ("attn_v", "xv"), ("attn_output", "out")):
            linear(f"blk.{i}.{role}.weight", f"{label}_linear_{i}")
        gain(f"blk.{i}.ffn_norm.weight")
        pair = [("ffn_gate", "w1"), ("ffn_up", "w3")]
        for role, label in [*(reversed(pair) if w3_first else pair), ("ffn_down", "w2")]:
            linear(f"blk.{i}.{role}.weight", f"{label}_{i}")
    gain("output_norm.weight")
    linear("output.weight", "unembed")
    (folder / "tiny.param").write_text(f"7767517\n{len(lines)} 99\n" + "\n".join(lines) + "\n")
    (folder / "tiny.bin").write_bytes(data)
    (folder / "tiny.desc").write_text(f"{s.n_ctx}\n{s.n_layers}\n{s.n_embd}\n{s.n_heads}\n")
    return held
