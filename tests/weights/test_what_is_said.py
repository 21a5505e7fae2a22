"""What is said of a model beside its numbers: by a GGUF, of who made it; by converting, of what is not as asked."""

from __future__ import annotations

from pathlib import Path

from llamachat.weights import open_weights
from tests.support.containers import scalar
from tests.support.conversions import converted
from tests.support.tiny_models import TinyShape, random_model, write_gguf

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


def test_types_that_rows_do_not_fill_are_told(tmp_path: Path) -> None:
    write_gguf(tmp_path / "a.gguf", random_model(TinyShape(n_embd=256, n_ff=172, n_layers=1)))
    for to in ("gguf", "ggjt"):
        told = converted(tmp_path / "a.gguf", tmp_path / "b", to, "q8_0", force=True)
        assert "1 tensor has rows of 172 weights, not whole Q8_0 blocks of 32: it is F16" in told
        assert not any("rows of 256" in sentence for sentence in told)
    told = converted(tmp_path / "a.gguf", tmp_path / "b", "gguf", "q4_k", force=True)
    assert "1 tensor has rows of 172 weights, not whole Q6_K blocks of 256: it is F16" in told
    write_gguf(tmp_path / "a.gguf", random_model(TinyShape(n_embd=64, n_ff=96, n_layers=1)))
    assert converted(tmp_path / "a.gguf", tmp_path / "b", "gguf", "q4_0", force=True) == (
        "1 tensor has rows of 64 weights, not whole Q6_K blocks of 256: it is Q8_0",
    )
    assert not converted(tmp_path / "a.gguf", tmp_path / "b", "gguf", force=True)


def test_small_groups_are_told(tmp_path: Path) -> None:
    words = "its groups have 4 weights, since rows of 64 and 172 are to be whole groups: 2 bytes a weight"
    write_gguf(tmp_path / "a.gguf", random_model(TinyShape(n_ff=172)))
    assert words in converted(tmp_path / "a.gguf", tmp_path / "b.bin", "llama2c-v2", "q8_0")
    assert words not in converted(tmp_path / "b.bin", tmp_path / "c.bin", "llama2c-v2", "q8_0")  # as they were
