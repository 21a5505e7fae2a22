"""What an engine tells, in the order it happens. Plain records: they may cross threads and be kept."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from llamachat.engine.settings import SamplingSettings
from llamachat.engine.source import ModelSource


class StopReason(StrEnum):
    """Why an answer ended."""

    END = "end"  #: the model ended its turn
    LENGTH = "length"  #: max_tokens reached
    CONTEXT = "context"  #: the context is full
    STOPPED = "stopped"  #: a person stopped it
    FAILED = "failed"  #: an error, told beside it


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """The model in use, for people and for sessions."""

    path: Path
    name: str
    format: str  #: "GGUF v3", "ggjt v3", ...
    type_name: str  #: the tensor type most weights have: "Q4_1"
    n_params: int
    n_ctx: int  #: tokens the context holds
    n_ctx_train: int  #: tokens the model was trained for
    n_vocab: int
    size_bytes: int
    chat_template: str | None = None
    notices: tuple[str, ...] = ()  #: what a person should know about the file, a line each


@dataclass(frozen=True, slots=True)
class Timings:
    """Figures of one answer. Times are from a monotonic clock."""

    prompt_tokens: int = 0  #: tokens of the whole prompt
    reused_tokens: int = 0  #: of them, already in the KV cache
    prompt_ms: float = 0.0
    answer_tokens: int = 0
    answer_ms: float = 0.0

    @property
    def prompt_rate(self) -> float:
        """Prompt tokens evaluated per second (those reused cost nothing and do not count)."""
        return 1000.0 * (self.prompt_tokens - self.reused_tokens) / self.prompt_ms if self.prompt_ms > 0 else 0.0

    @property
    def answer_rate(self) -> float:
        """Answer tokens per second."""
        return 1000.0 * self.answer_tokens / self.answer_ms if self.answer_ms > 0 else 0.0


@dataclass(frozen=True, slots=True)
class Alternative:
    """One of the likeliest tokens at a place.

    ``logprob`` is the natural log of the softmax of the raw logits; ``share`` the probability with which the sampling
    settings would draw it (0: they leave it out), where that was asked for.
    """

    id: int
    text: str
    logprob: float
    share: float | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """A place in a text that was looked at: the token that stands there, and what else could have.

    ``id`` is None where nothing stands yet: behind the last token of a text that was cut.
    """

    id: int | None
    logprob: float | None  #: of the token, as in :class:`Alternative`
    share: float | None
    top: tuple[Alternative, ...]  #: the likeliest, best first


@dataclass(frozen=True, slots=True)
class LoadProgress:
    """A model is being read: bytes of weights in memory, of all."""

    done_bytes: int
    total_bytes: int


@dataclass(frozen=True, slots=True)
class Loaded:
    """The model is ready."""

    info: ModelInfo
    source: ModelSource


@dataclass(frozen=True, slots=True)
class LoadFailed:
    """The model could not be loaded, or loading was stopped; the one before, if any, still serves."""

    message: str
    source: ModelSource
    cancelled: bool = False


@dataclass(frozen=True, slots=True)
class PrefillProgress:
    """The prompt is being read."""

    done_tokens: int  #: evaluated or reused
    total_tokens: int
    reused_tokens: int
    elapsed_ms: float


@dataclass(frozen=True, slots=True)
class TokenEvent:
    """One token was drawn.

    ``text`` is what it adds to the answer: empty while a character is incomplete, and never a control
    token's. ``logprob`` and ``top`` are filled on request only (natural log of the softmax of the raw logits).
    """

    id: int
    text: str
    logprob: float | None = None
    top: tuple[Alternative, ...] = ()
    elapsed_ms: float = 0.0  #: since the first token was asked for


@dataclass(frozen=True, slots=True)
class Finished:
    """The answer is over. ``tail`` is text held back until now (an incomplete character, as U+FFFD)."""

    reason: StopReason
    timings: Timings
    tail: str = ""
    seed: int = 0  #: the seed used, drawn or given
    message: str = ""  #: with FAILED: why


@dataclass(frozen=True, slots=True)
class Request:
    """What to generate from.

    ``prompt_ids`` is the whole prompt; the engine finds out itself what of it is in the cache.
    ``stop_ids`` end the answer (they are not part of it); ``stop_texts`` likewise, cut from the text.
    ``n_top`` alternatives are told with every token; None asks for no probabilities at all.
    ``at_start`` says that the answer begins a text: the space that SentencePiece puts before a first
    word is then dropped. An answer that goes on inside a text keeps it.
    """

    prompt_ids: tuple[int, ...]
    stop_ids: frozenset[int] = frozenset()
    stop_texts: tuple[str, ...] = ()
    n_top: int | None = None
    at_start: bool = True


@dataclass(frozen=True, slots=True)
class LookRequest:
    """A text to look at token by token: ``ids`` as they follow ``prompt_ids``.

    ``end_ids`` are the tokens that may have ended it, the likeliest of which is taken for the one that did; without
    any, the text was cut. ``settings`` are those whose shares are wanted, ``n_top`` how many alternatives.
    """

    prompt_ids: tuple[int, ...]
    ids: tuple[int, ...]
    end_ids: frozenset[int]
    settings: SamplingSettings
    n_top: int = 10


@dataclass(frozen=True, slots=True)
class Looked:
    """A text was looked at: a place for each of its tokens, and one behind the last."""

    places: tuple[Place, ...]


@dataclass(frozen=True, slots=True)
class LookFailed:
    """A text could not be looked at, or looking was stopped."""

    message: str
    cancelled: bool = False


Event = LoadProgress | Loaded | LoadFailed | PrefillProgress | TokenEvent | Finished | Looked | LookFailed
