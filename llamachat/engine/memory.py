"""How long a context this machine has room for."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from llamachat.engine.base import KvType

if TYPE_CHECKING:
    from llamachat.weights import Hyperparameters

# A file may claim a context of millions of tokens; few conversations need more than this, and
# whoever does says so with --n-ctx.
_DEFAULT_MOST = 32_768


def available_bytes() -> int:
    """Memory that can be had without swapping: the machine's, or the cgroup's limit where it is less."""
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return min(int(line.split()[1]) * 1024, _cgroup_bytes())
    except (OSError, ValueError, IndexError):
        pass
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2


def _cgroup_bytes() -> int:
    try:
        return int(Path("/sys/fs/cgroup/memory.max").read_text())
    except (OSError, ValueError):  # "max", or no cgroup
        return 2**63 - 1


def cache_bytes_per_token(h: Hyperparameters, kv_type: KvType) -> int:
    """Bytes of KV cache that a token takes in all layers, as the C core lays it out."""
    blocks = -(-h.head_dim // 32)  # of 32 bytes and a float16
    head = {KvType.F16: 2 * h.head_dim, KvType.Q8_0: 34 * blocks}[kv_type]
    return 2 * h.n_layers * h.n_kv_heads * head


def choose_n_ctx(wanted: int | None, trained: int, bytes_per_token: int) -> int:
    """Tokens of context.

    What the person asked for is taken as it is. Otherwise: what the model was trained for, at most
    32,768, and at most half of the memory that is free (``bytes_per_token`` of KV cache each).
    """
    if wanted is not None:
        return wanted
    affordable = available_bytes() // 2 // max(1, bytes_per_token)
    return int(min(trained, _DEFAULT_MOST, affordable))
