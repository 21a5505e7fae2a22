"""The plain record of a vocabulary: what a weight file holds and a tokenizer is built from.

It stands on the ground floor so that ``weights`` and ``tokenizer`` need not know each other.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Literal

SPM_SPACE = "▁"
"""How SentencePiece writes a space in a piece: U+2581."""


class TokenKind(IntEnum):
    """What a token is for; the numbers are SentencePiece's and GGUF's."""

    UNDEFINED = 0
    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    USER_DEFINED = 4
    UNUSED = 5
    BYTE = 6


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Tokens by id, and how text becomes ids.

    ``model`` is ``"spm"`` (SentencePiece BPE, pieces with U+2581 for spaces) or ``"bpe"``
    (byte-level BPE, pieces in the GPT-2 byte alphabet, with ``merges`` and ``pre``).
    ``pieces``, ``scores`` and ``kinds`` have one entry per id (``scores`` may be empty for BPE).
    ``merges`` are as files write them, best first: ``"left right"``, parted by the first space that
    is not the first character. ``pre`` names the pre-tokenizer; empty where the file names none.
    ``stop_ids`` are the tokens that end an answer.
    ``model_proto`` is the SentencePiece file itself where the vocabulary came from one: it then
    goes to the library unchanged, since it also records settings that other containers lose.
    ``rewrites_text`` says that one of those has text changed beyond its spaces before it becomes tokens.
    """

    model: Literal["spm", "bpe"]
    pieces: tuple[str, ...]
    scores: tuple[float, ...]
    kinds: tuple[TokenKind, ...]
    merges: tuple[str, ...] = ()
    pre: str = ""
    bos_id: int | None = None
    eos_id: int | None = None
    unk_id: int | None = None
    add_bos: bool = True
    add_eos: bool = False
    add_space_prefix: bool = True
    remove_extra_whitespaces: bool = False
    stop_ids: frozenset[int] = frozenset()
    model_proto: bytes | None = field(default=None, repr=False)
    rewrites_text: bool = False

    def __len__(self) -> int:
        return len(self.pieces)

    def ids_of_kinds(self, *wanted: TokenKind) -> list[int]:
        """The ids of the tokens of these kinds, in order."""
        # By identity, and without an enum's own look-up or hash: those would take a large vocabulary 10 ms.
        return [id_ for id_, kind in enumerate(self.kinds) if kind in wanted]
