"""Long texts in parts: always the ids of the whole."""

from __future__ import annotations

import random
import threading
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from llamachat.errors import Cancelled, TokenizerError
from llamachat.tokenizer import Tokenizer, load_tokenizer, parts
from llamachat.tokenizer.model_proto import build_model_proto
from llamachat.tokenizer.parts import encode_parts
from llamachat.vocabulary import TokenKind, Vocabulary
from llamachat.weights import read_vocabulary
from tests.support.tiny_vocabularies import bpe_vocabulary, spm_vocabulary

#: What words, lines, merges and user-defined tokens are made of, and what looks like it.
_PIECES = (
    *("a", "b", "the", " and", "Q", "'s", "'S", "1", "23", "\u0663", "½", "²", " ", "  ", "\n", "\r\n", "\t", ".\n"),
    *("!", "?!", "=\n", "_", "。", "中", "文", "é", "e\u0301", "ß", "İ", "😀", "\u200d", "\u2581", "\x1c", "\x85"),
    *("，", "の", "ー", "\xa0", "\u3000", "\0", "\ud83d", "\ude00", "two words", "<|tool|>", "<s>", "<0x0A>", "ﬁ"),
)


def joined(tokenizer: Tokenizer, text: str, size: int) -> list[int]:
    return [id_ for ids, _ in encode_parts(tokenizer, text, size=size) for id_ in ids]


def test_parts_are_the_whole(tokenizer: Tokenizer) -> None:
    some = random.Random(5)
    for _ in range(400):
        text = "".join(some.choices(_PIECES, k=some.choice((3, 8, 30, 100))))
        assert joined(tokenizer, text, some.choice((1, 2, 7, 16))) == tokenizer.encode(text), repr(text)


@pytest.mark.parametrize(
    "text",
    ["the king was in his counting house, ", "Q29uc2lkZXIgd2hhdCB0\n", "w é 中 1234.\r\n", "　中文，の、ア。\r\n"],
)
def test_texts_as_people_have_them_have_places_to_cut(one_of_each_way: Tokenizer, text: str) -> None:
    ends = [end for _, end in encode_parts(one_of_each_way, text * 200, size=256)]
    assert ends[-1] == 200 * len(text)
    assert max(map(int.__sub__, ends, [0, *ends])) <= 256
    assert joined(one_of_each_way, text * 200, 256) == one_of_each_way.encode(text * 200)


def test_no_text_has_no_parts(one_of_each_way: Tokenizer) -> None:
    assert list(encode_parts(one_of_each_way, "")) == []


def test_unknown_characters_stay_together() -> None:
    """Without tokens for bytes SentencePiece makes one unknown token of all that stand beside each other."""
    v = spm_vocabulary()
    kinds = [TokenKind.NORMAL if kind is TokenKind.BYTE else kind for kind in v.kinds]
    tokenizer = load_tokenizer(replace(v, kinds=tuple(kinds)))
    assert tokenizer.encode("中文").count(0) == 1
    for text in ("中文中文", "a中文b中c", "中 文\n\n中a"):
        assert joined(tokenizer, text, 1) == tokenizer.encode(text)


def test_a_text_that_is_rewritten_is_not_cut(tmp_path: Path) -> None:
    """What is rewritten may reach over any place."""
    plain = spm_vocabulary()
    proto = build_model_proto(plain)
    # treat_whitespace_as_suffix, in a second TrainerSpec, which the library joins with the first
    (tmp_path / "tokenizer.model").write_bytes(proto + b"\x12\x03\xc0\x01\x01")
    vocabulary = read_vocabulary(tmp_path / "tokenizer.model")
    assert vocabulary.rewrites_text
    tokenizer = load_tokenizer(vocabulary)
    assert joined(tokenizer, "the the the", 1) == tokenizer.encode("the the the")
    (tmp_path / "tokenizer.model").write_bytes(proto)
    assert not read_vocabulary(tmp_path / "tokenizer.model").rewrites_text


def uncut(vocabulary: Vocabulary) -> Vocabulary:
    """The same with a user-defined token that may stand over the end of any word."""
    return replace(
        vocabulary,
        pieces=(*vocabulary.pieces[:-1], "two words"),
        kinds=(*vocabulary.kinds[:-1], TokenKind.USER_DEFINED),
    )


def test_what_cannot_be_cut_is_refused_before_it_takes_all_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "_LONGEST", 1000)
    tokenizer = load_tokenizer(uncut(bpe_vocabulary()))
    assert joined(tokenizer, "on " * 300, 10) == tokenizer.encode("on " * 300)
    with pytest.raises(TokenizerError, match="1,000 characters in a row that cannot be encoded in parts"):
        joined(tokenizer, "on " * 3000, 10)


def test_a_stop_is_obeyed_between_parts_and_within_a_long_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "_LONG", 1000)
    tokenizer = load_tokenizer(uncut(bpe_vocabulary()))
    begun, free = threading.Event(), threading.Event()

    def slow(_text: str) -> list[int]:
        begun.set()
        assert free.wait(30)
        return [1]

    monkeypatch.setattr(tokenizer, "_encode", slow)
    began = time.monotonic()
    with pytest.raises(Cancelled):
        list(encode_parts(tokenizer, "on " * 1000, begun.is_set))
    assert time.monotonic() - began < 10
    free.set()
    with pytest.raises(Cancelled):
        list(encode_parts(tokenizer, "on", lambda: True))


def test_what_goes_wrong_in_a_long_part_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "_LONG", 10)
    tokenizer = load_tokenizer(bpe_vocabulary())
    assert joined(tokenizer, "a" * 100, 200) == tokenizer.encode("a" * 100)

    def fail(_text: str) -> list[int]:
        raise TokenizerError("broken")

    monkeypatch.setattr(tokenizer, "_encode", fail)
    with pytest.raises(TokenizerError, match="broken"):
        joined(tokenizer, "a" * 100, 200)


def test_signals_are_heard_while_a_long_part_is_encoded(tokenizer: Tokenizer) -> None:
    """Of the libraries' calls some hold the interpreter; then nobody could stop what the thread does."""
    text = "a" * 1_000_000
    began = time.monotonic()
    looks = [began]

    def look() -> bool:
        looks.append(time.monotonic())
        return False

    ids = [id_ for ids, _ in encode_parts(tokenizer, text, look, size=len(text)) for id_ in ids]
    assert len(ids) > 1000
    took = time.monotonic() - began
    assert took < 1 or max(after - before for before, after in pairwise(looks)) < took / 2
