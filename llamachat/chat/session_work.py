"""What the engine does for the open chat: its jobs, one after the other, and what becomes of its news."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from llamachat import paths
from llamachat.chat.answer import Answer, ModelInUse
from llamachat.chat.conversation import Message, Role, Status
from llamachat.chat.names import model_word
from llamachat.chat.session_settings import SessionSettings
from llamachat.engine.base import Engine
from llamachat.engine.events import (
    Event,
    Finished,
    Loaded,
    LoadFailed,
    LoadProgress,
    Looked,
    LookFailed,
    StopReason,
)
from llamachat.engine.source import ModelSource

if TYPE_CHECKING:
    from llamachat.chat.store import SessionStore


class SessionWork(SessionSettings):
    """Wants of a person become jobs of the engine as soon as it is free; its events become text, figures, notices."""

    def __init__(
        self, store: SessionStore, engine: Engine, prompt_format: str | None, on_loaded: Callable[[ModelSource], object]
    ) -> None:
        super().__init__(store, engine, prompt_format)
        self._on_loaded = on_loaded
        self._tokenizers: dict[Path, Path | None] = {}  # with which model files were opened
        self._load_wanted: ModelSource | None = None
        self._absorbed: list[Event] = []  # applied, and not yet handed to the face

    def drain(self) -> list[Event]:
        """Applies all waiting events and returns them; cheap when there are none.

        What still comes of an answer that another operation ended is left out.
        """
        self._absorb()
        events, self._absorbed = self._absorbed, []
        self._go_on()
        return events

    def wait(self, timeout: float) -> bool:
        """Blocks until events wait or ``timeout`` seconds are over; for faces without an event loop."""
        return bool(self._absorbed) or self._runner.wait(timeout)

    # ---- inside -------------------------------------------------------------

    def _absorb(self) -> None:
        """Applies all waiting events."""
        for event, answer in self._runner.events():
            if isinstance(event, Loaded):
                self._source = event.source
                self._tokenizers[event.source.path.absolute()] = event.source.tokenizer
                self._on_loaded(event.source)
                self._take_model()
                self._notices += event.info.notices
            elif isinstance(event, LoadFailed):
                self.error = None if event.cancelled else event.message
                if event.cancelled and self._load_wanted is None:
                    self.load_stopped = event.source
                    name = model_word(event.source.path, self.store.data_dir or paths.data_dir())
                    self._notices.append(f"loading was stopped: /model {name} loads it")
            elif answer is not None and isinstance(event, Finished):
                self._answer_over(answer, event)
            if answer is not None or isinstance(event, LoadProgress | Loaded | LoadFailed | Looked | LookFailed):
                self._absorbed.append(event)
        running = self._runner.answer
        if running is not None and not running.let_go and running.settle():
            self.store.save_soon(running.conversation, running.message)

    def _let_go(self) -> None:
        """Ends the running answer as it is; the engine is told, and is free a moment later."""
        self._absorb()  # it may be over already, and nobody has looked yet
        if self._runner.look is not None:
            self._runner.stop()
        answer = self._runner.answer
        if answer is None or answer.let_go:
            return
        answer.abandon()
        self._runner.stop()
        self._keep(answer)

    def _ask(self, message: Message) -> Message:
        """Wants a question answered, or an answer continued; stored first, begun when the engine is free."""
        self.error = None
        self.store.save(self.conversation, message)
        self._wanted = message
        self._go_on()
        return message

    def _go_on(self) -> None:
        """Gives an idle engine what it should do next."""
        if not self._runner.idle:
            return
        if self._load_wanted is not None:
            source, self._load_wanted = self._load_wanted, None
            self._runner.load(source)
        elif self._wanted is not None and self._model is not None:
            message, self._wanted = self._wanted, None
            self._begin(message, self._model)

    def _begin(self, message: Message, model: ModelInUse) -> None:
        conversation = self.conversation
        dropped = self.dropped
        shown = conversation.choices.get(message.id)
        if message.role is Role.USER:
            message = conversation.add_answer(message, model=model.name)
        answer = Answer(conversation, message, model, self._writer_in_use(), shown=shown)
        conversation.model_path = str(self.model.path.absolute()) if self.model else ""
        message.status = Status.STREAMING
        message.settings = self.settings.to_dict()
        self._runner.start(answer, dropped=dropped, max_tokens=self.settings.max_tokens)

    def _answer_over(self, answer: Answer, event: Finished) -> None:
        if event.reason is StopReason.FAILED and answer.conversation is self.conversation:
            self.error = event.message
        if event.reason is StopReason.END and answer.added_nothing:
            self._notices.append("the model has nothing to add to this answer")
        self._keep(answer)

    def _keep(self, answer: Answer) -> None:
        """Stores an answer that ended, or takes its empty message out."""
        if answer.came_to_nothing:
            answer.withdraw()
            self.store.forget(answer.conversation, answer.message)
        else:
            self.store.save_soon(answer.conversation, answer.message)
