"""What formats without room for a number mean in its place, and whether a model is such."""

from __future__ import annotations

import math

from llamachat.errors import FileError
from llamachat.weights.tensors import Hyperparameters
from llamachat.weights.write.parts import Model

_ROPE_BASE = 10000.0
_NORM_EPS = 1e-5


def unfit(model: Model, reason: str) -> FileError:
    """What to say of a model that a format has no room for."""
    return FileError(model.weights.path, f"{reason}; GGUF can (--to gguf)")


def check_plain(model: Model, label: str) -> None:
    """Refuses a model that would answer otherwise in a format that states neither RoPE's numbers nor a head's size."""
    h = model.hyperparameters
    if h.n_heads * h.head_dim != h.n_embd:
        raise unfit(model, f"{label} cannot hold heads of {h.head_dim}: it means {h.n_embd} / {h.n_heads}")
    if h.rope_base != _ROPE_BASE:
        raise unfit(model, f"{label} cannot hold a RoPE base of {h.rope_base:g}: it means {_ROPE_BASE:g}")
    if h.rope_scale != 1.0 or "rope_freqs.weight" in model.tensors:
        raise unfit(model, f"{label} cannot hold scaled RoPE, which this model has")


def notes_on_eps(h: Hyperparameters, label: str) -> list[str]:
    """What to tell where the norm's epsilon, too small a number to refuse a model for, is lost."""
    if math.isclose(h.norm_eps, _NORM_EPS, rel_tol=1e-6):
        return []
    return [f"{label} does not hold the norm's epsilon, which is {h.norm_eps:g}: readers take {_NORM_EPS:g}"]
