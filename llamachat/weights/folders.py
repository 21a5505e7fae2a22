"""A folder in place of a weight file: which of the files in it stands for the model."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

from llamachat.errors import WeightsError
from llamachat.weights.files import open_regular, reason_of
from llamachat.weights.model_files import ENTRIES_LIMIT

#: Endings that weight files have, when a folder holds none of the files above.
_ENDINGS = (".gguf", ".bin", ".ggml", ".pth", ".pt", ".safetensors")

_GGUF = b"GGUF"

#: Not weights, whatever their ending.
_OTHERS = ("tokenizer.bin", "training_args.bin", "optimizer.bin", "scheduler.bin")


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
    try:
        with os.scandir(folder) as entries:
            names = sorted(entry.name for entry, _ in zip(entries, range(ENTRIES_LIMIT), strict=False))
    except OSError as error:
        raise WeightsError(folder, reason_of(error)) from None
    return folder / entry_among(folder, names)


def entry_among(folder: Path, names: list[str]) -> str:
    """The one of these names (sorted) that stands for the model of a folder with just them. Errors as above."""
    from llamachat.weights import huggingface, meta  # only now: with all that they need they take 10 ms

    for name in (*huggingface.ENTRIES, meta.FIRST_SHARD):  # they stand for a model wherever they are, best first
        if name in names:
            return name
    graphs = [name for name in names if name.endswith(".param")]
    if len(graphs) == 1 and f"{graphs[0].removesuffix('.param')}.bin" in names:
        return graphs[0]
    found = [name for name in names if name.endswith(_ENDINGS) and name not in _OTHERS and not _LATER_PART.search(name)]
    if not found:
        raise WeightsError(folder, "is a folder without a model that llamachat knows")
    if all(map(_SHARD.search, found)):
        raise WeightsError(folder, f"holds {len(found)} shards of a model, and no index of them: no *.index.json")
    if len(found) > 1:
        raise WeightsError(folder, f"is a folder with {len(found)} weight files; name one of them")
    return found[0]


def offered_names(names: list[str]) -> set[str]:
    """Those of a folder's names to offer where a model is chosen: what stands for one, and no part of one that does
    not. By the names alone: nobody's documents are read for it."""
    from llamachat.weights import huggingface, meta  # as above

    entries = {*huggingface.ENTRIES, meta.FIRST_SHARD}
    graphs = {name.removesuffix(".param") for name in names if name.endswith(".param")}
    return {
        name
        for name in names
        if name in entries
        or name.endswith(".param")
        or (
            name.endswith(_ENDINGS)
            and name not in _OTHERS
            and name.removesuffix(".bin") not in graphs
            and not any(part.search(name) for part in (_LATER_PART, _SHARD, meta.SHARD))
        )
    }


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
    return name.endswith((".bin", ".pth", ".pt", ".safetensors", ".param")) and name not in _OTHERS
