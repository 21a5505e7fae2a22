"""The default model's log-probabilities against a float64 forward pass on the dequantised weights."""

from __future__ import annotations

import json

import numpy as np
import pytest

from llamachat.weights import open_weights
from tests.support.blocks import dequantize
from tests.support.core import CoreContext, CoreModel, Place, Pool, chosen_isa, supported_isas
from tests.support.default_model import DEFAULT_MODEL, needs_default_model
from tests.support.llama_reference import TinyLlama
from tests.support.shared import shared_model

#: What a log-probability may be off by (natural logarithm), the largest and on average; 0.05 is promised. Seen of the
#: twenty likeliest tokens: 0.011 and 0.0014 in generic C, where the cache's float16 makes all of it; 0.016 and 0.0025
#: with 15-bit activations.
LARGEST, MEAN = 0.03, 0.005


class FileLlama(TinyLlama):
    """The weights of a file instead of random ones."""

    def __post_init__(self) -> None:
        self.tensors, self.values = {}, {}
        with open_weights(DEFAULT_MODEL) as weights:
            for name, tensor in weights.tensors.items():
                place = place_of(name)
                data = bytes(weights.read(name, 0, tensor.rows))
                self.tensors[place] = (tensor.type.label, data, tensor.rows, tensor.cols)
                self.values[place] = dequantize(tensor.type.label, data, (tensor.rows, tensor.cols))  # type: ignore[assignment]


def place_of(name: str) -> Place:
    parts = name.removesuffix(".weight").split(".")
    return (parts[2], int(parts[1])) if parts[0] == "blk" else (parts[0], 0)


@needs_default_model
@pytest.mark.timeout(300)
def test_log_probabilities() -> None:
    """Of every token of a chat's prompt, in one batch for the last one and token by token."""
    ids = json.loads(shared_model("smollm2/smollm2-chat-prompt.ids.txt").read_text())
    with open_weights(DEFAULT_MODEL) as weights:
        h = weights.hyperparameters
    names = ("n_vocab", "n_embd", "n_ff", "n_layers", "n_heads", "n_kv_heads", "head_dim")
    file = FileLlama(
        **{name: getattr(h, name) for name in names},
        norm_eps=h.norm_eps,
        rope_base=h.rope_base,
        rope_scale=h.rope_scale,
    )
    exact = log_softmax(file.logits(ids))
    for isa in supported_isas():
        with chosen_isa(isa), Pool(2) as pool:
            context = CoreContext(CoreModel(file.hparams(), file.tensors), pool, 64)
            got = log_softmax(np.array([context.eval([token]) for token in ids], np.float64))
            likely = np.argsort(-exact, axis=1)[:, :20]
            errors = np.abs(np.take_along_axis(got - exact, likely, axis=1))
            assert errors.max() < LARGEST, isa
            assert errors.mean() < MEAN, isa
            following = np.arange(len(ids) - 1), ids[1:]
            assert np.abs(got - exact)[following].max() < LARGEST, isa
            context.truncate(0)
            prompt = log_softmax(context.eval(ids).astype(np.float64)[None])[0]
            assert np.abs(prompt - exact[-1])[likely[-1]].max() < LARGEST, isa
            context.close()


def log_softmax(x: np.ndarray) -> np.ndarray:
    x = x - x.max(axis=-1, keepdims=True)
    return np.asarray(x - np.log(np.exp(x).sum(axis=-1, keepdims=True)))
