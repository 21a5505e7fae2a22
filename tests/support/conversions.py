"""Converting as the command does, and what a weight file holds, number by number."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from llamachat.tokenizer.model_proto import build_model_proto
from llamachat.weights import WeightFile, open_weights
from llamachat.weights.write import CHOICES, FORMATS, Output, convert, model_of
from llamachat.weights.write.parts import Model
from tests.support.blocks import Floats
from tests.support.core import ffi, floats, lib, ok


def converted(
    source: Path, target: Path, to: str, kind: str | None = None, *, tokenizer: Path | None = None, force: bool = False
) -> tuple[str, ...]:
    """Writes ``target`` in a format, and returns what a person is told."""
    with open_weights(source, tokenizer=tokenizer) as weights:
        wanted = CHOICES[kind] if kind else None
        output = Output(target, FORMATS[to], wanted, force)
        return convert(as_model(weights), output, 2, lambda _done, _total: None, lambda: False).notes


def as_model(weights: WeightFile) -> Model:
    """What is written of a file."""
    spm = weights.vocabulary is not None and weights.vocabulary.model == "spm"
    return model_of(weights, build_model_proto(weights.vocabulary) if spm and weights.vocabulary else None)


def values_of(weights: WeightFile) -> dict[str, Floats]:
    """All weights as float32, by canonical names, as the core expands them."""
    values = {}
    for name, tensor in weights.tensors.items():
        out = np.empty((tensor.rows, tensor.cols), np.float32)
        data = weights.read(name, 0, tensor.rows)
        ok(lib.lc_dequantize(tensor.type.id, ffi.from_buffer(data), out.size, floats(out)))
        values[name] = out
    return values


def values_in(path: Path) -> dict[str, Floats]:
    """All weights of a file."""
    with open_weights(path) as weights:
        return values_of(weights)


def assert_same_values(path: Path, expected: dict[str, Floats]) -> None:
    """A file holds these weights to the last bit."""
    got = values_in(path)
    if "output.weight" not in expected and "output.weight" in got:  # a format in which no output is the embedding
        expected = expected | {"output.weight": expected["token_embd.weight"]}
    assert got.keys() == expected.keys()
    for name, values in expected.items():
        np.testing.assert_array_equal(got[name].view(np.uint32), values.view(np.uint32), err_msg=name)
