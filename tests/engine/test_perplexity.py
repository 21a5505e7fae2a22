"""Perplexity and divergence of tiny models against a float64 evaluation of the same windows."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from llamachat.engine.core import StopFlag
from llamachat.engine.perplexity import (
    Encoding,
    Estimate,
    Loading,
    Measured,
    PerplexityEvent,
    Plan,
    Score,
    Started,
    Tally,
    Window,
    WindowDone,
    choose_windows,
    perplexity,
    text_ids,
)
from llamachat.engine.source import ModelSource, Rounding
from llamachat.errors import Cancelled, EngineError
from llamachat.tokenizer import load_tokenizer
from llamachat.vocabulary import Vocabulary
from tests.support.perplexity_reference import reference_of, scored_rows
from tests.support.tiny_models import TinyShape, bpe_vocabulary, random_model, spm_vocabulary, write_gguf

SHAPE = TinyShape(n_ctx=400, tied=False)
TEXT = " ".join(random.Random(5).choices(["the", "cat", "sat", "on", "a mat,", "and", "then", "Ünïts", "42.\n"], k=500))


def run(path: Path, plan: Plan, text: str = TEXT) -> tuple[Started, list[WindowDone], Measured]:
    told: list[PerplexityEvent] = []
    perplexity(ModelSource(path, threads=2, rounding=Rounding.EXACT), text, plan, told.append, StopFlag())
    (started,) = (event for event in told if isinstance(event, Started))
    assert all(isinstance(event, Loading | Encoding) for event in told[: told.index(started)])
    assert isinstance(told[-1], Measured)
    windows = told[told.index(started) + 1 : -1]
    assert all(isinstance(event, WindowDone) for event in windows)
    return started, windows, told[-1]  # type: ignore[return-value]


PLANS = {
    "windows": Plan(32),
    "odd": Plan(33),
    "least": Plan(3),
    "in several batches": Plan(300),
    "strided": Plan(40, 10),
    "strided, odd": Plan(41, 7),
    "a stride as long as the window": Plan(24, 24),
    "a stride of one": Plan(60, 1),
}


@pytest.mark.parametrize("name", PLANS)
@pytest.mark.parametrize(("vocabulary", "types"), [(spm_vocabulary(320), "F32"), (bpe_vocabulary(), "Q8_0")])
def test_against_float64(tmp_path: Path, name: str, vocabulary: Vocabulary, types: str) -> None:
    plan = PLANS[name]
    shape = replace(SHAPE, n_vocab=len(vocabulary))
    held = write_gguf(tmp_path / "tiny.gguf", random_model(shape, seed=1), types=types, vocabulary=vocabulary)
    ids = text_ids(load_tokenizer(vocabulary), TEXT)[: 700 if plan.n_ctx > 100 else 260]
    text = TEXT[: len(load_tokenizer(vocabulary).decode(ids))]
    ids = text_ids(load_tokenizer(vocabulary), text)
    bos = vocabulary.bos_id if vocabulary.add_bos and plan.stride is None else None
    rows, targets = scored_rows(reference_of(held, shape), ids, plan, bos)
    nlls = -rows[np.arange(len(targets)), targets]

    started, windows, measured = run(tmp_path / "tiny.gguf", plan, text)
    estimate = measured.estimate
    assert (started.n_tokens, started.n_scored, estimate.n) == (len(ids), len(targets), len(targets))
    assert started.n_windows == measured.n_windows == measured.total == len(windows)
    tight = 2e-4 if types == "F32" else 2e-3
    assert estimate.perplexity == pytest.approx(math.exp(nlls.mean()), rel=tight)
    expected_error = math.exp(nlls.mean()) * nlls.std() / math.sqrt(len(nlls) - 1)
    assert estimate.error == pytest.approx(expected_error, rel=20 * tight)
    assert windows[-1].estimate == estimate
    assert windows[-1].seconds_left == 0
    first = nlls[: len(nlls) // len(windows)]
    assert windows[0].estimate.mean_nll == pytest.approx(first.mean(), rel=20 * tight)
    assert measured.divergence is None


def test_divergence_against_float64(tmp_path: Path) -> None:
    files, models = [], []
    for types in ("Q4_0", "F32"):
        files.append(tmp_path / f"{types}.gguf")
        models.append(reference_of(write_gguf(files[-1], random_model(SHAPE, seed=1), types=types), SHAPE))
    plan = Plan(64, reference=ModelSource(files[1], threads=2))
    vocabulary = spm_vocabulary(SHAPE.n_vocab)
    ids = text_ids(load_tokenizer(vocabulary), TEXT)
    (q, targets), (p, _) = (scored_rows(model, ids, plan, vocabulary.bos_id) for model in models)
    expected = (np.exp(p) * (p - q)).sum(axis=1)
    same = (p.argmax(axis=1) == q.argmax(axis=1)).mean()
    assert 0 < same < 1

    _, windows, measured = run(files[0], plan)
    found = measured.divergence
    assert found is not None
    assert measured.estimate.n == len(targets)
    assert found.mean == pytest.approx(expected.mean(), rel=5e-3)
    assert found.error == pytest.approx(expected.std() / math.sqrt(len(expected) - 1), rel=2e-2)
    assert found.percentile_99 == pytest.approx(np.percentile(expected, 99), rel=2e-2)
    assert found.maximum == pytest.approx(expected.max(), rel=2e-2)
    assert found.same_top == pytest.approx(same, abs=3 / len(expected))
    assert windows[-1].mean_divergence == found.mean


def test_a_model_does_not_diverge_from_itself(tiny_path: Path) -> None:
    _, _, measured = run(tiny_path, Plan(16, reference=ModelSource(tiny_path, threads=2, rounding=Rounding.EXACT)))
    found = measured.divergence
    assert found is not None
    assert (found.mean, found.maximum, found.error, found.same_top, found.same_top_error) == (0, 0, 0, 1, 0)


def test_stopped_it_tells_what_it_has(tiny_path: Path) -> None:
    stop = StopFlag()
    told: list[PerplexityEvent] = []

    def tell(event: PerplexityEvent) -> None:
        told.append(event)
        if isinstance(event, WindowDone) and event.number == 2:
            stop.set()

    with pytest.raises(Cancelled):
        perplexity(ModelSource(tiny_path, threads=2), TEXT, Plan(16), tell, stop)
    assert isinstance(told[-2], WindowDone)
    assert isinstance(told[-1], Measured)
    assert told[-1].n_windows == 2 < told[-1].total
    assert told[-1].estimate == told[-2].estimate


def test_stopped_before_anything_there_is_nothing_to_tell(tiny_path: Path) -> None:
    stop = StopFlag()
    stop.set()
    told: list[PerplexityEvent] = []
    with pytest.raises(Cancelled):
        perplexity(ModelSource(tiny_path), TEXT, Plan(16), told.append, stop)
    assert not any(isinstance(event, Measured) for event in told)


def test_a_short_text_is_refused(tiny_path: Path) -> None:
    for text, plan in (("", Plan(16)), ("a b c", Plan(16)), (TEXT, Plan(5000)), (TEXT[:120], Plan(40, 40))):
        with pytest.raises(EngineError, match=r"too short: [\d,]+ tokens?, and two windows of"):
            run(tiny_path, plan, text)


def test_other_vocabularies_are_not_compared(tiny_path: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.gguf"
    write_gguf(other, random_model(replace(SHAPE, n_vocab=330)))
    with pytest.raises(EngineError, match=r"other\.gguf: 330 tokens in its vocabulary, not 320"):
        run(tiny_path, Plan(16, reference=ModelSource(other)))


def test_what_a_person_should_know(tiny_path: Path, tmp_path: Path) -> None:
    """Windows longer than the training's, and vocabularies that only look alike."""
    vocabulary = spm_vocabulary(320)
    other = tmp_path / "other.gguf"
    pieces = (*vocabulary.pieces[:-1], "else")
    write_gguf(other, random_model(SHAPE), vocabulary=replace(vocabulary, pieces=pieces))
    started, _, _ = run(tiny_path, Plan(129, reference=ModelSource(other)))
    trained, alike = started.notices
    assert trained == "windows of 129 tokens; the model was trained on 128 at most"
    assert "not the same" in alike


def test_windows() -> None:
    assert choose_windows(64, Plan(32)) == [Window(0, 32, 16), Window(32, 32, 16)]
    assert choose_windows(95, Plan(32)) == choose_windows(64, Plan(32))
    assert choose_windows(11, Plan(5)) == [Window(0, 5, 2), Window(5, 5, 2)]
    assert [window.n_scored for window in choose_windows(11, Plan(5))] == [2, 2]
    assert choose_windows(30, Plan(12, 6)) == [Window(0, 15, 8), Window(6, 15, 8), Window(12, 15, 8)]
    with pytest.raises(EngineError, match="two windows of 15"):
        choose_windows(29, Plan(12, 6))


def test_figures_of_scores() -> None:
    tally = Tally()
    tally.add([Score(1.0)])
    assert (tally.estimate().perplexity, tally.estimate().error) == (math.e, 0)
    tally.add([Score(2.0), Score(6.0)])
    assert tally.estimate().mean_nll == 3
    assert tally.estimate().nll_error == pytest.approx(math.sqrt((41 / 3 - 9) / 2))
    assert tally.divergence() is None
    endless = Estimate(3, 1e30, 1.0)
    assert (endless.perplexity, endless.error) == (math.inf, math.inf)


def test_a_long_text_is_read_with_progress_and_may_be_stopped_then(tmp_path: Path) -> None:
    write_gguf(tmp_path / "tiny.gguf", random_model(SHAPE))
    told: list[Encoding] = []
    stop = StopFlag()

    def tell(event: PerplexityEvent) -> None:
        if isinstance(event, Encoding):
            told.append(event)
            if len(told) == 2:
                stop.set()

    text = "on the " * 100_000
    with pytest.raises(Cancelled):
        perplexity(ModelSource(tmp_path / "tiny.gguf", threads=2), text, Plan(64), tell, stop)
    assert [event.total for event in told] == [len(text)] * 2
    assert 0 < told[0].done < told[1].done < len(text) / 2
