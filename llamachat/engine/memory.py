"""How long a context this machine has room for."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from llamachat.engine.cgroups import OWN, ROOT, groups
from llamachat.engine.source import KvType

if TYPE_CHECKING:
    from llamachat.weights import Hyperparameters

# A file may claim a context of millions of tokens; few conversations need more than this, and
# whoever does says so with --n-ctx.
_DEFAULT_MOST = 32_768

#: A cgroup's limit, what it has used, and the entries of memory.stat for files' pages (of the groups below it as well,
#: as the usage is), in version 2 and in version 1.
_FILES = (
    ("memory.max", "memory.current", ("inactive_file", "active_file")),
    ("memory.limit_in_bytes", "memory.usage_in_bytes", ("total_inactive_file", "total_active_file")),
)


def available_bytes(meminfo: Path = Path("/proc/meminfo"), root: Path = ROOT, own: Path = OWN) -> int:
    """Memory that can be had without swapping: the machine's, or what a cgroup has left where that is less."""
    rooms = [room for group in groups("memory", root, own) for room in _room(group)]
    return min([_machine_bytes(meminfo), *rooms])


def _machine_bytes(meminfo: Path) -> int:
    try:
        for line in meminfo.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2


def _room(group: Path) -> list[int]:
    """Bytes that a cgroup may still take, by the files of version 2 or 1; empty for no limit.

    (Version 1 says "none" with almost 2^63, of which more is left than any machine has.)

    Pages of files count as used, but are given back when memory is asked for, those that were read twice
    (active) too: with them a model file that was just read would make the limit look exhausted.
    """
    for limit_name, usage_name, file_names in _FILES:
        limit = _count(group / limit_name)
        if limit is not None:
            used = (_count(group / usage_name) or 0) - _file_bytes(group, file_names)
            return [max(0, limit - max(0, used))]
    return []


def _count(path: Path) -> int | None:
    """The number of bytes that a file tells; None for "max", for one that is broken and for none."""
    try:
        number = int(path.read_text())
    except (OSError, ValueError):
        return None
    return number if number >= 0 else None


def _file_bytes(group: Path, names: tuple[str, ...]) -> int:
    """The entries of memory.stat with these names, together; nothing where one cannot be read."""
    try:
        lines = [line.partition(" ") for line in (group / "memory.stat").read_text().splitlines()]
        return sum(max(0, int(value)) for key, _, value in lines if key in names)
    except (OSError, ValueError):
        return 0


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
