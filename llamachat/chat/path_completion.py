"""Completing the path of a model that is being typed. It reads folders, which may take long: see ``PathLookup``."""

from __future__ import annotations

import os
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from llamachat.display import clean
from llamachat.weights.collection import offered_names
from llamachat.weights.folders import begins_as_gguf

_ENTRIES_LIMIT = 50_000
"""Entries of a folder that are looked at: a tenth of a second. Nobody looks for a model among more."""


@dataclass(frozen=True, slots=True)
class PathCompletions:
    """What a typed path may become, by name, and how far all of that agrees. Folders end in a slash."""

    paths: tuple[str, ...] = ()
    common: str = ""
    is_folder: bool = False  #: whether it is the path of a folder as it stands


def complete_path(typed: str) -> PathCompletions:
    """The folders and model files whose paths begin as ``typed``, written in its way (``~`` stays).

    Names that begin with a dot are left out unless one is typed, and those that could steer a terminal. What cannot
    be read completes nothing.
    """
    if typed == "~":
        return PathCompletions(("~/",), "~/")
    before, slash, begun = typed.rpartition("/")
    folder = os.path.expanduser(before + slash)  # noqa: PTH111 - pathlib fails where there is no such user
    try:
        with os.scandir(folder or ".") as entries:
            found = list(islice(entries, _ENTRIES_LIMIT + 1))
        is_folder = bool(slash) and (not begun or os.path.isdir(folder + begun))  # noqa: PTH112 - as above
    except (OSError, ValueError):  # ValueError: a zero byte
        return PathCompletions(common=typed)
    models = offered_names([entry.name for entry in found])
    names = [
        name
        for entry in found
        if entry.name.startswith(begun)
        and (begun.startswith(".") or not entry.name.startswith("."))
        and clean(entry.name).strip() == entry.name
        and not set("\t\n") & set(entry.name)
        and (name := _offered(entry, models))
    ]
    paths = tuple(before + slash + name for name in sorted(names, key=lambda name: (name.casefold(), name)))
    if not paths or len(found) > _ENTRIES_LIMIT:  # those that were not looked at may not agree
        return PathCompletions(paths, typed, is_folder)
    return PathCompletions(paths, os.path.commonprefix(paths), is_folder)  # noqa: RUF071 - letters, not parts


def _offered(entry: os.DirEntry[str], models: set[str]) -> str:
    """How a folder or a model file is shown; empty for what is neither.

    A file is a model by its name; without an ending, as in the caches of Ollama and Hugging Face, by its first bytes.
    """
    try:
        if entry.is_dir():
            return f"{entry.name}/"
        is_model = entry.name in models or ("." not in entry.name and begins_as_gguf(Path(entry)))
        return entry.name if is_model and entry.is_file() else ""
    except OSError:
        return ""
