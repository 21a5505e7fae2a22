"""Ours and llama.cpp's speed on the same file, in turn in one run: medians, ratios, and shares of what the machine can.

    python benchmarks/compare.py --peer-python PEER/bin/python MODEL.gguf...

See README.md for how to set up the peer.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llamachat.engine.core import default_threads
from llamachat.weights import open_weights

HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Work:
    """What both programs are asked to do."""

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


class Program:
    """A program in a process of its own, waiting without using a processor while the other one runs."""

    def __init__(self, command: Sequence[str]) -> None:
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=HERE.parent
        )
        self._answer()

    def ask(self, request: dict[str, list[int]]) -> dict[str, float]:
        """One measurement."""
        assert self.process.stdin  # noqa: S101  (a pipe, as asked for above)
        self.process.stdin.write(json.dumps(request) + "\n")
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
        self._binary = str(Path(folder) / "probe")
        self._threads = str(threads)
        command = [os.environ.get("CC", "cc"), "-O3", "-march=native", "-pthread", str(HERE / "probe.c")]
        try:
            subprocess.run([*command, "-o", self._binary], check=True)
            self.machine = self._run()
        except (OSError, subprocess.CalledProcessError) as error:
            print(f"compare: no probe: {error}", file=sys.stderr)
            self.machine = {}

    def _run(self, *arguments: str) -> dict[str, float]:
        done = subprocess.run([self._binary, self._threads, *arguments], check=True, stdout=subprocess.PIPE, text=True)
        return dict(json.loads(done.stdout))

    def read_gb_s(self) -> float:
        """The read bandwidth of this moment, in GB/s: neighbours of a virtual machine share its memory."""
        return self._run("read")["read_gb_s"] if self.machine else float("nan")


def model_cost(path: Path) -> tuple[int, int]:
    """(bytes of matrices read for each token of an answer, multiplications and additions for each of a prompt)."""
    with open_weights(path) as weights:
        tensors = {name: tensor for name, tensor in weights.tensors.items() if tensor.rows > 1}
    embedding = tensors.get("token_embd.weight")
    in_layers = [tensor for name, tensor in tensors.items() if name.startswith("blk.")]
    output = tensors.get("output.weight") or embedding
    n_bytes = sum(tensor.n_bytes for tensor in in_layers) + (output.n_bytes if output else 0)
    return n_bytes, 2 * sum(tensor.rows * tensor.cols for tensor in in_layers)


def compare(path: Path, work: Work, peer_python: str | None, probe: Probe) -> dict[str, Any]:
    """Medians of both programs on one file."""
    with open_weights(path) as weights:
        n_vocab, label = weights.hyperparameters.n_vocab, f"{path.stem} {weights.type_name}"
    ids = random.Random(1).choices(range(n_vocab), k=work.n_ctx)  # noqa: S311  (any tokens do)
    depth, prompt, answer = (
        ids[: work.depth],
        ids[work.depth : work.depth + work.prompt],
        ids[work.depth + work.prompt :],
    )
    arguments = [str(path.resolve()), str(work.threads), str(work.n_ctx), str(work.batch)]
    programs = {"ours": Program([sys.executable, "-m", "benchmarks.ours", *arguments])}
    if peer_python:
        # Made absolute, but no link followed: an environment is found through its link.
        command = [os.path.abspath(peer_python), "-m", "benchmarks.peer_llama_cpp", *arguments]  # noqa: PTH100
        programs["peer"] = Program(command)
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in programs}
    for i in range(work.pairs + 1):
        for name, program in programs.items():
            request = {"depth": depth, "prompt": prompt, "answer": answer}
            result = program.ask(request)
            if name == "ours":
                result["read_gb_s"] = probe.read_gb_s()
            if work.busy:
                with busy_core():
                    result |= {f"busy_{phase}": speed for phase, speed in program.ask(request).items()}
            if i:  # the first touches memory and is not counted
                runs[name].append(result)
        print(f"\r{label}: {i} of {work.pairs} pairs ", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    for program in programs.values():
        program.close()
    medians = {
        name: {phase: statistics.median(run[phase] for run in results) for phase in results[0]}
        for name, results in runs.items()
    }
    n_bytes, n_ops = model_cost(path)
    shares = [n_bytes * run["answer"] / 1e9 / run["read_gb_s"] for run in runs["ours"]]
    costs = {"bytes_per_token": n_bytes, "ops_per_token": n_ops, "share_of_read": statistics.median(shares)}
    return {"model": label, **costs, "runs": runs, **medians}


def row(result: dict[str, Any], machine: dict[str, float]) -> str:
    """One line of the table."""
    ours, peer = result["ours"], result.get("peer")
    cells = [result["model"]]
    for phase in ("prompt", "answer"):
        theirs = f"{peer[phase]:,.0f}" if peer else "-"
        ratio = f"{ours[phase] / peer[phase]:.2f}" if peer else "-"
        cells += [f"{ours[phase]:,.0f}", theirs, ratio]
    if machine:
        int8 = machine["int8_gop_s"]
        cells.append(f"{100 * result['ops_per_token'] * ours['prompt'] / 1e9 / int8:.0f} %" if int8 else "-")
        cells.append(f"{100 * result['share_of_read']:.0f} %")
    return "| " + " | ".join(cells) + " |"


def busy_row(result: dict[str, Any]) -> str:
    """One line of the table of what is kept beside a busy program."""
    cells = [result["model"]]
    for phase in ("prompt", "answer"):
        for name in ("ours", "peer"):
            speeds = result.get(name)
            kept = speeds and f"{speeds[f'busy_{phase}']:,.0f} ({100 * speeds[f'busy_{phase}'] / speeds[phase]:.0f} %)"
            cells.append(kept or "-")
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    """Parses the command line, measures, prints a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", type=Path, metavar="MODEL")
    parser.add_argument("--peer-python", help="the Python of an environment with llama-cpp-python; without: ours alone")
    parser.add_argument("--threads", type=int, default=default_threads())
    parser.add_argument("-p", "--prompt", type=int, default=512, help="tokens of the prompt (512)")
    parser.add_argument("-n", "--answer", type=int, default=128, help="tokens of the answer (128)")
    parser.add_argument("--depth", type=int, default=0, help="tokens in the cache before both (0)")
    parser.add_argument("--pairs", type=int, default=5, help="measurements of each program (5)")
    parser.add_argument("--busy", action="store_true", help="also with another program at full load on one core")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write everything measured")
    options = parser.parse_args()
    work = Work(options.threads, options.prompt, options.answer, options.depth, options.pairs, options.busy)

    with tempfile.TemporaryDirectory() as folder:
        probe = Probe(folder, work.threads)
        machine = probe.machine
        results = [compare(path, work, options.peer_python, probe) for path in options.models]
    if options.json:
        options.json.write_text(json.dumps({"work": vars(work), "machine": machine, "results": results}, indent=1))
    print(f"{work.threads} threads, prompt {work.prompt}, answer {work.answer}, depth {work.depth}, tokens/s,")
    print(f"medians of {work.pairs} runs in turn; the machine: {json.dumps(machine)}\n")
    shares = " share of int8 peak | share of read bandwidth |" if machine else ""
    print("| model | prompt: ours | peer | ratio | answer: ours | peer | ratio |" + shares)
    print("|---|--:|--:|--:|--:|--:|--:|" + ("--:|--:|" if machine else ""))
    for result in results:
        print(row(result, machine))
    if work.busy:
        print("\nBeside another program at full load on one core, and what share of the speed alone that is:\n")
        print("| model | prompt: ours | peer | answer: ours | peer |\n|---|--:|--:|--:|--:|")
        for result in results:
            print(busy_row(result))


if __name__ == "__main__":
    main()
