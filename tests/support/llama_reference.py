"""A Llama model in numpy, float64, written down from the papers: what the C core is held to.

Touvron et al., "LLaMA" (2023): pre-normalised transformer with RMSNorm (Zhang and Sennrich, 2019), SwiGLU (Shazeer,
2020), rotary embeddings on adjacent pairs (Su et al., 2021); Ainslie et al., "GQA" (2023) for shared KV heads.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.support.blocks import dequantize, quantize
from tests.support.core import Place
from tests.support.rounding import rounded_like_llama_cpp

Doubles = NDArray[np.float64]


def rounded_to_bytes(x: Doubles) -> Doubles:
    """The last axis in blocks of 32, the last one shorter: bytes times a float16 scale, which makes 127 the largest."""
    out = np.empty_like(x)
    for first in range(0, x.shape[-1], 32):
        block = x[..., first : first + 32]
        scale = (np.abs(block).max(axis=-1, keepdims=True) / 127).astype(np.float16).astype(np.float64)
        with np.errstate(divide="ignore", invalid="ignore"):
            whole = np.where(scale > 0, np.clip(np.rint(block / scale), -127, 127), 0)
        out[..., first : first + 32] = whole * scale
    return out


@dataclass
class TinyLlama:
    """A model of random weights. ``label`` is the type of all matrices; ``labels`` overrides it by slot."""

    n_vocab: int = 67
    n_embd: int = 64
    n_ff: int = 96
    n_layers: int = 2
    n_heads: int = 4
    n_kv_heads: int = 2
    head_dim: int = 16
    norm_eps: float = 1e-5
    rope_base: float = 10000.0
    rope_scale: float = 1.0
    tied: bool = True
    rope_freqs: bool = False
    label: str = "F32"
    labels: dict[str, str] = field(default_factory=dict)
    seed: int = 0

    def __post_init__(self) -> None:
        """Draws the weights, and rounds them to their types."""
        rng, self._rounded = np.random.default_rng(self.seed), False
        self.tensors: dict[Place, tuple[str, bytes, int, int]] = {}
        self.values: dict[Place, Doubles] = {}
        places: list[Place] = [("token_embd", 0), ("output_norm", 0)]
        places += [("output", 0)] * (not self.tied) + [("rope_freqs", 0)] * self.rope_freqs
        slots = ["attn_norm", "attn_q", "attn_k", "attn_v", "attn_output", "ffn_norm", "ffn_gate", "ffn_up", "ffn_down"]
        places += [(slot, layer) for layer in range(self.n_layers) for slot in slots]
        for place in places:
            self._draw(place, rng)

    def _shape(self, slot: str) -> tuple[int, int]:
        q, kv = self.n_heads * self.head_dim, self.n_kv_heads * self.head_dim
        matrices = {
            "token_embd": (self.n_vocab, self.n_embd),
            "output": (self.n_vocab, self.n_embd),
            "attn_q": (q, self.n_embd),
            "attn_k": (kv, self.n_embd),
            "attn_v": (kv, self.n_embd),
            "attn_output": (self.n_embd, q),
            "ffn_gate": (self.n_ff, self.n_embd),
            "ffn_up": (self.n_ff, self.n_embd),
            "ffn_down": (self.n_embd, self.n_ff),
            "rope_freqs": (1, self.head_dim // 2),
        }
        return matrices.get(slot, (1, self.n_embd))

    def _draw(self, place: Place, rng: np.random.Generator) -> None:
        rows, cols = self._shape(place[0])
        if rows == 1:
            label, values = "F32", rng.uniform(0.5, 1.5, (1, cols))
        else:
            label = self.labels.get(place[0], self.label)
            # Queries and keys large enough that attention chooses, and does not only average.
            spread = 2.0 if place[0] in ("attn_q", "attn_k") else 1.0
            values = rng.standard_normal((rows, cols)) * spread / np.sqrt(cols)
        data = quantize(label, values.astype(np.float32))
        self.tensors[place] = (label, data, rows, cols)
        self.values[place] = dequantize(label, data, (rows, cols)).astype(np.float64)

    def hparams(self) -> dict[str, Any]:
        """As ``lc_hparams``."""
        names = [
            "n_vocab",
            "n_embd",
            "n_ff",
            "n_layers",
            "n_heads",
            "n_kv_heads",
            "head_dim",
            "norm_eps",
            "rope_base",
            "rope_scale",
        ]
        return {name: getattr(self, name) for name in names}

    # ---- the forward pass ----

    def logits(self, ids: Sequence[int], kv: str = "F16", *, like_llama_cpp: bool = False) -> Doubles:
        """[len(ids)][n_vocab]. Keys and values are rounded as a cache of the type ``kv`` is; and activations if they
        shall be as llama.cpp's; nothing else is."""
        w, self._rounded = self.values, like_llama_cpp
        x = w["token_embd", 0][list(ids)].astype(np.float64)
        for layer in range(self.n_layers):
            h = self._rmsnorm(x, w["attn_norm", layer])
            x = x + self._times(self._attention(h, layer, kv), "attn_output", layer)
            h = self._rmsnorm(x, w["ffn_norm", layer])
            gate = self._times(h, "ffn_gate", layer)
            gated = gate / (1 + np.exp(-gate)) * self._times(h, "ffn_up", layer)
            x = x + self._times(gated, "ffn_down", layer)
        return self._times(self._rmsnorm(x, w["output_norm", 0]), "token_embd" if self.tied else "output", 0)

    def _times(self, x: Doubles, slot: str, layer: int) -> Doubles:
        """x[n][cols] times the transpose."""
        if self._rounded:
            x = rounded_like_llama_cpp(self.tensors[slot, layer][0], x)
        return np.asarray(x @ self.values[slot, layer].T)

    def _rmsnorm(self, x: Doubles, weight: Doubles) -> Doubles:
        return np.asarray(x / np.sqrt((x * x).mean(axis=-1, keepdims=True) + np.float32(self.norm_eps)) * weight)

    def _heads(self, x: Doubles, n: int) -> Doubles:
        return x.reshape(len(x), n, self.head_dim)

    def _rope(self, x: Doubles) -> Doubles:
        pairs = np.arange(self.head_dim // 2)
        frequency = np.float64(np.float32(self.rope_base)) ** (-2 * pairs / self.head_dim)
        if self.rope_freqs:
            frequency = frequency / self.values["rope_freqs", 0][0]
        angle = np.arange(len(x))[:, None, None] * np.float32(self.rope_scale) * frequency
        turned = (x[..., 0::2] + 1j * x[..., 1::2]) * np.exp(1j * angle)
        return np.stack([turned.real, turned.imag], axis=-1).reshape(x.shape)

    def _attention(self, h: Doubles, layer: int, kv: str) -> Doubles:
        rounded = {"F16": lambda x: x.astype(np.float16), "Q8_0": rounded_to_bytes, "F64": lambda x: x}[kv]
        q = self._rope(self._heads(self._times(h, "attn_q", layer), self.n_heads))
        k = rounded(self._rope(self._heads(self._times(h, "attn_k", layer), self.n_kv_heads)))
        v = rounded(self._heads(self._times(h, "attn_v", layer), self.n_kv_heads))
        out = np.zeros_like(q)
        for head in range(self.n_heads):
            shared = head // (self.n_heads // self.n_kv_heads)
            scores = q[:, head] @ k[:, shared].astype(np.float64).T / np.sqrt(self.head_dim)
            scores[np.triu_indices(len(h), 1)] = -np.inf
            weights = np.exp(scores - scores.max(axis=1, keepdims=True))
            out[:, head] = weights / weights.sum(axis=1, keepdims=True) @ v[:, shared].astype(np.float64)
        return out.reshape(len(h), -1)
