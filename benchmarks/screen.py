"""What the full screen costs, and what one sees: tokens per second of the same answer headless and in the app, how
often the answer grows on the screen, and how soon a key shows.

The app runs in a pseudo-terminal of 120x40 whose other end only reads, so that what is measured is the program and not
a terminal emulator. Both sides of a pair run one right after the other, now this and now that one first, each in a
process of its own; what counts is the median of the pairs' ratios, with an interval for it from resampling them, since
a single ratio is as much the machine's as the program's. ``--add FILE`` gathers pairs over several runs. See README.md.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import pty
import random
import re
import select
import statistics
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llamachat.chat.store import SessionStore
from llamachat.cli.model_files import default_model
from llamachat.paths import data_dir

ROWS, COLUMNS = 40, 120
PATIENCE_SECONDS = 60.0
RESAMPLINGS = 4000
CODE = "Write a complete Python program that simulates a bank, with at least 40 functions. Only code."
PROSE = "Tell me the whole history of the Roman Empire, century by century, in as much detail as you can."
TO_A_CELL = re.compile(rb"\x1b\[(\d+);(\d+)H.")
TEXT_ROWS, TEXT_COLUMNS = range(2, ROWS - 5), range(29, 82)
"""Where the answer stands, between the chats and the scrollbar, above the composer."""
ONE_FRAME_SECONDS = 0.01
"""A frame comes in pieces of 4 KB, one right after the other."""
FIRST_KEY = 0x0100  # letters that no answer holds: each is typed once, and so shows when it is seen


@dataclass(frozen=True, slots=True)
class Streamed:
    """One answer in the app."""

    tokens: int
    rate: float  #: tokens per second
    share: float  #: of the answer's time, in which the thread of the screen computed
    delays_ms: list[float]  #: from each key to its letter on the screen
    frames: list[float]  #: when the answer was seen to change, in seconds

    @property
    def frame_rate(self) -> float:
        """Changes of the answer in a second."""
        return (len(self.frames) - 1) / (self.frames[-1] - self.frames[0])

    @property
    def longest_gap_ms(self) -> float:
        """The longest time without one."""
        return 1000 * max(later - earlier for earlier, later in zip(self.frames, self.frames[1:], strict=False))


class App:
    """The full screen, in a pseudo-terminal."""

    def __init__(self, options: Sequence[str], data: Path) -> None:
        self._end, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        self.process = subprocess.Popen(
            [sys.executable, "-m", "llamachat", "--data-dir", str(data), *options],
            stdin=theirs, stdout=theirs, stderr=theirs,
            env={**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor"}, start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )  # fmt: skip
        os.close(theirs)

    def write(self, text: str) -> None:
        """Presses keys."""
        os.write(self._end, text.encode())

    def read(self, seconds: float) -> bytes:
        """What the app wrote within so many seconds; empty if nothing."""
        if not select.select([self._end], [], [], max(seconds, 0))[0]:
            return b""
        with suppress(OSError):
            return os.read(self._end, 1 << 16)
        return b""

    def wait_for(self, text: str) -> None:
        """Waits until a text is written."""
        end, seen = time.monotonic() + PATIENCE_SECONDS, b""
        while text.encode() not in seen:
            if time.monotonic() > end:
                sys.exit(f"the app did not say {text!r}")
            seen = seen[-4096:] + self.read(1.0)

    def screen_seconds(self) -> float:
        """Processor time of the thread that draws."""
        fields = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def close(self) -> None:
        """Quits."""
        self.write("\x11")
        end = time.monotonic() + PATIENCE_SECONDS
        while self.process.poll() is None and time.monotonic() < end:
            self.read(0.05)
        self.process.kill()
        self.process.wait()
        os.close(self._end)


@dataclass(frozen=True, slots=True)
class Answering:
    """What is measured: an answer of so many tokens by a model; 0 threads are as many as the program takes."""

    model: Path
    prompt: str
    tokens: int
    threads: int

    @property
    def options(self) -> list[str]:
        """For the command line."""
        threads = ["--threads", str(self.threads)] if self.threads else []
        return ["--temperature", "0", "-n", str(self.tokens), "-m", str(self.model), *threads]


@dataclass(frozen=True, slots=True)
class Pair:
    """The same answer headless and in the app."""

    alone: float  #: tokens per second
    app: Streamed

    @property
    def ratio(self) -> float:
        """Of the app's rate to the other."""
        return self.app.rate / self.alone


def headless(what: Answering) -> float:
    """Tokens per second of an answer that is written to a pipe."""
    command = [
        sys.executable,
        "-m",
        "benchmarks.alone",
        str(what.model),
        str(what.tokens),
        str(what.threads),
        what.prompt,
    ]
    done = subprocess.run(command, check=True, capture_output=True)
    timings = json.loads(done.stderr.splitlines()[-1])
    return 1000 * float(timings["answer_tokens"]) / float(timings["answer_ms"])


def on_screen(what: Answering, keys_per_second: float) -> Streamed:
    """The same answer in the app; keys are typed meanwhile, if any."""
    prompt, options = what.prompt, what.options
    with tempfile.TemporaryDirectory() as folder:
        app = App(options, Path(folder))
        try:
            app.wait_for("ready")
            app.write(prompt)
            time.sleep(0.5)
            app.read(0)
            app.write("\r")
            app.wait_for("answering")
            began, used = time.monotonic(), app.screen_seconds()
            delays, frames = watch(app, keys_per_second)
            share = (app.screen_seconds() - used) / (time.monotonic() - began)
        finally:
            app.close()
        store = SessionStore(Path(folder))
        timings = store.load(store.sessions()[0].id).path[-1].timings
        store.close()
    if timings is None or len(frames) < 3:
        sys.exit("the app stored no figures, or drew too little: ask for 200 tokens or more (-n)")
    return Streamed(timings.answer_tokens, timings.answer_rate, share, delays, frames)


def grows(data: bytes) -> bool:
    """Whether something is drawn where the answer stands."""
    places = ((int(row), int(column)) for row, column in TO_A_CELL.findall(data))
    return any(row in TEXT_ROWS and column in TEXT_COLUMNS for row, column in places)


def watch(app: App, keys_per_second: float) -> tuple[list[float], list[float]]:
    """Reads until the answer is over, typing; returns how many milliseconds each key took, and when the text grew."""
    delays: list[float] = []
    frames: list[float] = []
    last = 0.0
    pause = 1 / keys_per_second if keys_per_second else PATIENCE_SECONDS
    key, pressed, next_key, seen = "", 0.0, time.monotonic() + pause, b""
    while b"ready" not in seen:
        data = app.read(min(next_key - time.monotonic(), 1.0))
        now = time.monotonic()
        seen = seen[-64:] + data
        if grows(data):
            if now - last > ONE_FRAME_SECONDS:
                frames.append(now)
            last = now
        if key and key.encode() in seen:
            delays.append(1000 * (now - pressed))
            key = ""
        if now >= next_key and not key:
            key, pressed, next_key = chr(FIRST_KEY + len(delays)), now, now + pause
            app.write(key)
        if now - max(pressed, 0) > PATIENCE_SECONDS and pressed:
            sys.exit("a key did not show")
    return delays, frames


def percentile(values: Sequence[float], part: float) -> float:
    """The value below which ``part`` of them lie."""
    return sorted(values)[min(int(part * len(values)), len(values) - 1)]


def median_with_interval(values: Sequence[float]) -> tuple[float, float, float]:
    """The median, and between what values it lies in 95 of 100 cases, had other pairs of this kind been measured."""
    draw = random.Random(0)  # noqa: S311 - no secret
    medians = [statistics.median(draw.choices(values, k=len(values))) for _ in range(RESAMPLINGS)]
    return statistics.median(values), percentile(medians, 0.025), percentile(medians, 0.975)


def measure(what: Answering, pairs: int) -> Iterator[Pair]:
    """So many pairs, and prints each."""
    for number in range(pairs):
        app_first = on_screen(what, 0) if number % 2 else None
        alone = headless(what)
        app = app_first or on_screen(what, 0)
        pair = Pair(alone, app)
        print(f"{app.tokens:7,}{alone:11,.1f}{app.rate:11,.1f}{100 * pair.ratio:8.1f} %{100 * app.share:8.1f} %"
              f"{1e6 * app.share / app.rate:11.0f} us{app.frame_rate:10.1f}{app.longest_gap_ms:9.0f} ms",
              flush=True)  # fmt: skip
        yield pair


def compare(what: Answering, pairs: int, gathered: Path | None) -> None:
    """Prints the pairs, and the median of their ratios: of these, and of those gathered before for the same answer."""
    asked: dict[str, Any] = {"prompt": what.prompt, "tokens": what.tokens, "model": what.model.name}
    rows: list[dict[str, Any]] = []
    if gathered is not None and gathered.exists():
        rows = [row for row in map(json.loads, gathered.read_text().splitlines()) if asked.items() <= row.items()]
    for pair in measure(what, pairs):
        app = pair.app
        rows.append({**asked, "ratio": pair.ratio, "share": app.share, "frames": app.frame_rate,
                     "gap_ms": app.longest_gap_ms})  # fmt: skip
        if gathered is not None:  # at once: what is measured is not lost if the rest is cut off
            with gathered.open("a") as file:
                file.write(json.dumps(rows[-1]) + "\n")
    if not rows:
        sys.exit("no pairs")
    median, low, high = median_with_interval([row["ratio"] for row in rows])
    share, frames, gap = (statistics.median(row[name] for row in rows) for name in ("share", "frames", "gap_ms"))
    print(
        f"{len(rows)} pairs: median ratio {100 * median:.1f} % ({100 * low:.1f} to {100 * high:.1f} % in 95 of 100 "
        f"cases); medians: screen {100 * share:.1f} %, {frames:.1f} frames/s, longest gap {gap:.0f} ms"
    )


def type_along(what: Answering, keys_per_second: float) -> None:
    """Prints how soon keys show that are typed during one more answer."""
    app = on_screen(what, keys_per_second)
    parts = ", ".join(f"{name} {percentile(app.delays_ms, part):.0f} ms"
                      for name, part in (("median", 0.5), ("95 %", 0.95), ("most", 1.0)))  # fmt: skip
    print(
        f"{len(app.delays_ms)} keys, {keys_per_second:g} a second, at {app.rate:,.1f} tokens/s, "
        f"{app.frame_rate:.1f} frames/s: {parts}"
    )


def main() -> None:
    """Measures prose and a code block, or one prompt that is given."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-m", "--model", help="the model; the one that a chat starts with by default")
    parser.add_argument("--prompt", action="append", help="what is asked (a prompt for prose, and one for code)")
    parser.add_argument("-n", type=int, default=2000, help="tokens of the answer (2000)")
    parser.add_argument("--threads", type=int, default=0, help="threads that compute")
    parser.add_argument("--pairs", type=int, default=6, help="answers headless and in the app, in turn (6)")
    parser.add_argument("--add", metavar="FILE", help="gather the pairs in this file, and report all that it has")
    parser.add_argument("--keys", type=float, default=10.0, help="keys a second, in one more answer (10); 0 leaves it")
    given = parser.parse_args()
    model = given.model or default_model(data_dir())  # sessions go elsewhere, and models are beside them
    if model is None:
        sys.exit("no model: name one with -m, or fetch one with llamachat pull")
    for prompt in given.prompt or (PROSE, CODE):
        what = Answering(Path(model), prompt, given.n, given.threads)
        print(prompt)
        if given.pairs or given.add:
            print(" tokens   headless        app     ratio    screen       a token  frames/s  longest gap")
            compare(what, given.pairs, Path(given.add) if given.add else None)
        if given.keys:
            type_along(what, given.keys)


if __name__ == "__main__":
    main()
