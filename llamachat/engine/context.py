"""What the model has read: the tokens in its KV cache, and the logits after the last one."""

from __future__ import annotations

import time
from collections.abc import Generator, Sequence
from typing import Any

from llamachat.engine.core import StopFlag, check, ffi, lib
from llamachat.engine.events import Alternative, PrefillProgress
from llamachat.engine.model import Model
from llamachat.engine.source import KvType, Rounding
from llamachat.errors import EngineError

# Tokens evaluated in one call: the larger, the more often unpacked weights are used again; the
# smaller, the sooner a stop is noticed and progress is seen.
_BATCH_TOKENS = 256


_KV_TYPES = {KvType.F16: lib.LC_F16, KvType.Q8_0: lib.LC_Q8_0}
_ROUNDINGS = {
    Rounding.FAST: lib.LC_ROUND_FAST,
    Rounding.EXACT: lib.LC_ROUND_EXACT,
    Rounding.LLAMA_CPP: lib.LC_ROUND_LLAMA_CPP,
}


class Context:
    """A model with the tokens it has read. One thread at a time may use it."""

    def __init__(self, model: Model, n_ctx: int | None = None) -> None:
        self.model = model
        self.n_ctx = n_ctx or model.info.n_ctx
        self.n_batch = min(_BATCH_TOKENS, self.n_ctx)  # tokens that one call evaluates at most
        kv_type, rounding = _KV_TYPES[model.source.kv_type], _ROUNDINGS[model.source.rounding]
        options = ffi.new("lc_context_options *", (self.n_ctx, self.n_batch, kv_type, rounding))
        out: Any = ffi.new("lc_context **")
        check(
            lib.lc_context_create(model.handle, model.pool.handle, options, out),
            f"a context of {self.n_ctx:,} tokens",
        )
        self.handle: Any = ffi.gc(out[0], lib.lc_context_free)
        self.ids: list[int] = []  # the tokens in the cache; the C core holds their keys and values

    def close(self) -> None:
        """Frees the cache."""
        ffi.release(self.handle)

    def append(self, ids: Sequence[int], stop: StopFlag) -> None:
        """Evaluates tokens after those held. ``Cancelled`` when stopped; then nothing was appended."""
        n = len(ids)
        self._evaluated(lib.lc_context_eval(self.handle, self._checked(ids), n, stop.handle))
        self.ids += ids

    def append_rows(self, ids: Sequence[int], n_rows: int, stop: StopFlag) -> None:
        """Evaluates at most ``n_batch`` tokens, and keeps what ``rows`` needs of the last ``n_rows`` of them."""
        n = len(ids)
        self._evaluated(lib.lc_context_eval_rows(self.handle, self._checked(ids), n, n_rows, stop.handle))
        self.ids += ids

    def rows(self, first: int, n: int, into: Any, stop: StopFlag) -> None:
        """Writes the logits of ``n`` of those rows, from number ``first`` on, as ``float[n][n_vocab]``."""
        self._evaluated(lib.lc_context_rows(self.handle, first, n, into, stop.handle))

    def _evaluated(self, status: int) -> None:
        if status == lib.LC_ERR_NONFINITE:
            raise EngineError(
                f"{self.model.info.path}: computes a NaN or an infinity: some of its weights are too large"
            )
        check(status, "evaluating the model")

    def _checked(self, ids: Sequence[int]) -> Any:
        n_vocab = self.model.info.n_vocab
        if any(not 0 <= token < n_vocab for token in ids):
            raise EngineError("a token id outside the model's vocabulary")
        return ffi.new("int32_t[]", ids)

    def read(self, ids: Sequence[int], stop: StopFlag) -> Generator[PrefillProgress, None, int]:
        """Makes the cache hold exactly ``ids``, telling of its progress; returns how many it held already.

        Only what comes after the first differing token is evaluated; the last token always is, since
        its logits are wanted. Raises ``EngineError`` for an empty or too long prompt, ``Cancelled`` when
        stopped: whole batches read until then stay in the cache and need not be read again.
        """
        if not ids:
            raise EngineError("an empty prompt: give the model at least one token to start from")
        if len(ids) > self.n_ctx:
            raise EngineError(f"the prompt has {len(ids):,} tokens, the context holds {self.n_ctx:,}")
        reused = self._keep_common(ids)
        started = time.monotonic()
        for first in range(reused, len(ids), self.n_batch):
            yield PrefillProgress(first, len(ids), reused, 1000 * (time.monotonic() - started))
            self.append(ids[first : first + self.n_batch], stop)
        yield PrefillProgress(len(ids), len(ids), reused, 1000 * (time.monotonic() - started))
        return reused

    def _keep_common(self, ids: Sequence[int]) -> int:
        """Forgets the cache from the first token that differs from ``ids``; returns what is left."""
        most = min(len(self.ids), len(ids) - 1)
        common = next((i for i in range(most) if self.ids[i] != ids[i]), most)
        self.truncate(common)
        return common

    def truncate(self, n_keep: int) -> None:
        """Forgets all but the first ``n_keep`` tokens; where fewer are held, none."""
        n_keep = min(n_keep, len(self.ids))
        check(lib.lc_context_truncate(self.handle, n_keep), "shortening the context")
        del self.ids[n_keep:]

    @property
    def logits(self) -> Any:
        """The C core's ``float[n_vocab]`` after the last token; ``EngineError`` if there are none."""
        pointer = lib.lc_context_logits(self.handle)
        if pointer == ffi.NULL:
            raise EngineError("no logits: nothing was evaluated yet")
        return pointer

    def logprobs(
        self, token: int | None, n_top: int, logits: Any = None
    ) -> tuple[float | None, tuple[Alternative, ...]]:
        """Natural log of the softmax of raw logits: of ``token`` (None of none), and of the ``n_top`` likeliest.

        The logits are those after the last token, if no others are given.
        """
        n_vocab = self.model.info.n_vocab
        n_top = min(n_top, n_vocab)
        logprob: Any = ffi.new("float *") if token is not None else ffi.NULL
        ids: Any = ffi.new("int32_t[]", max(1, n_top))
        values: Any = ffi.new("float[]", max(1, n_top))
        row = self.logits if logits is None else logits
        check(lib.lc_logprobs(row, n_vocab, token or 0, logprob, n_top, ids, values), "log-probabilities")
        piece = self.model.tokenizer.piece
        top = tuple(Alternative(ids[i], piece(ids[i]), values[i]) for i in range(n_top))
        return (None if token is None else logprob[0]), top
