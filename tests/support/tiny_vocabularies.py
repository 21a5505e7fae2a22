"""Small vocabularies made on the spot, one of each kind."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice, product

from llamachat.vocabulary import SPM_SPACE, TokenKind, Vocabulary

_LETTERS = "etaoinshrdlucmfwypvbgkjqxz"
_SINGLES = SPM_SPACE + _LETTERS + ".,!?'TOWIHA"
#: Left and right halves of pieces in the order they merge, spaces as ``_``.
_MERGES = [
    *("_ t", "h e", "_ a", "i n", "r e", "_t he", "o n", "e r", "n d", "_ s", "_ w", "o u", "a t", "_a nd"),
    *("e n", "_ c", "i t", "i s", "in g", "_ o", "_o f", "_t o", "_ b", "l l", "_w as"),
]


def _pairs() -> Iterator[tuple[str, str]]:
    """The merges above, then more of single letters, without end of use and without repeats."""
    seen = set()
    for merge in _MERGES:
        left, right = merge.split(" ")
        seen.add(left + right)
        yield left, right
    for left, right in product(_LETTERS, repeat=2):
        if left + right not in seen:
            yield left, right


def spm_vocabulary(n_vocab: int = 320, *, add_space_prefix: bool = True) -> Vocabulary:
    """A SentencePiece vocabulary in Llama 2's order: unknown, BOS, EOS, 256 bytes, then pieces (at least 300)."""
    n_merges = n_vocab - 259 - len(_SINGLES)
    merged = [(left + right).replace("_", SPM_SPACE) for left, right in islice(_pairs(), n_merges)]
    pieces = ("<unk>", "<s>", "</s>", *(f"<0x{b:02X}>" for b in range(256)), *merged, *_SINGLES)
    if len(pieces) != n_vocab:
        raise ValueError(f"no SentencePiece vocabulary of {n_vocab} tokens can be made")
    normal = n_vocab - 259
    return Vocabulary(
        model="spm",
        pieces=pieces,
        scores=(0.0,) * 259 + tuple(-float(rank) for rank in range(normal)),
        kinds=(
            TokenKind.UNKNOWN,
            TokenKind.CONTROL,
            TokenKind.CONTROL,
            *(TokenKind.BYTE,) * 256,
            *(TokenKind.NORMAL,) * normal,
        ),
        bos_id=1,
        eos_id=2,
        unk_id=0,
        add_space_prefix=add_space_prefix,
        stop_ids=frozenset({2}),
    )


def byte_alphabet() -> list[str]:
    """GPT-2's printable character of each byte: itself where it is printable Latin-1, else from U+0100 on."""
    plain = {*range(33, 127), *range(161, 173), *range(174, 256)}
    shifted = iter(range(0x100, 0x200))
    return [chr(b) if b in plain else chr(next(shifted)) for b in range(256)]


def bpe_vocabulary(n_vocab: int = 320, *, pre: str = "smollm", add_bos: bool = False) -> Vocabulary:
    """A byte-level BPE vocabulary in SmolLM2's order: three control tokens, 256 bytes, then merges (at least 259)."""
    control = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
    merges = tuple(f"{left} {right}".replace("_", "Ġ") for left, right in islice(_pairs(), n_vocab - 259))
    pieces = (*control, *byte_alphabet(), *(merge.replace(" ", "") for merge in merges))
    if len(pieces) != n_vocab:
        raise ValueError(f"no BPE vocabulary of {n_vocab} tokens can be made")
    return Vocabulary(
        model="bpe",
        pieces=pieces,
        scores=(),
        kinds=(TokenKind.CONTROL,) * 3 + (TokenKind.NORMAL,) * (n_vocab - 3),
        merges=merges,
        pre=pre,
        bos_id=1,
        eos_id=2,
        unk_id=0,
        add_bos=add_bos,
        add_space_prefix=False,
        stop_ids=frozenset({0, 2}),
    )
