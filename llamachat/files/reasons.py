"""What the system says of a file, in a person's words."""

from __future__ import annotations

from pathlib import Path


def reason_of(error: OSError, path: Path | None = None) -> str:
    """What an error of the system says of a file, in a few words."""
    if isinstance(error, FileNotFoundError):
        return "is a link to a file that is not there" if path and path.is_symlink() else "no such file"
    return (error.strerror or str(error)).lower()
