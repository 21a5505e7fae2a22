"""Memory foretold from a model's numbers, against what the C core allocates."""

from __future__ import annotations

import pytest

from llamachat.engine.footprint import footprint
from llamachat.weights import Hyperparameters
from tests.support.core import SLOTS, CoreContext, CoreModel, Pool, ffi, lib, ok

#: SmolLM2-135M and TinyLlama-1.1B, but for the layers and a vocabulary that would only take time.
SHAPES = {"smol": (576, 1536, 9, 3), "tiny": (2048, 5632, 32, 4)}


def zeros(hparams: dict[str, int | float]) -> CoreModel:
    model = CoreModel(hparams, {}, finish=False)
    rows, cols = ffi.new("int64_t *"), ffi.new("int64_t *")
    for name, slot in SLOTS.items():
        if name in ("output", "rope_freqs"):
            continue
        ok(lib.lc_model_shape(model.handle, slot, rows, cols))
        ok(lib.lc_model_add(model.handle, slot, 0, lib.LC_F32, rows[0], cols[0]))
        data = bytes(4 * rows[0] * cols[0])
        ok(lib.lc_model_write(model.handle, slot, 0, 0, rows[0], ffi.from_buffer(data), len(data)))
    ok(model.finish()[0])
    return model


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("threads", [1, 2])
def test_scratch_memory_is_foretold_within_a_tenth(shape: str, threads: int) -> None:
    n_embd, n_ff, n_heads, n_kv_heads = SHAPES[shape]
    n_ctx = 2048
    h = Hyperparameters(512, n_embd, n_ff, 1, n_heads, n_kv_heads, head_dim=64, n_ctx_train=n_ctx)
    with Pool(threads) as pool:
        model = zeros({name: getattr(h, name) for name, _ in ffi.typeof("lc_hparams").fields})
        context = CoreContext(model, pool, n_ctx, n_batch=256)
        held = lib.lc_context_bytes(context.handle)
        context.close()
    told = footprint(h, 0, n_ctx, threads)
    assert told.kv_f16_bytes + told.scratch_bytes - held == pytest.approx(0, abs=0.1 * (held - told.kv_f16_bytes))
