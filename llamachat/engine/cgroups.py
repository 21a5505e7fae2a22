"""Which control groups bind this process: those that its container or its service was put into."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
OWN = Path("/proc/self/cgroup")


def groups(controller: str, root: Path = ROOT, own: Path = OWN) -> Iterator[Path]:
    """The folders of this process's groups and of all above them that may have limits of ``controller``.

    A limit binds every group below it, so each of them counts. Version 1 has a tree for each controller,
    version 2 one tree for all. Not every folder need exist: in a container, the path may be one of the
    machine outside, and then only the root of what is mounted is seen.
    """
    try:
        lines = [os.fsdecode(line) for line in own.read_bytes().splitlines()]  # a name may be of any bytes
    except OSError:
        lines = ["0::/"]
    for line in lines:
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        if controllers and controller not in controllers.split(","):
            continue
        base = root / controllers
        folder = base / path.strip("/")
        for group in {folder, *folder.parents, base}:
            if group.is_relative_to(base):
                yield group
