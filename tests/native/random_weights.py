"""Weight bytes that no quantiser would write: every quant, scales of both signs and many sizes."""

from __future__ import annotations

import numpy as np

from tests.support.blocks import block_size, scale_places


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
    for offsets, number in scale_places(label).values():
        for at in offsets:
            # Of float32 also those that float16 cannot hold, not even as the nearest one.
            least, most = (-5, 0) if number == "<f2" else (-12, 2)
            scale = (rng.standard_normal(n) * 10.0 ** rng.integers(least, most, n)).astype(number)
            blocks[:, at : at + scale.itemsize] = scale.view(np.uint8).reshape(n, -1)
    return blocks.tobytes()
