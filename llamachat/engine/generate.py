"""The sampling loop: read the prompt, then draw a token, tell it, evaluate it, until something ends it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from llamachat.engine.context import Context
from llamachat.engine.core import StopFlag
from llamachat.engine.events import Alternative, Finished, PrefillProgress, Request, StopReason, Timings, TokenEvent
from llamachat.engine.sampler import Sampler
from llamachat.engine.stop_texts import StopTexts
from llamachat.errors import Cancelled

if TYPE_CHECKING:
    from llamachat.engine.settings import SamplingSettings


def generate(
    context: Context, request: Request, settings: Callable[[], SamplingSettings], stop: StopFlag
) -> Iterator[PrefillProgress | TokenEvent | Finished]:
    """Answers ``request``; the last event is ``Finished``.

    ``settings()`` is asked before every token, so a change takes effect from the next one on. Raises
    ``EngineError`` for a prompt that is empty or does not fit, and where the model's numbers go wrong.
    """
    return _Answer(context, request, settings, stop).events()


class _Answer:
    """One answer on its way."""

    def __init__(
        self, context: Context, request: Request, settings: Callable[[], SamplingSettings], stop: StopFlag
    ) -> None:
        self._context = context
        self._request = request
        self._settings = settings
        self._stop = stop
        self._seed_setting = settings().seed
        self._sampler = Sampler(context.model.info.n_vocab, self._seed_setting)
        self._text = context.model.tokenizer.stream(at_start=request.at_start)
        self._stop_texts = StopTexts(request.stop_texts)
        self._reused = 0
        self._prompt_ms = 0.0
        self._answer_tokens = 0
        self._answer_ms = 0.0

    def events(self) -> Iterator[PrefillProgress | TokenEvent | Finished]:
        try:
            yield from self._read_prompt()
        except Cancelled:
            yield self._finished(StopReason.STOPPED)
            return
        yield from self._decode()

    def _read_prompt(self) -> Iterator[PrefillProgress]:
        started = time.monotonic()
        for progress in self._context.read(self._request.prompt_ids, self._stop):
            self._reused = progress.reused_tokens
            self._prompt_ms = 1000 * (time.monotonic() - started)
            yield progress

    def _decode(self) -> Iterator[TokenEvent | Finished]:
        started = time.monotonic()
        while True:
            settings = self._settings()
            reason = self._reason_to_end(settings)
            if reason is None:
                token = self._draw(settings)
                if token in self._request.stop_ids:
                    reason = StopReason.END
            if reason is not None:
                yield self._finished(reason)
                return
            self._answer_tokens += 1
            self._answer_ms = 1000 * (time.monotonic() - started)
            yield self._token_event(token)
            if self._stop_texts.found:
                yield self._finished(StopReason.END)
                return
            if self._answer_tokens < settings.max_tokens:  # the logits after the last token are of no use
                try:
                    self._context.append([token], self._stop)
                except Cancelled:
                    yield self._finished(StopReason.STOPPED)
                    return

    def _reason_to_end(self, settings: SamplingSettings) -> StopReason | None:
        if self._stop:
            return StopReason.STOPPED
        if self._answer_tokens >= settings.max_tokens:
            return StopReason.LENGTH
        if len(self._context.ids) >= self._context.n_ctx:
            return StopReason.CONTEXT
        return None

    def _draw(self, settings: SamplingSettings) -> int:
        if settings.seed != self._seed_setting:  # turned while speaking
            self._seed_setting = settings.seed
            if settings.seed is not None:
                self._sampler.reseed(settings.seed)
        return self._sampler.draw(self._context, settings)

    def _token_event(self, token: int) -> TokenEvent:
        logprob: float | None = None
        top: tuple[Alternative, ...] = ()
        if self._request.n_top is not None:
            logprob, top = self._context.logprobs(token, self._request.n_top)
        text = self._stop_texts.push(self._text.push(token))
        return TokenEvent(token, text, logprob, top, self._answer_ms)

    def _finished(self, reason: StopReason) -> Finished:
        timings = Timings(
            prompt_tokens=len(self._request.prompt_ids),
            reused_tokens=self._reused,
            prompt_ms=self._prompt_ms,
            answer_tokens=self._answer_tokens,
            answer_ms=self._answer_ms,
        )
        tail = self._stop_texts.push(self._text.flush()) + self._stop_texts.flush()
        return Finished(reason, timings, tail, self._sampler.seed)
