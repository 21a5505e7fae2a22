"""Building a model: shapes, order and every refusal."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.support.blocks import IDS
from tests.support.core import SLOTS, CoreContext, CoreModel, Pool, ffi, lib, ok
from tests.support.llama_reference import TinyLlama

TINY = TinyLlama(tied=False, rope_freqs=True)


def test_shapes() -> None:
    model = CoreModel(TINY.hparams(), {}, finish=False)
    rows, cols = ffi.new("int64_t *"), ffi.new("int64_t *")
    for (slot, _), (_, _, n_rows, n_cols) in TINY.tensors.items():
        ok(lib.lc_model_shape(model.handle, SLOTS[slot], rows, cols))
        assert (rows[0], cols[0]) == (n_rows, n_cols), slot
    for arguments in (
        (ffi.NULL, 0, rows, cols),
        (model.handle, -1, rows, cols),
        (model.handle, lib.LC_N_SLOTS, rows, cols),
        (model.handle, 0, ffi.NULL, cols),
        (model.handle, 0, rows, ffi.NULL),
    ):
        assert lib.lc_model_shape(*arguments) == lib.LC_ERR_ARGUMENT


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("n_vocab", [0, -1, 2**24 + 1, 2**31 - 1]),
        ("n_embd", [0, -5, 2**20 + 1]),
        ("n_ff", [0, 2**22 + 1]),
        ("n_layers", [0, -1, 1025]),
        ("n_heads", [0, 4097, 5]),
        ("n_kv_heads", [0, -2, 3, 8]),
        ("head_dim", [0, 1, 15, 1026]),
        ("norm_eps", [-1e-9, float("nan"), float("inf")]),
        ("rope_base", [0.0, -1.0, float("nan"), float("inf")]),
        ("rope_scale", [0.0, -0.5, float("nan"), float("inf")]),
    ],
)
def test_hyperparameters_out_of_range(name: str, values: list[Any]) -> None:
    out = ffi.new("lc_model **")
    for value in values:
        hparams = ffi.new("lc_hparams *", TINY.hparams() | {name: value})
        assert lib.lc_model_create(hparams, out) == lib.LC_ERR_ARGUMENT, value
    assert out[0] == ffi.NULL


def test_largest_hyperparameters_do_not_overflow() -> None:
    largest = {"n_vocab": 2**24, "n_embd": 2**20, "n_ff": 2**22, "n_layers": 1024}
    largest |= {"n_heads": 4096, "n_kv_heads": 4096, "head_dim": 1024}
    model = CoreModel(TINY.hparams() | largest, {}, finish=False)
    rows, cols = ffi.new("int64_t *"), ffi.new("int64_t *")
    for slot in range(lib.LC_N_SLOTS):
        ok(lib.lc_model_shape(model.handle, slot, rows, cols))
        assert rows[0] > 0
        assert cols[0] > 0


def test_every_missing_tensor_is_named() -> None:
    for place in TINY.tensors:
        rest = {other: tensor for other, tensor in TINY.tensors.items() if other != place}
        model = CoreModel(TINY.hparams(), rest, finish=False)
        status = model.finish()
        if place[0] in ("output", "rope_freqs"):
            assert status == (lib.LC_OK, -1, -1)
        else:
            assert status == (lib.LC_ERR_STATE, SLOTS[place[0]], place[1])


def test_a_tensor_with_rows_missing_is_named() -> None:
    for place in (("ffn_down", 1), ("output", 0), ("output_norm", 0)):
        rest = {other: tensor for other, tensor in TINY.tensors.items() if other != place}
        model = CoreModel(TINY.hparams(), rest, finish=False)
        label, data, rows, cols = TINY.tensors[place]
        ok(lib.lc_model_add(model.handle, SLOTS[place[0]], place[1], IDS[label], rows, cols))
        part = data[: len(data) // rows * (rows - 1)]
        if part:
            ok(
                lib.lc_model_write(
                    model.handle, SLOTS[place[0]], place[1], 0, rows - 1, ffi.from_buffer(part), len(part)
                )
            )
        assert model.finish() == (lib.LC_ERR_STATE, SLOTS[place[0]], place[1])


def test_adding() -> None:
    model = CoreModel(TINY.hparams(), {}, finish=False)

    def add(slot: int, layer: int, kind: int, rows: int, cols: int) -> int:
        return int(lib.lc_model_add(model.handle, slot, layer, kind, rows, cols))

    assert lib.lc_model_add(ffi.NULL, 0, 0, 0, 67, 64) == lib.LC_ERR_ARGUMENT
    assert add(-1, 0, lib.LC_F32, 67, 64) == lib.LC_ERR_ARGUMENT
    assert add(lib.LC_N_SLOTS, 0, lib.LC_F32, 67, 64) == lib.LC_ERR_ARGUMENT
    assert add(lib.LC_TOKEN_EMBD, 1, lib.LC_F32, 67, 64) == lib.LC_ERR_ARGUMENT
    assert add(lib.LC_ATTN_Q, 2, lib.LC_F32, 64, 64) == lib.LC_ERR_ARGUMENT
    assert add(lib.LC_ATTN_Q, -1, lib.LC_F32, 64, 64) == lib.LC_ERR_ARGUMENT
    assert add(lib.LC_TOKEN_EMBD, 0, lib.LC_F32, 64, 67) == lib.LC_ERR_SHAPE
    assert add(lib.LC_TOKEN_EMBD, 0, 99, 67, 64) == lib.LC_ERR_TYPE
    assert add(lib.LC_OUTPUT_NORM, 0, lib.LC_F16, 1, 64) == lib.LC_ERR_TYPE
    for slot, rows in ((lib.LC_TOKEN_EMBD, 67), (lib.LC_OUTPUT_NORM, 1)):
        assert add(slot, 0, lib.LC_F32, rows, 64) == lib.LC_OK
        assert add(slot, 0, lib.LC_F32, rows, 64) == lib.LC_ERR_STATE


def test_writing() -> None:
    place = ("attn_norm", 1)
    model = CoreModel(TINY.hparams(), {p: t for p, t in TINY.tensors.items() if p != place}, finish=False)
    data = TINY.tensors[place][1]
    buffer = ffi.from_buffer(data)

    def write(slot: int, layer: int, first: int, n_rows: int, size: int, source: Any = buffer) -> int:
        return int(lib.lc_model_write(model.handle, slot, layer, first, n_rows, source, size))

    assert write(lib.LC_ATTN_NORM, 1, 0, 1, 256) == lib.LC_ERR_STATE  # not added
    ok(lib.lc_model_add(model.handle, lib.LC_ATTN_NORM, 1, lib.LC_F32, 1, 64))
    assert write(lib.LC_ATTN_NORM, 2, 0, 1, 256) == lib.LC_ERR_ARGUMENT
    assert write(lib.LC_ATTN_NORM, 1, 0, 1, 256, ffi.NULL) == lib.LC_ERR_ARGUMENT
    assert write(lib.LC_ATTN_NORM, 1, 0, 1, 252) == lib.LC_ERR_SHAPE
    assert write(lib.LC_ATTN_NORM, 1, 1, 1, 256) == lib.LC_ERR_SHAPE
    assert write(lib.LC_ATTN_NORM, 1, 0, 2, 256) == lib.LC_ERR_SHAPE
    for bad in (np.nan, np.inf):
        broken = np.frombuffer(data, np.float32).copy()
        broken[63] = bad
        assert write(lib.LC_ATTN_NORM, 1, 0, 1, 256, ffi.from_buffer(broken)) == lib.LC_ERR_NONFINITE
    assert model.finish() == (lib.LC_ERR_STATE, lib.LC_ATTN_NORM, 1)
    assert write(lib.LC_ATTN_NORM, 1, 0, 1, 256) == lib.LC_OK
    assert write(lib.LC_ATTN_NORM, 1, 0, 1, 256) == lib.LC_ERR_STATE
    ok(model.finish()[0])
    assert write(lib.LC_ATTN_NORM, 1, 0, 1, 256) == lib.LC_ERR_STATE
    assert lib.lc_model_add(model.handle, lib.LC_OUTPUT, 0, lib.LC_F32, 67, 64) == lib.LC_ERR_STATE
    assert lib.lc_model_bytes(model.handle) >= sum(len(data) for _, data, _, _ in TINY.tensors.values())


def as_f16(values: bytes) -> bytes:
    return np.frombuffer(values, np.float32).astype(np.float16).tobytes()


def test_a_gate_and_its_partner() -> None:
    """They get their memory together, in turn if their types agree, and compute the same either way."""
    model = CoreModel(TINY.hparams(), {}, finish=False)
    _, data, rows, cols = TINY.tensors["ffn_gate", 0]
    arguments = (0, rows, ffi.from_buffer(data), len(data))
    for slot in (lib.LC_FFN_UP, lib.LC_FFN_GATE):
        ok(lib.lc_model_add(model.handle, slot, 0, lib.LC_F32, rows, cols))
        status = lib.lc_model_write(model.handle, slot, 0, *arguments)
        assert status == (lib.LC_ERR_STATE if slot == lib.LC_FFN_UP else lib.LC_OK)
    assert lib.lc_model_write(model.handle, lib.LC_FFN_UP, 0, *arguments) == lib.LC_OK
    assert lib.lc_model_write(model.handle, lib.LC_FFN_UP, 0, *arguments) == lib.LC_ERR_STATE

    in_turn = dict(TINY.tensors)
    for place, (_, data, rows, cols) in TINY.tensors.items():
        if place[0] == "ffn_up":
            rounded = np.frombuffer(as_f16(data), np.float16).astype(np.float32).tobytes()
            in_turn[place] = "F32", rounded, rows, cols
    apart = dict(in_turn)
    for place, (_, data, rows, cols) in in_turn.items():
        if place[0] == "ffn_up":
            apart[place] = "F16", as_f16(data), rows, cols
    ids = list(range(1, 9))
    with Pool(2) as pool:
        logits = []
        for tensors in (in_turn, apart):
            context = CoreContext(CoreModel(TINY.hparams(), tensors), pool, 10)
            logits += [context.eval(ids), context.eval([9])]
            context.close()
    for one, other in ((0, 2), (1, 3)):  # a prompt, and an answer's token
        np.testing.assert_allclose(logits[one], logits[other], rtol=1e-5, atol=1e-5)


def test_rope_factors_divide() -> None:
    model = CoreModel(TINY.hparams(), {}, finish=False)
    ok(lib.lc_model_add(model.handle, lib.LC_ROPE_FREQS, 0, lib.LC_F32, 1, 8))
    for bad in (0.0, 1e-45, np.nan):
        data = np.array([1, 1, bad, 1, 1, 1, 1, 1], np.float32)
        code = lib.lc_model_write(model.handle, lib.LC_ROPE_FREQS, 0, 0, 1, ffi.from_buffer(data), 32)
        assert code == lib.LC_ERR_NONFINITE, bad


def test_null_and_unfinished() -> None:
    null = ffi.NULL
    slot = ffi.new("int32_t *")
    out = ffi.new("lc_model **")
    assert lib.lc_model_create(null, out) == lib.LC_ERR_ARGUMENT
    assert lib.lc_model_create(ffi.new("lc_hparams *", TINY.hparams()), null) == lib.LC_ERR_ARGUMENT
    assert lib.lc_model_finish(null, slot, slot) == lib.LC_ERR_ARGUMENT
    lib.lc_model_free(null)
    assert lib.lc_model_bytes(null) == 0
    model = CoreModel(TINY.hparams(), TINY.tensors, finish=False)
    with Pool(1) as pool:
        context = ffi.new("lc_context **")
        options = ffi.new("lc_context_options *", (10, 10, lib.LC_F16, 0))
        assert lib.lc_context_create(model.handle, pool.handle, options, context) == lib.LC_ERR_STATE
        ok(model.finish()[0])
        CoreContext(model, pool, 10).close()
