"""The kernels of processors that are not here, in an emulator: products and whole models against the references."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.native.random_weights import random_bytes
from tests.native.test_forward import MIXED_BLOCKS, MODELS, assert_close, ids_of, relative_errors
from tests.native.test_matrix import FAST, activations, error_bound
from tests.support.blocks import IDS, QUANTIZED, Floats, dequantize
from tests.support.emulated_core import EmulatedCore
from tests.support.llama_reference import TinyLlama

ISAS = ("generic", "neon")
TOKENS = (1, 3, 4, 8, 13, 64, 70)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("emulated")


def split(answers: bytes, *shapes: tuple[int, ...]) -> list[Floats]:
    values = np.frombuffer(answers, np.float32)
    assert len(values) == sum(int(np.prod(shape)) for shape in shapes)
    parts = np.split(values, np.cumsum([int(np.prod(shape)) for shape in shapes])[:-1])
    return [part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)]


@pytest.mark.parametrize("isa", ISAS)
def test_products(folder: Path, isa: str) -> None:
    core = EmulatedCore(folder, isa)
    cases, shapes = [], []
    for label in IDS:
        for rows, cols in ((5, 256), (33, 512), *(((7, 75),) if label not in QUANTIZED else ())):
            rng = np.random.default_rng([rows, cols])
            data = random_bytes(rng, label, rows, cols)
            for n in TOKENS:
                x = activations(rng, n, cols)
                core.multiply(label, rows, data, x)
                cases.append((label, data, rows, x))
                shapes += [(n, rows), (rows, cols)]
    results = iter(split(core.answers(), *shapes))
    for label, data, rows, x in cases:
        weights = dequantize(label, data, (rows, x.shape[1]))
        y, read_back = next(results), next(results)
        exact = x.astype(np.float64) @ weights.astype(np.float64).T
        bound = error_bound(label, data, weights, x, fast=len(x) >= FAST)
        assert np.all(np.abs(y - exact) <= bound), (label, rows, x.shape)
        np.testing.assert_array_equal(read_back, weights)


@pytest.mark.parametrize("isa", ISAS)
def test_models(folder: Path, isa: str) -> None:
    """A prompt, a second one, and an answer of three tokens."""
    core = EmulatedCore(folder, isa)
    models = [TinyLlama(**MODELS[name]) for name in ("grouped", "full heads", "long heads", "rope", "F16", "mixed")]
    ids = [ids_of(model, 80) for model in models]
    lengths = (66, 11, 1, 1, 1)
    ends = np.cumsum(lengths)
    for model, tokens in zip(models, ids, strict=True):
        core.evaluate(model, [tokens[end - n : end] for n, end in zip(lengths, ends, strict=True)], rounding="exact")
    results = split(core.answers(), *((len(lengths), model.n_vocab) for model in models))
    for model, tokens, logits in zip(models, ids, results, strict=True):
        assert_close(model, logits, model.logits(tokens)[ends - 1], model)


@pytest.mark.parametrize("isa", ISAS)
def test_rounding_like_llama_cpp(folder: Path, isa: str) -> None:
    """One layer, whose products want their rows rounded in different ways; a prompt, and one token."""
    core = EmulatedCore(folder, isa)
    models = [TinyLlama(**{**how, "n_layers": 1}) for how in (MODELS["Q4_0"], MIXED_BLOCKS)]
    ids = [ids_of(model, 67) for model in models]
    for model, tokens in zip(models, ids, strict=True):
        core.evaluate(model, [tokens[:66], tokens[66:]], rounding="llama.cpp")
    results = split(core.answers(), *((2, model.n_vocab) for model in models))
    for model, tokens, logits in zip(models, ids, results, strict=True):
        errors = relative_errors(logits, model.logits(tokens, like_llama_cpp=True)[65:])
        unlike = relative_errors(logits, model.logits(tokens)[65:])
        assert np.median(errors) <= 0.5 * np.median(unlike)
