"""How much memory a model takes, worked out from its numbers before anything is loaded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from llamachat.engine.memory import cache_bytes_per_token
from llamachat.engine.source import KvType

if TYPE_CHECKING:
    from llamachat.weights import Hyperparameters

_BATCH_TOKENS = 256  # of a prompt that are evaluated together
_THREAD_BYTES = 1 << 19  # tiles of attention, in round numbers
_CACHE_TILE = 64  # tokens: a cache has room for whole tiles


@dataclass(frozen=True, slots=True)
class Footprint:
    """Bytes of memory for a context of ``n_ctx`` tokens, the scratch memory within a tenth for models of usual size.

    Compared with what the C core counts (``lc_context_bytes``), by which activations have room in every form that some
    weights want, though a model's weights want only some, and only what is used becomes resident.
    """

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
    rounded = -(-n_ctx // _CACHE_TILE) * _CACHE_TILE
    q, kv = h.n_heads * h.head_dim, h.n_kv_heads * h.head_dim
    batch = min(_BATCH_TOKENS, n_ctx)
    vectors = 4 * batch * (h.n_embd + 2 * q + 2 * kv + h.n_ff + 2 * h.head_dim) + 4 * h.n_vocab
    packed = batch * max(h.n_embd, h.n_ff, q) * 41 // 4  # as floats, bf16, and one and two planes of bytes with scales
    return Footprint(
        n_ctx=n_ctx,
        weight_bytes=weight_bytes,
        kv_f16_bytes=rounded * cache_bytes_per_token(h, KvType.F16),
        kv_q8_0_bytes=rounded * cache_bytes_per_token(h, KvType.Q8_0),
        scratch_bytes=vectors + packed + n_threads * _THREAD_BYTES,
    )
