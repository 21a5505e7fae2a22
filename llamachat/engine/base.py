"""What every engine offers, wherever it computes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from llamachat.engine.events import Event, ModelInfo, Request
from llamachat.engine.settings import SamplingSettings

if TYPE_CHECKING:  # a face can speak of engines before the tokenizers are imported
    from llamachat.tokenizer import Tokenizer


class KvType(StrEnum):
    """How the KV cache stores keys and values."""

    F16 = "f16"
    Q8_0 = "q8_0"  #: blocks of 32 along a head: bytes and a float16 scale, half as much memory


class Rounding(StrEnum):
    """How activations are rounded before they meet quantised weights."""

    FAST = "fast"  #: 8 bits in blocks of 32 for prompts of 64 tokens and more, else 15; small models always 15
    EXACT = "exact"  #: 15 bits
    LLAMA_CPP = "llama.cpp"  #: 8 bits in blocks as llama.cpp has them, so that figures of both compare


@dataclass(frozen=True, slots=True)
class ModelSource:
    """A model to load, and how: None leaves the choice to the engine."""

    path: Path
    tokenizer: Path | None = None  #: for weight files without a vocabulary
    n_ctx: int | None = None  #: tokens of context
    threads: int | None = None
    kv_type: KvType = KvType.F16
    rounding: Rounding = Rounding.FAST


class Engine(Protocol):
    """A model in use: evaluates, samples, streams. It knows token ids and settings, and no conversation.

    Methods return at once; what happens is told to the listeners, on the engine's own thread.
    """

    settings: SamplingSettings
    """Swapped whole, at any moment, by any thread; read before every token."""

    @property
    def info(self) -> ModelInfo | None:
        """The loaded model, or None."""

    @property
    def tokenizer(self) -> Tokenizer | None:
        """The loaded model's tokenizer, or None."""

    def subscribe(self, listener: Callable[[Event], None]) -> None:
        """Adds a listener. It is called on the engine's thread and must return at once."""

    def load(self, source: ModelSource) -> None:
        """Loads a model: ``LoadProgress``..., then ``Loaded`` or ``LoadFailed``.

        A load that fails leaves the model before it in use. ``EngineError`` while something runs.
        """

    def generate(self, request: Request) -> None:
        """Answers a prompt: ``PrefillProgress``..., ``TokenEvent``..., then one ``Finished``.

        ``EngineError`` while something runs, or when no model is loaded.
        """

    def stop(self) -> None:
        """Stops what runs, if anything; its ``Finished(STOPPED)`` or ``LoadFailed(cancelled=True)`` follows."""

    def close(self, timeout: float = 2.0) -> None:
        """Stops what runs and frees the model; waits for the engine's thread at most ``timeout`` seconds."""
