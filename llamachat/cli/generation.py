"""One answer without a chat: load a model, stream what it says, stop when told to."""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from llamachat.cli.failures import ended_by, note, soft_signals
from llamachat.cli.status_line import StatusLine, bar
from llamachat.cli.word_wrap import WordWrap
from llamachat.display import clean, counted
from llamachat.engine.events import (
    Alternative,
    Event,
    Finished,
    Loaded,
    LoadFailed,
    LoadProgress,
    ModelInfo,
    PrefillProgress,
    Request,
    StopReason,
    Timings,
    TokenEvent,
)
from llamachat.engine.worker import LocalEngine
from llamachat.errors import EngineError, FileError, LlamachatError

if TYPE_CHECKING:
    from llamachat.engine.settings import SamplingSettings
    from llamachat.engine.source import ModelSource
    from llamachat.tokenizer import Tokenizer


_PACE_SECONDS = 0.01
"""Between two looks at the tokens of an answer: those that came meanwhile are printed together. A look at each one as
it comes takes the interpreter from the engine's thread every time, which costs a small model a third of its speed."""


def load_error(failure: LoadFailed) -> LlamachatError:
    """Why a load failed, the file told apart from the reason, so that the one may be shortened."""
    path, prefix = failure.source.path, f"{failure.source.path}: "
    if not failure.message.startswith(prefix):
        return LlamachatError(failure.message)
    return FileError(path, failure.message.removeprefix(prefix))


class Printer:
    """Text on standard output, as it comes. A terminal gets it cleaned and broken between words, a file or a pipe to
    the letter."""

    def __init__(self) -> None:
        self._wrap = WordWrap(lambda: shutil.get_terminal_size().columns) if sys.stdout.isatty() else None
        self._last = ""

    @property
    def began(self) -> bool:
        """Whether anything was printed."""
        return bool(self._last)

    def write(self, text: str) -> None:
        """Prints ``text`` at once."""
        if text:
            self._last = text[-1]
            self._print(self._wrap.feed(clean(text)) if self._wrap else text)

    def end(self) -> None:
        """Ends the last line, if it is open."""
        if self._last != "\n":
            self.write("\n")

    @staticmethod
    def _print(text: str) -> None:
        if text:
            sys.stdout.write(text)
            sys.stdout.flush()


@dataclass(slots=True)
class Answer:
    """What came of a request, as far as it came."""

    tokens: list[TokenEvent] = field(default_factory=list)
    finished: Finished | None = None
    interruption: BaseException | None = None  #: the signal that cut it; to be raised once all is printed

    @property
    def error(self) -> str:
        """Why it failed; empty where it did not."""
        failed = self.finished is not None and self.finished.reason is StopReason.FAILED
        return self.finished.message or "the answer failed" if self.finished and failed else ""

    @property
    def text(self) -> str:
        """The answer's text."""
        return "".join(token.text for token in self.tokens) + (self.finished.tail if self.finished else "")


@dataclass(frozen=True, slots=True)
class _Signal:
    """Something outside wants the program to end."""

    number: int


class OneModel:
    """An engine with one model, for commands that ask it once."""

    def __init__(self, source: ModelSource) -> None:
        """Loads the model; ``FileError`` or ``LlamachatError`` where that fails."""
        self._engine = LocalEngine()
        self._events: SimpleQueue[Event | _Signal] = SimpleQueue()  # a signal's handler may put into it, too
        self._engine.subscribe(self._events.put)
        self._line = StatusLine()
        try:
            self._load(source)
        except BaseException:
            self._engine.close()
            raise

    @property
    def info(self) -> ModelInfo:
        """The model."""
        if self._engine.info is None:
            raise EngineError("no model is loaded")
        return self._engine.info

    @property
    def tokenizer(self) -> Tokenizer:
        """Its tokenizer."""
        if self._engine.tokenizer is None:
            raise EngineError("no model is loaded")
        return self._engine.tokenizer

    def close(self) -> None:
        """Frees the model."""
        self._engine.close()

    def answer(self, request: Request, settings: SamplingSettings, printer: Printer | None) -> Answer:
        """Generates, printing the text as it comes if there is a printer.

        A signal stops it softly: what was generated until then is in the answer, and printed.
        """
        self._engine.settings = settings
        answer = Answer()
        with soft_signals(lambda number: self._events.put(_Signal(number))):
            self._engine.generate(request)
            for events in self._until(Finished):
                self._take(events, answer, printer)
        return answer

    def _load(self, source: ModelSource) -> None:
        self._engine.load(source)
        for events in self._until(Loaded, LoadFailed):
            for event in events:
                self._take_loading(event, source)

    def _take_loading(self, event: Event | _Signal, source: ModelSource) -> None:
        if isinstance(event, LoadProgress):
            self._line.show(f"loading {source.path.name} {bar(event.done_bytes, event.total_bytes)}")
        elif isinstance(event, LoadFailed):
            raise load_error(event)
        elif isinstance(event, Loaded):
            self._line.clear()
            for notice in event.info.notices:
                note(notice)

    def _take(self, events: list[Event | _Signal], answer: Answer, printer: Printer | None) -> None:
        texts: list[str] = []
        for event in events:
            if isinstance(event, TokenEvent):
                answer.tokens.append(event)
                texts.append(event.text)
            elif isinstance(event, PrefillProgress):
                self._line.show(f"reading the prompt {bar(event.done_tokens, event.total_tokens)}")
            elif isinstance(event, Finished):
                answer.finished = event
                texts.append(event.tail)
            elif isinstance(event, _Signal):
                answer.interruption = ended_by(event.number)
                self._engine.stop()
        if texts and printer:
            self._line.clear()
            printer.write("".join(texts))
        elif texts:
            self._line.show(f"answering, {counted(len(answer.tokens), 'token')}")

    def _until(self, *last: type[Event]) -> Iterator[list[Event | _Signal]]:
        """What the engine tells, up to an event that ends it, and what comes from outside; all that waits at once."""
        try:
            while True:
                events = [self._events.get()]
                while not self._events.empty():
                    events.append(self._events.get())
                yield events
                if any(isinstance(event, last) for event in events):
                    return
                if isinstance(events[-1], TokenEvent):
                    time.sleep(_PACE_SECONDS)
        finally:
            self._line.clear()


def as_json(answer: Answer, prompt_ids: tuple[int, ...], tokenizer: Tokenizer) -> str:
    """The answer on one line for programs: text, tokens with their probabilities, why it ended, figures."""
    finished = answer.finished or Finished(StopReason.STOPPED, Timings())
    timings = finished.timings
    return json.dumps(
        {
            "text": answer.text,
            "prompt_ids": prompt_ids,
            "tokens": [
                _token(token.id, tokenizer.piece(token.id), token.logprob)
                | {"top": [_alternative(one) for one in token.top]}
                for token in answer.tokens
            ],
            "stop_reason": finished.reason.value,
            "timings": {
                "prompt_tokens": timings.prompt_tokens,
                "reused_tokens": timings.reused_tokens,
                "prompt_ms": round(timings.prompt_ms, 3),
                "answer_tokens": timings.answer_tokens,
                "answer_ms": round(timings.answer_ms, 3),
            },
        },
        ensure_ascii=False,
    )


def _token(token_id: int, text: str, logprob: float | None) -> dict[str, Any]:
    return {"id": token_id, "text": text, "logprob": logprob}


def _alternative(one: Alternative) -> dict[str, Any]:
    return _token(one.id, one.text, one.logprob)
