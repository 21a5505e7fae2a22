"""What all vocabularies have in common, whichever file they come from."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import compress, count

from llamachat.vocabulary import SPM_SPACE, TokenKind, Vocabulary
from llamachat.weights.files import Refusal

#: A token with one of these texts ends an answer, whatever else the file says of it.
STOP_TEXTS = frozenset(
    (
        *("</s>", "<eos>", "<EOT>", "[EOT]", "<end_of_turn>"),
        *("<|eot_id|>", "<|im_end|>", "<|end|>", "<|endoftext|>", "<|eom_id|>", "<|end_of_text|>"),
    )
)

#: Of tokens that a converter added to an original vocabulary.
ADDED_SCORE = -1000

_KINDS = {int(kind): kind for kind in TokenKind}


def kinds_of(numbers: Sequence[int], n_vocab: int) -> tuple[TokenKind, ...]:
    """Kinds by their numbers; without any, all tokens are NORMAL."""
    if not numbers:
        return (TokenKind.NORMAL,) * n_vocab
    try:
        return tuple(map(_KINDS.__getitem__, numbers))
    except KeyError:
        return tuple([_KINDS.get(number, TokenKind.UNDEFINED) for number in numbers])


#: The pieces that Llama's vocabularies begin with, in their order, and what each is: so a text tells, where a file
#: does not.
_KIND_BY_TEXT = {"<unk>": TokenKind.UNKNOWN, "<s>": TokenKind.CONTROL, "</s>": TokenKind.CONTROL}
_KIND_BY_TEXT |= {f"<0x{byte:02X}>": TokenKind.BYTE for byte in range(256)}


def kinds_by_text(pieces: Sequence[str]) -> tuple[TokenKind, ...]:
    """Kinds of the pieces of a SentencePiece vocabulary in a file that does not state them."""
    return tuple([_KIND_BY_TEXT.get(piece, TokenKind.NORMAL) for piece in pieces])


def finish_vocabulary(vocabulary: Vocabulary, stops: Iterable[int | None] = ()) -> Vocabulary:
    """The vocabulary with its stop ids: EOS, the ``stops`` given, and the tokens with a stop text.

    All of them, and BOS, become CONTROL tokens, so that no typed text turns into one.
    """
    if not all(map(math.isfinite, vocabulary.scores)):
        raise Refusal("has a vocabulary with scores that are no finite numbers")
    ends = {i for i in (vocabulary.eos_id, *stops) if i is not None}
    ends.update(compress(count(), map(STOP_TEXTS.__contains__, vocabulary.pieces)))
    kinds = list(vocabulary.kinds)
    for i in ends if vocabulary.bos_id is None else ends | {vocabulary.bos_id}:
        kinds[i] = TokenKind.CONTROL
    return replace(vocabulary, kinds=tuple(kinds), stop_ids=frozenset(ends))


def classify_by_id(texts: Sequence[bytes], scores: Sequence[float]) -> Vocabulary:
    """A SentencePiece vocabulary as llama2.c and ggml files hold it: pieces with plain spaces, and no kinds.

    The order says what a token is: unknown, BOS, EOS, the 256 bytes, then pieces. Tokens that a converter
    added to the original vocabulary are the last ones and have the score -1000; they are taken for CONTROL
    tokens, since that is what such files add ("[PAD]", "<|im_end|>").
    """
    if len(texts) < 259:
        raise Refusal(f"has a vocabulary of {len(texts)} tokens; those of Llama begin with 259 fixed ones")
    pieces = [*_KIND_BY_TEXT, *(text.decode(errors="replace").replace(" ", SPM_SPACE) for text in texts[259:])]
    added = _count_added(scores)
    kinds = [*_KIND_BY_TEXT.values()]
    kinds += [TokenKind.NORMAL] * (len(texts) - 259 - added) + [TokenKind.CONTROL] * added
    vocabulary = Vocabulary(
        model="spm",
        pieces=tuple(pieces),
        scores=tuple(scores),
        kinds=tuple(kinds),
        bos_id=1,
        eos_id=2,
        unk_id=0,
    )
    return finish_vocabulary(vocabulary)


def _count_added(scores: Sequence[float]) -> int:
    """How many tokens at the end were added. In a vocabulary of 1260 the last one has that score by its rank."""
    last = len(scores)
    while last > 259 and scores[last - 1] == ADDED_SCORE and last - 1 != 259 - ADDED_SCORE:
        last -= 1
    return len(scores) - last


#: A merge of nothing but spaces is never taken before another.
_SPACES_SCORE = -1e9
_LLAMA_VOCABULARY = 32000


def llama_scores(texts: Sequence[bytes]) -> list[float]:
    """Scores for files that store none: pieces are listed by rank, and Llama's own runs of spaces come last."""
    ranked = [0.0] * min(259, len(texts)) + [float(259 - i) for i in range(259, len(texts))]
    if len(texts) >= _LLAMA_VOCABULARY:
        for i in range(259, _LLAMA_VOCABULARY):
            if not texts[i].strip(b" "):
                ranked[i] = _SPACES_SCORE
    return ranked
