"""Perplexity of the same files on the same text: ours in its ways of computing, and llama.cpp's.

    python benchmarks/perplexity.py --peer-python PEER/bin/python --text TEXT.txt MODEL.gguf...

See README.md for how to set up the peer, and for what the columns mean.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from llamachat.engine.core import default_threads

HERE = Path(__file__).resolve().parent
WAYS: dict[str, tuple[str, ...]] = {
    "ours": (),
    "exact": ("--rounding", "exact"),
    "fast": ("--rounding", "fast"),
    "--kv-type q8_0": ("--kv-type", "q8_0"),
}


def answer(command: Sequence[str]) -> dict[str, Any]:
    """What a program prints as JSON; its progress goes to standard error."""
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, cwd=HERE.parent)
    if done.returncode:
        raise SystemExit(f"perplexity: {command[2]} ended with status {done.returncode}")
    return dict(json.loads(done.stdout))


def ours(model: Path, text: Path, work: argparse.Namespace, *how: str) -> dict[str, Any]:
    """Our figures."""
    command = [sys.executable, "-m", "llamachat", "perplexity", "-m", str(model), "--text", str(text), "--json"]
    return answer([*command, "--n-ctx", str(work.n_ctx), "--threads", str(work.threads), *how])


def peers(model: Path, text: Path, work: argparse.Namespace) -> dict[str, Any]:
    """The peer's perplexity, and how many tokens the text has for it."""
    python = os.path.abspath(work.peer_python)  # noqa: PTH100  (no link followed: an environment is found through it)
    found = answer(
        [python, "-m", "benchmarks.peer_perplexity", str(model), str(text), str(work.n_ctx), str(work.threads)]
    )
    return {"perplexity": math.exp(statistics.fmean(found["nlls"])), "tokens": len(found["ids"])}


def expanded(model: Path, text: Path, work: argparse.Namespace) -> dict[str, Any]:
    """Our figures for the same weights as F32, which meet activations that are not rounded."""
    with tempfile.TemporaryDirectory() as folder:
        wide = Path(folder) / "wide.gguf"
        convert = [sys.executable, "-m", "llamachat", "convert", str(model), str(wide), "--type", "f32"]
        subprocess.run(convert, check=True, cwd=HERE.parent, stderr=subprocess.DEVNULL)
        return ours(wide, text, work)


def measure(model: Path, text: Path, work: argparse.Namespace) -> dict[str, Any]:
    """All perplexities of a file."""
    found: dict[str, Any] = {"file": model.name}
    runs = {name: ours(model, text, work, *how) for name, how in WAYS.items()}
    if work.peer_python:
        runs["peer"] = peers(model, text, work)
        if runs["peer"]["tokens"] != runs["ours"]["tokens"]:
            print(f"perplexity: {model.name}: the programs cut the text into different tokens", file=sys.stderr)
    if work.floats:
        runs["as F32"] = expanded(model, text, work)
    found |= {name: run["perplexity"] for name, run in runs.items()}
    return found | {"windows": runs["ours"]["windows"], "stderr": runs["ours"]["stderr"]}


def show(found: dict[str, Any]) -> None:
    """A line of the table: ours, and the other figures as what they are more or less than the yardstick."""
    yardstick = found.get("as F32") or found.get("peer") or found["ours"]
    cells = [f"{found['file']:<32}"]
    for name in (*WAYS, "peer", "as F32"):
        value = found.get(name)
        cells.append(" " * 18 if value is None else f"{value:9.4f} {100 * (value / yardstick - 1):+6.3f} %")
    print("  ".join(cells), flush=True)


def main() -> None:
    """Reads the command line, measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", type=Path, metavar="MODEL")
    parser.add_argument("--text", type=Path, required=True, help="UTF-8 text of two windows at least")
    parser.add_argument("--peer-python", help="interpreter of an environment with llama-cpp-python")
    parser.add_argument("--floats", action="store_true", help="also with the weights expanded to F32, as the yardstick")
    parser.add_argument("--n-ctx", type=int, default=512)
    parser.add_argument("--threads", type=int, default=default_threads())
    parser.add_argument("--json", type=Path, metavar="FILE")
    work = parser.parse_args()
    yardstick = "as F32" if work.floats else "the peer" if work.peer_python else "ours"
    print(f"perplexity, and how much more than {yardstick}; windows of {work.n_ctx} tokens")
    print("  ".join([f"{'file':<32}", *(f"{name:>18}" for name in (*WAYS, "peer", "as F32"))]), flush=True)
    results = []
    for model in work.models:
        results.append(measure(model.resolve(), work.text.resolve(), work))
        show(results[-1])
    if work.json:
        work.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
