"""New files that appear whole or not at all."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from llamachat.errors import FileError, LlamachatError, WeightsError
from llamachat.weights.files import reason_of
from llamachat.weights.folders import entry_among, may_need_others


@contextlib.contextmanager
def new_files(folder: Path, names: Sequence[str], n_bytes: int, *, make: bool) -> Iterator[list[BinaryIO]]:
    """Files to write into, that take their names in ``folder`` when the block ends well, the last one last.

    Until then they have names of their own there; if the block fails, nothing of them is left, nor the folder if it
    was made for them, which ``make`` allows. Whatever has one of the names is replaced. ``FileError`` where the system
    refuses: no room for ``n_bytes``, no permission.
    """
    made = make and _make_folder(folder)
    if not folder.is_dir():
        raise FileError(folder, "is no folder" if folder.exists() else "no such folder")
    scratch: list[Path] = []
    opened: list[BinaryIO] = []
    try:
        _check_room(folder, n_bytes)
        for _ in names:
            descriptor, path = tempfile.mkstemp(prefix=".llamachat-", suffix=".part", dir=folder)
            scratch.append(Path(path))
            opened.append(os.fdopen(descriptor, "wb", buffering=1 << 20))
        yield opened
        for file in opened:
            _finish(file)
        for name in names:
            scratch[0].replace(folder / name)
            del scratch[0]
        _sync_folder(folder)
    except OSError as error:
        raise FileError(folder / names[-1], f"cannot be written: {reason_of(error)}") from None
    finally:
        for file in opened:
            with contextlib.suppress(OSError):  # what is left to write goes nowhere
                file.close()
        for left in scratch:
            left.unlink(missing_ok=True)
        if scratch and made:
            with contextlib.suppress(OSError):
                folder.rmdir()


def _make_folder(folder: Path) -> bool:
    """Makes the folder unless it is there; whether it was made. Its parent must be there."""
    try:
        folder.mkdir()
    except FileExistsError:
        if not folder.is_dir():
            raise FileError(folder, "is there already, and no folder") from None
        return False
    except FileNotFoundError:
        raise FileError(folder.parent, "no such folder") from None
    except (OSError, ValueError) as error:
        reason = reason_of(error) if isinstance(error, OSError) else "is no file name"
        raise FileError(folder, f"cannot be made: {reason}") from None
    return True


def _check_room(folder: Path, n_bytes: int) -> None:
    """Refuses at once what would fail after an hour. Not every file system says how much room it has."""
    free = shutil.disk_usage(folder).free
    if 0 < free < n_bytes:
        raise FileError(folder, f"not enough space: {n_bytes / 1e6:.1f} MB are to be written, {free / 1e6:.1f} MB free")


def _finish(file: BinaryIO) -> None:
    """Has the file on disk, with the rights that a new file of this person gets."""
    file.flush()
    mask = os.umask(0)
    os.umask(mask)
    os.fchmod(file.fileno(), 0o666 & ~mask)
    os.fsync(file.fileno())
    file.close()


def _sync_folder(folder: Path) -> None:
    with contextlib.suppress(OSError):  # not every file system can
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def check_targets(folder: Path, names: Sequence[str], sources: Sequence[Path], *, force: bool) -> None:
    """Refuses to overwrite: what is there, unless ``force``, and in no case a file that is read from."""
    for name in names:
        path = folder / name
        if not os.path.lexists(path):
            continue
        if path.is_dir():
            raise FileError(path, "is a folder; name a file to write")
        if path.exists() and not path.is_file():  # /dev/null, most likely, which whoever may would lose
            raise FileError(path, "is a device, a pipe or a socket; name a file to write")
        for source in sources:
            if path.exists() and path.samefile(source):
                raise FileError(path, "is what would be read from; give the new file another name")
        if not force:
            raise FileError(path, "is there already; --force replaces it")


def check_folder(folder: Path, main: str, names: Sequence[str], sources: Sequence[Path]) -> None:
    """Refuses a folder that would not open as the model that is written into it, whose file ``main`` stands for it.

    What is there may come first: an index of shards, say, with a model of its own. Nor is a model written among the
    files that it is read from, some of which (a config.json) would be replaced.
    """
    try:
        there = {entry.name for entry in folder.iterdir()}
    except OSError:
        return  # there is none; or whoever writes says what is wrong
    for source in sources:
        if source.parent.exists() and source.parent.samefile(folder):
            raise FileError(folder, "holds what would be read from; give another folder")
    try:
        opened = entry_among(folder, sorted({*there, *names}))
    except WeightsError:
        opened = ""  # several
    if opened != main:
        raise FileError(folder, "holds another model, and would not open as the new one; give another folder")


def check_shared(folder: Path, main: str, names: Sequence[str], written: Sequence[str]) -> None:
    """Refuses to replace a file that a model beside ``main`` may use: one with a name of its own, as tokenizer.bin.

    ``names`` are those of the files to be written, ``written`` those of all that make up the new model.
    """
    shared = [name for name in names if Path(name).stem != Path(main).stem and os.path.lexists(folder / name)]
    if not shared:
        return
    try:
        there = {entry.name for entry in folder.iterdir()}
    except OSError:
        return  # whoever writes says what is wrong
    if others := sorted(filter(may_need_others, there - set(written))):
        raise FileError(
            folder / shared[0], f"is there already, and {others[0]!r} beside it may need it; write into another folder"
        )


def is_there(path: Path, data: bytes | None) -> bool:
    """Whether a file is there already and holds just these bytes, so that there is nothing to do."""
    try:
        return data is not None and path.is_file() and path.stat().st_size == len(data) and path.read_bytes() == data
    except (OSError, ValueError):
        return False


def check_name(path: Path) -> None:
    """Refuses what cannot name a file."""
    if path.name in ("", "..") or "\0" in path.name:
        raise LlamachatError(f"{str(path)!r}: name a file to write")
