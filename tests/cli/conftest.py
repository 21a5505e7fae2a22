"""Runs the installed command, as a person or a program would."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from llamachat.chat.conversation import Conversation
from llamachat.chat.store import SessionStore
from tests.cli.program import COMMAND, Run
from tests.cli.talks import Talk
from tests.cli.terminal import Terminal
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
def model(tmp_path: Path) -> Path:
    """A tiny model."""
    path = tmp_path / "tiny.gguf"
    write_gguf(path, random_model())
    return path


@pytest.fixture
def chat_model(tmp_path: Path) -> Path:
    """A tiny model that knows ChatML."""
    path = tmp_path / "chat.gguf"
    template = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    write_gguf(path, random_model(), metadata={"tokenizer.chat_template": template})
    return path


@pytest.fixture
def endless(tmp_path: Path) -> Path:
    """A model that never ends its turn, with a context that it does not fill soon."""
    path = tmp_path / "endless.gguf"
    shape = TinyShape(n_ctx=1_000_000, n_layers=8, n_embd=512, n_ff=1024, tied=False)
    weights = random_model(shape)
    weights.weights["output.weight"][:3] = 0  # the control tokens get the logit 0: others always beat it
    write_gguf(path, weights)
    return path


@pytest.fixture
def talk(tmp_path: Path) -> Iterator[Talk]:
    """``talk(answers=[...])``: line mode in a terminal, which is closed at the end."""
    with ExitStack() as terminals:

        def start(*arguments: str, env: dict[str, str] | None = None, **options: Any) -> Terminal:
            command = [sys.executable, "-m", "tests.cli.scripted_chat", str(tmp_path), json.dumps(options), *arguments]
            return terminals.enter_context(Terminal(command, env))

        yield start


@pytest.fixture
def stored(tmp_path: Path) -> Callable[[], Conversation]:
    """The chat that was used last, as it is on disk."""

    def load() -> Conversation:
        with closing(SessionStore(tmp_path)) as store:
            return store.load(store.sessions()[0].id)

    return load
