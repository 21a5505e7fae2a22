"""Logits of many tokens of a batch, and what texts are scored with."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from tests.support.blocks import QUANTIZED, Floats
from tests.support.core import CoreContext, CoreModel, Pool, StatusError, chosen_isa, ffi, lib, supported_isas
from tests.support.llama_reference import TinyLlama

ISAS = supported_isas()
MODELS: dict[str, dict[str, Any]] = {
    "floats": {"n_heads": 6, "n_kv_heads": 2, "head_dim": 10, "n_embd": 44, "n_ff": 172, "n_vocab": 101},
    "own output": {"label": "Q8_0", "tied": False, "n_vocab": 333},
    "F16": {"label": "F16"},
    "one layer": {"n_layers": 1},
}


@pytest.fixture(scope="module")
def pool() -> Iterator[Pool]:
    with Pool(2) as threads:
        yield threads


def ids_of(model: TinyLlama, n: int) -> list[int]:
    return [int(token) for token in np.random.default_rng(3).integers(0, model.n_vocab, n)]


def code(context: CoreContext, first: int, n: int, cancel: Any = ffi.NULL) -> int:
    room = ffi.new("float[]", context.model.n_vocab * max(n, 1))
    status: int = lib.lc_context_rows(context.handle, first, n, room, cancel)
    return status


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("name", MODELS)
def test_against_float64(isa: str, name: str, pool: Pool) -> None:
    """Every row, from batches of all sizes and however many rows are asked for at once."""
    tiny = TinyLlama(**MODELS[name])
    ids = ids_of(tiny, 150)
    expected = tiny.logits(ids)
    scale = np.abs(expected).max(axis=1, keepdims=True)
    with chosen_isa(isa):
        model = CoreModel(tiny.hparams(), tiny.tensors)
    for n_batch, n_rows in ((150, 150), (150, 77), (64, 64), (13, 9), (1, 1)):
        context = CoreContext(model, pool, 150, n_batch, rounding="exact")
        for start in range(0, 150, n_batch):
            size = min(n_batch, 150 - start)
            rows = min(n_rows, size)
            context.eval_rows(ids[start : start + size], rows)
            found = context.rows(0, rows)
            at = slice(start + size - rows, start + size)
            error = np.abs(found - expected[at]) / scale[at]
            assert error.max() <= (2e-2 if tiny.label in QUANTIZED else 5e-3), (n_batch, start)
            some = context.rows(rows // 2, rows - rows // 2)
            np.testing.assert_allclose(some, found[rows // 2 :], atol=1e-4 * float(scale[at].max()))
        assert len(context) == 150
        context.close()


@pytest.mark.parametrize("isa", ISAS)
def test_rows_are_the_logits_of_an_answer(isa: str, pool: Pool) -> None:
    """Going on after rows were scored is going on after a prompt."""
    tiny = TinyLlama(label="Q4_0")
    ids = ids_of(tiny, 60)
    with chosen_isa(isa):
        model = CoreModel(tiny.hparams(), tiny.tensors)
    one, other = CoreContext(model, pool, 100), CoreContext(model, pool, 100)
    logits = one.eval(ids)
    other.eval_rows(ids, 60)
    np.testing.assert_allclose(other.rows(59, 1)[0], logits, rtol=0, atol=1e-3)
    with pytest.raises(StatusError):  # none of its own
        other.logits()
    after = one.eval([5])
    np.testing.assert_allclose(other.eval([5]), after, rtol=0, atol=1e-3)


def test_no_rows_only_keep_the_tokens(pool: Pool) -> None:
    tiny = TinyLlama()
    model = CoreModel(tiny.hparams(), tiny.tensors)
    for n in (1, 2, 40):
        context = CoreContext(model, pool, 64)
        context.eval_rows([7] * n, 0)
        assert (len(context), code(context, 0, 1)) == (n, lib.LC_ERR_STATE)
        expected = tiny.logits([7] * n + [9])[-1]
        np.testing.assert_allclose(context.eval([9]), expected, atol=5e-3 * np.abs(expected).max())


def test_refusals(pool: Pool) -> None:
    tiny = TinyLlama()
    context = CoreContext(CoreModel(tiny.hparams(), tiny.tensors), pool, 40, 16)
    ids, room, null = ffi.new("int32_t[40]"), ffi.new("float[]", tiny.n_vocab * 40), ffi.NULL
    handle, evaluate, rows = context.handle, lib.lc_context_eval_rows, lib.lc_context_rows
    for arguments in ((null, ids, 4, 2), (handle, null, 4, 2), (handle, ids, 0, 0), (handle, ids, 17, 1),
                      (handle, ids, 4, 5), (handle, ids, 4, -1), (handle, ids, -4, -4)):  # fmt: skip
        assert evaluate(*arguments, null) == lib.LC_ERR_ARGUMENT
    assert code(context, 0, 1) == lib.LC_ERR_STATE
    assert evaluate(handle, ids, 16, 10, null) == lib.LC_OK
    for arguments in ((null, 0, 1, room), (handle, -1, 1, room), (handle, 0, 0, room), (handle, 0, -1, room),
                      (handle, 0, 1, null)):  # fmt: skip
        assert rows(*arguments, null) == lib.LC_ERR_ARGUMENT
    for first, n in ((0, 11), (10, 1), (9, 2), (2**31 - 1, 1), (1, 2**31 - 1)):
        assert rows(handle, first, n, room, null) == lib.LC_ERR_STATE
    assert evaluate(handle, ids, 16, 10, null) == lib.LC_OK
    assert evaluate(handle, ids, 9, 1, null) == lib.LC_ERR_CONTEXT
    assert code(context, 0, 10) == lib.LC_OK  # a refusal changes nothing
    context.truncate(32)
    assert code(context, 0, 1) == lib.LC_ERR_STATE
    context.eval_rows([1], 1)
    context.eval([1])
    assert code(context, 0, 1) == lib.LC_ERR_STATE


def test_a_raised_flag_appends_nothing_and_can_be_lowered(pool: Pool) -> None:
    tiny = TinyLlama()
    context, flag = CoreContext(CoreModel(tiny.hparams(), tiny.tensors), pool, 100), ffi.new("int32_t *", 0)
    context.eval_rows([1] * 10, 10, flag)
    before = context.rows(0, 10, flag)
    flag[0] = 1
    assert code(context, 0, 10, flag) == lib.LC_ERR_CANCELLED
    flag[0] = 0
    assert context.rows(0, 10, flag).tobytes() == before.tobytes()
    flag[0] = 1
    with pytest.raises(StatusError) as error:
        context.eval_rows([1] * 10, 10, flag)
    assert (error.value.code, len(context)) == (lib.LC_ERR_CANCELLED, 10)


def test_numbers_too_large_are_an_error(pool: Pool) -> None:
    """One row of the output matrix, and one norm, so large that their products overflow."""
    tiny = TinyLlama(tied=False)
    label, data, rows, cols = tiny.tensors["output", 0]
    values = np.frombuffer(data, np.float32).reshape(rows, cols).copy()
    values[rows // 2] *= 1e37
    tiny.tensors["output", 0] = label, values.tobytes(), rows, cols
    tiny.tensors["output_norm", 0] = "F32", np.full(cols, 1e6, np.float32).tobytes(), 1, cols
    for isa in ISAS:
        with chosen_isa(isa):
            context = CoreContext(CoreModel(tiny.hparams(), tiny.tensors), pool, 20)
        context.eval_rows([1, 2, 3], 3)
        assert code(context, 0, 3) == lib.LC_ERR_NONFINITE


# ---- divergence ----


def divergence(p: Floats, q: Floats) -> float:
    out = ffi.new("double *")
    rows = (ffi.from_buffer("float[]", np.ascontiguousarray(row, np.float32)) for row in (p, q))
    assert lib.lc_kl_divergence(*rows, len(p), out) == lib.LC_OK
    return float(out[0])


def log_softmax(row: Floats) -> np.ndarray:
    wide = row.astype(np.float64) - row.max()
    return np.asarray(wide - np.log(np.exp(wide).sum()))


@pytest.mark.parametrize("n", [1, 2, 7, 1000, 1024, 1025, 50_001])
def test_divergence_against_float64(n: int) -> None:
    rng = np.random.default_rng(n)
    for spread, apart in ((1, 0), (1, 1e-2), (3, 1), (10, 30)):
        p = (rng.standard_normal(n) * spread).astype(np.float32)
        q = (p + rng.standard_normal(n) * apart + 5).astype(np.float32)
        expected = (np.exp(log_softmax(p)) * (log_softmax(p) - log_softmax(q))).sum()
        assert divergence(p, q) == pytest.approx(expected, rel=1e-4, abs=2e-6)
        assert divergence(p, q) >= 0
        assert divergence(p, p) == 0


def test_divergence_of_distributions_far_apart() -> None:
    """All of p where q has nothing: finite, and as large as it is."""
    p, q = np.zeros(9, np.float32), np.zeros(9, np.float32)
    p[3], q[4] = 1e4, 1e4
    assert divergence(p, q) == pytest.approx(1e4)


def test_divergence_refusals() -> None:
    row, out, null = ffi.new("float[4]"), ffi.new("double *"), ffi.NULL
    bad = ffi.new("float[4]", [0, 1, float("nan"), 2])
    endless = ffi.new("float[4]", [0, 1, float("inf"), 2])
    for arguments in ((null, row, 4, out), (row, null, 4, out), (row, row, 0, out), (row, row, 4, null)):
        assert lib.lc_kl_divergence(*arguments) == lib.LC_ERR_ARGUMENT
    for other in (bad, endless):
        assert lib.lc_kl_divergence(row, other, 4, out) == lib.LC_ERR_NONFINITE
        assert lib.lc_kl_divergence(other, row, 4, out) == lib.LC_ERR_NONFINITE
