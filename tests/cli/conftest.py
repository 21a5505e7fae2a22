"""Runs the installed command, as a person or a program would."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import pytest

#: The command that the installation made.
COMMAND = Path(sys.executable).with_name("llamachat")
ERROR = "llamachat: error: "


class Run(Protocol):
    def __call__(
        self, *arguments: str | Path, stdin: str | bytes = "", env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]: ...


@pytest.fixture
def llamachat(own_home: Path) -> Run:
    """``llamachat("ask", "hi").stdout``; standard input is a pipe, and nothing is a terminal."""

    def run(
        *arguments: str | Path, stdin: str | bytes = "", env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        data = stdin.encode() if isinstance(stdin, str) else stdin
        done = subprocess.run(
            [COMMAND, *map(str, arguments)],
            input=data,
            capture_output=True,
            env={**os.environ, **(env or {})},
            timeout=60,
            check=False,
        )
        assert b"Traceback" not in done.stderr, done.stderr.decode()
        return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())

    return run


def assert_one_line(stderr: str, *parts: str) -> None:
    """``stderr`` is one error line of at most 200 columns, and has these parts."""
    assert stderr.startswith(ERROR), stderr
    assert stderr.endswith("\n")
    assert stderr.count("\n") == 1, stderr
    assert len(stderr) <= 201, stderr
    for part in parts:
        assert part in stderr, stderr
