"""Ours and llama.cpp's speed on the same file, in turn in one run: medians, ratios, and shares of what the machine can.

    python benchmarks/compare.py --peer-python PEER/bin/python MODEL.gguf...

See README.md for how to set up the peer.
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
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # where a file is run, its own folder alone is known

from benchmarks.programs import Peers, Work, programs
from llamachat.engine.core import default_threads
from llamachat.engine.memory import cache_bytes_per_token
from llamachat.engine.source import KvType
from llamachat.weights import open_weights

HERE = Path(__file__).resolve().parent
PHASES = ("prompt", "answer")


@contextmanager
def busy_core() -> Iterator[None]:
    """Another program at full load on the last of the cores that this one may use."""
    core = max(os.sched_getaffinity(0))
    process = subprocess.Popen(
        [sys.executable, "-c", f"import os; os.sched_setaffinity(0, {{{core}}})\nwhile True: pass"]
    )
    try:
        yield
    finally:
        process.kill()
        process.wait()


class Probe:
    """What this machine can do, by probe.c: the yardstick. Without a C compiler nothing is measured."""

    def __init__(self, folder: str, threads: int) -> None:
        binary = str(Path(folder) / "probe")
        command = [os.environ.get("CC", "cc"), "-O3", "-march=native", "-pthread", str(HERE / "probe.c")]
        self.machine: dict[str, float] = {}
        try:
            subprocess.run([*command, "-o", binary], check=True)
            self._process = subprocess.Popen(
                [binary, str(threads)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            self.machine = self._answer() | self._read()
        except (OSError, subprocess.CalledProcessError, json.JSONDecodeError) as error:
            print(f"compare: no probe: {error}", file=sys.stderr)

    def _answer(self) -> dict[str, float]:
        assert self._process.stdout  # noqa: S101  (a pipe, as asked for above)
        return dict(json.loads(self._process.stdout.readline()))

    def _read(self) -> dict[str, float]:
        """The read bandwidth of this moment: neighbours of a virtual machine share its memory."""
        assert self._process.stdin  # noqa: S101
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return self._answer()

    def around(self, measure: Callable[[], dict[str, float]]) -> dict[str, float]:
        """What ``measure`` returns, and the read bandwidth before and after it, on average, in GB/s."""
        if not self.machine:
            return measure()
        before, result, after = self._read(), measure(), self._read()
        return result | {name: (before[name] + after[name]) / 2 for name in before}

    def close(self) -> None:
        """Ends the process, and gives its memory back."""
        if self.machine:
            self._process.communicate()


@dataclass(frozen=True)
class Cost:
    """What a model's tokens cost."""

    weight_bytes: int  #: of matrices, read for each token of an answer
    cache_bytes: int  #: of keys and values, read for each token of an answer and each token before it
    ops: int  #: multiplications and additions with matrices for each token of a prompt


def cost_of(path: Path) -> Cost:
    """The cost of the model in a file."""
    with open_weights(path) as weights:
        h = weights.hyperparameters
        tensors = {name: tensor for name, tensor in weights.tensors.items() if tensor.rows > 1}
    embedding = tensors.get("token_embd.weight")
    in_layers = [tensor for name, tensor in tensors.items() if name.startswith("blk.")]
    output = tensors.get("output.weight") or embedding
    n_bytes = sum(tensor.n_bytes for tensor in in_layers) + (output.n_bytes if output else 0)
    cache_bytes = cache_bytes_per_token(h, KvType.F16)
    return Cost(n_bytes, cache_bytes, 2 * sum(tensor.rows * tensor.cols for tensor in in_layers))


def compare(path: Path, work: Work, peers: Peers, probe: Probe) -> dict[str, Any]:
    """Medians of all programs on one file."""
    with open_weights(path) as weights:
        label = f"{path.stem} {weights.type_name}"
    running = programs(path, work, peers)
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in running}
    first = 1 if work.depth else 0  # the first touches memory and is not counted; tokens before do that as well
    for i in range(first, work.pairs + 1):
        for name, program in running.items():
            if i == 0 and not program.stays:
                continue  # it has nothing to remember
            result = probe.around(program.measure) if name == "ours" else program.measure()
            if work.busy:
                with busy_core():
                    result |= {f"busy_{phase}": speed for phase, speed in program.measure().items()}
            if i:
                runs[name].append(result)
        print(f"\r{label}: {i} of {work.pairs} pairs ", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    for program in running.values():
        program.close()
    medians = {
        name: {phase: statistics.median(run[phase] for run in results) for phase in results[0]}
        for name, results in runs.items()
    }
    cost = cost_of(path)
    before = work.depth + work.prompt + work.answer // 2  # an answer's tokens have so many before them, on average
    shares = {
        name: statistics.median(n_bytes * run["answer"] / 1e9 / run.get("read_gb_s", math.nan) for run in runs["ours"])
        for name, n_bytes in (
            ("share_of_read", cost.weight_bytes),
            ("share_with_cache", cost.weight_bytes + before * cost.cache_bytes),
        )
    }
    return {"model": label, **asdict(cost), **shares, "runs": runs, **medians}


def row(result: dict[str, Any], names: Sequence[str], machine: dict[str, float]) -> list[str]:
    """The cells of a line of the table; ``names`` are the peers'."""
    ours = result["ours"]
    cells = [result["model"]]
    for phase in PHASES:
        cells.append(f"{ours[phase]:,.0f}")
        for name in names:
            theirs = result[name].get(phase)
            cells += [f"{theirs:,.0f}", f"{ours[phase] / theirs:.2f}"] if theirs else ["-", "-"]
    if machine:
        int8 = machine["int8_gop_s"]
        cells.append(f"{100 * result['ops'] * ours['prompt'] / 1e9 / int8:.0f} %" if int8 else "-")
        cells.append(f"{ours['read_gb_s']:.0f}")
        cells += [f"{100 * result[name]:.0f} %" for name in ("share_of_read", "share_with_cache")]
    return cells


def busy_row(result: dict[str, Any], names: Sequence[str]) -> list[str]:
    """The cells of a line of the table of what is kept beside a busy program; ``names`` are all programs'."""
    cells = [result["model"]]
    for phase in PHASES:
        for name in names:
            alone, beside = result[name].get(phase), result[name].get(f"busy_{phase}")
            cells.append(f"{beside:,.0f} ({100 * beside / alone:.0f} %)" if beside else "-")
    return cells


def show(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A Markdown table: names to the left, figures to the right."""
    print(f"| {' | '.join(header)} |\n|---|{'--:|' * (len(header) - 1)}")
    for cells in rows:
        print(f"| {' | '.join(cells)} |")


def report(results: Sequence[dict[str, Any]], work: Work, machine: dict[str, float]) -> None:
    """All tables."""
    peers = [name for name in results[0]["runs"] if name != "ours"]
    print(f"{work.threads} threads, prompt {work.prompt}, answer {work.answer}, depth {work.depth}, tokens/s,")
    print(f"medians of {work.pairs} runs in turn; the machine: {json.dumps(machine)}\n")
    header = ["model"]
    for phase in PHASES:
        header += [f"{phase}: ours", *(cell for name in peers for cell in (name, "ratio"))]
    header += ["of int8 peak", "GB/s there were", "of them for weights", "with keys and values"] if machine else []
    show(header, [row(result, peers, machine) for result in results])
    if work.busy:
        print("\nBeside another program at full load on one core, and what share of the speed alone that is:\n")
        header = ["model", *(name for phase in PHASES for name in (f"{phase}: ours", *peers))]
        show(header, [busy_row(result, ["ours", *peers]) for result in results])


def main() -> None:
    """Parses the command line, measures, prints a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", type=Path, metavar="MODEL")
    parser.add_argument("--peer-python", help="the Python of an environment with llama-cpp-python; without: ours alone")
    parser.add_argument(
        "--llama-bench", type=Path, metavar="PROGRAM", help="a further peer: ik_llama.cpp's llama-bench"
    )
    parser.add_argument(
        "--llama-bench-args",
        action="append",
        metavar="ARGS",
        help="more arguments for it, in one string; again: a peer more",
    )
    parser.add_argument("--threads", type=int, default=default_threads())
    parser.add_argument("-p", "--prompt", type=int, default=512, help="tokens of the prompt (512)")
    parser.add_argument("-n", "--answer", type=int, default=128, help="tokens of the answer (128)")
    parser.add_argument("--depth", type=int, default=0, help="tokens in the cache before both (0)")
    parser.add_argument("--pairs", type=int, default=5, help="measurements of each program (5)")
    parser.add_argument("--busy", action="store_true", help="also with another program at full load on one core")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write everything measured")
    options = parser.parse_args()
    peers = Peers(options.peer_python, options.llama_bench, tuple(options.llama_bench_args or [""]))
    work = Work(options.threads, options.prompt, options.answer, options.depth, options.pairs, options.busy)

    with tempfile.TemporaryDirectory() as folder:
        probe = Probe(folder, work.threads)
        machine = probe.machine
        results: list[dict[str, Any]] = []
        with suppress(KeyboardInterrupt):  # what was measured until then is reported
            results.extend(compare(path, work, peers, probe) for path in options.models)
        probe.close()
    if options.json:
        options.json.write_text(json.dumps({"work": vars(work), "machine": machine, "results": results}, indent=1))
    report(results, work, machine)


if __name__ == "__main__":
    main()
