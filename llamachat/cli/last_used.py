"""What was used last, each in a small file of the data folder. Not being able to note it troubles no person."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

_THEME = "last-theme"
_MOST_BYTES = 16_384  # of what is remembered; whatever is longer is not what this program wrote


def note_used(data_dir: Path, name: str, record: bytes) -> None:
    """Writes a record over the one before, whole or not at all."""
    import tempfile

    with contextlib.suppress(OSError):
        data_dir.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(prefix=name, dir=data_dir)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(record)
            Path(temporary).replace(data_dir / name)
        except OSError:
            Path(temporary).unlink()
            raise


def used_last(data_dir: Path, name: str) -> bytes:
    """The record; empty where there is none."""
    try:
        with (data_dir / name).open("rb") as file:
            return file.read(_MOST_BYTES)
    except OSError:
        return b""


def note_theme(data_dir: Path, theme: str) -> None:
    """Notes the theme that a person chose while the program ran."""
    note_used(data_dir, _THEME, os.fsencode(theme))


def theme_used_last(data_dir: Path) -> str:
    """The theme chosen last; empty where none was."""
    return os.fsdecode(used_last(data_dir, _THEME))
