"""Text to token ids and back, by the libraries that the models were trained with."""

from __future__ import annotations

from llamachat.errors import TokenizerError
from llamachat.tokenizer.base import TextStream, Tokenizer
from llamachat.vocabulary import Vocabulary

__all__ = ["TextStream", "Tokenizer", "load_tokenizer"]


def load_tokenizer(vocabulary: Vocabulary) -> Tokenizer:
    """The tokenizer of a vocabulary. ``TokenizerError`` if none can be built from it."""
    # Each library is imported when a vocabulary needs it.
    if vocabulary.model == "spm":
        from llamachat.tokenizer.spm import SentencePieceTokenizer

        return SentencePieceTokenizer(vocabulary)
    if vocabulary.model == "bpe":
        from llamachat.tokenizer.bpe import ByteLevelTokenizer

        return ByteLevelTokenizer(vocabulary)
    raise TokenizerError(f"no tokenizer for vocabularies of the kind {vocabulary.model!r}")
