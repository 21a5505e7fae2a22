"""Vocabularies as llama2.c and ggml write them: texts and scores in the order that says what each token is.

Such files know SentencePiece's vocabularies only: unknown, BOS, EOS, the 256 bytes, then pieces, and at the end tokens
that were added, with the score -1000. Whether a vocabulary is such is found out by reading it back.
"""

from __future__ import annotations

import struct

from llamachat.vocabulary import SPM_SPACE, TokenKind, Vocabulary
from llamachat.weights.tokens import ADDED_SCORE, classify_by_id

_FIXED = 259  # tokens whose place says what they are

TOKENIZER_BIN = "tokenizer.bin"

Tokens = list[tuple[bytes, float]]


def plain_tokens(vocabulary: Vocabulary) -> Tokens | None:
    """Text and score of each token, spaces plain; None if a reader would make another vocabulary of it."""
    if vocabulary.model != "spm" or len(vocabulary) < _FIXED:
        return None
    texts = [piece.replace(SPM_SPACE, " ").encode("utf-8", "replace") for piece in vocabulary.pieces]
    scores = list(vocabulary.scores)
    last = len(texts)
    while last > _FIXED and vocabulary.kinds[last - 1] in (TokenKind.CONTROL, TokenKind.USER_DEFINED):
        last -= 1
        scores[last] = float(ADDED_SCORE)
    read = classify_by_id(texts, scores)
    same_kinds = all(
        a is b or {a, b} == {TokenKind.CONTROL, TokenKind.USER_DEFINED}
        for a, b in zip(read.kinds, vocabulary.kinds, strict=True)
    )
    return list(zip(texts, scores, strict=True)) if read.pieces == vocabulary.pieces and same_kinds else None


def losses(vocabulary: Vocabulary) -> list[str]:
    """What such files cannot say of a vocabulary, and what readers take for it."""
    lost = []
    if vocabulary.remove_extra_whitespaces:
        lost.append("the vocabulary's rule to drop extra spaces is lost: the format has no room for it")
    if not vocabulary.add_space_prefix:
        lost.append("readers of the new file will put a space before each text, as this vocabulary does not")
    return lost


def tokenizer_bin(tokens: Tokens) -> bytes:
    """llama2.c's tokenizer.bin: u32 longest text, then per token f32 score, u32 length, bytes."""
    texts = [text for text, _ in tokens]
    texts[:3] = [b"<unk>", b"\n<s>\n", b"\n</s>\n"]  # as its exporter writes them
    out = bytearray(struct.pack("<I", max(map(len, texts))))
    for text, (_, score) in zip(texts, tokens, strict=True):
        out += struct.pack("<fI", score, len(text)) + text
    return bytes(out)


def ggml_tokens(tokens: Tokens) -> bytes:
    """The list in a ggml file: u32 length, bytes, f32 score; the 256 bytes are the bytes themselves."""
    out = bytearray()
    for i, (text, score) in enumerate(tokens):
        if i < _FIXED:
            text = " \u2047 ".encode() if i == 0 else b"" if i < 3 else bytes((i - 3,))
        out += struct.pack("<I", len(text)) + text + struct.pack("<f", score)
    return bytes(out)
