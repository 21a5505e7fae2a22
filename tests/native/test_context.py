"""Contexts: limits, cancelling, refusals; and the threads below them."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from tests.support.core import CoreContext, CoreModel, Pool, StatusError, chosen_isa, ffi, lib
from tests.support.llama_reference import TinyLlama

TINY = TinyLlama()


@pytest.fixture(scope="module")
def model() -> CoreModel:
    return CoreModel(TINY.hparams(), TINY.tensors)


@pytest.fixture(scope="module")
def pool() -> Iterator[Pool]:
    with Pool(2) as threads:
        yield threads


def code_of(context: CoreContext, ids: list[int], cancel: object = ffi.NULL) -> int:
    with pytest.raises(StatusError) as error:
        context.eval(ids, cancel)
    return error.value.code


def options(n_ctx: int, n_batch: int, kv_type: int = lib.LC_F16, rounding: int = lib.LC_ROUND_FAST) -> Any:
    return ffi.new("lc_context_options *", (n_ctx, n_batch, kv_type, rounding))


def test_creating(model: CoreModel, pool: Pool) -> None:
    out = ffi.new("lc_context **")
    create = lib.lc_context_create
    good = options(10, 10)
    for arguments in (
        (ffi.NULL, pool.handle, good, out),
        (model.handle, ffi.NULL, good, out),
        (model.handle, pool.handle, ffi.NULL, out),
        (model.handle, pool.handle, good, ffi.NULL),
        (model.handle, pool.handle, options(0, 10), out),
        (model.handle, pool.handle, options(2**24 + 1, 10), out),
        (model.handle, pool.handle, options(-1, 10), out),
        (model.handle, pool.handle, options(10, 0), out),
        (model.handle, pool.handle, options(10, 10, rounding=lib.LC_N_ROUNDINGS), out),
        (model.handle, pool.handle, options(10, 10, rounding=-1), out),
    ):
        assert create(*arguments) == lib.LC_ERR_ARGUMENT
    assert create(model.handle, pool.handle, options(10, 10, kv_type=lib.LC_F32), out) == lib.LC_ERR_TYPE
    assert out[0] == ffi.NULL
    lib.lc_context_free(ffi.NULL)


def test_more_memory_than_there_is(pool: Pool) -> None:
    """Two layers of 4096 heads of 1024 at 2^24 tokens: 2^58 bytes."""
    huge = TINY.hparams() | {"n_heads": 4096, "n_kv_heads": 4096, "head_dim": 2, "n_embd": 2, "n_ff": 2, "n_layers": 1}
    tiny = TinyLlama(**{**huge, "n_vocab": 3})
    model = CoreModel(tiny.hparams(), tiny.tensors)
    out = ffi.new("lc_context **")
    assert lib.lc_context_create(model.handle, pool.handle, options(2**24, 2**31 - 1), out) == lib.LC_ERR_MEMORY


def test_evaluating(model: CoreModel, pool: Pool) -> None:
    context = CoreContext(model, pool, 10)
    assert lib.lc_context_eval(ffi.NULL, ffi.new("int32_t[1]"), 1, ffi.NULL) == lib.LC_ERR_ARGUMENT
    assert lib.lc_context_eval(context.handle, ffi.NULL, 1, ffi.NULL) == lib.LC_ERR_ARGUMENT
    assert lib.lc_context_eval(context.handle, ffi.new("int32_t[1]"), 0, ffi.NULL) == lib.LC_ERR_ARGUMENT
    assert lib.lc_context_eval(context.handle, ffi.new("int32_t[1]"), -1, ffi.NULL) == lib.LC_ERR_ARGUMENT
    for bad in (-1, TINY.n_vocab, 2**31 - 1, -(2**31)):
        assert code_of(context, [1, bad, 2]) == lib.LC_ERR_ARGUMENT
    assert len(context) == 0
    context.eval(list(range(10)))
    assert code_of(context, [1]) == lib.LC_ERR_CONTEXT
    assert len(context) == 10
    for bad in (-1, 11, 2**31 - 1):
        assert lib.lc_context_truncate(context.handle, bad) == lib.LC_ERR_ARGUMENT
    assert lib.lc_context_truncate(ffi.NULL, 0) == lib.LC_ERR_ARGUMENT
    context.logits()
    context.truncate(9)
    with pytest.raises(StatusError):  # no longer valid
        context.logits()
    assert code_of(context, [1, 2]) == lib.LC_ERR_CONTEXT
    context.eval([1])
    assert lib.lc_context_length(ffi.NULL) == 0
    assert lib.lc_context_logits(ffi.NULL) == ffi.NULL


def test_cancelled_before_it_began(model: CoreModel, pool: Pool) -> None:
    context, flag = CoreContext(model, pool, 100), ffi.new("int32_t *", 0)
    context.eval([1, 2], flag)
    before = context.eval([3], flag)
    flag[0] = 1
    for ids in ([4], [4] * 50):
        assert code_of(context, ids, flag) == lib.LC_ERR_CANCELLED
        assert len(context) == 3
    flag[0] = 0
    after = context.eval([4], flag)
    context.truncate(2)
    assert context.eval([3]).tobytes() == before.tobytes()
    assert context.eval([4]).tobytes() == after.tobytes()


def test_cancelled_in_the_middle() -> None:
    """By another thread, while a prompt of many batches runs; again and again, at different moments."""
    slow = TinyLlama(n_layers=8)
    with Pool(2) as pool, chosen_isa("generic"):
        context = CoreContext(CoreModel(slow.hparams(), slow.tensors), pool, 1 << 14)
        flag = ffi.new("int32_t *", 0)
        for i in range(5):
            flag[0] = 0
            running = threading.Timer(0.02 * i, lambda: flag.__setitem__(0, 1))
            running.start()
            assert code_of(context, [1] * (1 << 14), flag) == lib.LC_ERR_CANCELLED
            running.join()
            assert len(context) == 0
        np.testing.assert_array_less(np.abs(context.eval([1, 2]) - slow.logits([1, 2])[1]), 1e-3)
        context.close()


# ---- threads ----


def test_pools() -> None:
    out = ffi.new("lc_pool **")
    for n in (0, -1, 257, 2**31 - 1):
        assert lib.lc_pool_create(n, out) == lib.LC_ERR_ARGUMENT
    assert lib.lc_pool_create(1, ffi.NULL) == lib.LC_ERR_ARGUMENT
    lib.lc_pool_free(ffi.NULL)


def test_pools_come_and_go(model: CoreModel) -> None:
    """Ended at once, while threads still start, and after work; with far more threads than processors."""
    for n_threads in (1, 2, 3, 16, 64):
        with Pool(n_threads):
            pass
        with Pool(n_threads) as pool:
            context = CoreContext(model, pool, 20)
            context.eval([1, 2, 3])
            context.eval([4])
            context.close()


def test_an_idle_pool_sleeps(model: CoreModel) -> None:
    """After an evaluation the threads look for a moment, and then use no processor time."""
    with Pool(4) as pool:
        context = CoreContext(model, pool, 20)
        context.eval([1, 2, 3])
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            begin = time.process_time()
            time.sleep(0.1)
            if time.process_time() - begin < 0.005:
                break
        else:
            pytest.fail("threads never went to sleep")
        context.close()


def test_answers_hold_while_others_use_the_processors() -> None:
    """Large enough that every token is shared; more threads than processors, so that all are stopped at times."""
    tiny = TinyLlama(n_embd=256, n_ff=512, head_dim=64)
    model = CoreModel(tiny.hparams(), tiny.tensors)
    results: list[bytes] = []

    def evaluate(n_threads: int) -> None:
        with Pool(n_threads) as pool:
            context = CoreContext(model, pool, 64)
            for _ in range(20):
                context.truncate(0)
                results.append(b"".join(context.eval([token]).tobytes() for token in range(30)))
            context.close()

    evaluate(1)
    threads = [threading.Thread(target=evaluate, args=(n,)) for n in (2, 3, 4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 80
    assert len(set(results)) == 1


def test_results_hold_while_others_use_the_processors(model: CoreModel) -> None:
    """Threads are interrupted in every place; two pools work at once."""
    expected = TINY.logits([5] * 40)[-1]
    failures: list[float] = []

    def evaluate() -> None:
        with Pool(4) as pool:
            context = CoreContext(model, pool, 64)
            for _ in range(60):
                context.truncate(0)
                for _ in range(20):
                    context.eval([5])
                error = np.abs(context.eval([5] * 20) - expected).max()
                if not error < 1e-2:
                    failures.append(error)
            context.close()

    threads = [threading.Thread(target=evaluate) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
