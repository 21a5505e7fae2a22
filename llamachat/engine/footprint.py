"""How much memory a model takes, worked out from its numbers before anything is loaded."""

from __future__ import annotations

from dataclasses import dataclass

from llamachat.weights.base import Hyperparameters

_BATCH_TOKENS = 256  # of a prompt that are evaluated together
_THREAD_BYTES = 1 << 20  # stacks and attention's tiles, in round numbers


@dataclass(frozen=True, slots=True)
class Footprint:
    """Bytes of memory for a context of ``n_ctx`` tokens; the caches exactly, the scratch within a fifth."""

    n_ctx: int
    weight_bytes: int
    kv_f16_bytes: int
    kv_q8_0_bytes: int
    scratch_bytes: int

    @property
    def total_bytes(self) -> int:
        """With the cache that is used unless another is asked for: F16."""
        return self.weight_bytes + self.kv_f16_bytes + self.scratch_bytes


def footprint(h: Hyperparameters, weight_bytes: int, n_ctx: int, n_threads: int) -> Footprint:
    """The memory of a model with these numbers and so many bytes of weights."""
    rounded = -(-n_ctx // 64) * 64  # the cache has room for whole tiles of keys
    heads = 2 * h.n_layers * h.n_kv_heads * rounded  # keys and values
    q, kv = h.n_heads * h.head_dim, h.n_kv_heads * h.head_dim
    batch = min(_BATCH_TOKENS, n_ctx)
    widest = max(h.n_embd, h.n_ff, q)
    vectors = 4 * batch * (h.n_embd + 2 * q + 2 * kv + h.n_ff + 2 * h.head_dim) + 4 * h.n_vocab
    packed = batch * widest * 6  # as floats, and as two planes of bytes
    return Footprint(
        n_ctx=n_ctx,
        weight_bytes=weight_bytes,
        kv_f16_bytes=heads * 2 * (-(-h.head_dim // 16) * 16),
        kv_q8_0_bytes=heads * 34 * -(-h.head_dim // 32),
        scratch_bytes=vectors + packed + n_threads * (_THREAD_BYTES + 10 * widest),
    )
