"""New files that appear whole or not at all."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from llamachat.errors import FileError
from llamachat.files.reasons import reason_of
from llamachat.files.unfinished import new_part, sweep

TAKEN = "is there already; --force replaces it"


@contextlib.contextmanager
def new_files(
    folder: Path, names: Sequence[str], n_bytes: int, *, make: bool, replace: bool, taken: str = TAKEN
) -> Iterator[list[BinaryIO]]:
    """Files to write into, that take their names in ``folder`` when the block ends well, the last one last.

    Until then they have names of their own there; if the block fails, nothing of them is left, nor the folder if it
    was made for them, which ``make`` allows. What killed writers left there is removed first. Whatever has one of the
    names is replaced if ``replace`` allows it. ``FileError`` where it does not, saying ``taken``, and where the system
    refuses: no room for ``n_bytes``, no permission.
    """
    made = make and _make_folder(folder)
    if not folder.is_dir():
        raise FileError(folder, "is no folder" if folder.exists() else "no such folder")
    scratch: list[Path] = []
    locks: list[int] = []
    opened: list[BinaryIO] = []
    placed: list[Path] = []
    try:
        sweep(folder)
        _check_room(folder, n_bytes)
        for _ in names:
            descriptor, path = new_part(folder)
            scratch.append(path)
            opened.append(os.fdopen(descriptor, "wb", buffering=1 << 20))
            locks.append(os.dup(descriptor))  # keeps the lock until the file has its name, which is after its closing
        yield opened
        for file, name in zip(opened, names, strict=True):
            _finish(file, folder / name)
        for whole, name in zip(scratch, names, strict=True):
            if replace:
                whole.replace(folder / name)
            else:
                _place(whole, folder / name, taken)
                placed.append(folder / name)
        _sync_folder(folder)
        scratch.clear()
        placed.clear()
    except OSError as error:
        raise FileError(folder / names[-1], f"cannot be written: {reason_of(error)}") from None
    finally:
        for file in opened:
            with contextlib.suppress(OSError):  # what is left to write goes nowhere
                file.close()
        failed = bool(scratch) or not opened
        for left in (*scratch, *placed):
            left.unlink(missing_ok=True)
        for lock in locks:
            os.close(lock)
        if failed and made:
            with contextlib.suppress(OSError):  # it holds what somebody else put there
                folder.rmdir()


def check_kind(path: Path) -> None:
    """``FileError`` for what is there and no file that may be replaced: a folder, a device, a pipe."""
    try:
        if path.is_dir():
            raise FileError(path, "is a folder; name a file to write")
        if path.exists() and not path.is_file():  # /dev/null, most likely, which whoever may would lose
            raise FileError(path, "is a device, a pipe or a socket; name a file to write")
    except OSError as error:
        raise FileError(path, f"cannot be written: {reason_of(error)}") from None


def _place(path: Path, target: Path, taken: str) -> None:
    """Gives a file its name, which nobody else may have taken meanwhile."""
    try:
        target.hardlink_to(path)
    except FileExistsError:
        raise FileError(target, taken) from None
    except OSError:  # a file system without links: two names, or none that is free
        if os.path.lexists(target):
            raise FileError(target, taken) from None
        path.replace(target)
    else:
        path.unlink()


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


def _finish(file: BinaryIO, target: Path) -> None:
    """Has the file on disk, with the rights of the one that it replaces, or else those that new files get."""
    file.flush()
    try:
        rights = target.stat().st_mode & 0o777
    except OSError:
        mask = os.umask(0)
        os.umask(mask)
        rights = 0o666 & ~mask
    os.fchmod(file.fileno(), rights)
    os.fsync(file.fileno())
    file.close()


def _sync_folder(folder: Path) -> None:
    with contextlib.suppress(OSError):  # not every file system can
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def is_there(path: Path, data: bytes | None) -> bool:
    """Whether a file is there already and holds just these bytes, so that there is nothing to do."""
    try:
        return data is not None and path.is_file() and path.stat().st_size == len(data) and path.read_bytes() == data
    except (OSError, ValueError):
        return False
