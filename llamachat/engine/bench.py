"""How fast a model is on this machine: prompts read and answers written, at several depths of context.

What is timed is evaluation, as the engine does it for a chat; drawing tokens and making text of them is not.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from enum import StrEnum

from llamachat.engine.bandwidth import read_bandwidth
from llamachat.engine.context import Context
from llamachat.engine.core import StopFlag, select_isa
from llamachat.engine.events import LoadProgress, ModelInfo
from llamachat.engine.model import Model
from llamachat.engine.source import KvType, ModelSource
from llamachat.errors import Cancelled
from llamachat.vocabulary import TokenKind, Vocabulary

DEFAULT_DEPTHS = (0, 2048)  #: the second only where the context holds it and the tokens measured after it

_SEED = 1
_TELL_SECONDS = 0.25  # a listener shares the processors with what is timed
_NO_TEXT = frozenset({TokenKind.CONTROL, TokenKind.UNKNOWN, TokenKind.UNUSED, TokenKind.UNDEFINED})


class Phase(StrEnum):
    """What is measured."""

    PROMPT = "prompt"  #: many tokens at once: bound by arithmetic
    ANSWER = "answer"  #: one token after another: bound by memory


_WARM_UP_TOKENS = {Phase.PROMPT: 128, Phase.ANSWER: 8}  # so many touch all weights and wake all threads


@dataclass(frozen=True, slots=True)
class Plan:
    """What a person asked to measure; 0 tokens leave a phase out."""

    prompt_tokens: int = 512
    answer_tokens: int = 128
    depths: tuple[int, ...] | None = None  #: None: ``DEFAULT_DEPTHS``
    repeat: int = 5


@dataclass(frozen=True, slots=True)
class Trial:
    """``n`` tokens evaluated after the ``depth`` tokens that the context holds."""

    phase: Phase
    n: int
    depth: int


@dataclass(frozen=True, slots=True)
class Progress:
    """Where measuring is; ``repetition`` counts from 1, and is 0 while it gets ready."""

    trial: Trial
    repetition: int
    done_tokens: int
    total_tokens: int


@dataclass(frozen=True, slots=True)
class Measurement:
    """A trial, and the tokens per second of each repetition (fewer than planned where it was stopped)."""

    trial: Trial
    rates: tuple[float, ...]

    @property
    def tokens_per_second(self) -> float:
        """The median."""
        return statistics.median(self.rates)

    @property
    def stddev(self) -> float:
        """The standard deviation of the sample; 0 for a single repetition."""
        return statistics.stdev(self.rates) if len(self.rates) > 1 else 0.0


@dataclass(frozen=True, slots=True)
class Started:
    """The model is loaded, memory is probed; measuring begins."""

    info: ModelInfo
    isa: str
    n_threads: int
    read_bandwidth: float  #: bytes per second, with as many threads
    weight_bytes: int  #: read for one token of an answer
    cache_bytes: int  #: read for one token of an answer, for each token before it
    kv_type: KvType
    notices: tuple[str, ...]  #: where less is measured than was asked for, a line each

    def bandwidth_share(self, measurement: Measurement) -> float | None:
        """The share of the bandwidth that reading weights and cache took; None for prompts, which read them once."""
        trial = measurement.trial
        if trial.phase is Phase.PROMPT:
            return None
        mean_length = trial.depth + (trial.n + 1) / 2
        n_bytes = self.weight_bytes + self.cache_bytes * mean_length
        return n_bytes * measurement.tokens_per_second / self.read_bandwidth


BenchEvent = LoadProgress | Started | Progress | Measurement


def bench(source: ModelSource, plan: Plan, tell: Callable[[BenchEvent], None], stop: StopFlag) -> None:
    """Loads the model, probes memory and measures, telling of each step as it is done.

    ``tell`` is called on this thread and must return at once. Raises ``Cancelled`` when stopped, after telling of
    the repetitions that were done; ``WeightsError`` and ``EngineError`` as loading does.
    """
    model = Model.load(source, lambda done, total: tell(LoadProgress(done, total)), lambda: bool(stop))
    with closing(model), closing(Context(model)) as context:
        trials, notices = choose_trials(plan, context.n_ctx)
        bandwidth = read_bandwidth(model.pool, stop)
        n_threads = model.pool.n_threads
        started = Started(
            model.info,
            select_isa(),
            n_threads,
            bandwidth,
            model.traffic.weight_bytes,
            model.traffic.cache_bytes,
            source.kv_type,
            notices,
        )
        tell(started)
        for measurement in measure(context, trials, plan.repeat, stop, tell):
            tell(measurement)


def choose_trials(plan: Plan, n_ctx: int) -> tuple[list[Trial], tuple[str, ...]]:
    """The trials of a plan that a context has room for, and a word on each that had to become smaller.

    The depth leaves room for the tokens measured after it, or for half of the context where they are more than that.
    """
    wanted = [(Phase.PROMPT, plan.prompt_tokens), (Phase.ANSWER, plan.answer_tokens)]
    most = max(n for _, n in wanted)
    depths = plan.depths
    if depths is None:
        depths = tuple(depth for depth in DEFAULT_DEPTHS if depth == 0 or depth + most <= n_ctx)
    deepest = n_ctx - min(most, max(n_ctx // 2, 1))
    trials, notices = [], []
    for depth in depths:
        for phase, n in wanted:
            if n == 0:
                continue
            asked = Trial(phase, n, depth)
            fits = replace(asked, depth=min(depth, deepest), n=min(n, n_ctx - min(depth, deepest)))
            if fits not in trials:
                trials.append(fits)
            if fits != asked:
                notices.append(f"the context holds {n_ctx:,} tokens: {_words(fits)} instead of {_words(asked)}")
    return trials, tuple(notices)


def _words(trial: Trial) -> str:
    return f"{trial.phase} of {trial.n:,} at depth {trial.depth:,}"


def random_ids(vocabulary: Vocabulary, n: int) -> list[int]:
    """``n`` token ids that stand for text, the same every time."""
    usable = [id_ for id_, kind in enumerate(vocabulary.kinds) if kind not in _NO_TEXT]
    return random.Random(_SEED).choices(usable or range(len(vocabulary)), k=n)  # noqa: S311 - nothing secret


def measure(
    context: Context,
    trials: Sequence[Trial],
    repeat: int,
    stop: StopFlag,
    tell: Callable[[Progress], None] = lambda _: None,
    clock: Callable[[], float] = time.perf_counter,
) -> Iterator[Measurement]:
    """Runs every trial ``repeat`` times. Stopped, it yields what repetitions there are and raises ``Cancelled``."""
    stopwatch = _Stopwatch(context, random_ids(context.model.vocabulary, _most_tokens(trials)), stop, tell, clock)
    for trial in trials:
        rates: list[float] = []
        try:
            stopwatch.warm_up(trial)
            for repetition in range(1, repeat + 1):
                rates.append(stopwatch.rate(trial, repetition))  # noqa: PERF401 - kept when stopped
        except Cancelled:
            if rates:
                yield Measurement(trial, tuple(rates))
            raise
        yield Measurement(trial, tuple(rates))


def _most_tokens(trials: Sequence[Trial]) -> int:
    return max((trial.depth + trial.n for trial in trials), default=0)


class _Stopwatch:
    """Times evaluations of one sequence of tokens, of which the context always holds some first ones."""

    def __init__(
        self,
        context: Context,
        ids: Sequence[int],
        stop: StopFlag,
        tell: Callable[[Progress], None],
        clock: Callable[[], float],
    ) -> None:
        self._context = context
        self._ids = ids
        self._stop = stop
        self._tell = tell
        self._clock = clock
        self._tell_next = clock()

    def warm_up(self, trial: Trial) -> None:
        """Fills the context up to the trial's depth, and touches what the first repetition would touch first."""
        self._hold(trial)
        self._evaluate(trial, min(trial.n, _WARM_UP_TOKENS[trial.phase]), 0)

    def rate(self, trial: Trial, repetition: int) -> float:
        """Tokens per second of one repetition."""
        self._hold(trial)
        started = self._clock()
        self._evaluate(trial, trial.n, repetition)
        return trial.n / max(self._clock() - started, 1e-9)

    def _hold(self, trial: Trial) -> None:
        self._context.truncate(trial.depth)
        if len(self._context.ids) < trial.depth:
            for progress in self._context.read(self._ids[: trial.depth], self._stop):
                self._show(trial, 0, progress.done_tokens, trial.depth)

    def _evaluate(self, trial: Trial, n: int, repetition: int) -> None:
        end = trial.depth + n
        if trial.phase is Phase.PROMPT:
            for progress in self._context.read(self._ids[:end], self._stop):
                self._show(trial, repetition, progress.done_tokens - trial.depth, n)
        else:
            for place in range(trial.depth, end):
                self._context.append(self._ids[place : place + 1], self._stop)
                self._show(trial, repetition, place + 1 - trial.depth, n)

    def _show(self, trial: Trial, repetition: int, done: int, total: int) -> None:
        now = self._clock()
        if now >= self._tell_next:
            self._tell_next = now + _TELL_SECONDS
            self._tell(Progress(trial, repetition, done, total))
