"""Drawing the next token, in the C core, by the settings of this very moment."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any

from llamachat.engine.context import Context
from llamachat.engine.core import check, ffi, lib
from llamachat.engine.settings import SamplingSettings


class Sampler:
    """The random numbers of one answer. ``seed`` is the one used, drawn when none is given."""

    def __init__(self, n_vocab: int, seed: int | None) -> None:
        self.seed = secrets.randbits(32) if seed is None else seed
        out: Any = ffi.new("lc_sampler **")
        check(lib.lc_sampler_create(n_vocab, self.seed, out), "the sampler")
        self._handle: Any = ffi.gc(out[0], lib.lc_sampler_free)
        self._how: Any = ffi.new("lc_sampling *")
        self._filled_from: SamplingSettings | None = None
        self._token: Any = ffi.new("int32_t *")

    def reseed(self, seed: int) -> None:
        """Starts the random numbers of another seed."""
        self.seed = seed
        lib.lc_sampler_reseed(self._handle, seed)

    def draw(self, context: Context, settings: SamplingSettings) -> int:
        """The next token's id. The repeat penalty looks at the last ``repeat_window`` tokens of the context."""
        window, n_window = self._prepare(context.ids, settings)
        check(
            lib.lc_sampler_draw(self._handle, context.logits, self._how, window, n_window, self._token),
            "drawing a token",
        )
        token: int = self._token[0]
        return token

    def shares(self, logits: Any, before: Sequence[int], settings: SamplingSettings, ids: Sequence[int]) -> list[float]:
        """The probabilities with which ``draw`` would take ``ids`` from ``float[n_vocab]`` logits, after the tokens
        ``before``: 0 for what the settings leave out.
        """
        window, n_window = self._prepare(before, settings)
        out: Any = ffi.new("float[]", max(1, len(ids)))
        check(
            lib.lc_sampler_shares(self._handle, logits, self._how, window, n_window, ids, len(ids), out),
            "the shares of tokens",
        )
        return list(out)[: len(ids)]

    def _prepare(self, before: Sequence[int], settings: SamplingSettings) -> tuple[Any, int]:
        """Takes the settings over; returns the window that the repeat penalty looks at."""
        if settings is not self._filled_from:
            self._fill(settings)
        if settings.repeat_penalty == 1.0 or settings.repeat_window == 0:
            return ffi.NULL, 0
        recent = before[-settings.repeat_window :]
        return ffi.new("int32_t[]", recent), len(recent)

    def _fill(self, settings: SamplingSettings) -> None:
        how = self._how
        how.temperature, how.top_p, how.min_p = settings.temperature, settings.top_p, settings.min_p
        how.repeat_penalty, how.top_k = settings.repeat_penalty, settings.top_k
        self._filled_from = settings
