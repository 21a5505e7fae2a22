"""Runs the command over every broken model, each in a process of its own, and says what became of each:

    python -m tests.hostile.run --command .venv/bin/llamachat

Each is inspected, asked for a token, and converted. A case holds if the command ends by itself with 0 or 1, in at most
``--seconds``, with at most ``--megabytes`` of memory in all (the interpreter's own 30 MB among them), and, where it
fails, says so in one line of at most 200 columns that names a file of the case; if it leaves no file behind that is
not whole; and if nothing that must be refused is answered. A case that took too long is tried twice more, since other
programs may have been in the way. ``--report FILE`` gets a line of JSON for every run.

Nothing here imports numpy: the peak of a process counts what its parent was before it became another program.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

COLUMNS = 200
GIVES_UP_AFTER = 20.0  # seconds, when a run is taken for one without end

#: What is done with a case: arguments by the path of the model and that of a new file.
COMMANDS: dict[str, Callable[[str, str], list[str]]] = {
    "inspect": lambda model, _: ["inspect", model],
    "complete": lambda model, _: ["complete", "-n", "1", "--model", model, "Once"],
    "convert": lambda model, new: ["convert", model, new],
}


@dataclass(frozen=True)
class Limits:
    """What a run may take."""

    seconds: float
    megabytes: float


@dataclass(frozen=True)
class Run:
    """What one process did."""

    family: str
    case: str
    command: str
    status: int  #: negative: the signal that ended it
    seconds: float
    processor_seconds: float
    megabytes: float
    message: str
    problem: str = ""


def main() -> int:
    options = _options()
    limits = Limits(options.seconds, options.megabytes)
    with tempfile.TemporaryDirectory(prefix="hostile-") as folder:
        index = _corpus(Path(folder), options.only)[options.first :: options.every]
        work = [(case, command) for case in index for command in options.commands]
        with ThreadPoolExecutor(options.jobs) as pool:
            runs = list(_shown(pool.map(lambda job: judged(options.command, job[0], job[1], limits), work), len(work)))
    if options.report:
        Path(options.report).write_text("".join(json.dumps(asdict(run)) + "\n" for run in runs))
    _summary(runs, limits)
    return int(any(run.problem for run in runs))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--command", type=_program, default="llamachat", help="the installed command, or several words")
    parser.add_argument("--only", default="", metavar="WORDS", help="cases whose family and name have these words")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="every Nth case alone")
    parser.add_argument("--first", type=int, default=0, metavar="K", help="of those from the Kth on")
    parser.add_argument("--commands", nargs="+", choices=COMMANDS, default=list(COMMANDS))
    parser.add_argument("--jobs", type=int, default=1, help="processes at a time")
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--megabytes", type=float, default=200.0)
    parser.add_argument("--report", metavar="FILE", help="every run as a line of JSON")
    return parser.parse_args()


def _program(command: str) -> str:
    """The command with the place of its program, since it runs in other folders than this one."""
    name, *words = shlex.split(command) or [""]
    place = shutil.which(name)
    if place is None:
        raise argparse.ArgumentTypeError(f"no program {name!r}")
    return shlex.join([str(Path(place).absolute()), *words])


def _corpus(folder: Path, words: str) -> list[dict[str, Any]]:
    command = [sys.executable, "-m", "tests.hostile.corpus", str(folder / "cases"), words]
    subprocess.run(command, check=True, stdout=sys.stderr, cwd=Path(__file__).parents[2])
    index: list[dict[str, Any]] = json.loads((folder / "cases" / "index.json").read_text())
    return index


def _shown(runs: Iterator[Run], total: int) -> Iterator[Run]:
    """The runs as they come, each that does not hold printed at once."""
    for number, run in enumerate(runs, 1):
        if run.problem:
            print(f"{run.command} {run.family}: {run.case}: {run.problem} [{run.message[:160]}]", flush=True)
        if sys.stderr.isatty():
            sys.stderr.write(f"\r{number} of {total}\033[K")
        yield run


# ---- one run ----


def judged(program: str, case: dict[str, Any], command: str, limits: Limits) -> Run:
    """What one command does with one case of the index, and what is wrong with that."""
    for _ in range(3):
        run, problem = _run(program, case, command, limits)
        if not problem.startswith(("took", "did not end")):
            break
    return Run(**{**asdict(run), "problem": problem})


def _run(program: str, case: dict[str, Any], command: str, limits: Limits) -> tuple[Run, str]:
    with tempfile.TemporaryDirectory(prefix="hostile-run-") as place:
        here = Path(place)
        out = here / "out"
        out.mkdir()
        arguments = COMMANDS[command](case["path"], str(out / "new.gguf"))
        before = _names(Path(case["folder"]))
        ended = _measured([*shlex.split(program), *arguments], out, here)
        left = _names(out)
        shown, told = (here / "stdout").read_bytes(), (here / "stderr").read_bytes()
        strange = _names(Path(case["folder"])) != before
    run = Run(case["family"], case["name"], command, *ended, told.decode(errors="replace").strip())
    whole = ["new.gguf"] if command == "convert" and run.status == 0 else []
    problem = _took_too_much(run, limits) or _ended_badly(run, case, shown, told)
    if left != whole or strange:
        problem = problem or f"left {', '.join(left)}" + " and changed the case's folder" * strange
    return run, problem


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def _measured(command: list[str], cwd: Path, place: Path) -> tuple[int, float, float, float]:
    """Status, seconds, seconds of processor time and peak megabytes of a command, which has a home of its own."""
    environment = {**os.environ, "HOME": str(place), "LC_ALL": "C.UTF-8", "COLUMNS": "200"}
    for name in [*os.environ]:
        if name.startswith(("XDG_", "LLAMACHAT_")):
            del environment[name]
    with (place / "stdout").open("wb") as out, (place / "stderr").open("wb") as err:
        started = time.monotonic()
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, cwd=cwd, env=environment, start_new_session=True
        )
        alarm = threading.Timer(GIVES_UP_AFTER, _end, (process.pid,))
        alarm.start()
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.monotonic() - started
        alarm.cancel()
        process.returncode = os.waitstatus_to_exitcode(status)
    return process.returncode, seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1000


def _end(group: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)


def _took_too_much(run: Run, limits: Limits) -> str:
    if run.status < 0:
        return "did not end" if run.seconds >= GIVES_UP_AFTER else f"ended by {signal.Signals(-run.status).name}"
    if run.seconds > limits.seconds:
        return f"took {run.seconds:.1f} s, {run.processor_seconds:.1f} s of them on a processor"
    if run.megabytes > limits.megabytes:
        return f"took {run.megabytes:.0f} MB"
    return ""


def _ended_badly(run: Run, case: dict[str, Any], shown: bytes, told: bytes) -> str:
    answer = b"" if run.command == "complete" else shown  # which is the model's own, byte for byte
    for name, data in (("stdout", answer), ("stderr", told)):
        if any((byte < 32 and byte not in b"\n\t") or byte == 127 for byte in data):
            return f"wrote control characters to {name}"
    if run.status not in (0, 1):
        return f"ended with {run.status}"
    verdict = case["verdict"]
    if run.status == 0:
        used_all_the_same = verdict == "refused" and run.command != "inspect"
        must_not = used_all_the_same or (verdict == "not run" and run.command == "complete")
        return "opened what must be refused" if must_not else ""
    if verdict == "opens":
        return "refused what is whole"
    lines = told.decode(errors="replace").splitlines()
    if len(lines) != 1 or not told.endswith(b"\n"):
        return f"wrote {len(lines)} lines to stderr"
    if not lines[0].startswith("llamachat: error: ") or "unexpected" in lines[0]:
        return "told of an accident"
    if len(lines[0]) > COLUMNS:
        return f"wrote a line of {len(lines[0])} columns"
    if shown and run.command != "complete":
        return "wrote to stdout although it failed"
    return "" if any(name[-20:] in lines[0] for name in case["names"]) else "named no file"


# ---- the summary ----


def _summary(runs: list[Run], limits: Limits) -> None:
    head = ("family", "command", "cases", "opened", "refused", "most s", "most CPU s", "most MB", "wrong")
    rows = [head]
    for family in [*dict.fromkeys(run.family for run in runs), "all"]:
        for command in dict.fromkeys(run.command for run in runs):
            these = [r for r in runs if r.command == command and family in (r.family, "all")]
            rows.append((
                family, command, str(len(these)), str(sum(r.status == 0 for r in these)),
                str(sum(r.status == 1 for r in these)), f"{max(r.seconds for r in these):.2f}",
                f"{max(r.processor_seconds for r in these):.2f}", f"{max(r.megabytes for r in these):.0f}",
                str(sum(bool(r.problem) for r in these)),
            ))  # fmt: skip
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    print()
    for row in rows:
        cells = [
            f"{cell:<{w}}" if i < 2 else f"{cell:>{w}}" for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        ]
        print("  ".join(cells))
    wrong = sum(bool(run.problem) for run in runs)
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    print(
        f"\n{len(runs)} runs, {wrong} that do not hold (limits: {limits.seconds:g} s, {limits.megabytes:g} MB in all)"
    )
    print(f"  this program itself, below which no peak is told: {own:.0f} MB")
    for run in sorted(runs, key=lambda r: -r.megabytes)[:3]:
        print(f"  most memory: {run.megabytes:.0f} MB, {run.command} {run.family}: {run.case}")
    for run in sorted(runs, key=lambda r: -r.processor_seconds)[:3]:
        print(f"  most time: {run.processor_seconds:.2f} s, {run.command} {run.family}: {run.case}")


if __name__ == "__main__":
    sys.exit(main())
