"""SentencePiece's tokenizer.model: a protocol buffer, of which the pieces and a few settings are read.

    ModelProto:      1 SentencePiece (repeated), 2 TrainerSpec, 3 NormalizerSpec
    SentencePiece:   1 piece, 2 score (f32), 3 type (1 if absent)
    TrainerSpec:     24 treat_whitespace_as_suffix, 40 unk_id, 41 bos_id, 42 eos_id
    NormalizerSpec:  2 precompiled_charsmap, 3 add_dummy_prefix (true if absent),
                     4 remove_extra_whitespaces (true if absent), 5 escape_whitespaces (true if absent)

The file itself goes to the library unchanged (``Vocabulary.model_proto``), which then decides.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from llamachat.vocabulary import Vocabulary
from llamachat.weights.files import Refusal, RegularFile
from llamachat.weights.reader import HEADER_LIMIT
from llamachat.weights.tokens import finish_vocabulary, kinds_of

#: Fields of the whole message, at most: four for each piece, of which Llama 2 has 32,000.
_FIELD_LIMIT = 1 << 20

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_FIXED_BYTES = {_FIXED64: 8, _FIXED32: 4}
_NORMAL = 1
_PIECE_TAG = _TEXT_TAG = 1 << 3 | _BYTES
_SCORE_TAG, _KIND_TAG = 2 << 3 | _FIXED32, 3 << 3 | _VARINT
_SMALLEST_PIECE = 9  # bytes: one of an empty text
_SCORE = struct.Struct("<f")


def is_sentencepiece_model(head: bytes) -> bool:
    """Whether the first bytes are a first piece: field 1 of ModelProto, in it field 1 of SentencePiece."""
    return len(head) > 4 and head[0] == 0x0A and head[2] == 0x0A and head[3] + 2 <= head[1]


def read_sentencepiece_model(file: RegularFile) -> Vocabulary:
    """The vocabulary in a tokenizer.model."""
    if file.size > HEADER_LIMIT:
        raise Refusal(f"has more than {HEADER_LIMIT >> 20} MiB, too much for a tokenizer")
    message = _Message(file.read(0, file.size))
    pieces, at = message.first_pieces()
    trainer: dict[int, int] = {}
    normalizer: dict[int, int] = {}
    for number, wire, _, start, end in message.fields(at, file.size):
        if wire != _BYTES:
            continue
        if number == 1:
            pieces.append(_piece(message, start, end))
        elif number in (2, 3):
            settings = trainer if number == 2 else normalizer
            for n, w, value, begin, stop in message.fields(start, end):
                if w == _VARINT:
                    settings[n] = value
                elif w == _BYTES:
                    settings[n] = stop - begin
    n = len(pieces)

    def special(number: int, default: int) -> int | None:
        id_ = trainer.get(number, default)
        return id_ if id_ < n else None  # "none" is -1, a varint near 2^64

    return finish_vocabulary(
        Vocabulary(
            model="spm",
            pieces=tuple([text for text, _, _ in pieces]),
            scores=tuple([score for _, score, _ in pieces]),
            kinds=kinds_of([kind for _, _, kind in pieces], n),
            unk_id=special(40, 0),
            bos_id=special(41, 1),
            eos_id=special(42, 2),
            add_space_prefix=bool(normalizer.get(3, 1)),
            remove_extra_whitespaces=bool(normalizer.get(4, 1)),
            model_proto=message.data,
            rewrites_text=bool(trainer.get(24) or normalizer.get(2) or not normalizer.get(5, 1)),
        )
    )


class _Message:
    """A serialised protocol buffer, of which at most ``_FIELD_LIMIT`` fields are looked at."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self._fields_left = _FIELD_LIMIT

    def fields(self, at: int, end: int) -> Iterator[tuple[int, int, int, int, int]]:
        """(number, wire type, varint value, start, end of the payload) of each field of the message in ``at..end``."""
        while at < end:
            self._fields_left -= 1
            if self._fields_left < 0:
                raise Refusal(f"has more than {_FIELD_LIMIT} fields, too much for a tokenizer")
            tag, at = self._varint(at, end)
            number, wire = tag >> 3, tag & 7
            value, start = 0, at
            if wire == _VARINT:
                value, at = self._varint(at, end)
            elif wire == _BYTES:
                size, start = self._varint(at, end)
                at = start + size
            elif wire in _FIXED_BYTES:
                at += _FIXED_BYTES[wire]
            else:
                raise Refusal("is no SentencePiece model, or a broken one")
            if at > end:
                raise Refusal("is cut short or broken: a field passes its end")
            yield number, wire, value, start, at

    def first_pieces(self) -> tuple[list[tuple[str, float, int]], int]:
        """The pieces that the message begins with, as (text, score, kind), and where they end.

        All that are written as the library writes them: text, score, and the kind unless NORMAL. No others were ever
        seen, and field by field 32,000 of them take nearly twice as long; from one that is not so, the fields go on.
        """
        data, last = self.data, len(self.data) - _SMALLEST_PIECE
        pieces: list[tuple[str, float, int]] = []
        at = 0
        while at <= last and len(pieces) < _FIELD_LIMIT // 4:
            end, score_at = at + 2 + data[at + 1], at + 4 + data[at + 3]
            if data[at] != _PIECE_TAG or data[at + 2] != _TEXT_TAG or max(data[at + 1], data[at + 3]) >= 0x80:
                break
            rest = end - score_at - 5
            if end > len(data) or rest not in (0, 2) or data[score_at] != _SCORE_TAG:
                break
            if rest and (data[end - 2] != _KIND_TAG or data[end - 1] >= 0x80):
                break
            text = data[at + 4 : score_at].decode(errors="replace")
            pieces.append((text, _SCORE.unpack_from(data, score_at + 1)[0], data[end - 1] if rest else _NORMAL))
            at = end
        self._fields_left -= 4 * len(pieces)
        return pieces, at

    def _varint(self, at: int, end: int) -> tuple[int, int]:
        """(value, place behind it) of a base-128 number, least significant group first."""
        value = shift = 0
        while at < end and shift < 70:
            byte = self.data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value, at
            shift += 7
        raise Refusal("is cut short or broken: a number passes its end")


def _piece(message: _Message, at: int, end: int) -> tuple[str, float, int]:
    piece, score, kind = "", 0.0, _NORMAL
    for number, wire, value, start, stop in message.fields(at, end):
        if number == 1 and wire == _BYTES:
            piece = message.data[start:stop].decode(errors="replace")
        elif number == 2 and wire == _FIXED32:
            (score,) = _SCORE.unpack_from(message.data, start)
        elif number == 3 and wire == _VARINT:
            kind = value
    return piece, score, kind
