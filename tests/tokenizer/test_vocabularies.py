"""Vocabularies that a library would refuse, or that are not what they seem."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from llamachat.errors import TokenizerError
from llamachat.tokenizer import load_tokenizer
from llamachat.tokenizer.model_proto import build_model_proto
from llamachat.vocabulary import TokenKind, Vocabulary
from tests.support.tiny_vocabularies import bpe_vocabulary, spm_vocabulary


def changed(vocabulary: Vocabulary, changes: Mapping[int, tuple[str, TokenKind]], **settings: Any) -> Vocabulary:
    """The vocabulary with some tokens put in place of others."""
    pieces, kinds = list(vocabulary.pieces), list(vocabulary.kinds)
    for id_, (piece, kind) in changes.items():
        pieces[id_], kinds[id_] = piece, kind
    return replace(vocabulary, pieces=tuple(pieces), kinds=tuple(kinds), **settings)


def test_tokens_without_a_text_or_with_the_same_one() -> None:
    normal = TokenKind.NORMAL
    v = changed(
        spm_vocabulary(), {300: ("", normal), 301: ("", normal), 302: ("▁the", normal), 303: ("<dummy_300>", normal)}
    )
    tokenizer = load_tokenizer(v)
    assert tokenizer.encode("the end") == load_tokenizer(spm_vocabulary()).encode("the end")
    assert [tokenizer.piece(id_) for id_ in (300, 302, 303)] == ["", " the", "<dummy_300>"]
    padded = changed(bpe_vocabulary(), {318: ("", normal), 319: ("a", normal)})
    assert load_tokenizer(padded).encode("a") == [padded.pieces.index("a")]


@pytest.mark.parametrize("unknown_id", [None, 0, 270])
def test_a_vocabulary_without_an_unknown_token(unknown_id: int | None) -> None:
    v = changed(spm_vocabulary(), {0: ("<unk>", TokenKind.NORMAL)}, unk_id=unknown_id)
    tokenizer = load_tokenizer(v)
    assert tokenizer.decode(tokenizer.encode("the cat é")) == "the cat é"


def test_a_vocabulary_with_two_unknown_tokens() -> None:
    tokenizer = load_tokenizer(changed(spm_vocabulary(), {300: ("<other>", TokenKind.UNKNOWN)}))
    assert tokenizer.decode(tokenizer.encode("the cat")) == "the cat"


def test_a_vocabulary_without_all_bytes() -> None:
    """What it cannot spell is the unknown token."""
    tokenizer = load_tokenizer(changed(spm_vocabulary(), {200: ("lost", TokenKind.NORMAL)}))
    assert tokenizer.decode(tokenizer.encode("the cat")) == "the cat"
    assert 0 in tokenizer.encode("🦙")
    assert tokenizer.decode([3 + byte for byte in "🦙".encode()]) == "🦙"


def test_a_byte_that_is_none() -> None:
    with pytest.raises(TokenizerError, match="a byte token that names no byte: 'what'"):
        load_tokenizer(changed(spm_vocabulary(), {300: ("what", TokenKind.BYTE)}))


def test_a_control_token_that_merges_could_make() -> None:
    """``he`` is what two letters merge to, or a whole word: as a control token it must not come out of text."""
    for pre in ("smollm", "llama-bpe"):
        v = bpe_vocabulary(pre=pre)
        he = v.pieces.index("he")
        tokenizer = load_tokenizer(changed(v, {he: ("he", TokenKind.CONTROL)}))
        assert he not in tokenizer.encode("he the he")
        assert tokenizer.decode(tokenizer.encode("he the he")) == "he the he"
        assert tokenizer.encode_special("he") == [he]
    v = spm_vocabulary()
    he = v.pieces.index("he")
    tokenizer = load_tokenizer(changed(v, {he: ("he", TokenKind.CONTROL)}))
    assert he not in tokenizer.encode("he the he")


def test_merges_that_lead_nowhere() -> None:
    v = bpe_vocabulary()
    odd = ("zz qq", "nospace", "", " ", "a ", " a", "a  b", "Ġ t extra")
    tokenizer = load_tokenizer(replace(v, merges=(*odd, *v.merges)))
    assert tokenizer.encode("the cat") == load_tokenizer(v).encode("the cat")


def test_a_merge_whose_left_side_is_a_space() -> None:
    """Merges part at the first space that is not the first character."""
    v = changed(bpe_vocabulary(), {318: (" ", TokenKind.NORMAL), 319: (" a", TokenKind.NORMAL)})
    tokenizer = load_tokenizer(replace(v, merges=("  a",)))
    assert tokenizer.decode([319]) == " a"


@pytest.mark.parametrize(
    ("pre", "words"),
    [
        ("smollm", None),
        ("default", None),
        ("llama3", None),
        ("starcoder", None),
        ("", "names no pre-tokenizer"),
        ("mystery", "names a pre-tokenizer that is not known, 'mystery'"),
        ("\x1b[31m", "names a pre-tokenizer that is not known"),
    ],
)
def test_pre_tokenizers(pre: str, words: str | None) -> None:
    tokenizer = load_tokenizer(bpe_vocabulary(pre=pre))
    if words is None:
        assert tokenizer.notices == ()
    else:
        (notice,) = tokenizer.notices
        assert words in notice
        assert notice.isprintable()
        assert tokenizer.encode("the 1234") == load_tokenizer(bpe_vocabulary(pre="default")).encode("the 1234")


def test_how_numbers_are_cut() -> None:
    """Digits one by one, by threes, or all together, as each model was trained."""
    v = bpe_vocabulary(400)
    digits = changed(v, {398: ("12", TokenKind.NORMAL), 399: ("123", TokenKind.NORMAL)})
    digits = replace(digits, merges=("1 2", "12 3", *v.merges))
    got = {
        pre: [digits.pieces[i] for i in load_tokenizer(replace(digits, pre=pre)).encode("123123")]
        for pre in ("smollm", "gpt-2", "llama-bpe", "qwen2", "default")
    }
    assert got == {
        "smollm": list("123123"),
        "gpt-2": ["123", "123"],
        "llama-bpe": ["123", "123"],
        "qwen2": list("123123"),
        "default": ["123", "123"],
    }


def test_a_model_that_is_broken() -> None:
    for proto in (b"", b"\0", b"\xff" * 100, b"\x0a\x00"):
        v = replace(spm_vocabulary(), model_proto=proto or b"\x0a")
        with pytest.raises(TokenizerError):
            load_tokenizer(v)


def test_the_library_writes_nothing_to_the_screen(capfd: pytest.CaptureFixture[str]) -> None:
    """It has warnings for some vocabularies, as for this piece that is a NUL."""
    proto = build_model_proto(spm_vocabulary()).replace(b"\x0a\x01z", b"\x0a\x01\0")
    assert proto != build_model_proto(spm_vocabulary())
    v = replace(spm_vocabulary(), model_proto=proto)
    with contextlib.suppress(TokenizerError):
        load_tokenizer(v).encode("the cat")
    assert capfd.readouterr() == ("", "")


def test_a_model_whose_texts_are_no_text() -> None:
    proto = build_model_proto(spm_vocabulary()).replace(b"<unk>", b"\xff\xff\xff\xff\xff")
    v = replace(spm_vocabulary(), model_proto=proto)
    with contextlib.suppress(TokenizerError):
        tokenizer = load_tokenizer(v)
        assert tokenizer.decode(tokenizer.encode("the cat")) == "the cat"


def test_a_model_of_another_size() -> None:
    v = replace(spm_vocabulary(), model_proto=build_model_proto(spm_vocabulary(400)))
    with pytest.raises(TokenizerError, match="SentencePiece finds 400 tokens in a vocabulary of 320"):
        load_tokenizer(v)


def test_a_vocabulary_of_no_known_kind() -> None:
    with pytest.raises(TokenizerError, match="no tokenizer for vocabularies of the kind 'wpm'"):
        load_tokenizer(replace(spm_vocabulary(), model="wpm"))  # type: ignore[arg-type]


ODD_TEXTS = (
    "",
    "▁",
    "▁▁",
    "\0",
    "a\0b",
    "x" * 5000,
    "<0x00>",
    "<0xZZ>",
    "<unk>",
    "\ufffd",
    "\n",
    " a b ",
    "</s>",
    "🦙",
)


@pytest.mark.parametrize("seed", range(12))
def test_spoiled_vocabularies(seed: int) -> None:
    """Any of them becomes a tokenizer that never gives a control token, or is refused; the library never aborts."""
    rng = random.Random(seed)
    texts = ("the cat", " a  b ", "\0x", "🦙</s><s><unk>", "x" * 300, "▁▁a", "\ud800", "<0x00>")
    built = 0
    for _ in range(30):
        v = rng.choice((spm_vocabulary(), bpe_vocabulary(pre=rng.choice(("smollm", "llama-bpe", "gpt-2", "default")))))
        changes = {}
        for _ in range(rng.randint(0, 30)):
            id_ = rng.randrange(len(v))
            piece = rng.choice((*ODD_TEXTS, v.pieces[rng.randrange(len(v))], v.pieces[id_]))
            changes[id_] = (piece, rng.choice([k for k in TokenKind if k is not TokenKind.BYTE]))
        v = changed(v, changes, unk_id=rng.choice((None, 0, 5)), add_space_prefix=rng.random() < 0.5)
        try:
            tokenizer = load_tokenizer(v)
        except TokenizerError:
            continue
        built += 1
        for text in texts:
            ids = tokenizer.encode(text)
            assert not any(v.kinds[id_] is TokenKind.CONTROL for id_ in ids)
            tokenizer.encode_special(text)
        ids = [rng.randrange(len(v)) for _ in range(100)]
        stream = tokenizer.stream()
        assert "".join([stream.push(id_) for id_ in ids]) + stream.flush() == tokenizer.decode(ids)
    assert built > 20
