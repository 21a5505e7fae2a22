"""What ``bench`` evaluates and how it reckons, on a clock that only evaluations move."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from llamachat.engine import bandwidth
from llamachat.engine.bench import (
    BenchEvent,
    Measurement,
    Phase,
    Plan,
    Progress,
    Started,
    Trial,
    bench,
    choose_trials,
    measure,
    random_ids,
)
from llamachat.engine.context import Context
from llamachat.engine.core import StopFlag, lib, select_isa, supported_isas
from llamachat.engine.events import LoadProgress
from llamachat.engine.model import Model, weight_bytes_per_token
from llamachat.engine.source import ModelSource
from llamachat.errors import Cancelled, EngineError
from llamachat.vocabulary import TokenKind
from llamachat.weights import open_weights
from tests.support.tiny_models import TinyShape, random_model, spm_vocabulary, write_gguf


class TimedContext(Context):
    """A context that writes down what is evaluated: (tokens held before, tokens), and makes its own time pass."""

    def __init__(self, model: Model) -> None:
        super().__init__(model)
        self.calls: list[tuple[int, int]] = []
        self.now = 100.0
        self.token_seconds: Iterator[float] = iter([])  # of each call; 0.01 once they are used up
        self.stop_at_call = 0

    def append(self, ids, stop):
        self.calls.append((len(self.ids), len(ids)))
        if len(self.calls) == self.stop_at_call:
            stop.set()
        super().append(ids, stop)
        self.now += len(ids) * next(self.token_seconds, 0.01)

    def clock(self) -> float:
        return self.now


@pytest.fixture
def timed(model: Model) -> Iterator[TimedContext]:
    context = TimedContext(model)
    yield context
    context.close()


def run(timed: TimedContext, *trials: Trial, repeat: int = 1, tell=lambda _: None) -> list[Measurement]:
    return list(measure(timed, trials, repeat, StopFlag(), tell, timed.clock))


def test_a_prompt_is_evaluated_whole_after_the_depth(timed):
    run(timed, Trial(Phase.PROMPT, 30, 50), repeat=2)
    depth, warm_up, *measured = timed.calls
    assert depth == (0, 50)
    assert warm_up == (50, 30)
    assert measured == [(50, 30), (50, 30)]


def test_an_answer_is_evaluated_token_by_token_after_the_depth(timed):
    run(timed, Trial(Phase.ANSWER, 12, 40), repeat=2)
    assert timed.calls[0] == (0, 40)
    one_by_one = [(40 + i, 1) for i in range(12)]
    assert timed.calls[1:] == one_by_one[:8] + one_by_one * 2


def test_without_depth_nothing_is_read_before(timed):
    run(timed, Trial(Phase.PROMPT, 30, 0), Trial(Phase.ANSWER, 2, 0))
    assert timed.calls == [(0, 30), (0, 30), (0, 1), (1, 1), (0, 1), (1, 1)]


def test_the_context_is_filled_once_for_trials_of_one_depth(timed):
    run(timed, Trial(Phase.PROMPT, 4, 20), Trial(Phase.ANSWER, 1, 20), Trial(Phase.PROMPT, 4, 60), repeat=3)
    assert [call for call in timed.calls if call[1] > 4] == [(0, 20), (21, 39)]  # the answer's token stands


def test_speed_is_the_median_and_how_far_it_spreads(timed):
    # The warm-up, and then 10 tokens in 0.2, 0.1 and 0.8 seconds.
    timed.token_seconds = iter([9.0, 0.02, 0.01, 0.08])
    (found,) = run(timed, Trial(Phase.PROMPT, 10, 0), repeat=3)
    assert found.rates == pytest.approx((50, 100, 12.5))
    assert found.tokens_per_second == pytest.approx(50)
    assert found.stddev == pytest.approx(statistics.stdev([50, 100, 12.5]))


def test_time_before_the_measured_tokens_does_not_count(timed):
    timed.token_seconds = iter([5.0, 5.0, 5.0, 0.25, 0.25])  # filling, warming up, measuring
    (found,) = run(timed, Trial(Phase.ANSWER, 2, 30))
    assert found.rates == (4.0,)
    assert found.stddev == 0


def test_stopped_it_keeps_the_repetitions_that_were_done(timed):
    trials = [Trial(Phase.PROMPT, 4, 0), Trial(Phase.PROMPT, 8, 0)]
    timed.stop_at_call = (1 + 3) + (1 + 2) + 1  # warm-up and repetitions: within the last one
    results = measure(timed, trials, 3, StopFlag(), clock=timed.clock)
    assert next(results).rates == pytest.approx((100, 100, 100))
    partial = next(results)
    assert partial.trial == trials[1]
    assert partial.rates == pytest.approx((100, 100))
    with pytest.raises(Cancelled):
        next(results)


def test_stopped_before_the_first_repetition_there_is_nothing_to_tell(timed):
    timed.stop_at_call = 2  # the first is the warm-up
    with pytest.raises(Cancelled):
        next(measure(timed, [Trial(Phase.PROMPT, 4, 0)], 3, StopFlag(), clock=timed.clock))


def test_progress_is_told_now_and_then(timed):
    told: list[Progress] = []
    trial = Trial(Phase.ANSWER, 100, 20)
    run(timed, trial, tell=told.append)
    assert {step.trial for step in told} == {trial}
    assert {step.repetition for step in told} == {0, 1}
    done = [step.done_tokens for step in told if step.repetition]
    assert done == sorted(done)
    assert 0 < done[0] < done[-1] <= 100
    assert 3 <= len(done) <= 5  # a second passes: not one for every token
    assert all(step.total_tokens == 100 for step in told if step.repetition)


def test_random_ids_are_text_and_the_same_every_time(model):
    vocabulary = model.vocabulary
    ids = random_ids(vocabulary, 2000)
    assert ids == random_ids(vocabulary, 2000)
    assert random_ids(vocabulary, 10) == ids[:10]
    kinds = {vocabulary.kinds[id_] for id_ in ids}
    assert TokenKind.NORMAL in kinds
    assert not kinds & {TokenKind.CONTROL, TokenKind.UNKNOWN, TokenKind.UNUSED}
    assert len(set(ids)) > 100


def test_a_vocabulary_of_nothing_but_control_tokens_still_serves():
    vocabulary = spm_vocabulary()
    ids = random_ids(replace(vocabulary, kinds=(TokenKind.CONTROL,) * len(vocabulary)), 100)
    assert all(0 <= id_ < len(vocabulary) for id_ in ids)


# ---- what fits the context --------------------------------------------------


def fitting(n_ctx: int, **plan) -> list[tuple[str, int, int]]:
    return [(trial.phase.value, trial.n, trial.depth) for trial in choose_trials(Plan(**plan), n_ctx)[0]]


def test_by_default_it_looks_at_the_start_and_further_down():
    start, deeper = [("prompt", 512, 0), ("answer", 128, 0)], [("prompt", 512, 2048), ("answer", 128, 2048)]
    assert fitting(8192) == start + deeper
    assert choose_trials(Plan(), 8192)[1] == ()


def test_the_deeper_one_only_where_the_context_permits():
    assert len(fitting(2048 + 512)) == 4
    assert fitting(2048 + 511) == fitting(2048) == [("prompt", 512, 0), ("answer", 128, 0)]
    assert choose_trials(Plan(), 2048)[1] == ()


def test_sizes_are_clipped_to_the_context_with_a_word():
    trials, notices = choose_trials(Plan(), 128)
    assert trials == [Trial(Phase.PROMPT, 128, 0), Trial(Phase.ANSWER, 128, 0)]
    assert notices == ("the context holds 128 tokens: prompt of 128 at depth 0 instead of prompt of 512 at depth 0",)


@pytest.mark.parametrize("n_ctx", [1, 2, 3, 128, 1000, 8192])
@pytest.mark.parametrize("tokens", [1, 100, 100_000])
@pytest.mark.parametrize("depth", [0, 1, 127, 1000, 10**7])
def test_whatever_is_asked_fits_and_measures_something(n_ctx, tokens, depth):
    found = fitting(n_ctx, prompt_tokens=tokens, answer_tokens=tokens // 2 + 1, depths=(depth,))
    assert {phase for phase, _, _ in found} == {"prompt", "answer"}
    for _, n, at in found:
        assert n >= 1
        assert 0 <= at <= depth
        assert at + n <= n_ctx


def test_a_depth_beyond_the_context_becomes_the_deepest_that_leaves_room():
    assert fitting(8192, depths=(9000,)) == [("prompt", 512, 7680), ("answer", 128, 7680)]
    assert fitting(8192, prompt_tokens=0, depths=(9000,)) == [("answer", 128, 8064)]


def test_nothing_is_measured_twice():
    assert fitting(1024, answer_tokens=0, depths=(0, 0, 512, 600, 5000)) == [("prompt", 512, 0), ("prompt", 512, 512)]


# ---- bytes ------------------------------------------------------------------


@pytest.mark.parametrize("tied", [True, False])
def test_weights_read_for_a_token(tmp_path, tied):
    shape = TinyShape(tied=tied)
    model = random_model(shape)
    write_gguf(tmp_path / "tiny.gguf", model, types="F16")
    matrices = sum(w.size for name, w in model.weights.items() if w.ndim == 2 and name != "token_embd.weight")
    vectors = sum(w.size for w in model.weights.values() if w.ndim == 1)
    embedding = shape.n_vocab * shape.n_embd if tied else shape.n_embd  # the logits need it whole, a token one row
    with open_weights(tmp_path / "tiny.gguf") as weights:
        assert weight_bytes_per_token(weights) == 2 * (matrices + embedding) + 4 * vectors


@pytest.mark.parametrize(
    ("cache", "free", "expected"),
    [
        (8 << 20, 64 << 30, 256 << 20),
        (32 << 20, 64 << 30, 512 << 20),
        (0, 64 << 30, 256 << 20),  # not told
        (2 << 30, 64 << 30, 1 << 30),
        (64 << 20, 100 << 20, 12 << 20),  # memory is short: an eighth, in whole chunks
        (64 << 20, 0, 4 << 20),
    ],
)
def test_the_buffer_is_larger_than_the_caches_and_leaves_memory_to_others(monkeypatch, cache, free, expected):
    monkeypatch.setattr(bandwidth, "last_level_cache", lambda: cache)
    monkeypatch.setattr(bandwidth, "available_bytes", lambda: free)
    assert bandwidth.buffer_bytes() == expected


@pytest.fixture
def small_probe(monkeypatch):
    monkeypatch.setattr(bandwidth, "buffer_bytes", lambda: 8 << 20)


def test_bandwidth_is_that_of_the_fastest_pass(model, small_probe):
    # Asked: once for the end, before and after each of five passes, and then whether it has come.
    times = iter([0.0, 0.0, 0.1, 0.1, 0.15, 0.2, 0.22, 0.3, 0.4, 0.4, 0.5, 0.6])
    assert bandwidth.read_bandwidth(model.pool, StopFlag(), lambda: next(times)) == pytest.approx((8 << 20) / 0.02)
    assert next(times, None) is None


def test_probing_leaves_a_forced_instruction_set_alone(model, small_probe, monkeypatch):
    before = select_isa()
    monkeypatch.setattr(bandwidth, "select_isa", lambda: supported_isas()[0])
    try:
        assert bandwidth.read_bandwidth(model.pool, StopFlag()) > 0
        assert lib.lc_isa_selected() == lib.lc_isa_name(0)
    finally:
        lib.lc_isa_select(before.encode())


def test_probing_can_be_stopped(model):
    stop = StopFlag()
    stop.set()
    with pytest.raises(Cancelled):
        bandwidth.read_bandwidth(model.pool, stop)


# ---- the whole --------------------------------------------------------------


def test_it_loads_and_says_what_it_uses_and_measures(tiny_path: Path, small_probe: None) -> None:
    told: list[BenchEvent] = []
    plan = Plan(16, 4, (0, 32), 2)
    bench(ModelSource(tiny_path, threads=2), plan, told.append, StopFlag())
    (started,) = (event for event in told if isinstance(event, Started))
    measurements = [event for event in told if isinstance(event, Measurement)]
    assert isinstance(told[0], LoadProgress)
    assert told.index(started) < told.index(measurements[0])
    assert (started.isa, started.n_threads, started.notices) == (select_isa(), 2, ())
    assert [event.trial for event in measurements] == choose_trials(plan, 128)[0]
    for event in measurements:
        assert len(event.rates) == 2
        assert event.tokens_per_second > 0
        share = started.bandwidth_share(event)
        if event.trial.phase is Phase.PROMPT:
            assert share is None
        else:
            cache = started.cache_bytes * (event.trial.depth + 2.5)  # of 1, 2, 3 and 4 tokens after the depth
            assert share == event.tokens_per_second * (started.weight_bytes + cache) / started.read_bandwidth


def test_stopped_at_once_it_measures_nothing(tiny_path, small_probe):
    stop = StopFlag()
    stop.set()
    told: list[BenchEvent] = []
    with pytest.raises(Cancelled):
        bench(ModelSource(tiny_path), Plan(), told.append, stop)
    assert not any(isinstance(event, Started | Measurement) for event in told)


def test_a_context_can_be_shortened(context):
    context.append([10, 11, 12], StopFlag())
    context.truncate(5)
    assert context.ids == [10, 11, 12]
    context.truncate(1)
    assert context.ids == [10]
    with pytest.raises(EngineError):
        _ = context.logits
