"""The forward pass of tiny random models against a float64 one written from the papers."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.blocks import QUANTIZED, Floats
from tests.support.core import (
    CoreContext,
    CoreModel,
    Pool,
    StatusError,
    chosen_cache,
    chosen_isa,
    ffi,
    lib,
    supported_isas,
)
from tests.support.llama_reference import TinyLlama
from tests.support.super_blocks import SUPER_BLOCKS

ISAS = supported_isas()

#: Odd sizes wherever the format allows them; every path of the core (grouped heads, one KV head for all, as many as
#: heads, padded head sizes, scaled and factored RoPE, own output).
MODELS: dict[str, dict[str, Any]] = {
    "grouped": {"n_heads": 6, "n_kv_heads": 2, "head_dim": 10, "n_embd": 44, "n_ff": 172, "n_vocab": 101},
    "one KV head": {"n_heads": 7, "n_kv_heads": 1, "head_dim": 2, "n_embd": 33, "n_ff": 5, "norm_eps": 0.1},
    "full heads": {"n_heads": 3, "n_kv_heads": 3, "head_dim": 36, "n_embd": 36, "n_layers": 3, "tied": False},
    "long heads": {"n_heads": 2, "n_kv_heads": 1, "head_dim": 144, "n_embd": 20, "n_layers": 1, "rope_base": 500000.0},
    "rope": {"head_dim": 24, "rope_scale": 0.25, "rope_freqs": True, "rope_base": 100.0},
    "one token": {"n_vocab": 1, "n_layers": 1},
    "many heads": {"n_heads": 120, "n_kv_heads": 2, "head_dim": 4, "n_embd": 17, "n_layers": 1},
    "F16": {"label": "F16", "n_ff": 172},
    "BF16": {"label": "BF16", "n_ff": 172, "tied": False},
    **{label: {"label": label, "tied": label != "Q4_1"} for label in QUANTIZED if label not in SUPER_BLOCKS},
    **{label: {"label": label, "n_embd": 256, "n_ff": 512, "head_dim": 64, "n_vocab": 40} for label in SUPER_BLOCKS},
    "mixed": {
        "label": "Q4_0",
        "labels": {"token_embd": "Q8_0", "attn_v": "Q5_1", "attn_k": "F16", "ffn_up": "F32", "ffn_down": "BF16"},
    },
}
LENGTHS = (1, 2, 5, 17, 150)
#: A layer of 0.7 MB, which threads share even when one token is evaluated (smaller ones are one thread's), and KV heads
#: whose keys are cut into parts.
SHARED: dict[str, Any] = {"n_embd": 128, "n_ff": 448, "n_heads": 6, "n_kv_heads": 2, "head_dim": 20}


def ids_of(model: TinyLlama, n: int = 150) -> list[int]:
    return [int(token) for token in np.random.default_rng(11).integers(0, model.n_vocab, n)]


def relative_errors(logits: Floats, expected: np.ndarray) -> np.ndarray:
    """Of each logit, by the largest magnitude beside it."""
    return np.asarray(np.abs(logits - expected) / np.abs(expected).max(axis=-1, keepdims=True))


def assert_close(
    model: TinyLlama, logits: Floats, expected: np.ndarray, what: object, most: float | None = None
) -> None:
    """The worst case: rounding (6e-8 a step) pushes a key to the other neighbour in float16, which is 5e-4 away, and
    attention of random weights is made to be choosy. What is usual is far smaller: see the median below."""
    most = most or (2e-2 if model.label in QUANTIZED else 5e-3)
    assert relative_errors(logits, expected).max() <= most, what


@pytest.fixture(scope="module")
def pool() -> Iterator[Pool]:
    with Pool(2) as threads:
        yield threads


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("name", MODELS)
def test_against_float64(isa: str, name: str, pool: Pool) -> None:
    tiny = TinyLlama(**MODELS[name])
    ids = ids_of(tiny)
    expected = tiny.logits(ids)
    with chosen_isa(isa):
        model = CoreModel(tiny.hparams(), tiny.tensors)
    context = CoreContext(model, pool, 160, rounding="exact")
    for n in LENGTHS:  # a prompt, in batches of 64
        context.truncate(0)
        assert_close(tiny, context.eval(ids[:n]), expected[n - 1], ("prompt", n))
    context.truncate(0)
    answer = np.array([context.eval([token]) for token in ids])
    assert_close(tiny, answer, expected, "answer")
    # Half of all logits: floats round by 1e-5 at most; activations of blocks by 3e-5 of a block's largest.
    assert np.median(relative_errors(answer, expected)) <= (5e-4 if tiny.label in QUANTIZED else 5e-5)
    context.truncate(37)
    assert_close(tiny, context.eval(ids[37:90]), expected[89], "a prompt after others")


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("name", ["grouped", "F16", "BF16", *QUANTIZED, "mixed"])
def test_what_a_cache_keeps_changes_no_bit(isa: str, name: str, pool: Pool) -> None:
    """Weights that pass by the cache have functions of their own: of all matrices, and of some."""
    tiny = TinyLlama(**MODELS[name])
    ids = ids_of(tiny, 12)

    def answers(cache_bytes: int) -> tuple[int, bytes]:
        with chosen_isa(isa), chosen_cache(cache_bytes):
            model = CoreModel(tiny.hparams(), tiny.tensors)
        context = CoreContext(model, pool, 160)
        logits = np.array([context.eval([token]) for token in ids])
        return lib.lc_model_kept_bytes(model.handle), logits.tobytes()

    all_bytes, expected = answers(1 << 30)
    assert answers(1) == (0, expected)
    some_bytes, logits = answers(all_bytes)  # without room for anything else
    assert 0 < some_bytes <= all_bytes // 2
    assert logits == expected


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("name", ["F16", "BF16", *QUANTIZED, "mixed"])
def test_fast_prompts(isa: str, name: str, pool: Pool) -> None:
    """Activations of 8 bits, or bf16: off by half a percent of a block's largest each, and so by about a percent in the
    end; fewer tokens than 64 are exact all the same. Generic C knows one precision."""
    tiny = TinyLlama(**MODELS[name])
    ids = ids_of(tiny)
    expected = tiny.logits(ids)
    with chosen_isa(isa):
        context = CoreContext(CoreModel(tiny.hparams(), tiny.tensors), pool, 160, 160)
    errors = []
    for n in (64, 65, 97, 130, 150):
        context.truncate(0)
        errors.append(relative_errors(context.eval(ids[:n]), expected[n - 1]))
    assert np.max(errors) <= 0.2
    assert np.median(errors) <= 0.02
    if isa == "avx512":
        assert np.median(errors) >= 1e-3  # it is fast
    context.truncate(0)
    assert_close(tiny, context.eval(ids[:63]), expected[62], "few tokens")


#: Keys and values that meet activations rounded in other blocks than queries do, in one step.
MIXED_BLOCKS = {
    **MODELS["Q4_K"],
    "labels": {"attn_k": "Q8_0", "attn_v": "F16", "ffn_down": "Q5_1", "token_embd": "Q6_K"},
}


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("name", ["F16", "BF16", *QUANTIZED, "mixed blocks"])
def test_rounding_like_llama_cpp(isa: str, name: str, pool: Pool) -> None:
    """In one layer: what lies on the edge between two bytes may go either way, and later layers would all see that. It
    is rare but where bytes of blocks of 256 are rounded once more, to 15 bits in blocks of 32."""
    tiny = TinyLlama(**{**(MODELS | {"mixed blocks": MIXED_BLOCKS})[name], "n_layers": 1})
    ids = ids_of(tiny)
    expected = tiny.logits(ids, like_llama_cpp=True)
    with chosen_isa(isa):
        model = CoreModel(tiny.hparams(), tiny.tensors)
    context = CoreContext(model, pool, 160, 160, rounding="llama.cpp")
    context.eval_rows(ids, 150)
    for rows in (np.concatenate([context.rows(0, 100), context.rows(100, 50)]), answered(context, ids)):
        errors, unlike = relative_errors(rows, expected), relative_errors(rows, tiny.logits(ids))
        twice = tiny.label in SUPER_BLOCKS and isa != "generic"
        assert np.median(errors) <= (0.5 * np.median(unlike) if twice else 1e-6)
        assert np.median(unlike) >= (1e-4 if name == "F16" else 1e-3)
        assert errors.max() <= 6e-2


def answered(context: CoreContext, ids: list[int]) -> Floats:
    context.truncate(0)
    return np.array([context.eval([token]) for token in ids])


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("name", ["grouped", "one KV head", "full heads", "long heads", "many heads"])
def test_a_cache_of_bytes(isa: str, name: str, pool: Pool) -> None:
    """Blocks of 32 along a head: whole ones, parts of one, heads smaller than one. In one layer: a number on the edge
    between two bytes may go either way, and the layers after it would see that for all tokens to come."""
    tiny = TinyLlama(**{**MODELS[name], "n_layers": 1})
    ids = ids_of(tiny)
    expected = tiny.logits(ids, "Q8_0")
    with chosen_isa(isa):
        context = CoreContext(CoreModel(tiny.hparams(), tiny.tensors), pool, 160, kv="Q8_0")
    for n in LENGTHS:
        context.truncate(0)
        assert_close(tiny, context.eval(ids[:n]), expected[n - 1], ("prompt", n), 2e-2)
    context.truncate(0)
    answer = np.array([context.eval([token]) for token in ids])
    assert_close(tiny, answer, expected, "answer", 2e-2)
    assert np.median(relative_errors(answer, expected)) <= 5e-6
    assert np.median(relative_errors(answer, tiny.logits(ids))) > 1e-4  # of float16 it would be another one


def test_a_cache_of_bytes_is_half_as_large(pool: Pool) -> None:
    model = CoreModel(TinyLlama(head_dim=64).hparams(), TinyLlama(head_dim=64).tensors)
    grown = {}
    for kv in ("F16", "Q8_0"):
        small, large = CoreContext(model, pool, 64, kv=kv), CoreContext(model, pool, 64 + 6400, kv=kv)
        grown[kv] = lib.lc_context_bytes(large.handle) - lib.lc_context_bytes(small.handle)
    assert grown == {"F16": 6400 * 2 * 2 * 2 * 64 * 2, "Q8_0": 6400 * 2 * 2 * 2 * 2 * 34}


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("n_kv_heads", [1, 12])
def test_many_queries(isa: str, n_kv_heads: int, pool: Pool) -> None:
    """Every number of queries that share keys: registers full, and not; as many tokens as make them."""
    tiny = TinyLlama(n_heads=12, n_kv_heads=n_kv_heads, head_dim=12)
    ids = ids_of(tiny, 220)
    with chosen_isa(isa):
        model = CoreModel(tiny.hparams(), tiny.tensors)
    for kv in ("F16", "Q8_0"):
        expected = tiny.logits(ids, kv)
        context = CoreContext(model, pool, 220, 220, kv=kv)
        for start, n in [(0, 2), (0, 17), (3, 33), (60, 5), (63, 50), (120, 100), (100, 49)]:
            context.truncate(0)
            if start:
                context.eval(ids[:start])
            # Of the last layer only the last token is attended: the second one shows what the others were.
            assert_close(tiny, context.eval(ids[start : start + n]), expected[start + n - 1], (kv, start, n), 2e-2)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("kv", ["F16", "Q8_0"])
@pytest.mark.parametrize(("group", "head_dim"), [*product(range(1, 10), [18]), (1, 144), (3, 64), (5, 100), (8, 128)])
def test_the_newest_key(isa: str, kv: str, group: int, head_dim: int, pool: Pool) -> None:
    """A token that is evaluated alone sees itself, wherever its key goes: the first one, ends of blocks and tiles; and
    later ones read what it left. For every number of queries that share a key, and passes of every width."""
    tiny = TinyLlama(n_heads=2 * group, n_kv_heads=2, head_dim=head_dim, n_layers=1, n_vocab=60)
    ids = ids_of(tiny, 200)
    expected = tiny.logits(ids, kv)
    with chosen_isa(isa):
        context = CoreContext(CoreModel(tiny.hparams(), tiny.tensors), pool, 200, kv=kv)
    errors = []
    for start in (0, 15, 31, 62, 79, 126, 190):
        context.truncate(0)
        if start:
            context.eval(ids[:start])
        answer = np.array([context.eval([token]) for token in ids[start : start + 4]])
        errors.extend(relative_errors(answer, expected[start : start + 4]).max(axis=1))
    assert max(errors) <= 2e-2
    assert np.median(errors) <= 2e-5, errors


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("kv", ["F16", "Q8_0"])
@pytest.mark.parametrize("shape", [{"n_heads": 2, "n_kv_heads": 1}, SHARED], ids=["one thread", "shared"])
def test_long_contexts(isa: str, kv: str, shape: dict[str, Any], pool: Pool) -> None:
    """Keys in several parts and tiles, an answer's computed by one thread or shared between two."""
    tiny = TinyLlama(**shape, n_vocab=300, n_layers=1 if kv == "Q8_0" else 2)  # see test_a_cache_of_bytes
    ids = ids_of(tiny, 1300)
    expected = tiny.logits(ids, kv)
    with chosen_isa(isa):
        context = CoreContext(CoreModel(tiny.hparams(), tiny.tensors), pool, 1300, 256, kv=kv)
    assert_close(tiny, context.eval(ids[:1295]), expected[1294], "prompt")
    for n in range(1296, 1301):
        assert_close(tiny, context.eval([ids[n - 1]]), expected[n - 1], n)
    for n in (769, 768, 640, 513, 512, 511, 257, 256, 255, 127):  # where another part begins
        context.truncate(n - 1)
        assert_close(tiny, context.eval([ids[n - 1]]), expected[n - 1], n)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("name", ["grouped", "mixed", "mixed blocks", "shared"])
@pytest.mark.parametrize(("kv", "rounding"), [("F16", "fast"), ("Q8_0", "fast"), ("F16", "llama.cpp")])
def test_threads_do_not_change_a_bit(isa: str, name: str, kv: str, rounding: str) -> None:
    tiny = TinyLlama(**(MODELS | {"mixed blocks": MIXED_BLOCKS, "shared": SHARED})[name])
    ids = ids_of(tiny, 600 if name == "shared" else 150)  # keys in three parts
    n = len(ids) - 9
    with chosen_isa(isa):
        model = CoreModel(tiny.hparams(), tiny.tensors)
    results = set()
    for n_threads in (1, 2, 3):
        with Pool(n_threads) as pool:
            context = CoreContext(model, pool, len(ids), 70, kv=kv, rounding=rounding)
            logits = [context.eval(ids[:n])] + [context.eval([token]) for token in ids[n:]]
            results.add(b"".join(row.tobytes() for row in logits))
            context.close()
    assert len(results) == 1


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system cannot bind threads to a processor")
@pytest.mark.parametrize("kv", ["F16", "Q8_0"])
def test_threads_that_are_put_aside_do_not_change_a_bit(kv: str) -> None:
    """One processor for several threads: what one was put aside with, another one does too."""
    # Large enough that the answer is shared, and its attention is cut into parts.
    tiny = TinyLlama(label="Q8_0", n_embd=256, n_ff=1024, n_heads=16, n_kv_heads=2, head_dim=32)
    ids = ids_of(tiny, 1500)
    model = CoreModel(tiny.hparams(), tiny.tensors)
    processors, results = os.sched_getaffinity(0), set()
    try:
        for n_threads in (1, 3):
            os.sched_setaffinity(0, {min(processors)})  # which the threads inherit
            with Pool(n_threads) as pool:
                context = CoreContext(model, pool, 1500, 256, kv=kv)
                logits = [context.eval(ids[:1000])] + [context.eval([token]) for token in ids[1000:]]
                results.add(b"".join(row.tobytes() for row in logits))
                context.close()
    finally:
        os.sched_setaffinity(0, processors)
    assert len(results) == 1


@pytest.mark.parametrize("isa", ISAS)
def test_batches_change_rounding_alone(isa: str, pool: Pool) -> None:
    tiny = TinyLlama(label="Q8_0")
    ids = ids_of(tiny)
    expected = tiny.logits(ids)[-1]
    with chosen_isa(isa):
        model = CoreModel(tiny.hparams(), tiny.tensors)
    for n_batch in (1, 2, 3, 13, 64, 149, 150, 4000):
        assert_close(tiny, CoreContext(model, pool, 150, n_batch, rounding="exact").eval(ids), expected, n_batch)


@pytest.mark.parametrize("isa", ISAS)
def test_truncating_and_evaluating_again(isa: str, pool: Pool) -> None:
    """The same calls give the same bits, whatever the cache held beyond the tokens kept."""
    tiny = TinyLlama(**MODELS["grouped"])
    ids = ids_of(tiny)
    with chosen_isa(isa):
        context = CoreContext(CoreModel(tiny.hparams(), tiny.tensors), pool, 160)
    context.eval(ids[:40])
    first = context.eval(ids[40:77])
    context.eval(ids[77:150])
    context.truncate(40)
    context.eval(ids[100:130])
    context.truncate(40)
    assert context.eval(ids[40:77]).tobytes() == first.tobytes()
    assert len(context) == 77


def test_two_contexts_of_one_model(pool: Pool) -> None:
    tiny = TinyLlama()
    model = CoreModel(tiny.hparams(), tiny.tensors)
    one, other = CoreContext(model, pool, 20), CoreContext(model, pool, 20)
    expected = tiny.logits([1, 2, 3])
    for i in range(3):
        assert_close(tiny, one.eval([i + 1]), expected[i], i)
        other.eval([9 - i])


def test_numbers_too_large_are_an_error(pool: Pool) -> None:
    """Weights may be finite and what they make not: no token is drawn from garbage."""
    tiny = TinyLlama(n_layers=1)
    label, data, rows, cols = tiny.tensors["ffn_down", 0]
    tiny.tensors["ffn_down", 0] = label, (np.frombuffer(data, np.float32) * np.float32(1e38)).tobytes(), rows, cols
    for isa in ISAS:
        with chosen_isa(isa):
            context = CoreContext(CoreModel(tiny.hparams(), tiny.tensors), pool, 20)
        with pytest.raises(StatusError) as error:
            context.eval([1, 2, 3])
        assert error.value.code == lib.LC_ERR_NONFINITE, isa
        assert len(context) == 0
        with pytest.raises(StatusError):
            context.logits()


def test_greedy_text_is_the_same_for_every_set(pool: Pool) -> None:
    tiny = TinyLlama(n_layers=3, n_vocab=200)
    model_ids = []
    for isa in ISAS:
        with chosen_isa(isa):
            context = CoreContext(CoreModel(tiny.hparams(), tiny.tensors), pool, 80)
        ids = [7]
        while len(ids) < 80:
            ids.append(int(context.eval(ids[-1:]).argmax()))
        model_ids.append(json.dumps(ids))
    assert len(set(model_ids)) == 1


def test_cache_memory_is_not_touched_until_used(pool: Pool) -> None:
    """A million tokens of context for a model of this size are 128 MB of addresses, not of memory."""
    tiny = TinyLlama()
    context = CoreContext(CoreModel(tiny.hparams(), tiny.tensors), pool, 1 << 20)
    before = resident_bytes()
    context.eval([1, 2, 3])
    assert lib.lc_context_bytes(context.handle) > 200 << 20
    assert resident_bytes() - before < 20 << 20
    assert lib.lc_context_bytes(ffi.NULL) == 0


def resident_bytes() -> int:
    statm = Path("/proc/self/statm")
    if not statm.exists():
        pytest.skip("resident memory is known through /proc only")
    return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
