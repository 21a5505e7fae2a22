"""What the engine does for a session: one load, one answer or one look at a time, and the events of all."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from llamachat.chat.answer import Answer
from llamachat.chat.look import Look
from llamachat.engine.base import Engine
from llamachat.engine.events import (
    Event,
    Finished,
    Loaded,
    LoadFailed,
    LoadProgress,
    Looked,
    LookFailed,
    PrefillProgress,
    StopReason,
    Timings,
    TokenEvent,
)
from llamachat.engine.source import ModelSource
from llamachat.errors import LlamachatError

_log = logging.getLogger(__name__)


class Phase(StrEnum):
    """What the session is doing."""

    NO_MODEL = "no model"
    LOADING = "loading"  #: a model is being read; the one before, if any, waits
    READY = "ready"
    PREFILL = "reading prompt"
    DECODE = "answering"
    LOOKING = "looking at tokens"
    STOPPING = "stopping"  #: stop was asked for; the engine has not said yet that it did


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a load (bytes), a prefill or a look (tokens) is."""

    done: int = 0
    total: int = 0
    elapsed_ms: float = 0.0


class Runner:
    """Gives the engine one job at a time and keeps its events until the face's thread asks for them.

    An answer or a look whose prompt cannot be written ends like one that the engine fails.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.on_wake: Callable[[], None] | None = None
        self.answer: Answer | None = None  #: being prepared or written, until its last event was taken
        self.look: Look | None = None  #: likewise
        self.loading: ModelSource | None = None
        self.progress = Progress()
        self._stopping = False
        self._load_began = 0.0
        self._events: deque[Event] = deque()
        self._waiting = threading.Event()
        self._preparing: threading.Thread | None = None
        engine.subscribe(self._put)

    # ---- looking --------------------------------------------------------------

    @property
    def idle(self) -> bool:
        """Whether the engine can take a job."""
        return self.answer is None and self.look is None and self.loading is None

    @property
    def phase(self) -> Phase:
        """What is going on, in one word."""
        if self.idle:
            return Phase.NO_MODEL if self.engine.info is None else Phase.READY
        if self._stopping:
            return Phase.STOPPING
        if self.look is not None:
            return Phase.LOOKING
        if self.answer is None:
            return Phase.LOADING
        return Phase.DECODE if self.answer.decoding else Phase.PREFILL

    # ---- jobs -----------------------------------------------------------------

    def load(self, source: ModelSource) -> None:
        """Begins to load a model. The runner must be idle."""
        self.engine.load(source)
        self.loading, self.progress, self._stopping = source, Progress(), False
        self._load_began = time.monotonic()

    def start(self, answer: Answer, *, dropped: int, max_tokens: int) -> None:
        """Begins an answer: first its prompt, on a thread of its own. The runner must be idle."""
        self.answer = answer
        self._prepare(
            lambda: answer.prepare(dropped, max_tokens, self.engine.generate),
            lambda message: Finished(
                StopReason.FAILED if message else StopReason.STOPPED, Timings(), message=message or ""
            ),
        )

    def start_look(self, look: Look) -> None:
        """Begins a look at an answer, likewise."""
        self.look = look
        self._prepare(
            lambda: look.prepare(self.engine.look),
            lambda message: LookFailed(message or "looking was stopped", cancelled=message is None),
        )

    def _prepare(self, prepare: Callable[[], bool], last: Callable[[str | None], Event]) -> None:
        """Has a request written. ``last`` makes the event of one that does not get to the engine: what is to be said,
        or None where it was stopped.
        """
        self.progress, self._stopping = Progress(), False

        def run() -> None:
            try:
                if not prepare():
                    self._put(last(None))
            except LlamachatError as error:
                self._put(last(str(error)))
            except Exception as error:
                _log.exception("writing the prompt")
                self._put(last(f"the prompt cannot be written: {type(error).__name__}; the log has the details"))

        self._preparing = threading.Thread(target=run, name="llamachat-prompt", daemon=True)
        self._preparing.start()

    def stop(self) -> None:
        """Asks the running job to end; its last event follows."""
        if self.idle or self._stopping:
            return
        self._stopping = True
        prepared = self.answer or self.look
        if prepared is None or not prepared.cancel():
            self.engine.stop()

    # ---- events ---------------------------------------------------------------

    def events(self) -> Iterator[tuple[Event, Answer | None]]:
        """Takes the waiting events, each with the answer it changed (None for an answer that was let go)."""
        self._waiting.clear()
        while self._events:
            event = self._events.popleft()
            answer = None if self.answer is None or self.answer.let_go else self.answer
            match event:
                case LoadProgress():
                    elapsed_ms = 1000 * (time.monotonic() - self._load_began)
                    self.progress = Progress(event.done_bytes, event.total_bytes, elapsed_ms)
                case PrefillProgress():
                    self.progress = Progress(event.done_tokens, event.total_tokens, event.elapsed_ms)
                case Loaded() | LoadFailed():
                    self.loading = None
                case Finished():
                    self.answer = None
                case Looked() | LookFailed():
                    look, self.look = self.look, None
                    if look is not None:
                        look.finish(event)
            if answer is not None:
                match event:
                    case PrefillProgress() | TokenEvent():
                        answer.apply(event)
                    case Finished():
                        answer.finish(event)
            yield event, answer

    def wait(self, timeout: float) -> bool:
        """Blocks until events wait, at most ``timeout`` seconds."""
        return self._waiting.wait(timeout)

    def close(self) -> None:
        """Ends the engine and its threads."""
        self.stop()
        self.engine.close()
        if self._preparing is not None:
            self._preparing.join(timeout=3.0)

    def _put(self, event: Event) -> None:
        """Called on other threads."""
        self._events.append(event)
        if not self._waiting.is_set():
            self._waiting.set()
            if self.on_wake is not None:
                self.on_wake()
