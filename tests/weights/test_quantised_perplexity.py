"""Every quantised file among the real small models foresees the stories as the weights it holds do in float64.

The weights are held by our readers and the core's own expansion, which other tests hold to formats.md; what is shown
here is that computing with them as they stand, rows as blocks and activations as bytes, costs next to nothing.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from llamachat.engine.core import StopFlag
from llamachat.engine.perplexity import Measured, PerplexityEvent, Plan, perplexity, text_ids
from llamachat.engine.source import ModelSource, Rounding
from llamachat.errors import WeightsError
from llamachat.tokenizer import load_tokenizer
from llamachat.weights import open_weights
from llamachat.weights.inspection import inspect_weights
from tests.support.conversions import values_of
from tests.support.greedy import sampled
from tests.support.perplexity_reference import reference_of, scored_rows
from tests.support.shared import MODELS, needs_shared, shared_model

#: By how much, as a share, the perplexities may differ: as models are used, and at full precision.
MOST = {Rounding.FAST: 0.005, Rounding.EXACT: 0.001}

_SALTY = "salty260K/ggml/salty260K-mha"
_FIVE = ("q4_0", "q4_1", "q5_0", "q5_1", "q8_0")
QUANTISED = (
    *(f"{_SALTY}.{kind}.{label}.bin" for kind in ("ggml-unversioned", "ggmf-v1") for label in ("q4_0", "q4_1")),
    *(f"{_SALTY}.{kind}.{label}.bin" for kind in ("ggjt-v1", "ggjt-v2", "ggjt-v3") for label in _FIVE),
    f"{_SALTY}.ggjt-v1.q4_2.bin",
    *(f"stories260K/gguf/stories260Ktok512.{label}.gguf" for label in _FIVE),
    *(f"stories260K/stories260K.v2-{groups}.bin" for groups in ("q80", "gs4")),
    *(f"salty260K/salty260K.v2-{groups}.bin" for groups in ("gs32", "gs4")),
)

#: Who tells the stories: a few hundred tokens more or less are noise, of 8-bit activations too.
TELLERS = ("stories260K/gguf/stories260Ktok512.gguf", "salty260K/hf-f32")
PLAN = Plan(128)


@pytest.fixture(scope="module")
def stories() -> str:
    return "\n".join(sampled(shared_model(teller), 800, seed) for seed, teller in enumerate(TELLERS))


@needs_shared
def test_no_quantised_file_is_left_out() -> None:
    found = set()
    for path in MODELS.rglob("*"):
        try:
            types = {label for label, _, _ in inspect_weights(path).types} if path.is_file() else set()
        except WeightsError:
            continue
        if types - {"F32", "F16", "BF16"}:
            found.add(path.relative_to(MODELS).as_posix())
    assert found == set(QUANTISED)


@pytest.mark.parametrize("name", QUANTISED)
def test_perplexity_on_the_stories(name: str, stories: str) -> None:
    path = shared_model(name)
    tokenizer = shared_model("stories260K/tok512.bin") if ".v2-" in name else None
    expected, n_scored = _of_the_weights(path, tokenizer, stories)
    assert expected < 12  # of 512 tokens: they are stories to it still
    for rounding, most in MOST.items():
        told: list[PerplexityEvent] = []
        perplexity(ModelSource(path, tokenizer, threads=1, rounding=rounding), stories, PLAN, told.append, StopFlag())
        measured = told[-1]
        assert isinstance(measured, Measured)
        assert measured.estimate.n == n_scored > 700
        assert measured.estimate.perplexity == pytest.approx(expected, rel=most)


def _of_the_weights(path: Path, tokenizer: Path | None, text: str) -> tuple[float, int]:
    """The perplexity of the dequantised weights in float64, and how many tokens are scored."""
    with open_weights(path, tokenizer=tokenizer) as weights:
        model, vocabulary = reference_of(values_of(weights), weights.hyperparameters), weights.vocabulary
    assert vocabulary is not None
    ids = text_ids(load_tokenizer(vocabulary), text)
    rows, targets = scored_rows(model, ids, PLAN, vocabulary.bos_id if vocabulary.add_bos else None)
    return float(np.exp(-rows[np.arange(len(targets)), targets].mean())), len(targets)
