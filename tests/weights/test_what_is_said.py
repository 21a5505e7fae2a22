"""What a GGUF says of its model beside numbers: who made it, of what, and what may be done with it."""

from __future__ import annotations

from pathlib import Path

from llamachat.weights import open_weights
from tests.support.containers import scalar
from tests.support.conversions import converted
from tests.support.tiny_models import random_model, write_gguf

OWN = {f"general.{name}" for name in ("architecture", "name", "alignment", "file_type", "quantization_version")}
SAID = {
    "general.license": "mit",
    "general.author": "Grüße",
    "general.source.url": "x:y",
    "general.tags": ["a", "b"],
    "general.base_model.count": 1,
    "general.sampling.temp": 0.5,
    "general.large": scalar("i64", -5),
    "general.sure": True,
}
OF_THE_TYPE = {"general.quantized_by": "me", "general.uuid": "1234"}


def test_it_goes_along_as_far_as_it_stays_true(tmp_path: Path) -> None:
    told = {**SAID, **OF_THE_TYPE, "general.alignment": 64, "general.quantization_version": 1}
    write_gguf(tmp_path / "a.gguf", random_model(), types="F16", metadata=told)
    for kind, kept in ((None, OF_THE_TYPE), ("q8_0", {})):
        converted(tmp_path / "a.gguf", tmp_path / "b.gguf", "gguf", kind, force=True)
        with open_weights(tmp_path / "b.gguf") as weights:
            found = dict(weights.about)
        expected = {**SAID, **kept, "general.tags": ("a", "b"), "general.large": -5}
        assert {key: found[key] for key in expected} == expected
        assert found["general.alignment"] == 32
        assert found.keys() - expected.keys() == OWN
