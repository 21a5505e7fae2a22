"""Writes a GGUF file of a real model's shape with random weights: its text is noise, its cost the real model's.

    python benchmarks/synthetic.py tinyllama-1.1b q4_0 FILE.gguf
    python benchmarks/synthetic.py 512,1376,8,8,2,32000,2048 q6_k FILE.gguf
    python benchmarks/synthetic.py tinyllama-1.1b q4_0-v2 FILE.bin

A shape is a name, or n_embd,n_ff,layers,heads,kv_heads,n_vocab,n_ctx. All matrices have the type named, but for those
whose rows it does not fill whole blocks of: they are Q8_0, or F16. Types that end in -v2 are as they were in May 2023,
with float32 scales, in a ggjt file of version 2; every row must fill blocks of 32.
"""

from __future__ import annotations

import argparse
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from llamachat.weights.meta_names import meta_name


class Shape(NamedTuple):
    """What decides a Llama model's cost."""

    n_embd: int
    n_ff: int
    layers: int
    heads: int
    kv_heads: int
    n_vocab: int
    n_ctx: int


SHAPES = {
    "stories15m": Shape(288, 768, 6, 6, 6, 32000, 256),
    "stories110m": Shape(768, 2048, 12, 12, 12, 32000, 1024),
    "smollm2-135m": Shape(576, 1536, 30, 9, 3, 49152, 8192),
    "tinyllama-1.1b": Shape(2048, 5632, 22, 32, 4, 32000, 2048),
    "mha-1.3b": Shape(2048, 5504, 24, 16, 16, 32000, 2048),
    "llama2-7b": Shape(4096, 11008, 32, 32, 32, 32000, 4096),
    "llama2-13b": Shape(5120, 13824, 40, 40, 40, 32000, 4096),
}


class Kind(NamedTuple):
    """A tensor type: ggml's number, the elements and bytes of a block, where in it the scales are, and as what."""

    number: int
    elements: int
    n_bytes: int
    scales: tuple[int, ...] = ()
    scale: str = "<f2"


KINDS = {
    "f32": Kind(0, 1, 4),
    "f16": Kind(1, 1, 2),
    "bf16": Kind(30, 1, 2),
    "q4_0": Kind(2, 32, 18, (0,)),
    "q4_1": Kind(3, 32, 20, (0, 2)),
    "q5_0": Kind(6, 32, 22, (0,)),
    "q5_1": Kind(7, 32, 24, (0, 2)),
    "q8_0": Kind(8, 32, 34, (0,)),
    "q2_k": Kind(10, 256, 84, (80, 82)),
    "q3_k": Kind(11, 256, 110, (108,)),
    "q4_k": Kind(12, 256, 144, (0, 2)),
    "q5_k": Kind(13, 256, 176, (0, 2)),
    "q6_k": Kind(14, 256, 210, (208,)),
    "iq4_nl": Kind(20, 32, 18, (0,)),
    "iq4_xs": Kind(23, 256, 136, (0,)),
    "q4_0-v2": Kind(2, 32, 20, (0,), "<f4"),
    "q4_1-v2": Kind(3, 32, 24, (0, 4), "<f4"),
    "q8_0-v2": Kind(8, 32, 36, (0,), "<f4"),
}
ALIGNMENT = 32
POOL_BYTES = 32 << 20  # random bytes made once and repeated: beyond what caches hold


class Tensor(NamedTuple):
    """A tensor to be written; a vector has one row."""

    name: str
    rows: int
    cols: int
    kind: Kind

    @property
    def n_bytes(self) -> int:
        """In the file, without padding."""
        return self.rows * self.cols // self.kind.elements * self.kind.n_bytes


def matrix(name: str, rows: int, cols: int, label: str) -> Tensor:
    """A matrix of the type, or of the nearest whose blocks fill its rows."""
    fitting = (kind for kind in (label, "q8_0", "f16") if cols % KINDS[kind].elements == 0)
    return Tensor(name, rows, cols, KINDS[next(fitting)])


def tensors(shape: Shape, label: str) -> Iterator[Tensor]:
    """All tensors, in the file's order."""
    n_embd, kv_width = shape.n_embd, shape.n_embd // shape.heads * shape.kv_heads
    yield matrix("token_embd.weight", shape.n_vocab, n_embd, label)
    yield matrix("output.weight", shape.n_vocab, n_embd, label)
    yield Tensor("output_norm.weight", 1, n_embd, KINDS["f32"])
    for i in range(shape.layers):
        for name in ("attn_norm", "ffn_norm"):
            yield Tensor(f"blk.{i}.{name}.weight", 1, n_embd, KINDS["f32"])
        for name, rows, cols in (
            ("attn_q", n_embd, n_embd),
            ("attn_k", kv_width, n_embd),
            ("attn_v", kv_width, n_embd),
            ("attn_output", n_embd, n_embd),
            ("ffn_gate", shape.n_ff, n_embd),
            ("ffn_up", shape.n_ff, n_embd),
            ("ffn_down", n_embd, shape.n_ff),
        ):
            yield matrix(f"blk.{i}.{name}.weight", rows, cols, label)


def random_pool(kind: Kind, scale: float, rng: np.random.Generator) -> bytes:
    """Whole blocks of random weights of about ``scale``."""
    n_blocks = POOL_BYTES // kind.n_bytes
    if kind.elements == 1:
        values = (rng.standard_normal(n_blocks, dtype=np.float32) * scale).astype("<f4")
        if kind.number == KINDS["bf16"].number:
            return (values.view("<u4") >> 16).astype("<u2").tobytes()
        return values.astype("<f4" if kind.n_bytes == 4 else "<f2").tobytes()
    blocks = rng.integers(0, 256, (n_blocks, kind.n_bytes), dtype=np.uint8)
    # Integers reach from 15 (four bits) to some thousands (scales within scales): the smaller the better.
    steps = {32: 8.0, 256: 256.0}[kind.elements] * (16.0 if kind.number == KINDS["q8_0"].number else 1.0)
    for place in kind.scales:
        values = (scale / steps * (0.5 + rng.random(n_blocks))).astype(kind.scale)
        blocks[:, place : place + values.itemsize] = values.view(np.uint8).reshape(n_blocks, -1)
    return blocks.tobytes()


def write_data(out: BinaryIO, tensor: Tensor, pools: dict[tuple[int, int], bytes], rng: np.random.Generator) -> None:
    """A tensor's bytes."""
    if tensor.rows == 1:
        out.write(np.ones(tensor.cols, "<f4").tobytes())
    else:
        key = tensor.kind.number, tensor.cols
        if key not in pools:
            pools[key] = random_pool(tensor.kind, tensor.cols**-0.5, rng)
        for done in range(0, tensor.n_bytes, len(pools[key])):
            out.write(pools[key][: tensor.n_bytes - done])


def text(value: str) -> bytes:
    """A GGUF string."""
    encoded = value.encode()
    return struct.pack("<Q", len(encoded)) + encoded


def metadata(shape: Shape, name: str) -> list[bytes]:
    """Key-value pairs: a vocabulary of single bytes, and of words that are numbers."""
    tokens = ["<unk>", "<s>", "</s>"] + [f"<0x{i:02X}>" for i in range(256)]
    tokens += [f"\u2581{i}" for i in range(shape.n_vocab - len(tokens))]
    kinds = [2, 3, 3] + [6] * 256 + [1] * (len(tokens) - 259)
    numbers = {
        "llama.context_length": shape.n_ctx,
        "llama.embedding_length": shape.n_embd,
        "llama.block_count": shape.layers,
        "llama.feed_forward_length": shape.n_ff,
        "llama.rope.dimension_count": shape.n_embd // shape.heads,
        "llama.attention.head_count": shape.heads,
        "llama.attention.head_count_kv": shape.kv_heads,
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
    }
    pairs = [text("general.architecture") + struct.pack("<I", 8) + text("llama")]
    pairs += [text("general.name") + struct.pack("<I", 8) + text(name)]
    pairs += [text(key) + struct.pack("<II", 4, value) for key, value in numbers.items()]
    pairs += [text("llama.attention.layer_norm_rms_epsilon") + struct.pack("<If", 6, 1e-5)]
    pairs += [text("tokenizer.ggml.model") + struct.pack("<I", 8) + text("llama")]

    def array(key: str, kind: int, items: list[bytes]) -> bytes:
        return text(key) + struct.pack("<IIQ", 9, kind, len(items)) + b"".join(items)

    pairs.append(array("tokenizer.ggml.tokens", 8, [text(token) for token in tokens]))
    pairs.append(array("tokenizer.ggml.scores", 6, [struct.pack("<f", -float(i)) for i in range(len(tokens))]))
    pairs.append(array("tokenizer.ggml.token_type", 5, [struct.pack("<i", kind) for kind in kinds]))
    return pairs


def write_ggjt(path: Path, shape: Shape, label: str) -> None:
    """The whole file, of version 2."""
    rng = np.random.default_rng(0)
    pools: dict[tuple[int, int], bytes] = {}
    tokens = [b" \xe2\x81\x87 ", b"", b"", *(bytes([i]) for i in range(256))]
    tokens += [b" %d" % i for i in range(shape.n_vocab - len(tokens))]
    head = shape.n_embd // shape.heads
    with path.open("wb") as out:
        out.write(b"tjgg" + struct.pack("<8I", 2, shape.n_vocab, shape.n_embd, 256, shape.heads, shape.layers, head, 2))
        out.write(b"".join(struct.pack("<I", len(t)) + t + struct.pack("<f", -i) for i, t in enumerate(tokens)))
        for tensor in tensors(shape, label):
            dims = (tensor.cols,) if tensor.rows == 1 else (tensor.cols, tensor.rows)
            name = meta_name(tensor.name).encode()
            numbers = len(dims), len(name), tensor.kind.number, *dims
            out.write(struct.pack(f"<{len(numbers)}I", *numbers) + name)
            out.write(bytes(-out.tell() % ALIGNMENT))
            write_data(out, tensor, pools, rng)


def write_gguf(path: Path, shape: Shape, label: str) -> None:
    """The whole file."""
    rng = np.random.default_rng(0)
    all_tensors = list(tensors(shape, label))
    pairs = metadata(shape, path.stem)
    infos, offset = [], 0
    for tensor in all_tensors:
        dims = (tensor.cols,) if tensor.rows == 1 else (tensor.cols, tensor.rows)
        infos.append(text(tensor.name) + struct.pack(f"<I{len(dims)}Q", len(dims), *dims))
        infos.append(struct.pack("<IQ", tensor.kind.number, offset))
        offset += tensor.n_bytes + -tensor.n_bytes % ALIGNMENT
    pools: dict[tuple[int, int], bytes] = {}
    with path.open("wb") as out:
        out.write(b"GGUF" + struct.pack("<IQQ", 3, len(all_tensors), len(pairs)) + b"".join(pairs + infos))
        out.write(bytes(-out.tell() % ALIGNMENT))
        for tensor in all_tensors:
            write_data(out, tensor, pools, rng)
            out.write(bytes(-out.tell() % ALIGNMENT))


def main() -> None:
    """Parses the command line and writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shape", help=", ".join(SHAPES) + ", or seven numbers")
    parser.add_argument("type", choices=KINDS)
    parser.add_argument("out", type=Path)
    options = parser.parse_args()
    shape = SHAPES.get(options.shape)
    if not shape:
        try:
            shape = Shape(*map(int, options.shape.split(",")))
        except (ValueError, TypeError):
            parser.error(f"{options.shape}: no such shape")
    (write_ggjt if options.type.endswith("-v2") else write_gguf)(options.out, shape, options.type)
    print(f"{options.out}: {options.out.stat().st_size / 1e6:,.0f} MB", file=sys.stderr)


if __name__ == "__main__":
    main()
