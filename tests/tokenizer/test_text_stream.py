"""Text out of ids: the same one by one as all at once, and the same as the library gives."""

from __future__ import annotations

import random

import pytest

from llamachat.errors import TokenizerError
from llamachat.tokenizer import TextStream, Tokenizer, load_tokenizer
from llamachat.tokenizer.bpe import ByteLevelTokenizer
from llamachat.tokenizer.spm import SentencePieceTokenizer
from llamachat.vocabulary import TokenKind
from tests.support.tiny_vocabularies import bpe_vocabulary, byte_alphabet, spm_vocabulary


def streamed(stream: TextStream, ids: list[int]) -> str:
    return "".join([stream.push(id_) for id_ in ids]) + stream.flush()


def random_ids(tokenizer: Tokenizer, rng: random.Random) -> list[int]:
    """Ids of any kind, many of them bytes, so that characters are often broken, and now and then whole."""
    kinds = tokenizer.vocabulary.kinds
    byte_ids = range(3, 259)  # most of them are, in every vocabulary
    control = [i for i in (0, 1, 2, tokenizer.n_vocab - 100) if kinds[i] is TokenKind.CONTROL]
    ids: list[int] = []
    while len(ids) < 60:
        match rng.randrange(5):
            case 0:
                ids += tokenizer.encode(rng.choice("🦙é你 a\n") * rng.randint(1, 2))
            case 1 | 2:
                ids.append(rng.choice(byte_ids))
            case 3:
                ids.append(rng.randrange(tokenizer.n_vocab))
            case _:
                ids.append(rng.choice(control))
    return ids[rng.randrange(5) :]


def library_text(tokenizer: Tokenizer, ids: list[int]) -> str:
    """What the library itself decodes."""
    if isinstance(tokenizer, SentencePieceTokenizer):
        text: str = tokenizer._library.decode(ids)
        return text
    assert isinstance(tokenizer, ByteLevelTokenizer)
    kinds = tokenizer.vocabulary.kinds
    from tokenizers.decoders import ByteLevel

    pieces = [tokenizer.vocabulary.pieces[i] for i in ids if kinds[i] is not TokenKind.CONTROL]
    return ByteLevel().decode(pieces)


def test_streamed_whole_and_by_the_library(tokenizer: Tokenizer) -> None:
    rng = random.Random(1)
    for _ in range(100):
        ids = random_ids(tokenizer, rng)
        whole = tokenizer.decode(ids)
        assert streamed(tokenizer.stream(), ids) == whole
        assert library_text(tokenizer, ids) == whole


def test_a_stream_gives_whole_characters_only(tokenizer: Tokenizer) -> None:
    text = "naïve 🦙 中文 ɐ"
    stream = tokenizer.stream()
    given = ""
    for id_ in tokenizer.encode(text):
        piece = stream.push(id_)
        assert "\ufffd" not in piece
        given += piece
        assert text.startswith(given) or text.lstrip().startswith(given)
    assert stream.flush() == ""
    assert given == text


def test_text_comes_back(tokenizer: Tokenizer) -> None:
    for text in ("the cat and the hat", "Hello, world!", "é 🦙\n\n1234", "tab\tand\nline", "a"):
        assert tokenizer.decode(tokenizer.encode(text)) == text


def test_inside_a_text_nothing_is_dropped(tokenizer: Tokenizer) -> None:
    v = tokenizer.vocabulary
    ids = tokenizer.encode("the end")
    inside = streamed(tokenizer.stream(at_start=False), ids)
    prefixed = v.model == "spm" and v.add_space_prefix
    assert inside == (" the end" if prefixed else "the end")
    assert tokenizer.decode(ids) == "the end"


def test_control_tokens_show_nothing(tokenizer: Tokenizer) -> None:
    control = [i for i, kind in enumerate(tokenizer.vocabulary.kinds) if kind is TokenKind.CONTROL]
    assert control
    assert tokenizer.decode(control) == ""
    assert all(tokenizer.piece(i) == "" for i in control)


def test_pieces_are_shown_on_their_own(tokenizer: Tokenizer) -> None:
    for id_ in range(0, tokenizer.n_vocab, max(1, tokenizer.n_vocab // 500)):
        assert tokenizer.piece(id_) == streamed(tokenizer.stream(at_start=False), [id_])


def test_ids_outside_the_vocabulary(tokenizer: Tokenizer) -> None:
    for id_ in (-1, tokenizer.n_vocab, 1 << 40):
        with pytest.raises(TokenizerError, match=f"token {id_} is outside the vocabulary of {tokenizer.n_vocab}"):
            tokenizer.stream().push(id_)
        with pytest.raises(TokenizerError):
            tokenizer.piece(id_)


@pytest.mark.parametrize("data", ["🦙".encode(), "é".encode(), b"a", "\u202e".encode(), b"\0"])
def test_bytes_become_a_character_with_the_last_one(data: bytes) -> None:
    for vocabulary in (spm_vocabulary(), bpe_vocabulary()):
        stream = load_tokenizer(vocabulary).stream()
        ids = [3 + byte for byte in data]
        assert [stream.push(id_) for id_ in ids[:-1]] == [""] * (len(ids) - 1)
        assert stream.push(ids[-1]) == data.decode()
        assert stream.flush() == ""


@pytest.mark.parametrize(
    ("data", "each_byte", "joined"),
    [
        (b"\xf0\x9f\xa6", "\ufffd" * 3, "\ufffd"),  # an incomplete tail
        (b"\xe2\x82a", "\ufffd\ufffda", "\ufffda"),
        (b"\xff\xfe", "\ufffd\ufffd", "\ufffd\ufffd"),
        (b"\xc0\x80", "\ufffd\ufffd", "\ufffd\ufffd"),  # NUL, overlong
        (b"\xed\xa0\x80", "\ufffd" * 3, "\ufffd" * 3),  # a surrogate
        (b"\xf5\x80\x80\x80", "\ufffd" * 4, "\ufffd" * 4),  # beyond U+10FFFF
        (b"\x80\x80", "\ufffd\ufffd", "\ufffd\ufffd"),
    ],
)
def test_bytes_that_are_no_character(data: bytes, each_byte: str, joined: str) -> None:
    """SentencePiece shows one U+FFFD for each byte, ``tokenizers`` one for as much as could begin a character."""
    ids = [3 + byte for byte in data]
    assert load_tokenizer(spm_vocabulary()).decode(ids) == each_byte
    assert load_tokenizer(bpe_vocabulary()).decode(ids) == joined


def test_an_incomplete_tail_shows_at_the_end_only() -> None:
    for vocabulary in (spm_vocabulary(), bpe_vocabulary()):
        stream = load_tokenizer(vocabulary).stream()
        assert [stream.push(3 + byte) for byte in b"\xf0\x9f"] == ["", ""]
        assert "\ufffd" in stream.flush()
        assert stream.push(3 + ord("a")) == "a"  # it may go on


def test_the_first_space_is_dropped_once() -> None:
    v = spm_vocabulary()
    tokenizer = load_tokenizer(v)
    the, space, letter = v.pieces.index("▁the"), v.pieces.index("▁"), v.pieces.index("t")
    assert tokenizer.decode([the, the]) == "the the"
    assert tokenizer.decode([space, the]) == " the"
    assert tokenizer.decode([1, the]) == "the"  # BOS does not count
    assert tokenizer.decode([letter, the]) == "t the"
    assert tokenizer.decode([0, the]) == " \u2047  the"  # the unknown token keeps its space
    assert tokenizer.decode([3 + 32, the]) == "  the"  # a space byte is no prefix
    assert load_tokenizer(spm_vocabulary(add_space_prefix=False)).decode([the, the]) == " the the"


def test_the_byte_alphabet() -> None:
    tokenizer = load_tokenizer(bpe_vocabulary())
    assert b"".join(tokenizer.surface(3 + byte) for byte in range(256)) == bytes(range(256))
    assert len(set(byte_alphabet())) == 256
