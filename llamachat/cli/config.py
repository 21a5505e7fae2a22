"""The user's ``config.toml``: the same names and the same checks as the command line."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

from llamachat.cli.options import COMMON
from llamachat.display import clean_line
from llamachat.errors import FileError
from llamachat.files.reasons import reason_of

_MOST_BYTES = 1 << 20  # a configuration is a page; what is larger is some other file

_OPTIONS = {option.name: option for option in COMMON if option.name != "config"}
_PATHS = frozenset({"data_dir", "tokenizer"})
KEYS = "keys"
"""The table with keys of the full screen, by the ids of what they do."""
_MOST_KEYS, _ID_CHARS, _KEY_CHARS = 200, 60, 100


def read_config(path: Path) -> dict[str, Any]:
    """The checked values of a configuration file, by option name; the table of keys as ``keymap``.

    Which ids and which keys there are, the screen alone knows, and says what it cannot do. Relative paths in the file
    are meant from its own folder. Raises ``FileError`` naming the file and the key.
    """
    table = _parse(path)
    values: dict[str, Any] = {}
    for key, value in table.items():
        if key == KEYS:
            values["keymap"] = _read_keys(path, value)
            continue
        option = _OPTIONS.get(key.replace("-", "_"))
        if option is None:
            known = ", ".join([*(option.key for option in _OPTIONS.values()), f"[{KEYS}]"])
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


def _read_keys(path: Path, table: object) -> dict[str, str]:
    """Keys by id. ``chat.new = "..."`` is a table in a table to TOML, if a person forgets the quotes; it is taken."""
    if not isinstance(table, dict):
        raise FileError(path, f'[{KEYS}] takes lines like "chat.new" = "ctrl+f", not {repr(table)[:40]}')
    keys: dict[str, str] = {}
    for key, value in table.items():
        inner = value.items() if isinstance(value, dict) else [("", value)]
        for last, text in inner:
            ident = f"{key}.{last}" if last else key
            if not isinstance(text, str) or len(text) > _KEY_CHARS or len(ident) > _ID_CHARS:
                shown = clean_line(ident, _ID_CHARS)
                raise FileError(path, f'[{KEYS}] {shown} takes keys like "ctrl+f" or "t,p", not {repr(text)[:40]}')
            keys[ident] = text
    if len(keys) > _MOST_KEYS:
        raise FileError(path, f"[{KEYS}] has {len(keys):,} lines, {_MOST_KEYS} at most")
    return keys


def _parse(path: Path) -> dict[str, Any]:
    from llamachat.chat.toml_files import parse_toml

    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise FileError(path, "is a folder, not a configuration file")
        if not stat.S_ISREG(status.st_mode):
            raise FileError(path, "not a file that can be read as a configuration")
        if status.st_size > _MOST_BYTES:
            raise FileError(path, "too large for a configuration (1 MB at most)")
        text = path.read_bytes().decode()
    except OSError as error:
        raise FileError(path, reason_of(error, path)) from None
    except UnicodeDecodeError:
        raise FileError(path, "is not UTF-8 text") from None
    return parse_toml(text, path)
