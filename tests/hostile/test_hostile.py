"""Every broken model in this process: opened or refused as it must be, with no other exception, in bounded time."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

from llamachat.engine.model import Model
from llamachat.engine.source import ModelSource
from llamachat.errors import FileError, LlamachatError, WeightsError
from llamachat.weights import open_weights
from tests.hostile.cases import Case, Verdict
from tests.hostile.corpus import all_cases

SECONDS = 2.0  # of processor time, each
LEAST = 500

FAMILIES = (
    *("gguf v1", "gguf v2", "gguf v2 big-endian", "gguf v3", "gguf v3 big-endian", "gguf split"),
    *("ggml", "ggmf v1", "ggmf in parts", "ggjt v1", "ggjt v2", "ggjt v3"),
    *("llama2.c v0", "llama2.c v1", "llama2.c v2", "llama2.c ckpt.pt", "tokenizer.bin"),
    *("meta .pth", "meta .pth shards", "safetensors", "safetensors shards", "pytorch_model.bin"),
    *("ncnn .param", "ncnn .bin", "ncnn .desc", "places", "names", "other kinds"),
)


@pytest.fixture(scope="module")
def cases() -> list[Case]:
    return list(all_cases())


@dataclass(frozen=True)
class Outcome:
    """What became of a case: errors, or None where it opened and where it was loaded."""

    opening: LlamachatError | None
    loading: LlamachatError | None

    @property
    def agrees(self) -> dict[Verdict, bool]:
        """By verdict, whether this is it."""
        return {
            Verdict.OPENS: not self.opening and not self.loading,
            Verdict.REFUSED: self.loading is not None,
            Verdict.NOT_RUN: self.loading is not None,
            Verdict.EITHER: True,
        }


def tried(path: Path) -> Outcome:
    opening: LlamachatError | None = None
    try:
        open_weights(path).close()
    except LlamachatError as error:
        opening = error
    try:
        Model.load(ModelSource(path, n_ctx=16, threads=1)).close()
    except LlamachatError as error:
        return Outcome(opening, error)
    return Outcome(opening, None)


def problem(case: Case, outcome: Outcome, seconds: float) -> str:
    """What is wrong with how a case went; empty if nothing is."""
    if not outcome.agrees[case.verdict]:
        return f"must be {case.verdict.value}: opening {outcome.opening}, loading {outcome.loading}"
    if seconds > SECONDS:
        return f"took {seconds:.1f} s"
    for error in (outcome.opening, outcome.loading):
        reason = error.reason if isinstance(error, FileError) else str(error)
        if isinstance(error, WeightsError) and not (reason.isprintable() and 0 < len(reason) <= 200):
            return f"says {reason!r}"
    return ""


def test_there_are_enough_and_no_two_alike(cases: list[Case]) -> None:
    assert len(cases) >= LEAST
    assert {case.family for case in cases} == set(FAMILIES)
    assert not [name for name, n in Counter((case.family, case.name) for case in cases).items() if n > 1]


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # of numbers that are none: the command shows no warnings
@pytest.mark.parametrize("family", FAMILIES)
def test_each_is_opened_or_refused(family: str, cases: list[Case], tmp_path: Path) -> None:
    problems = []
    for number, case in enumerate(case for case in cases if case.family == family):
        path = case.write(tmp_path / str(number))
        started = time.process_time()
        outcome = tried(path)
        wrong = problem(case, outcome, time.process_time() - started)
        if wrong:
            problems.append(f"{case.name}: {wrong}")
    assert not problems, "\n".join(problems)
