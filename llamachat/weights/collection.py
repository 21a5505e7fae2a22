"""A folder of models: which of what lies in it is a model, told by names alone, since nobody waits for a list."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

from llamachat.errors import WeightsError
from llamachat.weights.folders import META_FIRST_SHARD, META_SHARD, NO_WEIGHTS, WEIGHT_ENDINGS, entry_among, names_in
from llamachat.weights.model_files import TOKENIZER_NAMES

#: Files that lie beside a model, and are none.
_BESIDE = frozenset(
    {
        *TOKENIZER_NAMES, *NO_WEIGHTS, "config.json", "generation_config.json", "params.json",
        "special_tokens_map.json", "tokenizer.json", "tokenizer_config.json",
    }
)  # fmt: skip
#: Endings of files that stand for a model.
_ENDINGS = (*WEIGHT_ENDINGS, ".param", ".safetensors.index.json", ".bin.index.json")
#: Entries that are looked at in all folders inside together: 65,536 take 0.05 s.
_ENTRIES_LIMIT = 1 << 16

_GGUF_PART = re.compile(r"(.*)-\d{5}-of-(\d{5})\.gguf", re.DOTALL)
_SHARD = re.compile(r"(.*)-\d{5}-of-\d{5}(\.safetensors|\.bin)", re.DOTALL)


def models_among(folder: Path) -> list[str]:
    """The names in ``folder`` that stand for a model each: of files, and of folders that open as one.

    Of a model in several files it is the first. No file is opened. ``OSError`` where the folder cannot be read.
    """
    with os.scandir(folder) as entries:
        shown = [entry for entry in entries if not entry.name.startswith(".")]
    files = {entry.name for entry in shown if _holds(entry.is_file)}
    models = [name for name in files if _stands_for_one(name, files)]
    return [*models, *_opening_folders(folder, sorted(entry.name for entry in shown if _holds(entry.is_dir)))]


def offered_names(names: Collection[str]) -> set[str]:
    """Those of a folder's names to offer where a file is chosen as model: what stands for one, and ends as one."""
    there = frozenset(names)
    return {name for name in there if name.endswith(_ENDINGS) and _stands_for_one(name, there)}


def _stands_for_one(name: str, beside: Collection[str]) -> bool:
    return name not in _BESIDE and main_file(name, beside) == name


def main_file(name: str, beside: Collection[str]) -> str:
    """The file that is opened for the model of which ``name`` is a file, among those ``beside``; often itself.

    Of parts of a model it is another also where that one is missing: without it they are of no use.
    """
    if match := _GGUF_PART.fullmatch(name):
        return f"{match[1]}-00001-of-{match[2]}.gguf"
    if match := _SHARD.fullmatch(name):
        return f"{match[1]}{match[2]}.index.json"
    if META_SHARD.fullmatch(name):
        return META_FIRST_SHARD
    stem, _, ending = name.rpartition(".")
    main = name
    if ending in ("bin", "desc"):  # of ncnn
        main = f"{stem}.param"
    elif ending.isdecimal() and stem.endswith(WEIGHT_ENDINGS):  # ggml's F.1, F.2; no part is llama-3.1 beside llama-3
        main = stem
    return main if main in beside else name


def size_of(path: Path) -> int:
    """Bytes of all weight files of the model at ``path``, a file or a folder; 0 where there is none. Opens no file."""
    try:
        if path.is_dir():
            folder, names = path, names_in(path)
            main = entry_among(path, names)
        else:
            folder, main = path.parent, path.name
            names = names_in(folder) if _may_have_parts(path) else [main]
    except (OSError, WeightsError):  # OSError: as of a network that is gone
        return 0
    beside = frozenset(names)
    return sum(_bytes(folder / name) for name in names if main_file(name, beside) == main)


def _opening_folders(folder: Path, names: list[str]) -> Iterator[str]:
    left = _ENTRIES_LIMIT
    for name in names:
        try:
            inside = names_in(folder / name)
            left -= len(inside) + 1
            if left < 0:
                return
            entry_among(folder / name, inside)
        except WeightsError:  # it holds no model, or several, or cannot be read
            continue
        yield name


def _may_have_parts(path: Path) -> bool:
    name = path.name
    by_name = _GGUF_PART.fullmatch(name) or name.endswith((".index.json", ".param")) or name == META_FIRST_SHARD
    return bool(by_name) or os.path.lexists(f"{path}.1")


def _holds(question: Callable[[], bool]) -> bool:
    """What a folder's entry answers; False for what cannot be looked at, as a link to itself."""
    try:
        return question()
    except OSError:
        return False


def _bytes(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
