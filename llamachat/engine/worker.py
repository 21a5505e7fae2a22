"""The engine of this machine: one worker thread that owns the model."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import TYPE_CHECKING, cast

from llamachat.engine.core import StopFlag
from llamachat.engine.events import (
    Event,
    Finished,
    Loaded,
    LoadFailed,
    LoadProgress,
    Looked,
    LookFailed,
    LookRequest,
    ModelInfo,
    Place,
    Request,
    StopReason,
    Timings,
)
from llamachat.engine.settings import SamplingSettings
from llamachat.engine.source import ModelSource
from llamachat.errors import Cancelled, EngineError, LlamachatError

if TYPE_CHECKING:  # the worker thread imports these: a screen can be there before numpy is
    from llamachat.engine.context import Context
    from llamachat.tokenizer import Tokenizer

_log = logging.getLogger(__name__)


class LocalEngine:
    """An ``Engine`` that computes in this process, in the C core, on a thread of its own.

    The thread starts with the first load. All that is slow happens on it: imports, reading weights,
    evaluating. A face only ever puts a request in its queue.
    """

    def __init__(self) -> None:
        self.settings = SamplingSettings()
        self._listeners: list[Callable[[Event], None]] = []
        self._jobs: SimpleQueue[ModelSource | Request | LookRequest | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._busy = threading.Lock()  # held from accepting a job to its last event
        self._stop_load = threading.Event()
        self._stop_answer = StopFlag()
        self._context: Context | None = None

    @property
    def info(self) -> ModelInfo | None:
        """The loaded model, or None."""
        context = self._context
        return context.model.info if context else None

    @property
    def tokenizer(self) -> Tokenizer | None:
        """The loaded model's tokenizer, or None."""
        context = self._context
        return context.model.tokenizer if context else None

    def subscribe(self, listener: Callable[[Event], None]) -> None:
        """Adds a listener. It is called on the worker thread and must return at once."""
        self._listeners.append(listener)

    def load(self, source: ModelSource) -> None:
        """Loads a model; see :class:`llamachat.engine.base.Engine`."""
        self._accept(source)

    def generate(self, request: Request) -> None:
        """Answers a prompt; see :class:`llamachat.engine.base.Engine`."""
        self._accept_request(request)

    def look(self, request: LookRequest) -> None:
        """Looks at a text; see :class:`llamachat.engine.base.Engine`."""
        self._accept_request(request)

    def stop(self) -> None:
        """Stops what runs, if anything."""
        self._stop_load.set()
        self._stop_answer.set()

    def close(self, timeout: float = 2.0) -> None:
        """Stops what runs, frees the model and ends the thread, waiting at most ``timeout`` seconds."""
        self.stop()
        self._jobs.put(None)
        if self._thread is not None:
            self._thread.join(timeout)

    def _accept_request(self, request: Request | LookRequest) -> None:
        if self._context is None:
            raise EngineError("no model is loaded")
        self._accept(request)

    def _accept(self, job: ModelSource | Request | LookRequest) -> None:
        if not self._busy.acquire(blocking=False):
            raise EngineError("the engine is busy")
        self._stop_load.clear()
        self._stop_answer.clear()
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="llamachat-engine", daemon=True)
            self._thread.start()
        self._jobs.put(job)

    # -- on the worker thread ------------------------------------------------

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            last = self._run(job)
            self._busy.release()  # before the last event: its listener may ask for the next job
            self._tell(last)
        self._free()

    def _run(self, job: ModelSource | Request | LookRequest) -> Event:
        """Does a job; returns its last event."""
        match job:
            case ModelSource():
                return self._run_load(job)
            case LookRequest():
                return self._run_look(job)
            case Request():
                return self._run_request(job)

    def _tell(self, event: Event) -> None:
        for listener in self._listeners:
            listener(event)

    def _run_load(self, source: ModelSource) -> Event:
        try:
            from llamachat.engine.context import Context
            from llamachat.engine.model import Model

            model = Model.load(source, self._tell_progress, self._stop_load.is_set)
            try:
                context = Context(model)
            except LlamachatError:
                model.close()
                raise
        except Cancelled:
            return LoadFailed("loading was stopped", source, cancelled=True)
        except LlamachatError as error:
            return LoadFailed(str(error), source)
        except Exception as error:
            _log.exception("loading %s", source.path)
            return LoadFailed(f"{source.path}: {_unexpected(error)}", source)
        self._free()
        self._context = context
        return Loaded(model.info, source)

    def _tell_progress(self, done: int, total: int) -> None:
        self._tell(LoadProgress(done, total))

    def _run_request(self, request: Request) -> Event:
        from llamachat.engine.generate import generate

        context = cast("Context", self._context)  # generate() looked, and only this thread frees it
        try:
            for event in generate(context, request, lambda: self.settings, self._stop_answer):
                if isinstance(event, Finished):
                    return event
                self._tell(event)
        except LlamachatError as error:
            message = str(error)
        except Exception as error:
            _log.exception("answering")
            message = _unexpected(error)
        return Finished(StopReason.FAILED, Timings(prompt_tokens=len(request.prompt_ids)), message=message)

    def _run_look(self, request: LookRequest) -> Event:
        from llamachat.engine.look import look

        context = cast("Context", self._context)
        places: list[Place] = []
        try:
            for event in look(context, request, self._stop_answer):
                if isinstance(event, Place):
                    places.append(event)
                else:
                    self._tell(event)
        except Cancelled:
            return LookFailed("looking was stopped", cancelled=True)
        except LlamachatError as error:
            return LookFailed(str(error))
        except Exception as error:
            _log.exception("looking at a text")
            return LookFailed(_unexpected(error))
        return Looked(tuple(places))

    def _free(self) -> None:
        context, self._context = self._context, None
        if context is not None:
            context.close()
            context.model.close()


def _unexpected(error: Exception) -> str:
    return f"an unexpected {type(error).__name__}; the log has the details"
