"""The C core through cffi, as the tests of the core use it: numpy arrays in, numpy arrays out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llamachat import _native
from tests.support.blocks import IDS, Floats, block_size

ffi: Any = _native.ffi
lib: Any = _native.lib


class StatusError(AssertionError):
    """A call of the core returned something else than LC_OK."""

    def __init__(self, code: int) -> None:
        super().__init__(f"status {code}")
        self.code = code


def ok(code: int) -> None:
    """Raises ``StatusError`` unless the code is LC_OK."""
    if code != lib.LC_OK:
        raise StatusError(code)


def text(pointer: Any) -> str:
    """A C string."""
    value: Any = ffi.string(pointer)
    return str(value.decode())


def supported_isas() -> list[str]:
    """The instruction sets of this build that this processor runs."""
    names: list[str] = []
    while (pointer := lib.lc_isa_name(len(names))) != ffi.NULL:
        names.append(text(pointer))
    return [name for name in names if lib.lc_isa_supported(name.encode())]


@contextmanager
def chosen_isa(name: str) -> Iterator[None]:
    """What is made inside uses this instruction set, for as long as it lives."""
    before = lib.lc_isa_selected()
    ok(lib.lc_isa_select(name.encode()))
    try:
        yield
    finally:
        ok(lib.lc_isa_select(before))


@contextmanager
def chosen_cache(n_bytes: int) -> Iterator[None]:
    """Models that are finished inside take the last-level cache to hold this much."""
    lib.lc_last_cache_select(n_bytes)
    try:
        yield
    finally:
        lib.lc_last_cache_select(0)


def floats(array: NDArray[Any]) -> Any:
    """A C pointer to a contiguous float32 array; the array must outlive its use."""
    assert array.dtype == np.float32
    assert array.flags.c_contiguous
    return ffi.from_buffer("float[]", array, require_writable=False)


#: lc_rounding by the name that the engine has for it.
ROUNDINGS = {"fast": lib.LC_ROUND_FAST, "exact": lib.LC_ROUND_EXACT, "llama.cpp": lib.LC_ROUND_LLAMA_CPP}


class Pool:
    """Threads, ended with the block."""

    def __init__(self, n_threads: int) -> None:
        out = ffi.new("lc_pool **")
        ok(lib.lc_pool_create(n_threads, out))
        self.handle: Any = ffi.gc(out[0], lib.lc_pool_free)

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *_: object) -> None:
        ffi.release(self.handle)


class Matrix:
    """One matrix, written whole or in chunks of rows."""

    def __init__(self, label: str, rows: int, cols: int) -> None:
        self.label, self.rows, self.cols = label, rows, cols
        elements, size = block_size(label)
        self.row_bytes = cols // elements * size
        out = ffi.new("lc_matrix **")
        ok(lib.lc_matrix_create(IDS[label], rows, cols, out))
        self.handle: Any = ffi.gc(out[0], lib.lc_matrix_free)

    def write(self, data: bytes, first: int = 0, n_rows: int | None = None) -> int:
        """The status of writing rows ``first..first+n_rows-1`` of ``data``, which holds all rows."""
        n = self.rows - first if n_rows is None else n_rows
        part = data[first * self.row_bytes : (first + n) * self.row_bytes]
        return int(lib.lc_matrix_write(self.handle, first, n, ffi.from_buffer(part), len(part)))

    def row(self, index: int) -> Floats:
        """One row read back."""
        out = np.empty(self.cols, np.float32)
        ok(lib.lc_matrix_row(self.handle, index, floats(out)))
        return out

    def multiply(self, pool: Pool, x: Floats, *, rounding: str = "exact") -> Floats:
        """x[n][cols] times the transpose."""
        y = np.full((len(x), self.rows), np.nan, np.float32)
        ok(lib.lc_matrix_multiply(self.handle, pool.handle, floats(x), len(x), ROUNDINGS[rounding], floats(y)))
        return y


#: Slot and layer of a tensor: ("attn_q", 3); layer 0 for those of the model.
Place = tuple[str, int]
SLOTS = {
    "token_embd": lib.LC_TOKEN_EMBD,
    "output_norm": lib.LC_OUTPUT_NORM,
    "output": lib.LC_OUTPUT,
    "rope_freqs": lib.LC_ROPE_FREQS,
    "attn_norm": lib.LC_ATTN_NORM,
    "attn_q": lib.LC_ATTN_Q,
    "attn_k": lib.LC_ATTN_K,
    "attn_v": lib.LC_ATTN_V,
    "attn_output": lib.LC_ATTN_OUTPUT,
    "ffn_norm": lib.LC_FFN_NORM,
    "ffn_gate": lib.LC_FFN_GATE,
    "ffn_up": lib.LC_FFN_UP,
    "ffn_down": lib.LC_FFN_DOWN,
}


_PARTNERS = {"ffn_gate": "ffn_up", "ffn_up": "ffn_gate"}


class CoreModel:
    """A model, filled from ``(label, bytes, rows, cols)`` by place."""

    def __init__(
        self, hparams: Mapping[str, float], tensors: Mapping[Place, tuple[str, bytes, int, int]], *, finish: bool = True
    ) -> None:
        self.n_vocab = int(hparams["n_vocab"])
        out = ffi.new("lc_model **")
        ok(lib.lc_model_create(ffi.new("lc_hparams *", dict(hparams)), out))
        self.handle: Any = ffi.gc(out[0], lib.lc_model_free)
        for (slot, layer), (label, _, rows, cols) in tensors.items():
            ok(lib.lc_model_add(self.handle, SLOTS[slot], layer, IDS[label], rows, cols))
        for (slot, layer), (_, data, rows, _) in tensors.items():
            if (_PARTNERS.get(slot, slot), layer) in tensors:  # a gate without its partner has no memory
                ok(lib.lc_model_write(self.handle, SLOTS[slot], layer, 0, rows, ffi.from_buffer(data), len(data)))
        if finish:
            ok(self.finish()[0])

    def finish(self) -> tuple[int, int, int]:
        """(status, missing slot, missing layer); -1 where nothing was named."""
        slot, layer = ffi.new("int32_t *", -1), ffi.new("int32_t *", -1)
        code: int = lib.lc_model_finish(self.handle, slot, layer)
        return code, int(slot[0]), int(layer[0])


class CoreContext:
    """A context; ``eval`` returns the logits of the last token."""

    def __init__(
        self, model: CoreModel, pool: Pool, n_ctx: int, n_batch: int = 64, *, rounding: str = "fast", kv: str = "F16"
    ) -> None:
        self.model, self.pool = model, pool
        options = ffi.new("lc_context_options *", (n_ctx, n_batch, IDS[kv], ROUNDINGS[rounding]))
        out = ffi.new("lc_context **")
        ok(lib.lc_context_create(model.handle, pool.handle, options, out))
        self.handle: Any = ffi.gc(out[0], lib.lc_context_free)

    def __len__(self) -> int:
        return int(lib.lc_context_length(self.handle))

    def eval(self, ids: Sequence[int], cancel: Any = ffi.NULL) -> Floats:
        """Appends ids."""
        ok(lib.lc_context_eval(self.handle, ffi.new("int32_t[]", list(ids)), len(ids), cancel))
        return self.logits()

    def eval_rows(self, ids: Sequence[int], n_rows: int, cancel: Any = ffi.NULL) -> None:
        """Appends ids, of which the last are there for ``rows``."""
        ok(lib.lc_context_eval_rows(self.handle, ffi.new("int32_t[]", list(ids)), len(ids), n_rows, cancel))

    def rows(self, first: int, n: int, cancel: Any = ffi.NULL) -> Floats:
        """[n][n_vocab]: the logits of some of those tokens."""
        logits = np.full((n, self.model.n_vocab), np.nan, np.float32)
        ok(lib.lc_context_rows(self.handle, first, n, ffi.cast("float *", logits.ctypes.data), cancel))
        return logits

    def logits(self) -> Floats:
        """A copy of the logits; ``StatusError`` if there are none."""
        pointer = lib.lc_context_logits(self.handle)
        if pointer == ffi.NULL:
            raise StatusError(lib.LC_ERR_STATE)
        return np.frombuffer(ffi.buffer(pointer, self.model.n_vocab * 4), np.float32).copy()

    def truncate(self, n_keep: int) -> None:
        """Forgets all but the first tokens."""
        ok(lib.lc_context_truncate(self.handle, n_keep))

    def close(self) -> None:
        """Frees it now."""
        ffi.release(self.handle)
