"""The user's ``config.toml``: the same names and the same checks as the command line."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

from llamachat.cli.options import COMMON
from llamachat.errors import FileError

_MOST_BYTES = 1 << 20  # a configuration is a page; what is larger is some other file

_OPTIONS = {option.name: option for option in COMMON if option.name != "config"}
_PATHS = frozenset({"data_dir", "tokenizer"})


def read_config(path: Path) -> dict[str, Any]:
    """The checked values of a configuration file, by option name.

    Relative paths in it are meant from its own folder. Raises ``FileError`` naming the file and the key.
    """
    table = _parse(path)
    values: dict[str, Any] = {}
    for key, value in table.items():
        option = _OPTIONS.get(key.replace("-", "_"))
        if option is None:
            known = ", ".join(option.key for option in _OPTIONS.values())
            raise FileError(path, f"unknown key {key!r}: there are {known}")
        try:
            values[option.name] = option.check(value, key)
        except ValueError as error:
            raise FileError(path, str(error)) from None
        if option.name in _PATHS:
            values[option.name] = path.parent / values[option.name]
        elif option.name == "model" and Path(values["model"]).name != values["model"]:  # a path, not a name
            values["model"] = str(path.parent / values["model"])
    return values


def _parse(path: Path) -> dict[str, Any]:
    import tomllib

    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise FileError(path, "is a folder, not a configuration file")
        if not stat.S_ISREG(status.st_mode):
            raise FileError(path, "not a file that can be read as a configuration")
        if status.st_size > _MOST_BYTES:
            raise FileError(path, "too large for a configuration (1 MB at most)")
        text = path.read_bytes().decode()
    except FileNotFoundError:
        raise FileError(path, "no such file") from None
    except OSError as error:
        raise FileError(path, error.strerror or str(error)) from None
    except UnicodeDecodeError:
        raise FileError(path, "not a TOML file: it is no UTF-8 text") from None
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise FileError(path, f"not a TOML file: {reason}") from None
