"""Ids equal to those of the models' own tokenizers."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import pytest

from llamachat.tokenizer import Tokenizer, load_tokenizer
from llamachat.weights import read_vocabulary
from tests.support.default_model import DEFAULT_MODEL, needs_default_model
from tests.support.shared import shared_model


@cache
def tokenizer_of(path: Path) -> Tokenizer:
    return load_tokenizer(read_vocabulary(path))


@pytest.mark.parametrize(
    "name", ["tokenizers/llama2/ggml-vocab-llama-spm.gguf", "tokenizers/llama-bpe/ggml-vocab-llama-bpe.gguf"]
)
def test_vectors_beside_a_vocabulary(name: str) -> None:
    tokenizer = tokenizer_of(shared_model(name))
    texts = shared_model(f"{name}.inp").read_bytes().decode().split("\n__ggml_vocab_test__\n")
    expected = shared_model(f"{name}.out").read_text().split("\n")
    assert len(texts) == len(expected) > 40
    for text, line in zip(texts, expected, strict=True):
        assert tokenizer.encode(text) == [int(id_) for id_ in line.split()], repr(text)


@pytest.mark.parametrize(
    ("vectors", "name"),
    [
        ("llama2", "tokenizers/llama2/tokenizer.model"),
        ("llama2", "tokenizers/llama2/tokenizer.bin"),
        ("llama2", "tokenizers/llama2/tokenizer.old-432717.bin"),
        ("llama2", "tokenizers/llama2/ggml-vocab-llama-spm.gguf"),
        ("mistral-v1", "tokenizers/mistral/tokenizer.model.v1"),
        ("tok512", "stories260K/tok512.model"),
    ],
)
def test_sentencepiece_vectors(vectors: str, name: str) -> None:
    tokenizer = tokenizer_of(shared_model(name))
    cases = json.loads(shared_model(f"tokenizers/spm-vectors-{vectors}.json").read_text())["cases"]
    assert len(cases) == 67
    for case in cases:
        assert tokenizer.encode(case["text"]) == case["ids"], repr(case["text"])
        assert tokenizer.decode(case["ids"]) == case["decoded"], repr(case["text"])


def test_a_vocabulary_that_lost_a_setting() -> None:
    """llama2.c's own vocabularies were trained to drop extra spaces, which tokenizer.bin does not record.

    Without the setting spaces are kept, as ``run.c`` does; all texts without extra ones agree.
    """
    tokenizer = tokenizer_of(shared_model("stories260K/tok512.bin"))
    cases = json.loads(shared_model("tokenizers/spm-vectors-tok512.json").read_text())["cases"]
    plain = [case for case in cases if case["text"] == " ".join(case["text"].replace("▁", " ").split())]
    assert len(plain) > 30
    for case in plain:
        assert tokenizer.encode(case["text"]) == case["ids"], repr(case["text"])


LLAMA3 = "tokenizers/llama-bpe/ggml-vocab-llama-bpe.gguf"


@pytest.mark.parametrize(
    ("text", "ids"),
    [("Hello world", [9906, 1917]), ("1234567", [4513, 10961, 22]), ("I'M", [40, 28703]), ("🦙", [9468, 99, 247])],
)
def test_llama_3(text: str, ids: list[int]) -> None:
    assert tokenizer_of(shared_model(LLAMA3)).encode(text) == ids


def test_llama_3_special_tokens() -> None:
    tokenizer = tokenizer_of(shared_model(LLAMA3))
    text = "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>"
    assert tokenizer.encode_special(text) == [128000, 128006, 882, 128007, 271, 13347, 128009]
    assert all(id_ < 128000 for id_ in tokenizer.encode(text))


def test_llama_2_dialogue() -> None:
    """Ids of a whole dialogue, in which control tokens stand literally and nothing else is special."""
    text = (
        "<s>[INST] <<SYS>>\nYou are terse.\n<</SYS>>\n\nHi! [/INST] Hello. </s><s>[INST] 2+2? [/INST] 4 </s>"
        "<s>[INST] Thanks [/INST]"
    )
    expected = (
        "1 518 25580 29962 3532 14816 29903 6778 13 3492 526 1935 344 29889 13 29966 829 14816 29903 6778 13 13 18567 "
        "29991 518 29914 25580 29962 15043 29889 29871 2 1 518 25580 29962 29871 29906 29974 29906 29973 518 29914 "
        "25580 29962 29871 29946 29871 2 1 518 25580 29962 1834 518 29914 25580 29962"
    )
    for name in ("tokenizer.model", "tokenizer.bin", "ggml-vocab-llama-spm.gguf"):
        tokenizer = tokenizer_of(shared_model(f"tokenizers/llama2/{name}"))
        assert tokenizer.encode_special(text) == [int(id_) for id_ in expected.split()]
        assert not {1, 2} & set(tokenizer.encode(text))


@needs_default_model
@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("Hello world", [19556, 905]),
        ("  two  spaces", [216, 827, 216, 5600]),
        ("🦙", [10813, 116, 243]),
        ("1234.5", [33, 34, 35, 36, 30, 37]),
        ("I'm", [57, 5248]),
    ],
)
def test_default_model(text: str, ids: list[int]) -> None:
    assert tokenizer_of(DEFAULT_MODEL).encode(text) == ids


@needs_default_model
def test_default_model_chat() -> None:
    tokenizer = tokenizer_of(DEFAULT_MODEL)
    assert tokenizer.encode_special("<|im_start|>user\nHi<|im_end|>\n") == [1, 4093, 198, 26843, 2, 198]
    text = shared_model("smollm2/smollm2-chat-prompt.txt").read_text()
    ids = json.loads(shared_model("smollm2/smollm2-chat-prompt.ids.txt").read_text())
    assert tokenizer.encode_special(text) == ids


@needs_default_model
def test_bytes_that_a_vocabulary_lacks_are_dropped() -> None:
    """SmolLM2 has no token for 21 bytes; its own library drops them without a word, and so does this."""
    tokenizer = tokenizer_of(DEFAULT_MODEL)
    assert tokenizer.decode(tokenizer.encode("a\x04b")) == "ab"
