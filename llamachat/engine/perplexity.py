"""How well a model foresees a text, measured as llama.cpp's ``llama-perplexity`` does, so that figures compare.

The rules, as that tool has them:

- The text, less one newline at its end, is tokenised once, with BOS in front where the vocabulary adds it.
- Windows of ``n_ctx`` tokens follow each other without overlapping; what is left at the end is dropped, and a text of
  fewer than two windows is refused. Where the vocabulary adds BOS, it stands in place of each window's first token.
- In a window the positions ``n_ctx // 2`` to ``n_ctx - 2`` each predict the token after them: everything scored has at
  least half a window of context.
- Perplexity is e to the mean of the negative natural log-probabilities (nll); its standard error is the perplexity
  times ``sqrt((mean(nll^2) - mean(nll)^2) / (count - 1))``.
- With a stride, windows have ``n_ctx + stride // 2`` tokens and begin ``stride`` apart, the last ``stride`` tokens of
  each are scored, and the tokens stand as they are, without BOS in their place.

The Kullback-Leibler divergence of a model from a reference is taken at the same positions, over the whole vocabulary.
"""

from __future__ import annotations

import math
import time
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import Any

from llamachat.engine.context import Context
from llamachat.engine.core import StopFlag, check, ffi, lib
from llamachat.engine.events import LoadProgress, ModelInfo
from llamachat.engine.model import Model
from llamachat.engine.source import ModelSource, Rounding
from llamachat.errors import EngineError
from llamachat.tokenizer import Tokenizer
from llamachat.tokenizer.parts import encode_parts

DEFAULT_N_CTX = 512
LEAST_N_CTX = 3  # less has no position to score

_ROWS = 48  # positions whose logits are in memory at once: of 128k tokens, 25 MB


@dataclass(frozen=True, slots=True)
class Plan:
    """What a person asked to measure."""

    n_ctx: int = DEFAULT_N_CTX
    stride: int | None = None  #: tokens between windows that overlap; None: they do not
    reference: ModelSource | None = None  #: the model whose distributions are compared with


@dataclass(frozen=True, slots=True)
class Window:
    """The ``n`` tokens from ``start`` on, of which the positions ``first`` to ``n - 2`` predict the next one."""

    start: int
    n: int
    first: int

    @property
    def n_scored(self) -> int:
        """How many tokens are predicted."""
        return self.n - 1 - self.first


@dataclass(frozen=True, slots=True)
class Estimate:
    """A perplexity so far."""

    n: int  #: tokens scored
    mean_nll: float  #: mean negative log-probability, in nats
    nll_error: float  #: its standard error

    @property
    def perplexity(self) -> float:
        """e to the mean; infinite where a double does not hold it."""
        return math.exp(self.mean_nll) if self.mean_nll < 700 else math.inf

    @property
    def error(self) -> float:
        """The standard error of the perplexity."""
        return self.nll_error * self.perplexity if self.nll_error else 0.0


@dataclass(frozen=True, slots=True)
class Divergence:
    """How a model's distributions differ from a reference's, over the positions scored. In nats."""

    mean: float
    error: float  #: standard error of the mean
    percentile_99: float
    maximum: float
    same_top: float  #: share of the positions where both hold the same token likeliest
    same_top_error: float


@dataclass(frozen=True, slots=True)
class Loading:
    """A model is being read."""

    source: ModelSource
    progress: LoadProgress


@dataclass(frozen=True, slots=True)
class Encoding:
    """The text is being tokenised."""

    done: int  #: characters
    total: int


@dataclass(frozen=True, slots=True)
class Started:
    """Models are loaded, the text is tokenised; measuring begins."""

    info: ModelInfo
    n_tokens: int  #: of the text
    n_windows: int
    n_scored: int
    rounding: Rounding  #: of activations: a model may be too small for what was asked for
    notices: tuple[str, ...]  #: what a person should know, a line each


@dataclass(frozen=True, slots=True)
class WindowDone:
    """A window is scored. ``seconds_left`` goes by the windows until now."""

    number: int  #: from 1
    total: int
    estimate: Estimate
    mean_divergence: float | None
    seconds_left: float


@dataclass(frozen=True, slots=True)
class Measured:
    """The end, or as far as it came."""

    n_windows: int
    total: int
    estimate: Estimate
    divergence: Divergence | None
    seconds: float


PerplexityEvent = Loading | Encoding | Started | WindowDone | Measured


def perplexity(
    source: ModelSource, text: str, plan: Plan, tell: Callable[[PerplexityEvent], None], stop: StopFlag
) -> None:
    """Loads the model, and the reference if there is one, and scores the text, telling of every window.

    ``tell`` is called on this thread and must return at once. Raises ``Cancelled`` when stopped, after telling what was
    ``Measured`` until then; ``EngineError`` for a text that is too short, for vocabularies that differ in size, and
    for logits that are no numbers; ``WeightsError`` as loading does.
    """
    with ExitStack() as opened:

        def load(wanted: ModelSource) -> Model:
            def progress(done: int, total: int) -> None:
                tell(Loading(wanted, LoadProgress(done, total)))

            return opened.enter_context(closing(Model.load(wanted, progress, lambda: bool(stop))))

        def encode(loaded: Model) -> array[int]:
            return text_ids(loaded.tokenizer, text, lambda done, total: tell(Encoding(done, total)), lambda: bool(stop))

        model = load(source)
        ids = encode(model)
        windows = choose_windows(len(ids), plan)
        reference = load(plan.reference) if plan.reference else None
        if reference is not None and reference.info.n_vocab != model.info.n_vocab:
            raise EngineError(
                f"{reference.info.path}: {reference.info.n_vocab:,} tokens in its vocabulary, not "
                f"{model.info.n_vocab:,}: only models of one vocabulary can be compared"
            )
        if reference is not None and encode(reference) != ids:
            raise EngineError(
                f"{reference.info.path}: reads this text as other tokens than {model.info.path.name}: only models of"
                " one vocabulary can be compared"
            )
        n_ctx = windows[0].n
        contexts = [opened.enter_context(closing(Context(m, n_ctx))) for m in (model, reference) if m is not None]
        n_scored = sum(window.n_scored for window in windows)
        tell(
            Started(
                model.info, len(ids), len(windows), n_scored, model.source.rounding, _notices(model, reference, n_ctx)
            )
        )
        bos = window_bos(model.tokenizer, plan)
        _measure(contexts[0], contexts[1] if reference else None, ids, windows, bos, tell, stop)


def _notices(model: Model, reference: Model | None, n_ctx: int) -> tuple[str, ...]:
    notices = list(model.info.notices)
    if n_ctx > model.info.n_ctx_train:
        notices.append(f"windows of {n_ctx:,} tokens; the model was trained on {model.info.n_ctx_train:,} at most")
    if reference is not None and reference.vocabulary.pieces != model.vocabulary.pieces:
        notices.append("the vocabularies are of one size, but not the same: the divergence may mean nothing")
    return tuple(notices)


def text_ids(
    tokenizer: Tokenizer,
    text: str,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
    stopped: Callable[[], bool] = lambda: False,
) -> array[int]:
    """The text's tokens, with BOS in front where the vocabulary adds it.

    ``progress(done, total)`` tells of characters. Raises ``Cancelled`` soon after ``stopped()`` is true.
    """
    vocabulary = tokenizer.vocabulary
    found = array("i", [vocabulary.bos_id] if vocabulary.add_bos and vocabulary.bos_id is not None else [])
    text = text.removesuffix("\n")
    for ids, done in encode_parts(tokenizer, text, stopped):
        found.extend(ids)
        progress(done, len(text))
    return found


def window_bos(tokenizer: Tokenizer, plan: Plan) -> int | None:
    """The token that takes the place of every window's first one, if any does."""
    vocabulary = tokenizer.vocabulary
    return vocabulary.bos_id if vocabulary.add_bos and plan.stride is None else None


def choose_windows(n_tokens: int, plan: Plan) -> list[Window]:
    """The windows of a text; ``EngineError`` where it has not the two that are the least."""
    n_ctx = plan.n_ctx if plan.stride is None else plan.n_ctx + plan.stride // 2
    if n_tokens < 2 * n_ctx:
        raise EngineError(
            f"the text is too short: {n_tokens:,} tokens, and two windows of {n_ctx:,} are the least; "
            "give a longer text, or a smaller --n-ctx"
        )
    if plan.stride is None:
        return [Window(i * n_ctx, n_ctx, n_ctx // 2) for i in range(n_tokens // n_ctx)]
    n_windows = -(-(n_tokens - n_ctx) // plan.stride)
    return [Window(i * plan.stride, n_ctx, n_ctx - plan.stride - 1) for i in range(n_windows)]


def _measure(
    context: Context,
    reference: Context | None,
    ids: Sequence[int],
    windows: Sequence[Window],
    bos: int | None,
    tell: Callable[[PerplexityEvent], None],
    stop: StopFlag,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    tally = Tally()
    started = clock()
    done = 0
    try:
        for window in windows:
            tally.add(score_window(context, reference, ids, window, bos, stop))
            done += 1
            left = (clock() - started) / done * (len(windows) - done)
            tell(WindowDone(done, len(windows), tally.estimate(), tally.mean_divergence(), left))
    finally:
        if done:
            tell(Measured(done, len(windows), tally.estimate(), tally.divergence(), clock() - started))


# ---- scores ----


@dataclass(frozen=True, slots=True)
class Score:
    """One position: the negative log-probability of the token that came, and how the reference saw it."""

    nll: float
    divergence: float | None = None
    same_top: bool = False


class Tally:
    """Scores, summed up."""

    def __init__(self) -> None:
        self._n = 0
        self._nll = 0.0
        self._nll_squares = 0.0
        self._divergences = array("d")
        self._same = 0

    def add(self, scores: Sequence[Score]) -> None:
        """Adds the scores of a window."""
        for score in scores:
            self._n += 1
            self._nll += score.nll
            self._nll_squares += score.nll * score.nll
            if score.divergence is not None:
                self._divergences.append(score.divergence)
                self._same += score.same_top

    def estimate(self) -> Estimate:
        """The perplexity so far."""
        mean = self._nll / self._n
        return Estimate(self._n, mean, _standard_error(mean, self._nll_squares, self._n))

    def mean_divergence(self) -> float | None:
        """The mean divergence so far; None without a reference."""
        return math.fsum(self._divergences) / len(self._divergences) if self._divergences else None

    def divergence(self) -> Divergence | None:
        """All that is told of the divergence; None without a reference."""
        n, mean = len(self._divergences), self.mean_divergence()
        if mean is None:
            return None
        ordered = sorted(self._divergences)
        place = 0.99 * (n - 1)
        below = ordered[int(place)]
        above = ordered[min(int(place) + 1, n - 1)]
        same = self._same / n
        return Divergence(
            mean=mean,
            error=_standard_error(mean, math.fsum(value * value for value in ordered), n),
            percentile_99=below + (above - below) * (place - int(place)),
            maximum=ordered[-1],
            same_top=same,
            same_top_error=math.sqrt(same * (1 - same) / (n - 1)) if n > 1 else 0.0,
        )


def _standard_error(mean: float, sum_of_squares: float, n: int) -> float:
    """Of a mean: of one value alone, or of equal ones, none."""
    variance = sum_of_squares / n - mean * mean
    return math.sqrt(variance / (n - 1)) if n > 1 and variance > 0 else 0.0


def score_window(
    context: Context, reference: Context | None, ids: Sequence[int], window: Window, bos: int | None, stop: StopFlag
) -> list[Score]:
    """Evaluates a window from an empty context and scores its positions."""
    held = list(ids[window.start : window.start + window.n])
    targets = held[1:]
    if bos is not None:
        held[0] = bos
    held.pop()  # nothing of the last token is asked for
    contexts = [context] if reference is None else [context, reference]
    for each in contexts:
        each.truncate(0)
    scores: list[Score] = []
    for begin in range(0, len(held), context.n_batch):
        end = min(begin + context.n_batch, len(held))
        n_rows = max(0, end - max(begin, window.first))
        for each in contexts:
            each.append_rows(held[begin:end], n_rows, stop)
        scores += _score_rows(contexts, targets[end - n_rows : end], stop)
    return scores


def _score_rows(contexts: Sequence[Context], targets: Sequence[int], stop: StopFlag) -> Iterator[Score]:
    """The last rows of the contexts, one for each target."""
    n_vocab = contexts[0].model.info.n_vocab
    room = [ffi.new("float[]", min(_ROWS, len(targets)) * n_vocab) for _ in contexts if targets]
    for first in range(0, len(targets), _ROWS):
        some = targets[first : first + _ROWS]
        for context, logits in zip(contexts, room, strict=True):
            context.rows(first, len(some), logits, stop)
        for row, target in enumerate(some):
            yield _score([logits + row * n_vocab for logits in room], n_vocab, target)


def _score(rows: Sequence[Any], n_vocab: int, target: int) -> Score:
    """``rows`` are the logits of the model, and of the reference if there is one."""
    logprob: Any = ffi.new("float *")
    if len(rows) == 1:
        check(lib.lc_logprobs(rows[0], n_vocab, target, logprob, 0, ffi.NULL, ffi.NULL), "log-probabilities")
        return Score(-logprob[0])
    tops = []
    for row in reversed(rows):  # the model last: its log-probability stays
        top: Any = ffi.new("int32_t *")
        check(lib.lc_logprobs(row, n_vocab, target, logprob, 1, top, ffi.new("float *")), "log-probabilities")
        tops.append(top[0])
    divergence: Any = ffi.new("double *")
    check(lib.lc_kl_divergence(rows[1], rows[0], n_vocab, divergence), "comparing with the reference")
    return Score(-logprob[0], divergence[0], tops[0] == tops[1])
