"""The files of one model: the one that was named, and those beside it that belong to it.

A model that came from elsewhere may name any file as its part. Only plain names are taken, and no symbolic link leads
out of the model's folder, but for the one layout where links are the rule: the cache of Hugging Face's hub.
"""

from __future__ import annotations

import os
from pathlib import Path

from llamachat.weights.files import Refusal, RegularFile, open_regular, quoted
from llamachat.weights.report import Report

#: Entries of a folder that are looked at, at most.
ENTRIES_LIMIT = 4096
#: Where the vocabulary of a weight file without one is looked for beside it, in this order.
TOKENIZER_NAMES = ("tokenizer.bin", "tokenizer.model")
#: Bytes of a file's name, at most: file systems have none longer.
_NAME_LIMIT = 255


class ModelFiles:
    """Open files of a model in one folder; all are closed together."""

    def __init__(self, path: Path, first: RegularFile, tokenizer: Path | None = None) -> None:
        self.path = path  #: what was named: a file, or the folder that holds it
        self.tokenizer = tokenizer  #: the file of the vocabulary that was named, before the model's own
        self.first = first
        self.report = Report()
        self._weights = [first]
        self._beside: list[Path] = [tokenizer] if tokenizer else []
        self.folder = first.path.parent

    @property
    def size_bytes(self) -> int:
        """Bytes of all weight files opened so far."""
        return sum(file.size for file in self._weights)

    @property
    def weight_paths(self) -> list[Path]:
        """The paths of all weight files opened so far."""
        return [file.path for file in self._weights]

    @property
    def read_paths(self) -> list[Path]:
        """The paths of all files that were read: weights, and what is beside them."""
        return [*self.weight_paths, *self._beside]

    def check_unchanged(self) -> None:
        """``WeightsError`` if somebody has written to a weight file since it was opened."""
        for file in self._weights:
            file.check_unchanged()

    def open(self, name: str) -> RegularFile:
        """Opens a weight file beside the first; the first itself if it is that one."""
        if name == self.first.path.name:
            return self.first
        file = open_regular(self._inside(name))
        self._weights.append(file)
        return file

    def has(self, name: str) -> bool:
        """Whether there is something of this name beside the first file, be it a broken link."""
        return os.path.lexists(self.folder / name)

    def names(self, ending: str) -> list[str]:
        """The names beside the first file (and its own) with this ending, in order."""
        with os.scandir(self.folder) as entries:
            some = (entry.name for entry, _ in zip(entries, range(ENTRIES_LIMIT), strict=False))
            return sorted(name for name in some if name.endswith(ending))

    def text(self, name: str, limit: int) -> bytes | None:
        """The bytes of a small file beside the first; None if it is not there, ``Refusal`` if it is larger."""
        if not self.has(name):
            return None
        path = self._inside(name)
        file = open_regular(path)
        self._beside.append(path)
        try:
            if file.size > limit:
                raise Refusal(f"has {file.size} bytes; at most {limit} are allowed", path)
            return file.read(0, file.size)
        finally:
            file.close()

    def path_of(self, name: str) -> Path | None:
        """The path of a file beside the first that may be opened; None if there is none of this name."""
        if not self.has(name):
            return None
        self._beside.append(path := self._inside(name))
        return path

    def close(self) -> None:
        """Closes all; twice is fine."""
        for file in self._weights:
            file.close()

    def _inside(self, name: str) -> Path:
        if not _is_plain(name):
            raise Refusal(f"names {quoted(name)} as one of its files, which is no plain file name")
        path = self.folder / name
        check_link(path)
        return path


def check_link(path: Path) -> None:
    """``Refusal`` for a file of a model's folder that is a link out of it; not for what is no link."""
    if not path.is_symlink():
        return
    try:
        home, target = path.parent.resolve(), path.resolve()
    except (OSError, RuntimeError):  # a link to itself
        raise Refusal("is a link that leads nowhere", path) from None
    if not target.is_relative_to(home) and not _in_hub_cache(home, target):
        raise Refusal("is a link that leads out of the model's folder; name the file itself", path)


def _is_plain(name: str) -> bool:
    """Whether a name is that of a file in the same folder, and could be one at all."""
    try:
        n_bytes = len(os.fsencode(name))
    except UnicodeEncodeError:  # half a surrogate, which JSON can spell
        return False
    return n_bytes <= _NAME_LIMIT and name not in ("", ".", "..") and not {"/", "\0", os.sep} & set(name)


def _in_hub_cache(folder: Path, target: Path) -> bool:
    """Whether a link stays in its model of the hub's cache: from ``models--X/snapshots/REVISION`` to ``blobs``."""
    model = folder.parent.parent
    return folder.parent.name == "snapshots" and model.name.startswith("models--") and target.parent == model / "blobs"
