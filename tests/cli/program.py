"""The installed command, and what its errors look like."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import pytest

#: The command that the installation made.
COMMAND = Path(sys.executable).with_name("llamachat")
ERROR = "llamachat: error: "
#: A short answer, the same each time.
QUICK = ("--temperature", "0", "-n", "4")

needs_proc = pytest.mark.skipif(
    not Path("/proc/self/stat").exists(), reason="looks at processes through /proc, which this system has not"
)


class Run(Protocol):
    def __call__(
        self, *arguments: str | Path, stdin: str | bytes = "", env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]: ...


def assert_one_line(stderr: str, *parts: str) -> None:
    """``stderr`` is one error line of at most 200 columns, and has these parts."""
    assert stderr.startswith(ERROR), stderr
    assert stderr.endswith("\n")
    assert stderr.count("\n") == 1, stderr
    assert len(stderr) <= 201, stderr
    for part in parts:
        assert part in stderr, stderr


def cpu_seconds_and_state(pid: int) -> tuple[int, str]:
    """Clock ticks that a process has computed for, and its state's letter (``Z`` once it is dead)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return int(fields[11]) + int(fields[12]), fields[0]


def children(pid: int) -> list[int]:
    """The processes that a process started."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = stat.read_text().rsplit(")", 1)[1].split()[1]
        except OSError:  # it ended meanwhile
            continue
        if int(parent) == pid:
            found.append(int(stat.parent.name))
    return found
