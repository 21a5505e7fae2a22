"""What both sides of compare.py do: one JSON request a line in, one JSON answer a line out. Standard library alone."""

from __future__ import annotations

import json
import sys
import time
from typing import Protocol


class Program(Protocol):
    """A program with a model open."""

    def clear(self) -> None:
        """Empties the KV cache."""

    def eval(self, ids: list[int]) -> None:
        """Appends tokens; the logits of the last one are computed."""


def measure(program: Program, depth: list[int], prompt: list[int], answer: list[int]) -> dict[str, float]:
    """Tokens per second of a prompt and of an answer after it, both behind ``depth`` tokens."""
    program.clear()
    if depth:
        program.eval(depth)
    begin = time.perf_counter()
    program.eval(prompt)
    middle = time.perf_counter()
    for token in answer:
        program.eval([token])
    end = time.perf_counter()
    return {"prompt": len(prompt) / (middle - begin), "answer": len(answer) / (end - middle)}


def serve(program: Program) -> None:
    """Answers requests until the input ends."""
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        print(json.dumps(measure(program, **json.loads(line))), flush=True)
