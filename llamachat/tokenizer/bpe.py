"""Byte-level BPE vocabularies (Llama 3, SmolLM2), through the ``tokenizers`` library."""

from __future__ import annotations

from tokenizers import AddedToken
from tokenizers import Tokenizer as Library
from tokenizers.models import BPE

from llamachat.display import clean_line
from llamachat.errors import TokenizerError
from llamachat.tokenizer.base import Tokenizer
from llamachat.tokenizer.pre_tokenizers import DEFAULT, recipe
from llamachat.vocabulary import TokenKind, Vocabulary

#: Not given to the library, so that no text can become one, by merges or by its own spelling.
_WITHHELD = frozenset((TokenKind.CONTROL, TokenKind.UNKNOWN))


class ByteLevelTokenizer(Tokenizer):
    """Text by byte-level BPE."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        found = recipe(vocabulary.pre)
        if found is None:
            self.notices = (_notice(vocabulary.pre),)
            found = DEFAULT
        ids: dict[str, int] = {}
        for id_, (piece, kind) in enumerate(zip(vocabulary.pieces, vocabulary.kinds, strict=True)):
            if kind not in _WITHHELD:
                ids.setdefault(piece, id_)
        try:
            model = BPE(vocab=ids, merges=_merges(vocabulary, ids), ignore_merges=found.ignore_merges)
            self._library = Library(model)
        except Exception as error:  # the library has no exception of its own
            raise TokenizerError(f"the vocabulary is refused: {clean_line(str(error))}") from None
        self._library.pre_tokenizer = found.make()
        own = [p for p, kind in zip(vocabulary.pieces, vocabulary.kinds, strict=True) if kind is TokenKind.USER_DEFINED]
        self._library.add_tokens([AddedToken(piece, special=False, normalized=False) for piece in own if piece])
        super().__init__(vocabulary, _surfaces(vocabulary), "replace")

    def _encode(self, text: str) -> list[int]:
        return self._library.encode(text, add_special_tokens=False).ids


def _notice(pre: str) -> str:
    what = f"names a pre-tokenizer that is not known, '{clean_line(pre, 40)}'" if pre else "names no pre-tokenizer"
    return f"The vocabulary {what}: words are cut by general rules, and answers may be worse than they could be."


def _merges(vocabulary: Vocabulary, ids: dict[str, int]) -> list[tuple[str, str]]:
    """The merges whose parts and result are tokens; the library takes no others."""
    merges = []
    for merge in vocabulary.merges:
        at = merge.find(" ", 1)
        left, right = merge[:at], merge[at + 1 :]
        if at > 0 and left in ids and right in ids and left + right in ids:
            merges.append((left, right))
    return merges


def _alphabet() -> dict[int, str]:
    """GPT-2's alphabet for ``str.translate``: to each character the Latin-1 one of the byte it stands for.

    Printable Latin-1 characters stand for themselves, the other 68 bytes have U+0100 and up, in order. Characters
    that stand for no byte become one that is not in Latin-1.
    """
    plain = {*range(33, 127), *range(161, 173), *range(174, 256)}
    others = [byte for byte in range(256) if byte not in plain]
    return dict.fromkeys(others, "\uffff") | {0x100 + i: chr(byte) for i, byte in enumerate(others)}


def _surfaces(vocabulary: Vocabulary) -> list[bytes]:
    alphabet = _alphabet()
    surfaces = []
    for piece, kind in zip(vocabulary.pieces, vocabulary.kinds, strict=True):
        if kind is TokenKind.CONTROL:
            surfaces.append(b"")
        elif kind is TokenKind.USER_DEFINED:
            surfaces.append(piece.encode())
        else:
            try:
                surfaces.append(piece.translate(alphabet).encode("latin-1"))
            except UnicodeEncodeError:  # not in the alphabet: plain text, as the library takes it
                surfaces.append(piece.encode())
    return surfaces
