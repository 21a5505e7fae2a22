"""A sample of the broken models through the command, each in a process of its own: the rest is for ``run``."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import pytest

import llamachat
from tests.hostile.cases import Case, Verdict
from tests.hostile.corpus import all_cases
from tests.hostile.run import Limits, judged

#: Time and memory are for ``run`` to measure: tests run beside others, and a process's peak counts its parent's.
LIMITS = Limits(seconds=60.0, megabytes=float("inf"))

SAMPLE = {
    ("gguf v3", "as it is"): "convert",
    ("safetensors", "cut at the data"): "inspect",
    ("gguf v3", "a key twice"): "complete",
    ("gguf v3", "nan in output.weight"): "complete",
    ("gguf v3", "a name of control characters"): "inspect",
    ("ggjt v3", "the magic number turned around"): "convert",
    ("ggmf in parts", "a part of another model"): "complete",
    ("llama2.c v2", "neither tied nor not"): "inspect",
    ("meta .pth", "a command, protocol 2"): "complete",
    ("meta .pth", "a bomb of 256 MB"): "complete",
    ("safetensors", "arrays 200,000 deep"): "inspect",
    ("safetensors shards", "a tensor in '/etc/passwd'"): "convert",
    ("places", "a pipe"): "complete",
    ("places", "4 TiB of GGUF with empty tokens"): "complete",
    ("names", "broken: 'm\\x1b[2J.gguf'"): "inspect",
}


@pytest.fixture(scope="module")
def cases() -> dict[tuple[str, str], Case]:
    return {(case.family, case.name): case for case in all_cases() if (case.family, case.name) in SAMPLE}


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch) -> str:
    """The command of the package that is under test."""
    monkeypatch.setenv("PYTHONPATH", str(Path(llamachat.__file__).parents[1]))
    return shlex.join([sys.executable, "-m", "llamachat"])


@pytest.mark.parametrize(("which", "command"), SAMPLE.items(), ids=lambda value: str(value))
def test_the_command_ends_as_it_must(
    which: tuple[str, str], command: str, program: str, cases: dict[tuple[str, str], Case], tmp_path: Path
) -> None:
    case = cases[which]
    path = case.write(tmp_path / "case")
    facts = {"family": case.family, "name": case.name, "verdict": case.verdict.value, "path": str(path)}
    run = judged(program, {**facts, "folder": str(tmp_path / "case"), "names": ["case"]}, command, LIMITS)
    assert not run.problem, run
    assert run.status == (0 if case.verdict is Verdict.OPENS else 1)
