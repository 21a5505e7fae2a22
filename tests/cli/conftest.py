"""Runs the installed command, as a person or a program would."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.cli.program import COMMAND, Run
from tests.support.tiny_models import TinyShape, random_model, write_gguf


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


@pytest.fixture
def endless(tmp_path: Path) -> Path:
    """A model that never ends its turn, with a context that it does not fill soon."""
    path = tmp_path / "endless.gguf"
    shape = TinyShape(n_ctx=1_000_000, n_layers=8, n_embd=512, n_ff=1024, tied=False)
    weights = random_model(shape)
    weights.weights["output.weight"][:3] = 0  # the control tokens get the logit 0: others always beat it
    write_gguf(path, weights)
    return path
