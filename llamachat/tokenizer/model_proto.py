"""A SentencePiece model built from a vocabulary, as the protocol buffer that the library reads.

    ModelProto:      1 SentencePiece (repeated), 2 TrainerSpec, 3 NormalizerSpec
    SentencePiece:   1 piece, 2 score (f32), 3 type
    TrainerSpec:     3 model_type (2 is BPE), 4 vocab_size, 35 byte_fallback, 40 unk_id, 41 bos_id, 42 eos_id, 43 pad_id
    NormalizerSpec:  1 name, 2 precompiled_charsmap,
                     3 add_dummy_prefix, 4 remove_extra_whitespaces, 5 escape_whitespaces

The library insists that pieces are unique and not empty and hold no NUL, that exactly one is of the kind UNKNOWN, and
that all 256 bytes are there or none. A vocabulary that is not so is made so, without moving an id.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from llamachat.vocabulary import TokenKind, Vocabulary

_BPE = 2
_VARINT, _BYTES = 0, 2
_NONE = (1 << 64) - 1  # -1 as a varint


def build_model_proto(vocabulary: Vocabulary) -> bytes:
    """The serialised ModelProto of a vocabulary of the model ``spm``."""
    kinds, byte_fallback = _fit_kinds(vocabulary)
    texts = _fit_pieces(vocabulary.pieces, kinds)
    scores = struct.pack(f"<{len(texts)}f", *vocabulary.scores)
    messages = [
        (_HEADS.get(len(piece)) or _head(len(piece))) + piece + b"\x15" + scores[at : at + 4] + _KINDS[kind]
        for piece, at, kind in zip(map(str.encode, texts), range(0, len(scores), 4), kinds, strict=True)
    ]
    trainer = b"".join(
        _number(field, value)
        for field, value in (
            (3, _BPE),
            (4, len(texts)),
            (35, byte_fallback),
            (40, kinds.index(TokenKind.UNKNOWN)),
            (41, _NONE if vocabulary.bos_id is None else vocabulary.bos_id),
            (42, _NONE if vocabulary.eos_id is None else vocabulary.eos_id),
            (43, _NONE),
        )
    )
    normalizer = (
        _field(1, b"identity")
        + _field(2, b"")
        + _number(3, vocabulary.add_space_prefix)
        + _number(4, vocabulary.remove_extra_whitespaces)
        + _number(5, True)
    )
    return b"".join(messages) + _field(2, trainer) + _field(3, normalizer)


def _fit_kinds(vocabulary: Vocabulary) -> tuple[list[TokenKind], bool]:
    """Kinds with exactly one UNKNOWN and with all bytes or none, and whether the bytes are there."""
    kinds: list[TokenKind] = [TokenKind.NORMAL if kind is TokenKind.UNDEFINED else kind for kind in vocabulary.kinds]
    unknown = [id_ for id_, kind in enumerate(kinds) if kind is TokenKind.UNKNOWN]
    chosen = vocabulary.unk_id if vocabulary.unk_id in unknown or not unknown else unknown[0]
    for id_ in unknown:
        kinds[id_] = TokenKind.UNUSED
    kinds[chosen or 0] = TokenKind.UNKNOWN
    byte_ids = [id_ for id_, kind in enumerate(kinds) if kind is TokenKind.BYTE]
    whole = len(byte_ids) == 256 and {vocabulary.pieces[id_] for id_ in byte_ids} == _BYTES_AS_TEXT
    if not whole:
        for id_ in byte_ids:
            kinds[id_] = TokenKind.UNUSED
    return kinds, whole


def _fit_pieces(pieces: Sequence[str], kinds: list[TokenKind]) -> list[str]:
    """Pieces that are unique, not empty and without NUL: others get a text of their own and become UNUSED."""
    if len(set(pieces)) == len(pieces) and all(pieces) and "\0" not in "".join(pieces):
        return list(pieces)
    taken = set(pieces)
    seen: set[str] = set()
    fit = []
    for id_, piece in enumerate(pieces):
        if not piece or "\0" in piece or piece in seen:
            piece = f"<dummy_{id_}>"
            while piece in taken:
                piece += "_"
            taken.add(piece)
            if kinds[id_] is not TokenKind.UNKNOWN:
                kinds[id_] = TokenKind.UNUSED
        seen.add(piece)
        fit.append(piece)
    return fit


def _varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _head(n_bytes: int) -> bytes:
    """What stands before a piece of so many bytes: the tags and lengths of the message and of its text."""
    text = b"\x0a" + _varint(n_bytes)
    return b"\x0a" + _varint(len(text) + n_bytes + 7) + text


#: Of the lengths that pieces have: a vocabulary of 32,000 is written in 15 ms rather than 50.
_HEADS = {n: _head(n) for n in range(64)}
_BYTES_AS_TEXT = {f"<0x{byte:02X}>" for byte in range(256)}
_KINDS = tuple([b"\x18" + bytes((kind,)) for kind in range(max(TokenKind) + 1)])


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3 | _VARINT) + _varint(value)


def _field(field: int, payload: bytes) -> bytes:
    return _varint(field << 3 | _BYTES) + _varint(len(payload)) + payload
