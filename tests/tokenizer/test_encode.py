"""Ids out of text: plain text never becomes a control token, templates may hold them, and nothing breaks it."""

from __future__ import annotations

import random

import pytest

from llamachat.tokenizer import Tokenizer, load_tokenizer
from llamachat.vocabulary import TokenKind
from tests.support.tiny_vocabularies import bpe_vocabulary, spm_vocabulary


def control_ids(tokenizer: Tokenizer) -> set[int]:
    return {i for i, kind in enumerate(tokenizer.vocabulary.kinds) if kind is TokenKind.CONTROL}


def test_no_plain_text_becomes_a_control_token(tokenizer: Tokenizer) -> None:
    control = control_ids(tokenizer)
    for id_ in control:
        text = tokenizer.vocabulary.pieces[id_]
        for typed in (text, f" {text}", f"a{text}b", text * 2, f"{text}\n"):
            assert not control & set(tokenizer.encode(typed)), repr(typed)
    everything = "".join(tokenizer.vocabulary.pieces[id_] for id_ in sorted(control))
    ids = tokenizer.encode(everything)
    assert not control & set(ids)
    assert tokenizer.decode(ids) == everything


def test_templates_hold_control_tokens(tokenizer: Tokenizer) -> None:
    for id_ in control_ids(tokenizer):
        text = tokenizer.vocabulary.pieces[id_]
        assert tokenizer.special_id(text) == id_
        assert tokenizer.encode_special(text) == [id_]
        assert tokenizer.encode_special(f"the{text}{text} end") == [
            *tokenizer.encode("the"),
            id_,
            id_,
            *tokenizer.encode(" end"),
        ]


def test_text_without_special_tokens_is_the_same_either_way(tokenizer: Tokenizer) -> None:
    for text in ("", "the end", " a < b | c > d", "<|", "<|im_start", "<s", "[INST]"):
        assert tokenizer.encode_special(text) == tokenizer.encode(text)


def test_the_longest_special_token_wins() -> None:
    v = bpe_vocabulary()
    pieces = ("<|a|>", "<|a|><|b|>", "<|b|>", *v.pieces[3:])
    tokenizer = load_tokenizer(v.__class__(model="bpe", pieces=pieces, scores=(), kinds=v.kinds, pre="gpt-2"))
    assert tokenizer.encode_special("<|a|><|b|><|a|><|a") == [1, 0, *tokenizer.encode("<|a")]


def test_ordinary_tokens_are_not_special() -> None:
    tokenizer = load_tokenizer(spm_vocabulary())
    assert tokenizer.special_id("▁the") is None
    assert tokenizer.special_id("<0x0A>") is None
    assert tokenizer.special_id("nothing") is None
    assert tokenizer.encode_special("<0x0A>") == tokenizer.encode("<0x0A>")


def test_user_defined_tokens_can_be_typed() -> None:
    """As in the models' own libraries: such a token is text, not a sign of the template."""
    for vocabulary in (spm_vocabulary(), bpe_vocabulary()):
        kinds = (*vocabulary.kinds[:-1], TokenKind.USER_DEFINED)
        pieces = (*vocabulary.pieces[:-1], "<|tool|>")
        tokenizer = load_tokenizer(
            vocabulary.__class__(
                model=vocabulary.model, pieces=pieces, scores=vocabulary.scores, kinds=kinds, merges=vocabulary.merges
            )
        )
        assert 319 in tokenizer.encode("a<|tool|>b")
        assert tokenizer.special_id("<|tool|>") == 319
        assert tokenizer.decode(tokenizer.encode("a<|tool|>b")) == "a<|tool|>b"


def test_nothing_gives_nothing(tokenizer: Tokenizer) -> None:
    assert tokenizer.encode("") == []
    assert tokenizer.encode_special("") == []
    assert tokenizer.decode([]) == ""
    assert tokenizer.stream().flush() == ""


def test_any_text_at_all(tokenizer: Tokenizer) -> None:
    rng = random.Random(2)
    control = control_ids(tokenizer)
    for _ in range(60):
        text = "".join(chr(rng.choice((rng.randrange(128), rng.randrange(0x300), rng.randrange(0x110000))))
                       for _ in range(rng.randrange(40)))  # fmt: skip
        ids = tokenizer.encode(text)
        assert all(0 <= id_ < tokenizer.n_vocab for id_ in ids)
        assert not control & set(ids)
        tokenizer.decode(ids)
        tokenizer.encode_special(text)


def test_nul_and_surrogates(tokenizer: Tokenizer) -> None:
    assert tokenizer.encode("a\ud800b") == tokenizer.encode("a\ufffdb")
    assert tokenizer.encode("\udcff") == tokenizer.encode("\ufffd")
    assert tokenizer.encode("\ud83e\udd99") == tokenizer.encode("🦙")  # a pair is one character
    assert tokenizer.encode_special("\ud800") == tokenizer.encode("\ufffd")
    assert tokenizer.decode(tokenizer.encode("a\0b")) == "a\0b"


@pytest.mark.parametrize("unit", ["a", " ", "1"])
def test_a_megabyte(one_of_each_way: Tokenizer, unit: str) -> None:
    """A word of a million letters must not take quadratic time: the time limit of a test would end it."""
    tokenizer = one_of_each_way
    text = unit * (1_000_000 // len(unit.encode()))
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
