"""What an engine is asked to load, and how."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path


class KvType(StrEnum):
    """How the KV cache stores keys and values."""

    F16 = "f16"
    Q8_0 = "q8_0"  #: blocks of 32 along a head: bytes and a float16 scale, half as much memory


class Rounding(StrEnum):
    """How activations are rounded before they meet quantised weights."""

    FAST = "fast"  #: 8 bits in blocks of 32 for prompts of 64 tokens and more, else 15; small models always 15
    EXACT = "exact"  #: 15 bits
    LLAMA_CPP = "llama.cpp"  #: 8 bits in blocks as llama.cpp has them, so that figures of both compare


@dataclass(frozen=True, slots=True)
class ModelSource:
    """A model to load, and how: None leaves the choice to the engine."""

    path: Path
    tokenizer: Path | None = None  #: for weight files without a vocabulary
    n_ctx: int | None = None  #: tokens of context
    threads: int | None = None
    kv_type: KvType = KvType.F16
    rounding: Rounding = Rounding.FAST
