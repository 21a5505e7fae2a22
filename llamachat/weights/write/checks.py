"""What is refused before anything is written: a place where a file would be lost, or the new model not be itself."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from llamachat.errors import FileError, LlamachatError, WeightsError
from llamachat.files.new_files import TAKEN, check_kind
from llamachat.weights.base import WeightFile
from llamachat.weights.folders import entry_among, may_need_others
from llamachat.weights.huggingface import is_shard

#: Files of a vocabulary, one of which a reader takes before the others.
_VOCABULARIES = ("tokenizer.bin", "tokenizer.model", "tokenizer.json")


@dataclass(frozen=True)
class Place:
    """Where a new model comes to stand."""

    folder: Path
    main: str  #: the name of the file that stands for the model
    whole: bool  #: whether the folder is to be the model


def place_of(path: Path, inside: str) -> Place:
    """The place of an output at ``path``; ``inside`` is that of its format. Refuses what cannot name a file."""
    whole = bool(inside) and path.suffix.lower() != Path(inside).suffix
    if whole and path.name in ("", ".."):
        path = path.resolve()  # the current folder has a name too
    if path.name in ("", "..") or "\0" in path.name:
        raise LlamachatError(f"{str(path)!r}: name a file to write")
    if whole:
        return Place(path, inside.format(path.stem), whole=True)
    if path.suffix.lower() == ".safetensors" and is_shard(path.name):
        raise FileError(path, "is the name of a part of a model; give it another name")
    return Place(path.parent, path.name, whole=False)


def check_names(place: Place, names: Sequence[str]) -> None:
    """Refuses a name that two files of the new model would have."""
    seen: set[str] = set()
    for name in names:
        if name.lower() in seen:
            raise FileError(
                place.folder / name, "is the name of two files of the new model; give the model another name"
            )
        seen.add(name.lower())


def check_strangers(place: Place, names: Sequence[str], read_beside: Sequence[str], weights: WeightFile) -> None:
    """Refuses a folder with a file that would be taken for one of the new model's: it would answer otherwise.

    ``names`` are the new model's files, ``read_beside`` those that whoever opens it takes up, best first. A vocabulary
    that was there is right for a model that has none, or that has it from there.
    """
    if weights.vocabulary is None:
        return
    own = weights.vocabulary_path
    for name in read_beside:
        path = place.folder / name
        if name in names:
            if name == "tokenizer.bin":
                return  # which is taken before all others
        elif os.path.lexists(path) and not (path.exists() and path.samefile(own)):
            raise FileError(path, "would be taken for the new model's own; remove it, or write into another folder")


def check_neighbours(place: Place, names: Sequence[str], written: Sequence[str], sources: Sequence[Path]) -> None:
    """Refuses a file that would change how a model beside the new one opens, as another tokenizer.bin does.

    ``names`` are those of the files to be written, ``written`` those of all that make up the new model.
    """
    folder = place.folder
    shared = [name for name in names if Path(name).stem != Path(place.main).stem]
    there = _names_in(folder)
    others = sorted(filter(may_need_others, there - set(written)))
    read = {path.name for path in sources if _holds(folder, path)}
    for name in shared:
        if name in there and others:
            raise FileError(
                folder / name, f"is there already, and {others[0]!r} beside it may need it; write into another folder"
            )
        strangers = [other for other in others if other not in read]
        if strangers and name in _VOCABULARIES and there - set(written) & set(_VOCABULARIES):
            raise FileError(
                folder / name, f"would be taken for the vocabulary of {strangers[0]!r} too; write into another folder"
            )


def check_folder(place: Place, names: Sequence[str], sources: Sequence[Path]) -> None:
    """Refuses a folder that would not open as the model that is written into it.

    What is there may come first: an index of shards, say, with a model of its own. Nor is a model written among the
    files that it is read from, some of which (a config.json) would be replaced.
    """
    folder = place.folder
    if any(_holds(folder, source) for source in sources):
        raise FileError(folder, "holds what would be read from; give another folder")
    try:
        opened = entry_among(folder, sorted({*_names_in(folder), *names}))
    except WeightsError:
        opened = ""  # several
    if opened != place.main:
        raise FileError(folder, "holds another model, and would not open as the new one; give another folder")


def check_targets(place: Place, names: Sequence[str], sources: Sequence[Path], *, force: bool) -> None:
    """Refuses to overwrite: what is there, unless ``force``, and in no case a file that is read from."""
    for name in names:
        path = place.folder / name
        if not os.path.lexists(path):
            continue
        check_kind(path)
        for source in sources:
            if path.exists() and source.exists() and path.samefile(source):
                raise FileError(path, "is what would be read from; give the new file another name")
        if not force:
            raise FileError(path, TAKEN)


def _holds(folder: Path, path: Path) -> bool:
    try:
        return path.parent.samefile(folder)
    except OSError:
        return False


def _names_in(folder: Path) -> set[str]:
    """The names in a folder; none if there is no such, or it cannot be read: then whoever writes says what is wrong."""
    try:
        return {entry.name for entry in folder.iterdir()}
    except OSError:
        return set()
