"""The peer's side of compare.py: runs in an environment that has ``llama-cpp-python``, and needs nothing of llamachat.

The C functions are called directly, so that no Python of the peer's is measured.
"""

from __future__ import annotations

import ctypes
import sys

import llama_cpp

from benchmarks.protocol import serve


class Peer:
    """llama.cpp with a model open."""

    def __init__(self, path: str, threads: int, n_ctx: int, batch: int) -> None:
        llama_cpp.llama_backend_init()
        self._silence = llama_cpp.llama_log_callback(lambda *_: None)
        llama_cpp.llama_log_set(self._silence, ctypes.c_void_p(0))
        self.model = llama_cpp.llama_model_load_from_file(path.encode(), llama_cpp.llama_model_default_params())
        params = llama_cpp.llama_context_default_params()
        params.n_ctx = n_ctx
        params.n_batch = params.n_ubatch = batch
        params.n_threads = params.n_threads_batch = threads
        self.context = llama_cpp.llama_init_from_model(self.model, params)
        if not self.model or not self.context:
            raise SystemExit(f"llama.cpp cannot open {path}")
        self.batch = batch

    def clear(self) -> None:
        """Empties the KV cache."""
        llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(self.context), True)

    def eval(self, ids: list[int]) -> None:
        """Appends tokens, a batch at a time; the logits of the last one are computed."""
        for first in range(0, len(ids), self.batch):
            part = ids[first : first + self.batch]
            array = (llama_cpp.llama_token * len(part))(*part)
            if llama_cpp.llama_decode(self.context, llama_cpp.llama_batch_get_one(array, len(part))):
                raise SystemExit("llama.cpp failed to evaluate")
        llama_cpp.llama_get_logits_ith(self.context, -1)


if __name__ == "__main__":
    serve(Peer(sys.argv[1], *map(int, sys.argv[2:5])))
