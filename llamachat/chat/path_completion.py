"""Completing a path that is being typed. It reads folders, which may take long: see ``PathLookup``."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from llamachat.display import clean
from llamachat.weights.collection import offered_names
from llamachat.weights.folders import begins_as_gguf

_ENTRIES_LIMIT = 50_000
"""Entries of a folder that are looked at: a tenth of a second. Nobody looks for a file among more."""

IsOffered = Callable[[os.DirEntry[str]], bool]


@dataclass(frozen=True, slots=True)
class PathKind:
    """What a path is wanted for: which files are proposed, of the folder that has these names."""

    offered: Callable[[Sequence[str]], IsOffered]
    is_new: bool = False  #: whether the file need not be there: then what is typed may be all of it
    folders: bool = False  #: whether a folder may be it, too


def _models(names: Sequence[str]) -> IsOffered:
    """A file is a model by its name; without an ending, as in the caches of Ollama and Hugging Face, by its bytes."""
    models = offered_names(list(names))
    return lambda entry: entry.name in models or ("." not in entry.name and begins_as_gguf(Path(entry)))


MODEL = PathKind(_models, folders=True)
FILE = PathKind(lambda _: lambda _entry: True)
CHAT = PathKind(lambda _: lambda entry: entry.name.lower().endswith(".json"))
NEW_FILE = PathKind(lambda _: lambda _entry: False, is_new=True)  # one that is there would be replaced


@dataclass(frozen=True, slots=True)
class TypedPath:
    """A path as far as it is typed, and what it is wanted for."""

    text: str
    kind: PathKind = MODEL

    def completions(self) -> PathCompletions:
        """What it may become. A folder is read, which may take long."""
        return complete_path(self.text, self.kind)


@dataclass(frozen=True, slots=True)
class PathCompletions:
    """What a typed path may become, by name, and how far all of that agrees. Folders end in a slash."""

    paths: tuple[str, ...] = ()
    common: str = ""
    is_whole: bool = False  #: whether it has a meaning as it stands: a folder's path that is meant, or a new file's


def complete_path(typed: str, kind: PathKind = MODEL) -> PathCompletions:
    """The folders and files of a kind whose paths begin as ``typed``, written in its way (``~`` stays).

    Names that begin with a dot are left out unless one is typed, and those that could steer a terminal. What cannot
    be read completes nothing.
    """
    if typed == "~":
        return PathCompletions(("~/",), "~/")
    before, slash, begun = typed.rpartition("/")
    try:
        folder = os.path.expanduser(before + slash)  # noqa: PTH111 - pathlib fails where there is no such user
        with os.scandir(folder or ".") as entries:
            found = list(islice(entries, _ENTRIES_LIMIT + 1))
        is_folder = kind.folders and bool(slash) and (not begun or os.path.isdir(folder + begun))  # noqa: PTH112 - as above
    except (OSError, ValueError):  # ValueError: a zero byte
        return PathCompletions(common=typed)
    is_offered = kind.offered([entry.name for entry in found])
    names = [
        name
        for entry in found
        if entry.name.startswith(begun)
        and (begun.startswith(".") or not entry.name.startswith("."))
        and clean(entry.name).strip() == entry.name
        and not set("\t\n") & set(entry.name)
        and (name := _offered(entry, is_offered))
    ]
    paths = tuple(before + slash + name for name in sorted(names, key=lambda name: (name.casefold(), name)))
    if not paths or len(found) > _ENTRIES_LIMIT:  # those that were not looked at may not agree
        return PathCompletions(paths, typed, is_folder or kind.is_new)
    return PathCompletions(paths, os.path.commonprefix(paths), is_folder or kind.is_new)  # noqa: RUF071 - letters, not parts


def _offered(entry: os.DirEntry[str], is_offered: IsOffered) -> str:
    """How a folder or a file is shown; empty for what is not proposed."""
    try:
        if entry.is_dir():
            return f"{entry.name}/"
        return entry.name if is_offered(entry) and entry.is_file() else ""
    except OSError:
        return ""
