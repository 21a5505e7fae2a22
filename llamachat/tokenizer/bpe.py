"""Byte-level BPE vocabularies (Llama 3, SmolLM2), through the ``tokenizers`` library."""

from __future__ import annotations

import contextlib
import re
from functools import cache
from typing import Any

from tokenizers import AddedToken
from tokenizers import Tokenizer as Library
from tokenizers.models import BPE

from llamachat.display import clean_line
from llamachat.errors import TokenizerError
from llamachat.tokenizer.base import Tokenizer
from llamachat.tokenizer.pre_tokenizers import DEFAULT, recipe
from llamachat.vocabulary import TokenKind, Vocabulary

#: Where every way to cut text ends a word, by the character before and the one after: before a space that follows
#: anything else, before a line's end or a sign that follows a letter, before a line's end that follows a digit. (Behind
#: signs, some ways keep a line's end.) The expressions look back nowhere, so that they go on from there as from the
#: beginning of a text. Letters and signs are those of the first versions of Unicode, on which all libraries agree.
_CUT = re.compile(
    r"\S(?= )|[0-9](?=[\r\n])"
    r"|[A-Za-z\u3041-\u3094\u30a1-\u30fa\u4e00-\u9fa5](?=[\r\n.,;:!?\u3001\u3002\uff01\uff0c\uff1a\uff1b\uff1f])"
)
_LONG = 1 << 18
_NEAR = 1024  #: characters before the end of a part that are searched first


class ByteLevelTokenizer(Tokenizer):
    """Text by byte-level BPE."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        found = recipe(vocabulary.pre)
        if found is None:
            self.notices = (_notice(vocabulary.pre),)
            found = DEFAULT
        ids = _ids(vocabulary)
        try:
            self._library = Library(_model(vocabulary, ids, ignore_merges=found.ignore_merges))
        except Exception as error:  # the library has no exception of its own
            raise TokenizerError(f"the vocabulary is refused: {clean_line(str(error))}") from None
        self._library.pre_tokenizer = found.make()
        own = [vocabulary.pieces[id_] for id_ in vocabulary.ids_of_kinds(TokenKind.USER_DEFINED)]
        self._library.add_tokens([AddedToken(piece, special=False, normalized=False) for piece in own if piece])
        self._cuts = not any(_CUT.search(piece) for piece in own)  # such a token is found before words are cut
        super().__init__(vocabulary, "replace")

    def cut(self, text: str, start: int, end: int) -> int:
        """The last end of a word."""
        if self._cuts:
            for first in (max(start, end - _NEAR), start):
                places = [match.end() for match in _CUT.finditer(text, first, end)]
                if places:
                    return places[-1]
        return start

    def _encode(self, text: str) -> list[int]:
        if len(text) > _LONG:  # the one call that lets other threads run meanwhile; it starts some of its own
            return self._library.encode_batch_fast([text], add_special_tokens=False)[0].ids
        return self._library.encode(text, add_special_tokens=False).ids

    def _surface(self, id_: int) -> bytes:
        piece, kind = self.vocabulary.pieces[id_], self.vocabulary.kinds[id_]
        if kind is TokenKind.CONTROL:
            return b""
        if kind is not TokenKind.USER_DEFINED:
            with contextlib.suppress(UnicodeEncodeError):  # not in the alphabet: plain text, as the library takes it
                return piece.translate(_alphabet()).encode("latin-1")
        return piece.encode()


def _notice(pre: str) -> str:
    what = f"names a pre-tokenizer that is not known, '{clean_line(pre, 40)}'" if pre else "names no pre-tokenizer"
    return f"The vocabulary {what}: words are cut by general rules, and answers may be worse than they could be."


def _ids(vocabulary: Vocabulary) -> dict[str, int]:
    """The ids of texts that the library may give, the lowest where a text is there twice.

    Control tokens and the unknown one are not among them, so that no text can become one, by merges or by its own
    spelling.
    """
    names: list[str | None] = list(vocabulary.pieces)
    for id_ in vocabulary.ids_of_kinds(TokenKind.CONTROL, TokenKind.UNKNOWN):
        names[id_] = None
    ids: dict[Any, int] = dict(zip(reversed(names), range(len(names) - 1, -1, -1), strict=True))
    ids.pop(None, None)
    return ids


def _model(vocabulary: Vocabulary, ids: dict[str, int], *, ignore_merges: bool) -> BPE:
    """The library's model. It takes no merges but those whose parts and result are tokens; most files have no others.

    A vocabulary of 49,152 tokens takes it 20 ms, and to look at all of its merges in Python as long again.
    """
    merges: list[Any] = [tuple(merge.split(" ")) for merge in vocabulary.merges]
    with contextlib.suppress(Exception):
        return BPE(vocab=ids, merges=merges, ignore_merges=ignore_merges)
    return BPE(vocab=ids, merges=_fit_merges(vocabulary, ids), ignore_merges=ignore_merges)


def _fit_merges(vocabulary: Vocabulary, ids: dict[str, int]) -> list[tuple[str, str]]:
    """The merges whose parts and result are tokens."""
    merges = []
    for merge in vocabulary.merges:
        at = merge.find(" ", 1)
        left, right = merge[:at], merge[at + 1 :]
        if at > 0 and left in ids and right in ids and left + right in ids:
            merges.append((left, right))
    return merges


@cache
def _alphabet() -> dict[int, str]:
    """GPT-2's alphabet for ``str.translate``: to each character the Latin-1 one of the byte it stands for.

    Printable Latin-1 characters stand for themselves, the other 68 bytes have U+0100 and up, in order. Characters
    that stand for no byte become one that is not in Latin-1.
    """
    plain = {*range(33, 127), *range(161, 173), *range(174, 256)}
    others = [byte for byte in range(256) if byte not in plain]
    return dict.fromkeys(others, "\uffff") | {0x100 + i: chr(byte) for i, byte in enumerate(others)}
