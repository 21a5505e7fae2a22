"""Greedy continuations, and logits, of a weight file, whatever its format."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from llamachat.engine.context import Context
from llamachat.engine.core import StopFlag, ffi
from llamachat.engine.model import Model
from llamachat.engine.source import ModelSource
from tests.support.blocks import Floats

THREADS = 1  # so that sums are added in one order


def greedy(path: Path, prompt: str, n_tokens: int, *, tokenizer: Path | None = None) -> str:
    """The prompt and what follows, ``n_tokens`` in all but BOS. As the first programs did, BOS is always put first."""
    model = Model.load(ModelSource(path, tokenizer, n_ctx=256, threads=THREADS))
    try:
        words, bos = model.tokenizer, model.vocabulary.bos_id
        assert bos is not None
        ids = [bos, *words.encode(prompt)]
        context = Context(model)
        context.append(ids, StopFlag())
        while len(ids) <= n_tokens:
            best = int(np.argmax(_logits(context)))
            if best in model.vocabulary.stop_ids:
                break
            ids.append(best)
            context.append(ids[-1:], StopFlag())
        context.close()
        return words.decode(ids[1:])
    finally:
        model.close()


def sampled(path: Path, n_tokens: int, seed: int) -> str:
    """Texts that a model tells one after the other, drawn by its own probabilities, ``n_tokens`` in all."""
    model = Model.load(ModelSource(path, n_ctx=256, threads=THREADS))
    try:
        words, bos = model.tokenizer, model.vocabulary.bos_id
        assert bos is not None
        context, ids, rng = Context(model), [bos], np.random.default_rng(seed)
        context.append(ids, StopFlag())
        while len(ids) < n_tokens:
            ids.append(int(np.argmax(_logits(context) + rng.gumbel(size=model.info.n_vocab))))
            if ids[-1] in model.vocabulary.stop_ids or len(context.ids) == context.n_ctx:
                ids[-1] = bos
                context.truncate(0)
            context.append(ids[-1:], StopFlag())
        context.close()
        return "\n".join(words.decode([i for i in story if i != bos]) for story in _split(ids, bos))
    finally:
        model.close()


def _split(ids: list[int], at: int) -> Iterator[list[int]]:
    starts = [i for i, token in enumerate(ids) if token == at]
    for start, end in zip(starts, [*starts[1:], len(ids)], strict=True):
        yield ids[start:end]


def logits_after(path: Path, ids: list[int], *, tokenizer: Path | None = None) -> Floats:
    """The logits after each of ``ids``, evaluated one by one."""
    model = Model.load(ModelSource(path, tokenizer, n_ctx=64, threads=THREADS))
    try:
        context = Context(model)
        rows = []
        for token in ids:
            context.append([token], StopFlag())
            rows.append(_logits(context))
        context.close()
        return np.stack(rows)
    finally:
        model.close()


def _logits(context: Context) -> Floats:
    n = context.model.info.n_vocab
    return np.frombuffer(bytes(ffi.buffer(context.logits, n * 4)), np.float32)
