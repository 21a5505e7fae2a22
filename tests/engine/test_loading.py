"""Filling the core from a file by several threads: all of it once, progress, errors, cancel."""

from __future__ import annotations

import dataclasses
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from llamachat.engine import loading as loading_module
from llamachat.engine.context import Context
from llamachat.engine.core import StopFlag
from llamachat.engine.loading import Loading, Placed
from llamachat.engine.model import Model, slot_of
from llamachat.engine.source import ModelSource, Rounding
from llamachat.errors import Cancelled, EngineError, WeightsError
from llamachat.weights import WeightFile, open_weights
from tests.support.core import CoreModel, ffi, lib
from tests.support.tiny_models import (
    TinyShape,
    random_model,
    spm_vocabulary,
    write_ggml,
    write_gguf,
    write_llama2c,
    write_tokenizer_bin,
)

_MODEL = random_model(TinyShape(n_ctx=64, tied=False), seed=9)


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Pieces of 16 rows, so that a tiny model has some 180, for readers to share; and none of them outlives a test."""
    monkeypatch.setattr(loading_module, "_SMALL_BYTES", 0)
    monkeypatch.setattr(loading_module, "_CHUNK_BYTES", 1)
    monkeypatch.setattr(loading_module, "_CONVERTED_CHUNK_BYTES", 1)
    monkeypatch.setattr(loading_module, "_PROGRESS_SECONDS", 0.001)
    yield
    assert not [thread for thread in threading.enumerate() if "reader" in thread.name]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write_gguf(tmp_path / "tiny.gguf", _MODEL, types="F32")
    return tmp_path / "tiny.gguf"


@pytest.fixture
def weights(path: Path) -> Iterator[WeightFile]:
    with open_weights(path) as weights:
        yield weights


def empty_model(weights: WeightFile) -> CoreModel:
    numbers = dataclasses.asdict(weights.hyperparameters)
    del numbers["n_ctx_train"]
    return CoreModel(numbers, {}, finish=False)


def placed(weights: WeightFile) -> list[Placed]:
    return [(tensor, place) for name, tensor in weights.tensors.items() if (place := slot_of(name))]


def never() -> bool:
    return False


def ignore(done: int, total: int) -> None:
    """Takes progress and does nothing."""


def watch_reads(
    weights: WeightFile, monkeypatch: pytest.MonkeyPatch, before: Callable[[str, int], None]
) -> list[tuple[str, int, int]]:
    """Calls ``before(name, first_row)`` at every read; returns the list that the reads done are added to."""
    reads: list[tuple[str, int, int]] = []
    read_into = weights.read_into

    def watched(buffer: memoryview, name: str, first_row: int, n_rows: int) -> memoryview | bytes:
        before(name, first_row)
        reads.append((name, first_row, n_rows))
        return read_into(buffer, name, first_row, n_rows)

    monkeypatch.setattr(weights, "read_into", watched)
    return reads


def logits(source: ModelSource) -> bytes:
    model = Model.load(source)
    context = Context(model)
    try:
        context.append([1, 5, 300], StopFlag())
        return bytes(ffi.buffer(context.logits, 4 * model.info.n_vocab))
    finally:
        context.close()
        model.close()


@pytest.mark.parametrize("kind", ["F32", "F16", "Q8_0", "old Q4_0", "llama2.c"])
def test_the_model_is_the_same_by_any_number_of_threads(kind: str, tmp_path: Path) -> None:
    path, tokenizer = tmp_path / "model", None
    if kind == "llama2.c":
        write_llama2c(path, _MODEL)
        tokenizer = tmp_path / "tokenizer.bin"
        write_tokenizer_bin(tokenizer, spm_vocabulary(_MODEL.shape.n_vocab))
    elif kind == "old Q4_0":  # its rows become F32 as they are read
        write_ggml(path, _MODEL, kind="ggjt v1", types="Q4_0")
    else:
        write_gguf(path, _MODEL, types=kind)
    results = [logits(ModelSource(path, tokenizer, threads=n)) for n in (1, 2, 5)]
    assert results[0] == results[1] == results[2]
    assert np.isfinite(np.frombuffer(results[0], np.float32)).all()


def test_every_row_is_read_once(weights: WeightFile, monkeypatch: pytest.MonkeyPatch) -> None:
    reads = watch_reads(weights, monkeypatch, lambda name, first: None)
    model = empty_model(weights)
    with Loading(model.handle, weights, placed(weights), 3) as loading:
        loading.wait(ignore, never)
    assert model.finish()[0] == lib.LC_OK
    for name, tensor in weights.tensors.items():
        rows = [row for read, first, n in reads for row in range(first, first + n) if read == name]
        assert sorted(rows) == list(range(tensor.rows)), name
    assert max(n for _, _, n in reads) == 16


def test_a_small_model_is_read_by_who_waits(weights: WeightFile, monkeypatch: pytest.MonkeyPatch) -> None:
    total = sum(tensor.n_bytes for tensor in weights.tensors.values())
    monkeypatch.setattr(loading_module, "_SMALL_BYTES", total)
    threads = set()
    told = []
    watch_reads(weights, monkeypatch, lambda name, first: threads.add(threading.current_thread()))
    model = empty_model(weights)
    with Loading(model.handle, weights, placed(weights), 3) as loading:
        loading.wait(lambda done, _: told.append(done), never)
    assert model.finish()[0] == lib.LC_OK
    assert threads == {threading.current_thread()}
    assert (told[0], told[-1]) == (0, total)


def test_progress_rises_from_nothing_to_all(weights: WeightFile) -> None:
    told: list[tuple[int, int]] = []
    threads = set()

    def progress(done: int, total: int) -> None:
        told.append((done, total))
        threads.add(threading.current_thread())

    with Loading(empty_model(weights).handle, weights, placed(weights), 2) as loading:
        loading.wait(progress, never)
    total = sum(tensor.n_bytes for tensor in weights.tensors.values())
    assert {each for _, each in told} == {total}
    done = [each for each, _ in told]
    assert done == sorted(done)
    assert done[-1] == total
    assert threads == {threading.current_thread()}


def test_it_tells_while_it_goes_on_and_stops_when_told(weights: WeightFile, monkeypatch: pytest.MonkeyPatch) -> None:
    """The readers are held in the middle: progress goes on, and a cancel is seen."""
    go_on = threading.Event()
    held = threading.Event()

    def hold(name: str, first: int) -> None:
        if name == "blk.1.attn_q.weight":
            held.set()
            assert go_on.wait(30)

    reads = watch_reads(weights, monkeypatch, hold)
    told: list[int] = []

    def cancelled() -> bool:
        if not held.is_set() or len(told) < 4:
            return False
        go_on.set()
        return True

    with Loading(empty_model(weights).handle, weights, placed(weights), 2) as loading, pytest.raises(Cancelled):
        loading.wait(lambda done, total: told.append(done), cancelled)
    assert 0 < max(told) < sum(tensor.n_bytes for tensor in weights.tensors.values())
    assert "output.weight" not in {name for name, _, _ in reads}


def test_an_error_in_the_block_leaves_no_reader(weights: WeightFile) -> None:
    with pytest.raises(KeyError), Loading(empty_model(weights).handle, weights, placed(weights), 3):
        raise KeyError


def test_of_several_errors_the_first_in_the_file_is_told(weights: WeightFile, monkeypatch: pytest.MonkeyPatch) -> None:
    second_failed = threading.Event()

    def fail(name: str, first: int) -> None:
        if (name, first) == ("token_embd.weight", 16):
            second_failed.wait(30)
            raise WeightsError(weights.path, "first")
        if (name, first) == ("token_embd.weight", 32):
            second_failed.set()
            raise WeightsError(weights.path, "second")

    watch_reads(weights, monkeypatch, fail)
    model = empty_model(weights)
    with Loading(model.handle, weights, placed(weights), 3) as loading, pytest.raises(WeightsError, match="first"):
        loading.wait(ignore, never)


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("unforeseen")])
def test_no_error_of_a_reader_is_lost(error: Exception, weights: WeightFile, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str, first: int) -> None:
        if name == "blk.1.ffn_up.weight":
            raise error

    watch_reads(weights, monkeypatch, fail)
    with Loading(empty_model(weights).handle, weights, placed(weights), 2) as loading, pytest.raises(type(error)):
        loading.wait(ignore, never)


def test_a_file_that_got_shorter_meanwhile(weights: WeightFile) -> None:
    os.truncate(weights.path, weights.size_bytes // 2)
    model = empty_model(weights)
    with (
        Loading(model.handle, weights, placed(weights), 2) as loading,
        pytest.raises(WeightsError, match="got shorter"),
    ):
        loading.wait(ignore, never)


def test_what_the_core_refuses_is_named(path: Path) -> None:
    broken = random_model(TinyShape(n_ctx=64, tied=False), seed=9)
    broken.weights["blk.1.ffn_down.weight"][40, 3] = np.nan
    write_gguf(path, broken, types="F32")
    with pytest.raises(EngineError, match=r"tiny.gguf: blk.1.ffn_down.weight: a NaN or an infinity"):
        Model.load(ModelSource(path, threads=2))


def test_weights_that_overflow_are_told_by_the_file(path: Path) -> None:
    large = random_model(TinyShape(n_ctx=64, tied=False), seed=9)
    large.weights["blk.1.ffn_down.weight"][:] = 1e38
    write_gguf(path, large, types="F32")
    with closing(Model.load(ModelSource(path, threads=2))) as model, closing(Context(model)) as context:
        with pytest.raises(EngineError, match=r"tiny.gguf: computes a NaN or an infinity: some of its weights"):
            context.append([1, 2, 3], StopFlag())
        assert context.ids == []


def test_what_cannot_be_added_is_named_before_anything_is_read(
    weights: WeightFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads = watch_reads(weights, monkeypatch, lambda name, first: None)
    wanted: list[Any] = placed(weights)
    with pytest.raises(EngineError, match=r"output.weight: a call out of order"):
        Loading(empty_model(weights).handle, weights, [*wanted, wanted[-1]], 2)
    assert not reads


@pytest.mark.parametrize(("n_embd", "is_exact"), [(224, True), (256, False)])
def test_narrow_models_are_read_as_exactly_as_they_answer(n_embd: int, is_exact: bool, tmp_path: Path) -> None:
    shape = TinyShape(n_embd=n_embd, n_ff=96, n_layers=1, n_ctx=128)
    write_gguf(tmp_path / "m.gguf", random_model(shape), types="Q8_0")
    found = []
    for rounding in (Rounding.FAST, Rounding.EXACT):
        model = Model.load(ModelSource(tmp_path / "m.gguf", threads=1, rounding=rounding))
        context = Context(model)
        context.append([1, *range(200, 300)], StopFlag())  # at once, which is long enough to be read fast
        found.append(bytes(ffi.buffer(context.logits, 4 * shape.n_vocab)))
        context.close()
        model.close()
    assert (found[0] == found[1]) is is_exact
