"""Llama 3.1's stretched RoPE, as factors by which each frequency is divided (``rope_freqs.weight``)."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass

from llamachat.weights.files import Refusal
from llamachat.weights.rows import ComputedRow
from llamachat.weights.tensors import Hyperparameters, Tensor, TensorType

NAME = "rope_freqs.weight"


@dataclass(frozen=True)
class Llama3Scaling:
    """The numbers of the rule, Llama 3.1's own unless stated."""

    factor: float = 8.0
    low: float = 1.0
    high: float = 4.0
    original_context: float = 8192.0


def rope_freqs(h: Hyperparameters, scaling: Llama3Scaling) -> tuple[Tensor, ComputedRow]:
    """The tensor of factors: 1 for short waves, ``factor`` for long ones, and a passage between.

    Meta's ``apply_scaling`` (llama-models, 2024): waves are short below ``original / high`` tokens, and long above
    ``original / low``.
    """
    s = scaling
    if not (0 < s.factor < 1e6 and 0 < s.low < s.high < 1e6 and 1 <= s.original_context < 1e9):
        raise Refusal("scales RoPE by numbers that make no sense")
    factors = []
    for i in range(h.head_dim // 2):
        wave = 2 * math.pi * h.rope_base ** (2 * i / h.head_dim)
        smooth = (s.original_context / wave - s.low) / (s.high - s.low)
        if wave < s.original_context / s.high:
            factors.append(1.0)
        elif wave > s.original_context / s.low:
            factors.append(s.factor)
        else:
            factors.append(1.0 / ((1.0 - smooth) / s.factor + smooth))
    data = struct.pack(f"<{len(factors)}f", *factors)
    return Tensor(NAME, TensorType.F32, 1, len(factors)), ComputedRow(data)
