"""Memory foretold from a model's numbers, against what the C core allocates."""

from __future__ import annotations

from pathlib import Path

import pytest

from llamachat.engine.footprint import footprint
from llamachat.engine.model import Model
from llamachat.engine.source import ModelSource
from llamachat.weights import Hyperparameters
from llamachat.weights.inspection import inspect_weights
from tests.support.core import SLOTS, CoreContext, CoreModel, Pool, ffi, lib, ok
from tests.support.tiny_models import (
    TinyShape,
    llama2c_later_bytes,
    random_model,
    spm_vocabulary,
    write_ggml,
    write_tokenizer_bin,
)

#: SmolLM2-135M and TinyLlama-1.1B, but for the layers and a vocabulary that would only take time.
SHAPES = {"smol": (576, 1536, 9, 3), "tiny": (2048, 5632, 32, 4)}


def zeros(hparams: dict[str, int | float]) -> CoreModel:
    model = CoreModel(hparams, {}, finish=False)
    rows, cols = ffi.new("int64_t *"), ffi.new("int64_t *")
    tensors = {}
    for name, slot in SLOTS.items():
        if name not in ("output", "rope_freqs"):
            ok(lib.lc_model_shape(model.handle, slot, rows, cols))
            tensors[name, 0] = "F32", bytes(4 * rows[0] * cols[0]), rows[0], cols[0]
    return CoreModel(hparams, tensors)


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


#: Old types by the kinds of file that had them.
OLD = [("ggml", "Q4_0"), ("ggmf v1", "Q4_1"), ("ggjt v1", "Q4_0"), ("ggjt v1", "Q4_2"), ("ggjt v1", "Q4_3"),
       ("ggjt v1", "Q8_0"), ("ggjt v2", "Q4_0"), ("ggjt v2", "Q4_1"), ("ggjt v2", "Q8_0"),
       ("llama2.c v2", 32), ("llama2.c v2", 64)]  # fmt: skip


@pytest.mark.parametrize(("kind", "what"), OLD)
def test_old_blocks_take_as_much_memory_as_the_file(tmp_path: Path, kind: str, what: str | int) -> None:
    """As was foretold, too; and not four to seven times as much, as in F32."""
    path, model = tmp_path / "m.bin", random_model(TinyShape(n_embd=256, n_ff=512, tied=False))
    if isinstance(what, int):
        path.write_bytes(llama2c_later_bytes(model, version=2, group=what)[0])
        write_tokenizer_bin(tmp_path / "tokenizer.bin", spm_vocabulary())
    else:
        write_ggml(path, model, kind=kind, types=what)
    loaded = Model.load(ModelSource(path, threads=1))
    held = lib.lc_model_bytes(loaded.handle)
    loaded.close()
    assert held == pytest.approx(inspect_weights(path).weight_bytes, rel=0.01)
    assert 0.9 * path.stat().st_size < held < 1.2 * path.stat().st_size
