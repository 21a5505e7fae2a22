"""The real small models say what the programs they were made for said, to the letter."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support.blocks import Floats
from tests.support.greedy import greedy, logits_after
from tests.support.shared import shared_model

#: Some words of the stories, to compare logits at.
IDS = [1, 403, 407, 261, 378, 432, 383, 286, 261, 376]

GGML = ("ggml-unversioned", "ggmf-v1", "ggjt-v1", "ggjt-v2", "ggjt-v3")


def golden_of(model: str, golden: str) -> str:
    return (
        shared_model(golden).read_text().strip() if golden else shared_model(f"{model}.golden.txt").read_text().strip()
    )


@pytest.mark.parametrize("family", ["stories260K", "salty260K"])
@pytest.mark.parametrize("kind", GGML)
@pytest.mark.parametrize("label", ["f32", "f16"])
def test_ggml(family: str, kind: str, label: str) -> None:
    """The originals counted the first word of the prompt among the 60. Those without a version left no goldens."""
    name = f"{family}/ggml/{family}-mha.{kind}.{label}.bin"
    golden = f"{family}/ggml/{family}-mha.ggjt-v3.{label}.bin.golden.txt" if kind == GGML[0] else ""
    expected = golden_of(name, golden)
    assert greedy(shared_model(name), "Once upon a time", 70).strip().startswith(expected)
    assert len(expected) > 150


@pytest.mark.parametrize("label", ["q4_0", "q4_1", "q5_0", "q5_1", "q8_0"])
def test_quantised_ggml_is_near_the_model_it_was_made_of(label: str) -> None:
    """Noise, which a wrong layout gives, would be nowhere near; one layout is as near as the other."""
    exact = logits_of("ggjt-v3", "f32")
    kinds = [kind for kind in GGML if (shared_model("salty260K") / f"ggml/salty260K-mha.{kind}.{label}.bin").exists()]
    nearness = [np.corrcoef(logits_of(kind, label).ravel(), exact.ravel())[0, 1] for kind in kinds]
    assert min(nearness) > 0.95
    assert max(nearness) - min(nearness) < 0.01


def test_q4_2() -> None:
    nearness = np.corrcoef(logits_of("ggjt-v1", "q4_2").ravel(), logits_of("ggjt-v3", "f32").ravel())[0, 1]
    assert nearness > 0.96


def logits_of(kind: str, label: str) -> Floats:
    return logits_after(shared_model(f"salty260K/ggml/salty260K-mha.{kind}.{label}.bin"), IDS)
