"""Looking at a text that is there: how likely each of its tokens was, and what else could have stood in its place."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from llamachat.engine.context import Context
from llamachat.engine.core import StopFlag, ffi
from llamachat.engine.events import LookRequest, Place, PrefillProgress
from llamachat.engine.sampler import Sampler
from llamachat.errors import EngineError

#: Tokens evaluated at a time: fewer than the 64 from which on the core rounds activations coarsely (``LC_ROUND_FAST``),
#: so that the probabilities are those with which the text was drawn, token by token.
_BATCH = 48


def look(context: Context, request: LookRequest, stop: StopFlag) -> Iterator[PrefillProgress | Place]:
    """The places of ``request.ids``, and the one behind the last, each as soon as it is known.

    Only what follows the prompt is evaluated again, if the context holds that; afterwards it holds the text too.
    Raises ``EngineError`` for an empty prompt or one that does not fit with its text, ``Cancelled`` when stopped.
    """
    return _Look(context, request, stop).places()


class _Look:
    """One text on its way."""

    def __init__(self, context: Context, request: LookRequest, stop: StopFlag) -> None:
        self._context = context
        self._request = request
        self._stop = stop
        self._all = request.prompt_ids + request.ids
        self._sampler = Sampler(context.model.info.n_vocab, 0)

    def places(self) -> Iterator[PrefillProgress | Place]:
        n_prompt, n_all = len(self._request.prompt_ids), len(self._all)
        if not n_prompt:
            raise EngineError("an empty prompt: a text begins after at least one token")
        if n_all > self._context.n_ctx:
            raise EngineError(
                f"the text has {n_all:,} tokens with its prompt, the context holds {self._context.n_ctx:,}"
            )
        started = time.monotonic()
        reused = 0
        if n_prompt > 1:  # the prompt's last token is the first whose logits are wanted
            for progress in self._context.read(self._request.prompt_ids[:-1], self._stop):
                reused = progress.reused_tokens
                yield replace(progress, total_tokens=n_all)
        else:
            self._context.truncate(0)
        n_batch = min(_BATCH, self._context.n_batch)
        logits: Any = ffi.new("float[]", n_batch * self._context.model.info.n_vocab)
        for first in range(n_prompt - 1, n_all, n_batch):
            ids = self._all[first : first + n_batch]
            self._context.append_rows(ids, len(ids), self._stop)
            self._context.rows(0, len(ids), logits, self._stop)
            for row in range(len(ids)):
                yield self._place(first + row + 1, logits + row * self._context.model.info.n_vocab)
            done = first + len(ids)
            yield PrefillProgress(done, n_all, reused, 1000 * (time.monotonic() - started))

    def _place(self, at: int, logits: Any) -> Place:
        """What stands at ``at`` of the prompt and the text, by the logits of what is before it."""
        request = self._request
        token: int | None = self._all[at] if at < len(self._all) else self._ended_by(logits)
        logprob, top = self._context.logprobs(token, request.n_top, logits)
        ids = [one.id for one in top]
        shares = self._shares(logits, at, ids if token is None else [*ids, token])
        top = tuple(replace(one, share=share) for one, share in zip(top, shares, strict=False))
        return Place(token, logprob, None if token is None else shares[-1], top)

    def _shares(self, logits: Any, at: int, ids: Sequence[int]) -> list[float]:
        window = self._request.settings.repeat_window
        return self._sampler.shares(logits, self._all[max(0, at - window) : at], self._request.settings, ids)

    def _ended_by(self, logits: Any) -> int | None:
        """The likeliest token that may have ended the text; None for a text that was cut."""
        return max(sorted(self._request.end_ids), key=lambda token: float(logits[token]), default=None)
