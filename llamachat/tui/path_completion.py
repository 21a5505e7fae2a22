"""Completing a path that is being typed."""

from __future__ import annotations

import os
from pathlib import Path

from llamachat.display import clean


def complete_path(typed: str) -> str:
    """``typed``, as far as all files and folders agree that it may become; a folder ends in a slash.

    Names that begin with a dot are left out unless one is typed, and those that could steer a terminal. What cannot
    be read completes nothing.
    """
    before, slash, begun = typed.rpartition("/")
    folder = Path(os.path.expanduser(before + slash) or ".")  # noqa: PTH111 - pathlib fails where there is no such user
    try:
        names = [
            f"{entry.name}/" if entry.is_dir() else entry.name
            for entry in folder.iterdir()
            if entry.name.startswith(begun)
            and (begun.startswith(".") or not entry.name.startswith("."))
            and clean(entry.name) == entry.name
        ]
    except (OSError, ValueError):  # ValueError: a zero byte
        return typed
    return before + slash + os.path.commonprefix(names) if names else typed  # noqa: RUF071 - letters, not parts
