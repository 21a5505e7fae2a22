"""What every engine offers, wherever it computes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from llamachat.engine.events import Event, LookRequest, ModelInfo, Request
from llamachat.engine.settings import SamplingSettings
from llamachat.engine.source import ModelSource

if TYPE_CHECKING:  # a face can speak of engines before the tokenizers are imported
    from llamachat.tokenizer import Tokenizer


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

    def look(self, request: LookRequest) -> None:
        """Looks at a text token by token: ``PrefillProgress``..., then ``Looked`` or ``LookFailed``.

        ``EngineError`` while something runs, or when no model is loaded.
        """

    def stop(self) -> None:
        """Stops what runs, if anything; its ``Finished(STOPPED)``, or a ``LoadFailed`` or ``LookFailed`` that was
        cancelled, follows.
        """

    def close(self, timeout: float = 2.0) -> None:
        """Stops what runs and frees the model; waits for the engine's thread at most ``timeout`` seconds."""
