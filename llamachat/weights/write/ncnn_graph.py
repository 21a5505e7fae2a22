"""A Llama model as a graph of ncnn's own layers: the text of a .param, and which weights its layers load in what order.

    inputs    ids                n token ids (int32)
              cos, sin           n rows of head_dim / 2: of the angles of each token's position
              mask               n rows of n + past, added to attention's scores: for the n tokens themselves 0 up to
                                 the row's own and -1e9 behind it, then zeros for those before
              past_key_N, past_value_N   per layer what ``key_N`` and ``value_N`` gave before; left out at first
    outputs   logits             n rows of n_vocab
              key_N, value_N     per layer the cache for the next call: these n tokens, then those before

The newest tokens come first in the cache, since ncnn joins nothing to an absent blob, but an absent one to another; to
attention the order is all the same. The layer for attention could keep a cache of its own, but what it puts out is in
an order that differs between releases and is lost when the blob is copied.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from llamachat.weights.tensors import Hyperparameters

MAGIC = "7767517"

#: Gemm's way of storing B: 8 bits, blocks of 32 along a row, each with a scale.
INT8_BLOCKS = 800


@dataclass
class Graph:
    """Layers as they are added, and the tensors they load, by names of GGUF."""

    lines: list[str] = field(default_factory=list)
    weights: list[tuple[str, str]] = field(default_factory=list)  #: (type of layer, tensor)
    _blobs: int = 0

    def add(
        self, kind: str, name: str, inputs: list[str], outputs: list[str], params: str = "", weight: str = ""
    ) -> None:
        """A layer, and the tensor it loads."""
        counts = f"{len(inputs)} {len(outputs)}"
        self.lines.append(" ".join(filter(None, [kind, name, counts, *inputs, *outputs, params])))
        self._blobs += len(outputs)
        if weight:
            self.weights.append((kind, weight))

    def split(self, blob: str, count: int) -> list[str]:
        """As many copies of a blob: each may be used once."""
        copies = [f"{blob}_{i}" for i in range(count)]
        self.add("Split", f"split_{blob}", [blob], copies)
        return copies

    def text(self) -> str:
        """The .param."""
        return "\n".join([MAGIC, f"{len(self.lines)} {self._blobs}", *self.lines]) + "\n"


def llama_graph(h: Hyperparameters, *, tied: bool, int8: bool) -> Graph:
    """The whole model; with ``int8`` the matrices of products are to be loaded as blocks of bytes."""
    g = Graph()
    n = range(h.n_layers)
    for name in ("ids", "cos", "sin", "mask", *(f"past_{part}_{i}" for i in n for part in ("key", "value"))):
        g.add("Input", name, [], [name])
    cos, sin, masks = g.split("cos", 2 * len(n)), g.split("sin", 2 * len(n)), g.split("mask", len(n))
    size = f"0={h.n_embd} 1={h.n_vocab} 2=0 3={h.n_embd * h.n_vocab}"
    g.add("Embed", "embed", ["ids"], ["x0"], size, "token_embd.weight")
    x = "x0"
    for i in n:
        x = _attention(g, h, i, x, [cos[2 * i], sin[2 * i], cos[2 * i + 1], sin[2 * i + 1]], masks[i], int8=int8)
        x = _feed_forward(g, h, i, x, int8=int8)
    _norm(g, h, "final_norm", x, "last", "output_norm.weight")
    output = "token_embd.weight" if tied else "output.weight"
    _linear(g, "unembed", "last", "logits", (h.n_embd, h.n_vocab), output, int8=int8)
    return g


def _attention(g: Graph, h: Hyperparameters, i: int, x: str, turns: list[str], mask: str, *, int8: bool) -> str:
    q_size = h.n_heads * h.head_dim
    kept, x = g.split(x, 2)
    _norm(g, h, f"attn_norm_{i}", x, f"a{i}", f"blk.{i}.attn_norm.weight")
    inputs = g.split(f"a{i}", 3)
    heads = []
    counts = (h.n_heads, h.n_kv_heads, h.n_kv_heads)
    for part, source, count in zip("qkv", inputs, counts, strict=True):
        size = count * h.head_dim
        _linear(g, f"x{part}_linear_{i}", source, f"{part}{i}", (h.n_embd, size), f"blk.{i}.attn_{part}.weight",
                int8=int8)  # fmt: skip
        g.add("Reshape", f"heads_{part}_{i}", [f"{part}{i}"], [f"{part}h{i}"], f"0={h.head_dim} 1={count} 2=-1")
        g.add("Permute", f"turn_{part}_{i}", [f"{part}h{i}"], [f"{part}t{i}"], "0=2")
        heads.append(f"{part}t{i}")
    for j, part in enumerate("qk"):  # interleaved: pairs stand side by side
        g.add("RotaryEmbed", f"rope_{part}_{i}", [heads[j], *turns[2 * j : 2 * j + 2]], [f"{part}r{i}"], "0=1")
    inputs = [f"qr{i}"]
    for name, fresh in (("key", f"kr{i}"), ("value", heads[2])):
        g.add("Concat", f"join_{name}_{i}", [fresh, f"past_{name}_{i}"], [f"{name}s{i}"], "0=1")
        g.add("Split", f"split_{name}_{i}", [f"{name}s{i}"], [f"{name}_{i}", f"{name}u{i}"])
        inputs.append(f"{name}u{i}")
    g.add("SDPA", f"attention_{i}", [*inputs, mask], [f"o{i}"], "5=1")
    g.add("Permute", f"turn_o_{i}", [f"o{i}"], [f"ot{i}"], "0=2")
    g.add("Reshape", f"heads_o_{i}", [f"ot{i}"], [f"oh{i}"], f"0={q_size} 1=-1")
    _linear(g, f"out_linear_{i}", f"oh{i}", f"ao{i}", (q_size, h.n_embd), f"blk.{i}.attn_output.weight", int8=int8)
    g.add("BinaryOp", f"add_attention_{i}", [kept, f"ao{i}"], [f"y{i}"], "0=0")
    return f"y{i}"


def _feed_forward(g: Graph, h: Hyperparameters, i: int, x: str, *, int8: bool) -> str:
    kept, x = g.split(x, 2)
    _norm(g, h, f"ffn_norm_{i}", x, f"f{i}", f"blk.{i}.ffn_norm.weight")
    gate, up = g.split(f"f{i}", 2)
    _linear(g, f"w1_{i}", gate, f"g{i}", (h.n_embd, h.n_ff), f"blk.{i}.ffn_gate.weight", int8=int8)
    _linear(g, f"w3_{i}", up, f"u{i}", (h.n_embd, h.n_ff), f"blk.{i}.ffn_up.weight", int8=int8)
    g.add("Swish", f"silu_{i}", [f"g{i}"], [f"s{i}"])
    g.add("BinaryOp", f"gate_{i}", [f"s{i}", f"u{i}"], [f"gu{i}"], "0=2")
    _linear(g, f"w2_{i}", f"gu{i}", f"d{i}", (h.n_ff, h.n_embd), f"blk.{i}.ffn_down.weight", int8=int8)
    g.add("BinaryOp", f"add_feed_forward_{i}", [kept, f"d{i}"], [f"x{i + 1}"], "0=0")
    return f"x{i + 1}"


def _norm(g: Graph, h: Hyperparameters, name: str, source: str, target: str, weight: str) -> None:
    g.add("RMSNorm", name, [source], [target], f"0={h.n_embd} 1={h.norm_eps:e} 2=1", weight)


def _linear(g: Graph, name: str, source: str, target: str, size: tuple[int, int], weight: str, *, int8: bool) -> None:
    """x times the transpose of B, which is constant; there is no C."""
    cols, rows = size
    params = f"2=0 3=1 4=0 5=1 6=1 7=0 8={rows} 9={cols} 10=-1" + (f" 18={INT8_BLOCKS}" if int8 else "")
    g.add("Gemm", name, [source], [target], params, weight)
