"""Special tokens that stand literally in the text of a prompt template."""

from __future__ import annotations

from collections.abc import Iterator

from llamachat.vocabulary import TokenKind, Vocabulary

#: The kinds of tokens whose text may stand in a template.
KINDS = (TokenKind.CONTROL, TokenKind.UNKNOWN, TokenKind.USER_DEFINED)


class SpecialTokens:
    """The special tokens of a vocabulary by their text."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.ids: dict[str, int] = {}
        for id_ in vocabulary.ids_of_kinds(*KINDS):
            if vocabulary.pieces[id_]:
                self.ids.setdefault(vocabulary.pieces[id_], id_)
        lengths: dict[str, set[int]] = {}
        for text in self.ids:
            lengths.setdefault(text[0], set()).add(len(text))
        #: By first character, the lengths that special tokens have, longest first: a look-up for each
        #: finds the longest, and no pattern has to be compiled of a hostile million of them.
        self._lengths = {first: sorted(found, reverse=True) for first, found in lengths.items()}

    def split(self, text: str) -> Iterator[int | str]:
        """The ids of special tokens, leftmost and longest first, and the text between them, never empty."""
        start = at = 0
        while at < len(text):
            match = self._at(text, at)
            if match is None:
                at += 1
                continue
            if start < at:
                yield text[start:at]
            yield self.ids[match]
            start = at = at + len(match)
        if start < at:
            yield text[start:]

    def _at(self, text: str, at: int) -> str | None:
        for length in self._lengths.get(text[at], ()):
            if text[at : at + length] in self.ids:
                return text[at : at + length]
        return None
