"""Our side of compare.py: the C core with a model open, behind the same line protocol as the peer's."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from benchmarks.protocol import serve
from llamachat.engine.core import check, ffi, lib
from llamachat.engine.model import Model
from llamachat.engine.source import ModelSource


class Ours:
    """The C core with a model open."""

    def __init__(self, path: str, threads: int, n_ctx: int, batch: int) -> None:
        self.model = Model.load(ModelSource(path=Path(path), threads=threads, n_ctx=n_ctx))
        options = ffi.new("lc_context_options *", (n_ctx, batch, lib.LC_F16, 0))
        out: Any = ffi.new("lc_context **")
        check(lib.lc_context_create(self.model.handle, self.model.pool.handle, options, out), "a context")
        self.context: Any = ffi.gc(out[0], lib.lc_context_free)

    def clear(self) -> None:
        """Empties the KV cache."""
        check(lib.lc_context_truncate(self.context, 0), "truncating")

    def eval(self, ids: list[int]) -> None:
        """Appends tokens; the logits of the last one are computed."""
        check(lib.lc_context_eval(self.context, ffi.new("int32_t[]", ids), len(ids), ffi.NULL), "evaluating")


if __name__ == "__main__":
    serve(Ours(sys.argv[1], *map(int, sys.argv[2:5])))
