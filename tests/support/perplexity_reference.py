"""The rules of perplexity once more, over a float64 evaluation of the values that a file holds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from llamachat.engine.perplexity import Plan
from llamachat.weights import Hyperparameters
from tests.support.blocks import Floats
from tests.support.llama_reference import Doubles, TinyLlama
from tests.support.tiny_models import TinyShape


def reference_of(held: dict[str, Floats], sizes: Hyperparameters | TinyShape) -> TinyLlama:
    """The float64 model of a file's values, by canonical names; without ``output.weight`` it is tied."""
    model = TinyLlama(
        n_vocab=sizes.n_vocab,
        n_embd=sizes.n_embd,
        n_ff=sizes.n_ff,
        n_layers=sizes.n_layers,
        n_heads=sizes.n_heads,
        n_kv_heads=sizes.n_kv_heads,
        head_dim=held["blk.0.attn_q.weight"].shape[0] // sizes.n_heads,
        tied="output.weight" not in held,
    )
    for name, values in held.items():
        words = name.removesuffix(".weight").split(".")
        place = (words[-1], int(words[1])) if words[0] == "blk" else (words[0], 0)
        model.values[place] = np.atleast_2d(values).astype(np.float64)
    return model


def log_softmax(logits: Doubles) -> Doubles:
    """Along the last axis."""
    wide = logits - logits.max(axis=-1, keepdims=True)
    return np.asarray(wide - np.log(np.exp(wide).sum(axis=-1, keepdims=True)))


def scored_rows(model: TinyLlama, ids: Sequence[int], plan: Plan, bos: int | None) -> tuple[Doubles, list[int]]:
    """Log-probabilities [position][n_vocab] of all windows, and the tokens that came; the rules, written once more."""
    rows, targets = [], []
    if plan.stride is None:
        starts = range(0, len(ids) - plan.n_ctx + 1, plan.n_ctx)
        n, n_scored = plan.n_ctx, plan.n_ctx - plan.n_ctx // 2 - 1
    else:
        n, n_scored = plan.n_ctx + plan.stride // 2, plan.stride
        starts = range(0, len(ids) - n, plan.stride)
    for start in starts:
        window = list(ids[start : start + n])
        targets += window[-n_scored:]
        if bos is not None:
            window[0] = bos
        rows.append(log_softmax(model.logits(window))[-n_scored - 1 : -1])
    return np.concatenate(rows), targets
