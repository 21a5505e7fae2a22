"""Activations as llama.cpp rounds them before they meet weights: its ``quantize_row_q8_0`` and ``_q8_K``, F16, BF16."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.support.blocks import BLOCK, QUANTIZED, block_size, dequantize, quantize

_F16_MOST = 65504


def rounded_like_llama_cpp(label: str, x: NDArray[Any]) -> NDArray[Any]:
    """The last axis of ``x`` as bytes times a scale, in blocks as long as those of the weights of that type: the scale
    makes 127 of a block's largest magnitude, and is float16 beside blocks of 32. Float types meet their own kind."""
    if label not in QUANTIZED:
        with np.errstate(over="ignore"):
            rounded = dequantize(label, quantize(label, x.astype(np.float32)), x.shape)
        return np.asarray(np.where(np.isfinite(rounded), rounded, x), x.dtype)
    elements = block_size(label)[0]
    blocks = x.astype(np.float32).reshape(*x.shape[:-1], -1, elements)
    most = np.abs(blocks).max(axis=-1, keepdims=True)
    scale = most / np.float32(127)
    if elements == BLOCK:
        with np.errstate(over="ignore"):
            scale = np.where(scale < _F16_MOST, scale.astype(np.float16).astype(np.float32), scale)
    with np.errstate(divide="ignore", invalid="ignore"):
        whole = np.where(most > 0, np.rint(blocks * (np.float32(127) / most)), 0)
    return np.asarray((whole * scale).reshape(x.shape), x.dtype)
