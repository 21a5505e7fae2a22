"""What every tokenizer does: text to ids, ids to text, and text as it streams."""

from __future__ import annotations

import codecs
from abc import ABC, abstractmethod
from collections.abc import Iterable

from llamachat.errors import TokenizerError
from llamachat.tokenizer.special import SpecialTokens
from llamachat.vocabulary import Vocabulary


class Tokenizer(ABC):
    """A vocabulary in use. Methods may be called from any thread; a ``TextStream`` belongs to one."""

    vocabulary: Vocabulary
    notices: tuple[str, ...] = ()  #: what a person should know about it, a line each
    control_parts_characters = False  #: whether bytes before and after a control token are no one character

    def __init__(self, vocabulary: Vocabulary, errors: str) -> None:
        """``errors`` says how bytes that are no UTF-8 show."""
        self.vocabulary = vocabulary
        self._surfaces: dict[int, bytes] = {}  # those asked for; to make all takes as long as to load a small model
        self._errors = errors
        self._special = SpecialTokens(vocabulary)

    @property
    def n_vocab(self) -> int:
        """How many ids there are."""
        return len(self.vocabulary)

    def encode(self, text: str) -> list[int]:
        """The ids of plain text: never a control token's, and without BOS and EOS."""
        return self._encode(encodable(text)) if text else []

    def cut(self, text: str, start: int, end: int) -> int:  # noqa: ARG002
        """The last place before ``end`` and behind ``start`` where no token can span, whatever is around it.

        ``start`` where none is known. What is encoded up to such a place, and ``encode_behind`` it, are together what
        ``encode`` gives.
        """
        return start

    def encode_behind(self, text: str, start: int, end: int) -> list[int]:
        """The ids of ``text[start:end]`` as it goes on, ``start`` being its beginning or a ``cut``."""
        return self.encode(text[start:end])

    def encode_special(self, text: str) -> list[int]:
        """The ids of text of our own in which special tokens stand literally, as in a prompt template.

        Never to be used for what a person wrote: ``</s>`` would become the end of text.
        """
        ids: list[int] = []
        for part in self._special.split(encodable(text)):
            ids += [part] if isinstance(part, int) else self._encode(part)
        return ids

    def special_id(self, text: str) -> int | None:
        """The id of the control or user-defined token with this text."""
        return self._special.ids.get(text)

    def decode(self, ids: Iterable[int]) -> str:
        """The text of ids: what a stream from the start gives, an incomplete character at the end as U+FFFD."""
        stream = self.stream()
        return "".join([stream.push(id_) for id_ in ids]) + stream.flush()

    def stream(self, *, at_start: bool = True) -> TextStream:
        """Text out of ids as they come. ``at_start``: without the space that a first word has but the text has not."""
        return TextStream(self, at_start=at_start)

    def piece(self, id_: int) -> str:
        """One token for display: its own bytes as text, U+FFFD for parts of characters, nothing for control tokens."""
        return self.surface(id_).decode(errors=self._errors)

    def surface(self, id_: int) -> bytes:
        """The bytes that an id stands for; ``TokenizerError`` if there is no such id."""
        found = self._surfaces.get(id_)
        if found is None:
            if not 0 <= id_ < self.n_vocab:
                raise TokenizerError(f"token {id_} is outside the vocabulary of {self.n_vocab}")
            found = self._surfaces[id_] = self._surface(id_)
        return found

    def opening(self, id_: int) -> tuple[bytes, bool]:
        """What an id stands for where a text begins, and whether the text still begins after it."""
        return self.surface(id_), False

    @property
    def errors(self) -> str:
        """How bytes that are no UTF-8 show: the name of an error handler of ``codecs``."""
        return self._errors

    @abstractmethod
    def _surface(self, id_: int) -> bytes:
        """The bytes that an id of the vocabulary stands for."""

    @abstractmethod
    def _encode(self, text: str) -> list[int]:
        """The ids of text that is not empty and can be written as UTF-8."""


class TextStream:
    """Turns ids into text one by one, holding back what is not yet a whole character.

    The texts that ``push`` and ``flush`` give are together what the library decodes from all ids at once.
    """

    def __init__(self, tokenizer: Tokenizer, *, at_start: bool) -> None:
        self._tokenizer = tokenizer
        self._at_start = at_start
        self._decoder = codecs.getincrementaldecoder("utf-8")(tokenizer.errors)

    def push(self, id_: int) -> str:
        """The text that an id completes; empty for control tokens and while a character is incomplete."""
        if self._at_start:
            surface, self._at_start = self._tokenizer.opening(id_)
        else:
            surface = self._tokenizer.surface(id_)
        if not surface and self._tokenizer.control_parts_characters:
            return self.flush()
        return self._decoder.decode(surface)

    def flush(self) -> str:
        """What was held back, as U+FFFD. The stream may go on after it."""
        return self._decoder.decode(b"", final=True)


def encodable(text: str) -> str:
    """The text with U+FFFD for lone surrogates, which no encoding can carry; a pair of them is one character."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text
