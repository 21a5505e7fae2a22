"""The peer's side of perplexity.py: runs in an environment that has ``llama-cpp-python``; needs nothing of llamachat.

    python -m benchmarks.peer_perplexity MODEL TEXT N_CTX THREADS

Windows and formulas are those of llama.cpp's own ``llama-perplexity``, which that package does not have; one JSON line
holds the token ids of the text and every negative log-probability.
"""

from __future__ import annotations

import ctypes
import json
import sys
from pathlib import Path

import llama_cpp
import numpy as np

_UBATCH = 512


class Peer:
    """llama.cpp with a model open."""

    def __init__(self, path: str, n_ctx: int, threads: int) -> None:
        llama_cpp.llama_backend_init()
        self._silence = llama_cpp.llama_log_callback(lambda *_: None)
        llama_cpp.llama_log_set(self._silence, ctypes.c_void_p(0))
        as_they_are = llama_cpp.llama_model_default_params()
        as_they_are.use_extra_bufts = False  # weights in turn meet activations of 8 bits, even in a build with BLAS
        self.model = llama_cpp.llama_model_load_from_file(path.encode(), as_they_are)
        params = llama_cpp.llama_context_default_params()
        params.n_ctx = params.n_batch = n_ctx
        params.n_ubatch = min(n_ctx, _UBATCH)
        params.n_threads = params.n_threads_batch = threads
        self.context = llama_cpp.llama_init_from_model(self.model, params)
        if not self.model or not self.context:
            raise SystemExit(f"llama.cpp cannot open {path}")
        self.vocab = llama_cpp.llama_model_get_vocab(self.model)
        self.n_vocab = llama_cpp.llama_vocab_n_tokens(self.vocab)

    def tokenize(self, text: bytes) -> list[int]:
        """Token ids, with BOS where the vocabulary adds it; control tokens are letters."""
        room = (llama_cpp.llama_token * (len(text) + 8))()
        n = llama_cpp.llama_tokenize(self.vocab, text, len(text), room, len(room), True, False)
        return list(room[:n])

    def nlls(self, window: list[int], targets: list[int], first: int) -> list[float]:
        """Of the targets of the positions from ``first`` on, in an empty context."""
        llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(self.context), True)
        batch = llama_cpp.llama_batch_init(len(window), 0, 1)
        batch.n_tokens = len(window)
        for i, token in enumerate(window):
            batch.token[i], batch.pos[i], batch.n_seq_id[i], batch.seq_id[i][0] = token, i, 1, 0
            batch.logits[i] = i >= first
        if llama_cpp.llama_decode(self.context, batch):
            raise SystemExit("llama.cpp failed to evaluate")
        llama_cpp.llama_batch_free(batch)
        found = []
        for i in range(first, len(window) - 1):
            row = np.ctypeslib.as_array(llama_cpp.llama_get_logits_ith(self.context, i), (self.n_vocab,))
            wide = row.astype(np.float64)
            wide -= wide.max()
            found.append(float(np.log(np.exp(wide).sum()) - wide[targets[i]]))
        return found


def main(path: str, text: str, n_ctx: int, threads: int) -> None:
    """Scores the text."""
    peer = Peer(path, n_ctx, threads)
    ids = peer.tokenize(Path(text).read_bytes().removesuffix(b"\n"))
    bos = [llama_cpp.llama_vocab_bos(peer.vocab)] if llama_cpp.llama_vocab_get_add_bos(peer.vocab) else []
    nlls = []
    for start in range(0, len(ids) // n_ctx * n_ctx, n_ctx):
        window = ids[start : start + n_ctx]
        nlls += peer.nlls(bos + window[len(bos) :], window[1:], n_ctx // 2)
        print(f"llama.cpp: window {start // n_ctx + 1} of {len(ids) // n_ctx}", file=sys.stderr)
    print(json.dumps({"ids": ids, "nlls": nlls}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
