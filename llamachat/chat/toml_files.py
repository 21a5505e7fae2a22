"""Small TOML files that people write, copy and share, in a folder: themes and presets. None of them fails another."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from llamachat.display import clean_line
from llamachat.errors import FileError
from llamachat.files.reasons import reason_of

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

Made = TypeVar("Made")

_SUFFIX = ".toml"
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
_MAX_BYTES = 64 * 1024
_MAX_FILES = 500


def wrong_name(name: str) -> list[str]:
    """What is wrong with a file's name, without its ending: one sentence, or none."""
    return [] if _NAME.fullmatch(name) else ["the file's name may hold a-z, 0-9 and - only"]


def parse_toml(text: str, path: str | Path) -> dict[str, Any]:
    """The table in ``text``; ``FileError`` says where it is no TOML. A mark at its beginning, as Windows' editors put
    it there, is none of it.
    """
    try:
        return tomllib.loads(text.removeprefix("\ufeff"))
    except RecursionError:
        raise FileError(path, "is no TOML: nested too deeply") from None
    except tomllib.TOMLDecodeError as error:
        raise FileError(path, f"is no TOML: {clean_line(str(error), 100)}") from None
    except ValueError:  # what Python says of it is advice for a program
        raise FileError(path, "is no TOML: it holds a number of thousands of digits") from None


def read_folder(
    folder: Traversable | Path, make: Callable[[str, str, Path], Made]
) -> tuple[dict[str, Made], dict[str, FileError]]:
    """What ``make`` makes of every file (name, text, path), by name and in its order, and why those failed that did.

    Both are empty where there is no such folder. Files whose name begins with a dot are an editor's, not a person's.
    """
    made: dict[str, Made] = {}
    failed: dict[str, FileError] = {}
    try:
        files = sorted((entry for entry in folder.iterdir() if _is_named(entry.name)), key=lambda entry: entry.name)
    except OSError:
        return made, failed  # no folder of the user's own: nothing to say
    for entry in files[:_MAX_FILES]:
        path = Path(str(entry))
        try:
            made[path.stem] = make(path.stem, _read(entry, path), path)
        except FileError as error:
            failed[path.stem] = error
    if len(files) > _MAX_FILES:
        failed[f"{folder.name}/"] = FileError(str(folder), f"the first {_MAX_FILES} of {len(files):,} files are used")
    return made, failed


def _is_named(name: str) -> bool:
    return name.endswith(_SUFFIX) and not name.startswith(".")


def _read(entry: Traversable | Path, path: Path) -> str:
    try:
        if not entry.is_file():  # a FIFO would block, a device never end
            raise FileError(path, "is not a regular file")
        with entry.open("rb") as file:
            data = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise FileError(path, reason_of(error, path)) from None
    if len(data) > _MAX_BYTES:
        raise FileError(path, f"is too long: more than {_MAX_BYTES // 1024} KB")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise FileError(path, "is not UTF-8 text") from None
