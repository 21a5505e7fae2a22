"""The programs that compare.py measures: ours, llama.cpp through its Python package, and a ``llama-bench``."""

from __future__ import annotations

import json
import os
import random
import shlex
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from llamachat.weights import open_weights

HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Work:
    """What every program is asked to do."""

    threads: int
    prompt: int
    answer: int
    depth: int
    pairs: int
    busy: bool = False
    batch: int = 512

    @property
    def n_ctx(self) -> int:
        """Room for all of it."""
        return self.depth + self.prompt + self.answer


@dataclass(frozen=True)
class Peers:
    """Whom ours is compared with."""

    python: str | None = None
    llama_bench: Path | None = None
    llama_bench_args: tuple[str, ...] = ("",)  # measured with each of them


class Program(Protocol):
    """A program and its work."""

    @property
    def stays(self) -> bool:
        """Whether its process stays between measurements, so that the first one is not like the others."""

    def measure(self) -> dict[str, float]:
        """One measurement: tokens a second, of a ``prompt`` and of an ``answer`` after it, as far as it tells them."""

    def close(self) -> None:
        """Ends it."""


class Served:
    """A program in a process of its own, waiting without using a processor while the others run."""

    stays = True

    def __init__(self, command: Sequence[str], request: dict[str, list[int]]) -> None:
        self._request = json.dumps(request) + "\n"
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=HERE.parent
        )
        self._answer()

    def measure(self) -> dict[str, float]:
        """One measurement."""
        assert self.process.stdin  # noqa: S101  (a pipe, as asked for above)
        self.process.stdin.write(self._request)
        self.process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, float]:
        assert self.process.stdout  # noqa: S101
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"compare: {self.process.args!r} ended with status {self.process.wait()}")
        return dict(json.loads(line))

    def close(self) -> None:
        """Ends the process."""
        self.process.communicate()


class LlamaBench:
    """A ``llama-bench`` that knows ``-gp``, as ik_llama.cpp's does: a process for every measurement.

    It evaluates tokens of its own choice, and loads the file before its clock starts. A prompt is timed twice and the
    first time is not counted, since its buffers are touched for the first time then. It has no prompts behind other
    tokens: with a depth the answer alone is measured, whose prompt has touched everything.
    """

    stays = False

    def __init__(self, program: Path, model: Path, work: Work, more: Sequence[str]) -> None:
        options = {
            "-m": model,
            "-t": work.threads,
            "-b": work.batch,
            "-ub": work.batch,
            "-p": 0 if work.depth else work.prompt,
            "-n": 0,  # an answer to nothing
            "-gp": f"{work.depth + work.prompt},{work.answer}",
            "-r": 1 if work.depth else 2,
            "-o": "json",
        }
        self._command = [str(program), *(str(part) for option in options.items() for part in option), *more]

    def measure(self) -> dict[str, float]:
        """One measurement."""
        done = subprocess.run(self._command, capture_output=True, text=True)
        try:
            tests = json.loads(done.stdout)
        except json.JSONDecodeError:
            print(done.stderr, file=sys.stderr)
            raise SystemExit(f"compare: {self._command!r} ended with status {done.returncode}") from None
        return {"answer" if test["n_gen"] else "prompt": test["samples_ts"][-1] for test in tests}

    def close(self) -> None:
        """Nothing runs between measurements."""


def programs(path: Path, work: Work, peers: Peers) -> dict[str, Program]:
    """Ours and its peers by their names in the table, ready to measure one file."""
    with open_weights(path) as weights:
        n_vocab = weights.hyperparameters.n_vocab
    ids = random.Random(1).choices(range(n_vocab), k=work.n_ctx)  # noqa: S311  (any tokens do)
    begin, end = work.depth, work.depth + work.prompt
    request = {"depth": ids[:begin], "prompt": ids[begin:end], "answer": ids[end:]}
    path = path.resolve()
    arguments = [str(path), str(work.threads), str(work.n_ctx), str(work.batch)]
    found: dict[str, Program] = {"ours": Served([sys.executable, "-m", "benchmarks.ours", *arguments], request)}
    if peers.python:
        # Made absolute, but no link followed: an environment is found through its link.
        python = os.path.abspath(peers.python)  # noqa: PTH100
        found["peer"] = Served([python, "-m", "benchmarks.peer_llama_cpp", *arguments], request)
    if peers.llama_bench:
        for more in peers.llama_bench_args:
            name = f"llama-bench {more}".strip()
            found[name] = LlamaBench(peers.llama_bench.resolve(), path, work, shlex.split(more))
    return found
