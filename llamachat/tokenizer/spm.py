"""SentencePiece vocabularies, through the library that Llama 2 was trained with."""

from __future__ import annotations

import codecs
import operator
import re
from functools import cached_property

from sentencepiece import SentencePieceProcessor, set_min_log_level

from llamachat.display import clean_line
from llamachat.errors import TokenizerError
from llamachat.tokenizer.base import Tokenizer
from llamachat.tokenizer.model_proto import build_model_proto
from llamachat.vocabulary import SPM_SPACE, TokenKind, Vocabulary


def _replace_each_byte(error: UnicodeError) -> tuple[str, int]:
    """SentencePiece shows every byte that is no UTF-8 as one U+FFFD; Python's own handler joins them."""
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return "\ufffd" * (error.end - error.start), error.end


set_min_log_level(3)  # what is wrong comes as an exception; lines on standard error would spoil the screen

#: Where in the library's source an exception comes from, and the condition that did not hold.
_IN_ITS_SOURCE = re.compile(r"^[A-Z_]+: (\S+\.cc\(\d+\))?|\[[^\]]*\]")

#: A character for private use. Where it is a token after all, no harm is done.
_UNKNOWN = "\ue000"

_ERRORS = "llamachat-replace-each-byte"
codecs.register_error(_ERRORS, _replace_each_byte)


class SentencePieceTokenizer(Tokenizer):
    """Text by SentencePiece. A ``tokenizer.model`` goes to the library as it is; other vocabularies are rebuilt."""

    control_parts_characters = True

    def __init__(self, vocabulary: Vocabulary) -> None:
        try:
            self._library = SentencePieceProcessor(model_proto=vocabulary.model_proto or build_model_proto(vocabulary))
            found = self._library.vocab_size()
            unknown_ids = [id_ for id_ in (self._library.unk_id(),) if id_ >= 0] or [
                id_ for id_ in range(found) if self._library.is_unknown(id_)
            ]
            unknown: str = self._library.decode(unknown_ids[:1])
        except (RuntimeError, ValueError, OSError) as error:  # what its binding makes of C++ exceptions
            reason = clean_line(_IN_ITS_SOURCE.sub("", str(error))).strip(" .")
            raise TokenizerError(f"SentencePiece refuses the vocabulary{': ' * bool(reason)}{reason}") from None
        if found != len(vocabulary):
            raise TokenizerError(f"SentencePiece finds {found} tokens in a vocabulary of {len(vocabulary)}")
        self._unknown = unknown.encode()
        self._bytes = {
            id_: _BYTES.get(piece := vocabulary.pieces[id_]) or _byte(piece)
            for id_ in vocabulary.ids_of_kinds(TokenKind.BYTE)
        }
        self._cuts = vocabulary.model_proto is None or not vocabulary.rewrites_text
        self._uncut = {" ", SPM_SPACE} if vocabulary.remove_extra_whitespaces else set()  # at an end they would go
        super().__init__(vocabulary, _ERRORS)

    def cut(self, text: str, start: int, end: int) -> int:
        """The last two characters that stand beside each other in no token: merges give nothing but tokens."""
        if self._cuts:
            pairs, letters = self._pairs
            for place in range(end - 1, start, -1):
                pair = text[place - 1 : place + 1]
                if (letters is None or pair[1] in letters) and pair not in pairs and self._uncut.isdisjoint(pair):
                    return place
        return start

    def encode_behind(self, text: str, start: int, end: int) -> list[int]:
        """Encodes it behind one more character, so that it gets no space in front, and drops what that gives."""
        if not start:
            return self.encode(text[:end])
        return self.encode(text[start - 1 : end])[len(self.encode(text[start - 1])) :]

    @cached_property
    def _pairs(self) -> tuple[set[str], set[str] | None]:
        """All pairs of characters in tokens, and the characters that may follow a cut, None for all.

        Of unknown characters that stand beside each other the library makes one token, unless it has bytes for them:
        then only those that are tokens may follow. Spaces are there as in text and as in tokens.
        """
        pairs: set[str] = set()
        letters: set[str] = set()
        pieces: list[str] = self._library.id_to_piece(list(range(self.n_vocab)))
        for piece, kind in zip(pieces, self.vocabulary.kinds, strict=True):
            pairs.update(map(operator.add, piece, piece[1:]))
            if len(piece) == 1 and kind is TokenKind.NORMAL:
                letters.add(piece)
        for found in (pairs, letters):
            found |= {each.replace(SPM_SPACE, " ") for each in found}
        pairs |= {f"{SPM_SPACE} ", f" {SPM_SPACE}"}  # of a space and what is written for one
        return pairs, None if self.encode(_UNKNOWN)[-1] in self._bytes else letters

    def _encode(self, text: str) -> list[int]:
        ids: list[int] = self._library.encode(text)
        return ids

    def opening(self, id_: int) -> tuple[bytes, bool]:
        """As the library decodes: one space is dropped before the first word, or where it removes extra ones, all."""
        surface = self.surface(id_)
        v = self.vocabulary
        if v.kinds[id_] is TokenKind.CONTROL:
            return b"", True
        if v.kinds[id_] in (TokenKind.BYTE, TokenKind.UNKNOWN):
            return surface, False
        if v.pieces[id_].startswith(SPM_SPACE) and (v.add_space_prefix or v.remove_extra_whitespaces):
            return surface[1:], v.remove_extra_whitespaces and len(surface) == 1
        return surface, not surface

    def _surface(self, id_: int) -> bytes:
        kind = self.vocabulary.kinds[id_]
        if kind is TokenKind.CONTROL:
            return b""
        if kind is TokenKind.UNKNOWN:
            return self._unknown
        if kind is TokenKind.BYTE:
            return self._bytes[id_]
        return self.vocabulary.pieces[id_].replace(SPM_SPACE, " ").encode()


#: As every vocabulary names them.
_BYTES = {f"<0x{byte:02X}>": bytes((byte,)) for byte in range(256)}


def _byte(piece: str) -> bytes:
    """The byte that ``<0x0A>`` stands for."""
    try:
        return bytes((int(piece[3:5], 16),))
    except ValueError:
        raise TokenizerError(f"the vocabulary has a byte token that names no byte: {piece[:20]!r}") from None
