"""How text is cut into words before byte-level BPE joins bytes within them.

GGUF names the way by the model it was made for (``tokenizer.ggml.pre``). Expressions are those that the models were
trained with, in the syntax of the ``tokenizers`` library; several are applied in order, each within what the one
before left.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tokenizers import Regex
from tokenizers.pre_tokenizers import ByteLevel, Digits, PreTokenizer, Sequence, Split

_LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|DIGITS| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)"


def _by(*expressions: str) -> PreTokenizer:
    splits = [Split(Regex(expression), "isolated") for expression in expressions]
    return Sequence([*splits, ByteLevel(add_prefix_space=False, use_regex=False)])


@dataclass(frozen=True)
class Recipe:
    """A way to cut text, and whether a whole word that is a token is taken before any merge is tried."""

    make: Callable[[], PreTokenizer]
    ignore_merges: bool = False


_RECIPES = {
    "gpt-2": Recipe(lambda: ByteLevel(add_prefix_space=False, use_regex=True)),
    "smollm": Recipe(
        lambda: Sequence([Digits(individual_digits=True), ByteLevel(add_prefix_space=False, use_regex=True)])
    ),
    "llama-bpe": Recipe(lambda: _by(_LLAMA3.replace("DIGITS", r"\p{N}{1,3}")), ignore_merges=True),
    "qwen2": Recipe(lambda: _by(_LLAMA3.replace("DIGITS", r"\p{N}"))),
    "default": Recipe(lambda: _by(r"[\p{P}\$\+<=>\^~\|]+", _GPT2, r"\p{N}+", "[0-9][0-9][0-9]")),
}

#: Other names of the same ways.
_ALIASES = {
    "gpt-2": ("phi-2", "mpt", "olmo", "jais"),
    "smollm": ("starcoder", "refact", "command-r", "codeshell", "exaone"),
    "llama-bpe": ("llama3", "llama-v3", "falcon3", "pixtral"),
}
_BY_NAME = _RECIPES | {alias: _RECIPES[name] for name, aliases in _ALIASES.items() for alias in aliases}


def recipe(pre: str) -> Recipe | None:
    """The recipe by the name that a file gives; None if it is not known."""
    return _BY_NAME.get(pre)


DEFAULT = _RECIPES["default"]
