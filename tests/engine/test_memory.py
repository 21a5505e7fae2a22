"""Memory: what a token takes in the cache, and how long a context there is room for."""

from __future__ import annotations

from pathlib import Path

import pytest

from llamachat.engine import memory
from llamachat.engine.base import KvType, ModelSource
from llamachat.engine.context import Context
from llamachat.engine.core import lib
from llamachat.engine.memory import cache_bytes_per_token, choose_n_ctx
from llamachat.engine.model import Model
from llamachat.weights import Hyperparameters, open_weights


@pytest.mark.parametrize("kv_type", KvType)
def test_what_a_token_takes_is_what_the_core_takes(tiny_path: Path, kv_type: KvType) -> None:
    model = Model.load(ModelSource(tiny_path, kv_type=kv_type))
    with open_weights(tiny_path) as weights:
        expected = cache_bytes_per_token(weights.hyperparameters, kv_type)
    sizes = []
    for n_ctx in (512, 512 + 640):
        context = Context(model, n_ctx)
        sizes.append(lib.lc_context_bytes(context.handle))
        context.close()
    model.close()
    assert sizes[1] - sizes[0] == 640 * expected


def test_bytes_take_half_of_what_halves_take() -> None:
    h = Hyperparameters(n_vocab=32000, n_embd=4096, n_ff=11008, n_layers=32, n_heads=32, n_kv_heads=32, head_dim=128,
                        n_ctx_train=4096)  # fmt: skip
    assert cache_bytes_per_token(h, KvType.F16) == 32 * 32 * 128 * 2 * 2
    assert cache_bytes_per_token(h, KvType.Q8_0) == 32 * 32 * 128 * 2 * 34 // 32


def test_a_context_is_as_long_as_memory_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available_bytes", lambda: 2 << 30)
    assert choose_n_ctx(None, 2048, 1000) == 2048
    assert choose_n_ctx(None, 1 << 20, 1000) == 32_768
    assert choose_n_ctx(None, 32_768, 1 << 20) == 1024
    assert choose_n_ctx(77, 32_768, 1 << 20) == 77
