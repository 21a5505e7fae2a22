"""Every vocabulary that the tests know: tiny ones of each kind, and the real ones where they are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import pytest

from llamachat.tokenizer import Tokenizer, load_tokenizer
from llamachat.tokenizer.model_proto import build_model_proto
from llamachat.vocabulary import TokenKind, Vocabulary
from llamachat.weights import read_vocabulary
from tests.support.default_model import DEFAULT_MODEL
from tests.support.shared import shared_model
from tests.support.tiny_vocabularies import bpe_vocabulary, spm_vocabulary


def _user_defined(vocabulary: Vocabulary) -> Vocabulary:
    """The same with two user-defined tokens in place of the last ones; one has a space in it."""
    kinds = (*vocabulary.kinds[:-2], TokenKind.USER_DEFINED, TokenKind.USER_DEFINED)
    return replace(vocabulary, pieces=(*vocabulary.pieces[:-2], "<|tool|>", "two words"), kinds=kinds)


def _as_model() -> Vocabulary:
    """A ``tokenizer.model``, with the setting that only such a file records."""
    vocabulary = replace(spm_vocabulary(), remove_extra_whitespaces=True)
    return replace(vocabulary, model_proto=build_model_proto(vocabulary))


def _default_model() -> Vocabulary:
    if not DEFAULT_MODEL.is_file():
        pytest.skip(f"needs the default model at {DEFAULT_MODEL} (LLAMACHAT_TEST_MODEL names another file)")
    return read_vocabulary(DEFAULT_MODEL)


def _shared(name: str) -> Callable[[], Vocabulary]:
    return lambda: read_vocabulary(shared_model(name))


VOCABULARIES: dict[str, Callable[[], Vocabulary]] = {
    "spm": spm_vocabulary,
    "spm-no-prefix": lambda: spm_vocabulary(add_space_prefix=False),
    "spm-model": _as_model,
    "spm-user-defined": lambda: _user_defined(spm_vocabulary()),
    "bpe-smollm": bpe_vocabulary,
    "bpe-gpt-2": lambda: bpe_vocabulary(pre="gpt-2"),
    "bpe-llama": lambda: bpe_vocabulary(pre="llama-bpe"),
    "bpe-qwen2": lambda: bpe_vocabulary(pre="qwen2"),
    "bpe-default": lambda: bpe_vocabulary(pre="default"),
    "bpe-user-defined": lambda: _user_defined(bpe_vocabulary()),
    "llama2": _shared("tokenizers/llama2/tokenizer.bin"),
    "llama2-model": _shared("tokenizers/llama2/tokenizer.model"),
    "mistral": _shared("tokenizers/mistral/tokenizer.model.v1"),
    "tok512": _shared("stories260K/tok512.model"),
    "llama3": _shared("tokenizers/llama-bpe/ggml-vocab-llama-bpe.gguf"),
    "default-model": _default_model,
}


@cache
def _load(name: str) -> Tokenizer:
    return load_tokenizer(VOCABULARIES[name]())


@pytest.fixture(params=VOCABULARIES)
def tokenizer(request: pytest.FixtureRequest) -> Tokenizer:
    """Each of them in turn."""
    return _load(request.param)


@pytest.fixture(params=["spm", "bpe-smollm", "bpe-llama", "bpe-default"])
def one_of_each_way(request: pytest.FixtureRequest) -> Tokenizer:
    """Fewer of them: one of each way to cut text."""
    return _load(request.param)
