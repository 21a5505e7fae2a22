"""What models are called, told by their files' names alone."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

_ENDING = re.compile(
    r"(-00001-of-\d{5})?\.(gguf|ggml|ggjt|bin|pth|pt|param|safetensors|(safetensors|bin)\.index\.json)\Z", re.IGNORECASE
)


def model_name(path: Path) -> str:
    """What to call a model: the name of its folder, or of its file without the ending, and without a part's number.

    Only endings of weight files are taken off: that of TinyLlama-1.1B-Chat-v1.0, a folder, is none.
    """
    return _ENDING.sub("", path.name) or path.name


def model_names(files: Sequence[Path]) -> list[str]:
    """What to call each of the models of the models folder; where two have one name, their files' names."""
    names = [model_name(file) for file in files]
    shared = Counter(name.casefold() for name in names)
    return [name if shared[name.casefold()] == 1 else file.name for name, file in zip(names, files, strict=True)]
