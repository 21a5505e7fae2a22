"""Spoils good models at random and opens them in this process, through the readers and the C core:

    python -m tests.hostile.fuzz --minutes 10 --format gguf --seed 7

Each is opened, loaded and asked for the logits of two tokens. Whatever happens must be that, or an error of the
project's own; anything else is printed with the number that makes the same file again (``--first N --count 1``), and
``--keep FOLDER`` keeps it. A file that takes more than ``--seconds`` of processor time is printed too. Where the
process crashes, or does not come on for a minute, it says where, and the file is the one written last in the working
folder, which is named at the start and stays then. At the end: files a second of processor time, how many opened, and
how much memory was gained.

Files differ from good ones by few changes: bits, bytes and numbers anywhere, more often near the front where headers
are; pieces taken out, put twice, or cut off; digits, names and signs of JSON and of text. Archives and headers with a
length or a checksum are put together again around what was spoiled, so that it is read at all.
"""

from __future__ import annotations

import argparse
import faulthandler
import os
import random
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from llamachat.engine.context import Context
from llamachat.engine.core import StopFlag
from llamachat.engine.model import Model
from llamachat.engine.source import ModelSource
from llamachat.errors import LlamachatError
from tests.hostile.mutations import mutated
from tests.hostile.specimens import FORMATS, Good, good_models

_HANGS_AFTER = 60  # seconds
_SETTLED_AFTER = 200  # files, when caches are filled and memory should grow no more
_CHECKED_EVERY = 50  # files, between two looks at the clock


@dataclass
class Tally:
    """What became of the files."""

    opened: int = 0
    refused: Counter[str] = field(default_factory=Counter)  #: by the first words of the reason
    problems: int = 0
    n: int = 0
    settled_bytes: int = 0


def main() -> int:
    options = _options()
    faulthandler.enable()
    warnings.simplefilter("ignore")  # as the command does
    problems = 0
    for name in [options.format] if options.format else list(FORMATS):
        problems += fuzz(name, options)
    return int(problems > 0)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--format", choices=FORMATS, help="without it, one after the other")
    parser.add_argument("--minutes", type=float, default=1.0, help="of processor time, for each format")
    parser.add_argument("--seed", default="0", help="another seed makes other files")
    parser.add_argument("--first", type=int, default=0, metavar="N", help="begin with the Nth file")
    parser.add_argument("--count", type=int, default=0, metavar="N", help="so many files at most")
    parser.add_argument("--seconds", type=float, default=2.0, help="of processor time that a file may take")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="where files with a problem are kept")
    return parser.parse_args()


def fuzz(name: str, options: argparse.Namespace) -> int:
    """Spoils the models of a format; returns how many problems there were."""
    goods = good_models(name)
    tally = Tally()
    started = time.process_time()
    until = started + 60 * options.minutes
    memory = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108 - the folder's own name is new
    with tempfile.TemporaryDirectory(prefix="fuzz-", dir=memory) as folder:
        print(f"{name}: in {folder}", file=sys.stderr, flush=True)
        places = [Place(Path(folder) / str(i), good) for i, good in enumerate(goods)]
        number = options.first
        while not options.count or tally.n < options.count:
            if tally.n % _CHECKED_EVERY == 0:
                if time.process_time() > until:
                    break
                faulthandler.dump_traceback_later(_HANGS_AFTER, exit=True)
            rng = random.Random(f"{options.seed}/{name}/{number}")
            _try(name, number, rng.choice(places), rng, tally, options)
            number += 1
    faulthandler.cancel_dump_traceback_later()
    seconds = time.process_time() - started
    gained = (_resident() - tally.settled_bytes) / 1e6 if tally.settled_bytes else 0.0
    print(
        f"{name}: {tally.n:,} files, {tally.n / seconds:,.0f} a second of processor time, {tally.opened:,} opened, "
        f"{sum(tally.refused.values()):,} refused for {len(tally.refused):,} reasons, memory {gained:+.1f} MB, "
        f"{tally.problems} problems",
        flush=True,
    )
    return tally.problems


class Place:
    """A folder with the files of a good model, one of which may be spoiled."""

    def __init__(self, folder: Path, good: Good) -> None:
        self.good = good
        self.opened = folder / good.opened if good.opened else folder
        self._paths = {name: folder / name for name in good.files}
        self._spoiled = ""
        folder.mkdir()
        for name, data in good.files.items():
            self._write(name, data)

    def spoil(self, name: str, data: bytes) -> None:
        """Writes a file; the one that was spoiled before is whole again."""
        if self._spoiled and self._spoiled != name:
            self._write(self._spoiled, self.good.files[self._spoiled])
        self._spoiled = name
        self._write(name, data)

    def _write(self, name: str, data: bytes) -> None:
        with self._paths[name].open("wb", buffering=0) as file:
            file.write(data)


def _try(name: str, number: int, place: Place, rng: random.Random, tally: Tally, options: argparse.Namespace) -> None:
    good = place.good
    spoiled = rng.choice(good.spoiled)
    data = mutated(spoiled, good.files[spoiled], rng)
    place.spoil(spoiled, data)
    started = time.process_time()
    problem = ""
    try:
        use(place.opened)
        tally.opened += 1
    except LlamachatError as error:
        reason = str(error).partition(": ")[2]
        tally.refused[" ".join(reason.split()[:3])] += 1
        if not reason or len(reason) > 1000:
            problem = f"says {str(error)[:200]!r}"
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        problem = "".join(traceback.format_exception(error))
    seconds = time.process_time() - started
    if not problem and seconds > options.seconds:
        problem = f"took {seconds:.1f} s"
    if problem:
        tally.problems += 1
        print(f"{name} {number} (--seed {options.seed}), {spoiled}: {problem}", flush=True)
        if options.keep:
            kept = options.keep / f"{name}-{options.seed}-{number}"
            kept.mkdir(parents=True, exist_ok=True)
            for other, whole in {**good.files, spoiled: data}.items():
                (kept / other).write_bytes(whole)
    tally.n += 1
    if tally.n == _SETTLED_AFTER:
        tally.settled_bytes = _resident()


def use(path: Path) -> None:
    """Opens the model, loads it, and asks for the logits of two tokens."""
    model = Model.load(ModelSource(path, n_ctx=8, threads=1))
    try:
        context = Context(model)
        try:
            context.append([0, model.info.n_vocab - 1][: context.n_ctx], StopFlag())
        finally:
            context.close()
    finally:
        model.close()


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


if __name__ == "__main__":
    sys.exit(main())
