"""The real small models: all that should open does, and what is not supported is refused by its name."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from llamachat.errors import WeightsError
from llamachat.weights import open_weights, read_vocabulary
from tests.support.default_model import DEFAULT_MODEL, needs_default_model
from tests.support.shared import MODELS, needs_shared, shared_model

STORIES = (512, 64, 172, 5, 8)
SALTY = (512, 64, 192, 5, 8)
FAMILIES = (("stories260K", STORIES), ("salty260K", SALTY))
GGML = ("ggml-unversioned", "ggmf-v1", "ggjt-v1", "ggjt-v2", "ggjt-v3")
QUANTIZED = ("q4_0", "q4_1", "q5_0", "q5_1", "q8_0")


@pytest.mark.parametrize(
    ("name", "shape", "kv_heads", "type_name"),
    [
        ("stories260K/stories260K.bin", STORIES, 4, "F32"),
        ("stories260K/gguf/stories260Ktok512.gguf", STORIES, 4, "F32"),
        ("stories260K/gguf/stories260Ktok512.f16.gguf", STORIES, 4, "F16"),
        *((f"stories260K/gguf/stories260Ktok512.{t}.gguf", STORIES, 4, t.upper()) for t in QUANTIZED),
        *(
            (f"stories260K/ggml/stories260K-mha.{c}.{t}.bin", STORIES, 8, t.upper())
            for c in GGML
            for t in ("f32", "f16")
        ),
        *((f"salty260K/ggml/salty260K-mha.{c}.{t}.bin", SALTY, 8, t.upper()) for c in GGML for t in ("f32", "f16")),
        *(
            (f"salty260K/ggml/salty260K-mha.{c}.{t}.bin", SALTY, 8, f"{t.upper()} (f32 scales)")
            for c in GGML[:4]
            for t in ("q4_0", "q4_1")
        ),
        *(
            (f"salty260K/ggml/salty260K-mha.{c}.q8_0.bin", SALTY, 8, "Q8_0 (f32 scales)")
            for c in ("ggjt-v1", "ggjt-v2")
        ),
        ("salty260K/ggml/salty260K-mha.ggjt-v1.q4_2.bin", SALTY, 8, "Q4_2"),
        *((f"salty260K/ggml/salty260K-mha.{c}.q5_0.bin", SALTY, 8, "Q5_0") for c in ("ggjt-v1", "ggjt-v2")),
        *((f"salty260K/ggml/salty260K-mha.{c}.q5_1.bin", SALTY, 8, "Q5_1") for c in ("ggjt-v1", "ggjt-v2")),
        ("salty260K/model.bin", SALTY, 4, "F32"),
        *((f"stories260K/stories260K.{v}.bin", STORIES, 4, "F32") for v in ("v1", "v2-q80", "v2-gs4")),
        *((f"salty260K/salty260K.{v}.bin", SALTY, 4, "F32") for v in ("v1", "v2-gs4")),
        ("salty260K/salty260K.v2-gs32.bin", SALTY, 4, "Q8_0 (f32 scales)"),
        *((f"salty260K/ggml/salty260K-mha.ggjt-v3.{t}.bin", SALTY, 8, t.upper()) for t in QUANTIZED),
        ("salty260K/ckpt.pt", SALTY, 4, "F32"),
        *((f"{m}/meta-{k}", s, n, "F32") for m, s in FAMILIES for k, n in (("gqa", 4), ("mha", 8))),
        *((f"{m}/hf-f32", s, 4, "F32") for m, s in FAMILIES),
        ("random/demo_rand_params.pth", STORIES, 8, "F32"),
        ("random/llama-2-tiny-random.gguf", (32000, 8, 32, 1, 2), 2, "F16"),
    ],
)
def test_what_opens(name: str, shape: tuple[int, ...], kv_heads: int, type_name: str) -> None:
    with open_weights(shared_model(name)) as weights:
        h = weights.hyperparameters
        assert (h.n_vocab, h.n_embd, h.n_ff, h.n_layers, h.n_heads) == shape
        assert (h.n_kv_heads, h.head_dim, weights.type_name) == (kv_heads, h.n_embd // h.n_heads, type_name)
        for tensor in weights.tensors.values():
            assert len(weights.read(tensor.name, 0, tensor.rows)) == tensor.n_bytes
        if not weights.format.startswith("llama2.c") and "demo" not in name:
            assert weights.vocabulary is not None
            assert len(weights.vocabulary) == h.n_vocab


REFUSED = (
    ("vocab-only/ggml-vocab-falcon.gguf-v2.gguf", "the architecture 'falcon'; supported is 'llama'"),
    ("vocab-only/ggml-vocab-llama.2023-08-18.gguf-v1-early.gguf", "holds a vocabulary and no weights"),
    ("vocab-only/ggml-vocab-llama.2023-08-21.gguf-v1.gguf", "holds a vocabulary and no weights"),
    ("vocab-only/ggml-vocab.2023-03-30.ggjt-v1.bin", "holds a vocabulary and no weights"),
    ("vocab-only/ggml-vocab.2023-03-21.ggmf-v1.bin", "holds a vocabulary and no weights"),
    ("vocab-only/test_writer.gguf", "a value of unknown type 13 under 'dict1'"),
    ("tokenizers/llama2/ggml-vocab-llama-spm.gguf", "holds a vocabulary and no weights"),
    ("tokenizers/llama2/tokenizer.model", "is a tokenizer, no model"),
    ("tokenizers/llama2/tokenizer.old-304713-noscores.bin", "is a tokenizer, no model"),
    ("refuse/example.2023-08.FUGG-v1-tensors.gguf", "from before the format's release"),
    ("refuse/ggml-vocab-llama.2023-08-17.FUGG-prerelease.gguf", "from before the format's release"),
    ("refuse/ggml-vocab.2023-03-21.headerless.bin", "is a list of tokens without a header"),
    ("refuse/hf-config-mismatch", "contradicts its config.json: the embedding has 100 x 64 weights, where that"),
    ("refuse/ollama-test.gguf", "is cut short"),
    ("refuse/stories260K.v1-badmagic.bin", "in the wrong byte order"),
    ("refuse/tok512.old-v0.bin", "is a tokenizer, no model"),
)


@needs_shared
def test_all_that_must_be_refused_is_known() -> None:
    folders = [MODELS / "refuse", MODELS / "vocab-only"]
    found = {path.relative_to(MODELS).as_posix() for folder in folders for path in folder.iterdir()}
    assert found <= {name for name, _ in REFUSED}


@pytest.mark.parametrize(("name", "words"), REFUSED)
def test_what_is_refused(name: str, words: str) -> None:
    with pytest.raises(WeightsError) as caught:
        open_weights(shared_model(name))
    assert words in caught.value.reason


@needs_shared
def test_every_other_file_is_refused_cleanly() -> None:
    for path in MODELS.rglob("*"):
        try:
            open_weights(path).close()
        except WeightsError as error:
            assert error.path.is_relative_to(path)  # noqa: PT017


#: Written at different times, in different formats.
LLAMA_2 = (
    "tokenizers/llama2/tokenizer.model",
    "tokenizers/llama2/tokenizer.bin",
    "tokenizers/llama2/tokenizer.old-432717.bin",
    "tokenizers/llama2/tokenizer.old-304713-noscores.bin",
    "tokenizers/llama2/ggml-vocab-llama-spm.gguf",
    "vocab-only/ggml-vocab.2023-03-21.ggmf-v1.bin",
    "vocab-only/ggml-vocab.2023-03-30.ggjt-v1.bin",
    "vocab-only/ggml-vocab-llama.2023-08-18.gguf-v1-early.gguf",
    "vocab-only/ggml-vocab-llama.2023-08-21.gguf-v1.gguf",
)


def test_one_vocabulary_in_nine_files() -> None:
    found = [read_vocabulary(shared_model(name), 32000) for name in LLAMA_2]
    assert len({(v.pieces, v.scores, v.kinds, v.stop_ids, v.bos_id) for v in found}) == 1


@needs_default_model
def test_the_default_model() -> None:
    with open_weights(DEFAULT_MODEL) as weights:
        h = weights.hyperparameters
        assert (h.n_vocab, h.n_embd, h.n_ff, h.n_layers, h.n_heads, h.n_kv_heads) == (49152, 576, 1536, 30, 9, 3)
        assert (h.head_dim, h.n_ctx_train, h.rope_base, h.rope_scale) == (64, 8192, 100000.0, 1.0)
        assert h.norm_eps == pytest.approx(1e-5)
        assert weights.n_params == 134_515_008
        assert Counter(t.type.label for t in weights.tensors.values()) == {"Q4_1": 210, "F32": 61, "Q8_0": 1}
        v = weights.vocabulary
        assert v is not None
        assert (v.model, v.pre, v.bos_id, v.eos_id, v.add_bos) == ("bpe", "smollm", 1, 2, False)
        assert v.stop_ids == {0, 2}
        assert weights.chat_template is not None
        assert "<|im_start|>" in weights.chat_template


def test_a_path_may_be_relative(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(shared_model("stories260K"))
    with open_weights("stories260K.bin", tokenizer=Path("tok512.bin")) as weights:
        assert weights.vocabulary is not None
        assert weights.vocabulary.stop_ids == {1, 2}
