"""Weight bytes that no quantiser would write: every quant, scales of both signs and many sizes."""

from __future__ import annotations

import numpy as np

from tests.support.blocks import block_size
from tests.support.super_blocks import SUPER_BLOCKS


def random_bytes(rng: np.random.Generator, label: str, rows: int, cols: int) -> bytes:
    """``rows`` of ``cols`` finite weights in a type."""
    elements, size = block_size(label)
    n = rows * cols // elements
    if elements == 1:
        values = (rng.standard_normal(n) * 10.0 ** rng.integers(-6, 3, n)).astype(np.float32)
        values[rng.random(n) < 0.05] = 0.0
        if label == "BF16":
            return (values.view(np.uint32) >> 16).astype("<u2").tobytes()
        return values.astype({"F32": "<f4", "F16": "<f2"}[label]).tobytes()
    blocks = rng.integers(0, 256, (n, size), dtype=np.uint8)
    for at in scale_offsets(label):
        scale = (rng.standard_normal(n) * 10.0 ** rng.integers(-5, 0, n)).astype("<f2")
        blocks[:, at : at + 2] = scale.view(np.uint8).reshape(n, 2)
    return blocks.tobytes()


def scale_offsets(label: str) -> tuple[int, ...]:
    """Where a block of a type has float16 scales: of its weights, and of its minima if it has them."""
    if label in SUPER_BLOCKS:
        return SUPER_BLOCKS[label][1]
    return (0, 2) if label.endswith("_1") else (0,)
