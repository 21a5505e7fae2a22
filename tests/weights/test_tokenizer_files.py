"""Vocabularies in files of their own."""

from __future__ import annotations

import struct
from dataclasses import replace
from pathlib import Path

import pytest

from llamachat.errors import WeightsError
from llamachat.tokenizer.model_proto import build_model_proto
from llamachat.vocabulary import TokenKind
from llamachat.weights import open_weights, read_vocabulary
from tests.support.containers import gguf, tokenizer_bin
from tests.support.tiny_models import (
    bpe_vocabulary,
    random_model,
    spm_vocabulary,
    vocabulary_metadata,
    write_gguf,
    write_llama2c,
    write_tokenizer_bin,
)


def test_tokenizer_bin(tmp_path: Path) -> None:
    write_tokenizer_bin(tmp_path / "t", spm_vocabulary())
    assert read_vocabulary(tmp_path / "t", 320) == spm_vocabulary()


def test_tokenizer_bin_with_bytes_as_characters(tmp_path: Path) -> None:
    """Before August 2023 byte tokens were the character of that number: the ids tell what they are."""
    v = spm_vocabulary()
    texts = [chr(i - 3) if 3 <= i < 259 else p.replace("▁", " ") for i, p in enumerate(v.pieces)]
    data = tokenizer_bin([(text.encode(), score) for text, score in zip(texts, v.scores, strict=True)])
    (tmp_path / "t").write_bytes(data)
    assert read_vocabulary(tmp_path / "t") == v


@pytest.mark.parametrize(("prefix", "extra"), [(True, False), (False, True)])
def test_tokenizer_model(tmp_path: Path, prefix: bool, extra: bool) -> None:
    vocabulary = replace(spm_vocabulary(), add_space_prefix=prefix, remove_extra_whitespaces=extra)
    proto = build_model_proto(vocabulary)
    (tmp_path / "t").write_bytes(proto)
    assert read_vocabulary(tmp_path / "t") == replace(vocabulary, model_proto=proto)


def _piece(text: bytes, score: float, kind: int, form: int) -> bytes:
    """A piece in one of the ways in which a protocol buffer may be written."""
    fields = [b"\x0a" + bytes((len(text),)) + text, b"\x15" + struct.pack("<f", score), b"\x18" + bytes((kind,))]
    match form:
        case 0:
            fields = fields[:2] if kind == TokenKind.NORMAL else fields
        case 1:
            fields = fields[::-1]
        case 2:
            fields.append(b"\x78\x05")  # a field that is not known
        case 3:
            fields[0] = b"\x0a" + bytes((len(text) | 0x80, 0)) + text  # a number longer than it need be
        case 4:
            fields[2] = b"\x18" + bytes((kind | 0x80, 0))
    body = b"".join(fields)
    return b"\x0a" + bytes((len(body),)) + body


@pytest.mark.parametrize("first_odd", [0, 100, 319])
def test_pieces_may_be_written_in_any_way(tmp_path: Path, first_odd: int) -> None:
    v = spm_vocabulary()
    tokens = list(zip(v.pieces, v.scores, v.kinds, strict=True))
    pieces = [
        _piece(t.encode(), s, k, (i - first_odd) % 5 if i >= first_odd else 0) for i, (t, s, k) in enumerate(tokens)
    ]
    (tmp_path / "t").write_bytes(b"".join(pieces))
    found = read_vocabulary(tmp_path / "t")
    assert (found.pieces, found.scores, found.kinds) == (v.pieces, v.scores, v.kinds)


def test_tokenizer_model_without_an_end(tmp_path: Path) -> None:
    vocabulary = replace(spm_vocabulary(), eos_id=None, bos_id=None)
    (tmp_path / "t").write_bytes(build_model_proto(vocabulary))
    found = read_vocabulary(tmp_path / "t")
    assert (found.bos_id, found.eos_id) == (None, None)
    assert found.stop_ids == {2}  # by its text


def test_gguf_of_any_architecture(tmp_path: Path) -> None:
    records = vocabulary_metadata(bpe_vocabulary())
    (tmp_path / "t").write_bytes(gguf({"general.architecture": "falcon"} | records, []))
    assert read_vocabulary(tmp_path / "t") == bpe_vocabulary()
    write_gguf(tmp_path / "m", random_model())
    assert read_vocabulary(tmp_path / "m") == spm_vocabulary()


def test_files_that_hold_none(tmp_path: Path) -> None:
    write_llama2c(tmp_path / "m", random_model())
    (tmp_path / "empty").touch()
    (tmp_path / "gguf").write_bytes(gguf({"general.architecture": "llama"}, []))
    for name, words in (("m", "holds no vocabulary"), ("empty", "is empty"), ("gguf", "holds no vocabulary")):
        with pytest.raises(WeightsError, match=words):
            read_vocabulary(tmp_path / name)


def test_a_tokenizer_is_no_model(tmp_path: Path) -> None:
    write_tokenizer_bin(tmp_path / "a", spm_vocabulary())
    (tmp_path / "b").write_bytes(build_model_proto(spm_vocabulary()))
    for name in "ab":
        with pytest.raises(WeightsError, match="is a tokenizer, no model; name it with --tokenizer, beside a model"):
            open_weights(tmp_path / name)


@pytest.mark.parametrize(
    ("tokens", "words"),
    [
        ([(b"<unk>", 0.0)], "has a vocabulary of 1 tokens"),
        ([(b"<unk>", 0.0)] + [(b"x", float("nan"))] * 300, "no finite numbers"),
        ([(b"<unk>", 0.0)] + [(b"y" * 70000, 0.0)] * 300, "the length of its longest token"),
    ],
)
def test_tokenizer_bins_that_are_refused(tmp_path: Path, tokens: list[tuple[bytes, float]], words: str) -> None:
    (tmp_path / "t").write_bytes(tokenizer_bin(tokens))
    with pytest.raises(WeightsError, match=words):
        read_vocabulary(tmp_path / "t")


def test_a_token_longer_than_the_longest(tmp_path: Path) -> None:
    data = tokenizer_bin([(b"<unk>", 0.0), *[(b"abcdefgh", 0.0)] * 300])
    (tmp_path / "t").write_bytes(struct.pack("<I", 7) + data[4:])
    with pytest.raises(WeightsError, match="longer than the 7 bytes"):
        read_vocabulary(tmp_path / "t")


def test_pieces_of_a_broken_model_that_can_still_be_read(tmp_path: Path) -> None:
    proto = build_model_proto(spm_vocabulary())
    unknown_field = b"\xf2\x06\x03abc"  # number 110, as a later version of the library might write
    (tmp_path / "t").write_bytes(proto + unknown_field)
    assert len(read_vocabulary(tmp_path / "t")) == 320
    for tail in (b"\xff" * 11, b"\x0a\x7f", b"\x0b", b"\x0d\0"):
        (tmp_path / "t").write_bytes(proto + tail)
        with pytest.raises(WeightsError, match="broken"):
            read_vocabulary(tmp_path / "t")


def test_kinds_are_told(tmp_path: Path) -> None:
    (tmp_path / "t").write_bytes(build_model_proto(spm_vocabulary()))
    kinds = read_vocabulary(tmp_path / "t").kinds
    assert kinds[:4] == (TokenKind.UNKNOWN, TokenKind.CONTROL, TokenKind.CONTROL, TokenKind.BYTE)
