"""Drawing the next token, in the C core, by the settings of this very moment."""

from __future__ import annotations

import secrets
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
        if settings is not self._filled_from:
            self._fill(settings)
        window, n_window = ffi.NULL, 0
        if settings.repeat_penalty != 1.0 and settings.repeat_window > 0:
            recent = context.ids[-settings.repeat_window :]
            window, n_window = ffi.new("int32_t[]", recent), len(recent)
        check(
            lib.lc_sampler_draw(self._handle, context.logits, self._how, window, n_window, self._token),
            "drawing a token",
        )
        token: int = self._token[0]
        return token

    def _fill(self, settings: SamplingSettings) -> None:
        how = self._how
        how.temperature, how.top_p, how.min_p = settings.temperature, settings.top_p, settings.min_p
        how.repeat_penalty, how.top_k = settings.repeat_penalty, settings.top_k
        self._filled_from = settings
