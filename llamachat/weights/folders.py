"""A folder in place of a weight file: which of the files in it stands for the model."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

from llamachat.errors import WeightsError
from llamachat.files.reasons import reason_of
from llamachat.weights.files import open_regular
from llamachat.weights.model_files import ENTRIES_LIMIT

#: The files that stand for a model in Hugging Face's layout, best first.
HUGGINGFACE_ENTRIES = (
    "model.safetensors.index.json",
    "model.safetensors",
    "pytorch_model.bin.index.json",
    "pytorch_model.bin",
)
#: The file that stands for a model in Meta's layout.
META_FIRST_SHARD = "consolidated.00.pth"
META_SHARD = re.compile(r"consolidated\.(\d\d)\.pth")

#: Endings that weight files have, when a folder holds none of the files above.
WEIGHT_ENDINGS = (".gguf", ".bin", ".ggml", ".pth", ".pt", ".safetensors")

_GGUF = b"GGUF"

#: Not weights, whatever their ending.
NO_WEIGHTS = ("tokenizer.bin", "training_args.bin", "optimizer.bin", "scheduler.bin")


#: Part 2 and later of a split GGUF.
_LATER_PART = re.compile(r"-(?!00001-)\d{5}-of-\d{5}\.gguf")


#: A part of Hugging Face's layout, of no use without the index.
_SHARD = re.compile(r"-\d{5}-of-\d{5}\.(safetensors|bin)$")


def weight_file_in(folder: Path) -> Path | None:
    """The file to open where ``folder`` is one; None if it is none. ``WeightsError`` if it holds no model, or several.

    Of a model in several files it is the first.
    """
    try:
        if not stat.S_ISDIR(folder.stat().st_mode):
            return None
    except (OSError, ValueError):
        return None  # whoever opens it as a file says what is wrong
    return folder / entry_among(folder, names_in(folder))


def names_in(folder: Path) -> list[str]:
    """The names in a folder, as many as are looked at, sorted. ``WeightsError`` where it cannot be read."""
    try:
        with os.scandir(folder) as entries:
            return sorted(entry.name for entry, _ in zip(entries, range(ENTRIES_LIMIT), strict=False))
    except OSError as error:
        raise WeightsError(folder, reason_of(error)) from None


def entry_among(folder: Path, names: list[str]) -> str:
    """The one of these names (sorted) that stands for the model of a folder with just them. Errors as above."""
    for name in (*HUGGINGFACE_ENTRIES, META_FIRST_SHARD):  # they stand for a model wherever they are, best first
        if name in names:
            return name
    graphs = [name for name in names if name.endswith(".param")]
    if len(graphs) == 1 and f"{graphs[0].removesuffix('.param')}.bin" in names:
        return graphs[0]
    weights = [name for name in names if name.endswith(WEIGHT_ENDINGS) and name not in NO_WEIGHTS]
    found = [name for name in weights if not _LATER_PART.search(name)]
    if not found:
        raise WeightsError(folder, "is a folder without a model that llamachat knows")
    if all(map(_SHARD.search, found)):
        raise WeightsError(folder, f"holds {len(found)} shards of a model, and no index of them: no *.index.json")
    if len(found) > 1:
        raise WeightsError(folder, f"is a folder with {len(found)} weight files; name one of them")
    return found[0]


def begins_as_gguf(path: Path) -> bool:
    """Whether a file's first bytes are a GGUF's; False where it cannot be read."""
    try:
        file = open_regular(path)
    except WeightsError:
        return False
    try:
        return file.size >= len(_GGUF) and file.read(0, len(_GGUF)) == _GGUF
    except WeightsError:
        return False
    finally:
        file.close()


def may_need_others(name: str) -> bool:
    """Whether a file of this name may be a model that needs files beside it: a vocabulary, a configuration."""
    return name.endswith((".bin", ".pth", ".pt", ".safetensors", ".param")) and name not in NO_WEIGHTS
