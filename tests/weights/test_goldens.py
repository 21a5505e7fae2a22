"""The real small models say what the programs they were made for said, to the letter."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from tests.support.blocks import Floats
from tests.support.greedy import greedy, logits_after
from tests.support.shared import MODELS, needs_shared, shared_model

#: Some words of the stories, to compare logits at.
IDS = [1, 403, 407, 261, 378, 432, 383, 286, 261, 376]

GGML = ("ggml-unversioned", "ggmf-v1", "ggjt-v1", "ggjt-v2", "ggjt-v3")


def golden_of(model: str, golden: str) -> str:
    return (
        shared_model(golden).read_text().strip() if golden else shared_model(f"{model}.golden.txt").read_text().strip()
    )


@needs_shared
def test_no_golden_of_an_exact_file_is_left_out() -> None:
    """Those of quantised files are what another program's rounding of activations gave: perplexity is compared."""
    families = ("stories260K", "salty260K")
    ours = {f"{f}/ggml/{f}-mha.{k}.{t}.bin.golden.txt" for f in families for k in GGML[1:] for t in ("f32", "f16")}
    ours |= {f"{f}/hf-f32/golden_greedy60.json" for f in families}
    llama2c = ("stories260K/stories260K.bin", "salty260K/model.bin")
    ours |= {f"{name}.golden-t0-{n}.txt" for name in llama2c for n in ("n60", "n200", "n100-Tom")}
    ours |= {f"stories260K/gguf/stories260Ktok512{t}.gguf.golden-p-Once_upon_a_time-n60.txt" for t in ("", ".f16")}
    ours |= {"random/llama-2-tiny-random.gguf.golden-p-Hello-n60.txt"}
    goldens = {path.relative_to(MODELS).as_posix() for path in MODELS.rglob("*golden*")}
    assert {name for name in goldens if not re.search(r"\.q\d_\d\.|\.v2-", name)} == ours


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


@pytest.mark.parametrize(
    ("name", "prompt"),
    [
        ("stories260K/gguf/stories260Ktok512.gguf", "Once upon a time"),
        ("stories260K/gguf/stories260Ktok512.f16.gguf", "Once upon a time"),
        ("random/llama-2-tiny-random.gguf", "Hello"),
    ],
)
def test_gguf(name: str, prompt: str) -> None:
    expected = golden_of(name, f"{name}.golden-p-{prompt.replace(' ', '_')}-n60.txt")
    assert greedy(shared_model(name), prompt, 70).strip().startswith(expected)


WORDS = "stories260K/tok512.bin"


@pytest.mark.parametrize(
    ("name", "golden"),
    [
        ("stories260K/stories260K.bin", "stories260K/stories260K.bin.golden-t0-n{}.txt"),
        ("stories260K/stories260K.v1.bin", "stories260K/stories260K.bin.golden-t0-n{}.txt"),
        ("salty260K/model.bin", "salty260K/model.bin.golden-t0-n{}.txt"),
        ("salty260K/salty260K.v1.bin", "salty260K/model.bin.golden-t0-n{}.txt"),
        ("salty260K/ckpt.pt", "salty260K/model.bin.golden-t0-n{}.txt"),
    ],
)
def test_llama2c(name: str, golden: str) -> None:
    for n, prompt in ((60, ""), (200, ""), ("100-Tom", "Tom had a big dog")):
        expected = shared_model(golden.format(n)).read_text().strip()
        n_tokens = int(str(n).partition("-")[0])
        assert greedy(shared_model(name), prompt, n_tokens, tokenizer=shared_model(WORDS)).strip() == expected


@pytest.mark.parametrize(
    ("name", "exact", "least"),
    [
        ("stories260K/stories260K.v2-gs4.bin", "stories260K/stories260K.bin", 0.9999),
        ("stories260K/stories260K.v2-q80.bin", "stories260K/stories260K.bin", 0.9999),
        ("salty260K/salty260K.v2-gs4.bin", "salty260K/model.bin", 0.9999),
        ("salty260K/salty260K.v2-gs32.bin", "salty260K/model.bin", 0.999),
    ],
)
def test_quantised_llama2c_is_near_the_model_it_was_made_of(name: str, exact: str, least: float) -> None:
    found, expected = (logits_after(shared_model(m), IDS, tokenizer=shared_model(WORDS)) for m in (name, exact))
    assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > least


@pytest.mark.parametrize("family", ["stories260K", "salty260K"])
@pytest.mark.parametrize("heads", ["gqa", "mha"])
def test_meta(family: str, heads: str) -> None:
    """No program left goldens for these files; the same weights left them in llama2.c's."""
    golden = {"stories260K": "stories260K.bin", "salty260K": "model.bin"}[family]
    expected = shared_model(f"{family}/{golden}.golden-t0-n60.txt").read_text().strip()
    assert greedy(shared_model(f"{family}/meta-{heads}"), "", 60).strip() == expected


@pytest.mark.parametrize("family", ["stories260K", "salty260K"])
def test_huggingface(family: str) -> None:
    """The ids are those of the original in PyTorch, and so are the logits after BOS, but for values cached in F16."""
    folder = shared_model(f"{family}/hf-f32")
    expected = json.loads((folder / "golden_greedy60.json").read_text())
    assert greedy(folder, "", len(expected["ids"]) - 1).strip() == expected["text"]
    logits = np.load(folder / "logits_after_bos.npy").ravel()
    np.testing.assert_allclose(logits_after(folder, [1])[0], logits, rtol=0, atol=0.01)


def test_one_model_in_many_files_gives_the_same_logits_to_the_last_bit() -> None:
    """Those with grouped heads, and those with the heads repeated."""
    grouped = ("stories260K.bin", "stories260K.v1.bin", "gguf/stories260Ktok512.gguf", "meta-gqa", "hf-f32")
    repeated = ["meta-mha"] + [f"ggml/stories260K-mha.{kind}.f32.bin" for kind in GGML]
    for names in (grouped, repeated):
        found = [logits_after(shared_model(f"stories260K/{n}"), IDS, tokenizer=shared_model(WORDS)) for n in names]
        for logits in found[1:]:
            np.testing.assert_array_equal(logits, found[0])
