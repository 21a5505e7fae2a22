"""How long each program takes from its start to the first token of an answer, and how much memory it holds then.

    .venv/bin/python benchmarks/start.py --peer-python peer/bin/python MODEL [MODEL ...]

Whole processes, in turn: ours is ``llamachat complete -n 1``, the peer's the same through llama-cpp-python's ``Llama``.
The file is read once before, so that it comes from the page cache. Python's standard library is enough.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

_PEER = """\
import sys
from llama_cpp import Llama
model = Llama(sys.argv[1], n_ctx=int(sys.argv[2]), n_threads=int(sys.argv[3]), n_threads_batch=int(sys.argv[3]),
              verbose=False)
print(model.create_completion("Once", max_tokens=1)["choices"][0]["text"], flush=True)
"""


def measure(command: list[str]) -> dict[str, float]:
    """Seconds to the first byte on standard output and to the end, and megabytes resident at most."""
    begin = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
    if process.stdout is None:
        raise SystemExit("no pipe to read from")
    said = process.stdout.read(1)
    first = time.perf_counter() - begin
    process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode or not said:
        raise SystemExit(f"{' '.join(command[:4])} ... failed with status {process.returncode}")
    unit = 1 if sys.platform == "darwin" else 1024
    return {
        "first_token_s": first,
        "whole_s": time.perf_counter() - begin,
        "processor_s": usage.ru_utime + usage.ru_stime,
        "peak_mb": usage.ru_maxrss * unit / 1e6,
    }


def commands(model: Path, options: argparse.Namespace) -> dict[str, list[str]]:
    """What is run, by the name of the program."""
    numbers = [str(options.n_ctx), str(options.threads)]
    ours = [sys.executable, "-m", "llamachat", "complete", "-m", str(model), "--n-ctx", numbers[0]]
    found = {"ours": [*ours, "--threads", numbers[1], "-n", "1", "Once"]}
    if options.peer_python:
        found["peer"] = [options.peer_python, "-c", _PEER, str(model), *numbers]
    return found


def compare(model: Path, options: argparse.Namespace) -> dict[str, list[dict[str, float]]]:
    """All measurements of a model by program, after one of each that is not counted."""
    with model.open("rb") as file:
        while file.read(1 << 24):
            pass
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in commands(model, options)}
    for i in range(options.runs + 1):
        for name, command in commands(model, options).items():
            result = measure(command)
            if i:
                runs[name].append(result)
    return runs


def main() -> None:
    """Measures and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", type=Path, metavar="MODEL")
    parser.add_argument("--peer-python", help="the Python of an environment with llama-cpp-python; without: ours alone")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--n-ctx", type=int, default=2048, help="tokens of context (2048)")
    parser.add_argument("--runs", type=int, default=5, help="measurements of each program (5)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write everything measured")
    options = parser.parse_args()
    results = {}
    print(f"{'model':32} {'program':8} {'first token':>11} {'whole':>8} {'processor':>10} {'peak':>9} {'file':>9}")
    for model in options.models:
        results[str(model)] = runs = compare(model, options)
        for name, found in runs.items():
            middle = {key: statistics.median(run[key] for run in found) for key in found[0]}
            print(
                f"{model.name[:32]:32} {name:8} {middle['first_token_s']:9.2f} s {middle['whole_s']:6.2f} s"
                f" {middle['processor_s']:8.2f} s {middle['peak_mb']:6.0f} MB {model.stat().st_size / 1e6:6.0f} MB"
            )
    if options.json:
        options.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
