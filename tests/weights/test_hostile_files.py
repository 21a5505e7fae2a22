"""Thousands of spoiled files: each is opened or refused, with no other exception, in bounded time and memory."""

from __future__ import annotations

import random
import struct
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from llamachat.errors import WeightsError
from llamachat.tokenizer.model_proto import build_model_proto
from llamachat.weights import open_weights, read_vocabulary
from tests.support.tiny_models import (
    TinyShape,
    bpe_vocabulary,
    ggml_bytes,
    gguf_bytes,
    llama2c_bytes,
    llama2c_later_bytes,
    random_model,
    spm_vocabulary,
    write_tokenizer_bin,
)

SECONDS_EACH = 2.0  # of processor time
BYTES = 64 << 20

UNTIED = TinyShape(n_vocab=300, n_embd=32, n_ff=32, n_layers=1, n_heads=2, n_kv_heads=1, tied=False)
TIED = replace(UNTIED, tied=True, rope_freqs=True)


def _tokenizer_bin(folder: Path) -> bytes:
    write_tokenizer_bin(folder / "t", spm_vocabulary(300))
    return (folder / "t").read_bytes()


#: A good file of each kind, as bytes.
KINDS: dict[str, Callable[[Path], bytes]] = {
    "gguf-spm": lambda _: gguf_bytes(random_model(TIED), types="Q8_0")[0],
    "gguf-bpe": lambda _: gguf_bytes(random_model(UNTIED), types="Q4_1", vocabulary=bpe_vocabulary(300))[0],
    "ggjt": lambda _: ggml_bytes(random_model(UNTIED), types="Q5_0")[0],
    "ggml": lambda _: ggml_bytes(random_model(UNTIED), kind="ggml", types="Q4_1")[0],
    "llama2c": lambda _: llama2c_bytes(random_model(UNTIED)),
    "llama2c-v2": lambda _: llama2c_later_bytes(random_model(UNTIED), version=2, group=16)[0],
    "tokenizer.bin": _tokenizer_bin,
    "tokenizer.model": lambda _: build_model_proto(spm_vocabulary(300)),
}


class Trial:
    """Opens file after file and counts what became of them."""

    def __init__(self, path: Path, kind: str) -> None:
        self.path = path
        self.is_vocabulary = kind.startswith("tokenizer")
        self.opened = 0
        self.reasons: list[str] = []
        self.slowest = 0.0

    def __call__(self, data: bytes) -> None:
        self.path.write_bytes(data)
        start = time.process_time()
        try:
            if self.is_vocabulary:
                read_vocabulary(self.path)
            else:
                self.open_and_touch()
            self.opened += 1
        except WeightsError as error:
            self.reasons.append(error.reason)
        self.slowest = max(self.slowest, time.process_time() - start)

    def open_and_touch(self) -> None:
        with open_weights(self.path) as weights:
            for name, tensor in weights.tensors.items():
                assert len(weights.read(name, tensor.rows - 1, 1)) == tensor.row_bytes


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def good(kind: str, tmp_path: Path) -> bytes:
    return KINDS[kind](tmp_path)


@contextmanager
def trial(kind: str, tmp_path: Path) -> Iterator[Trial]:
    trial = Trial(tmp_path / "spoiled", kind)
    yield trial
    assert trial.slowest < SECONDS_EACH
    for reason in trial.reasons:
        assert reason
        assert reason.isprintable()
        assert len(reason) <= 200


@contextmanager
def bounded_memory() -> Iterator[None]:
    tracemalloc.start()
    try:
        yield
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < BYTES


def places(good: bytes, step: int) -> Iterator[int]:
    """Every place in the first 1.5 kB and the last 0.5 kB, where numbers are, and some between."""
    yield from range(0, min(1500, len(good)), step)
    yield from range(1500, max(1500, len(good) - 500), 149)
    yield from range(max(1500, len(good) - 500), len(good), step)


def test_the_good_file_opens(kind: str, good: bytes, tmp_path: Path) -> None:
    with trial(kind, tmp_path) as attempt:
        attempt(good)
        assert attempt.opened == 1


def test_cut_short_anywhere(kind: str, good: bytes, tmp_path: Path) -> None:
    """A list of pieces that ends between two of them is a shorter list; anything else that is cut is refused."""
    with trial(kind, tmp_path) as attempt:
        for end in places(good.rstrip(b"\0"), 5):  # zeros at the end may be padding, which need not be there
            attempt(good[:end])
        assert len(attempt.reasons) > 200
        if not kind.startswith("tokenizer"):
            assert attempt.opened == 0


@pytest.mark.parametrize("layout", ["<I", "<Q"])
def test_any_number_replaced_by_an_extreme_one(kind: str, good: bytes, tmp_path: Path, layout: str) -> None:
    item = struct.Struct(layout)
    top = 1 << (8 * item.size)
    with bounded_memory(), trial(kind, tmp_path) as attempt:
        for number, place in enumerate(places(good, 4)):
            if place + item.size > len(good):
                break
            spoiled = bytearray(good)
            extreme = (0, 1, top - 1, top >> 1, (top >> 1) - 1, top >> 2, len(good), 0x10000)[number % 8]
            item.pack_into(spoiled, place, extreme)
            attempt(bytes(spoiled))
        assert len(attempt.reasons) > 5


def test_any_bits_flipped(kind: str, good: bytes, tmp_path: Path) -> None:
    rng = random.Random(kind)
    with trial(kind, tmp_path) as attempt:
        for _ in range(300):
            spoiled = bytearray(good)
            for _ in range(rng.choice((1, 1, 2, 8))):
                spoiled[rng.randrange(min(len(good), 4000))] ^= 1 << rng.randrange(8)
            attempt(bytes(spoiled))


def test_parts_swapped_doubled_and_left_out(kind: str, good: bytes, tmp_path: Path) -> None:
    rng = random.Random(kind)
    with trial(kind, tmp_path) as attempt:
        for _ in range(200):
            a, b = sorted(rng.randrange(min(len(good), 9000)) for _ in range(2))
            attempt(good[:a] + rng.choice((b"", good[a:b] * 2, good[b : 2 * b - a], rng.randbytes(b - a))) + good[b:])


@pytest.mark.parametrize("head", [b"", b"GGUF\x03\0\0\0", b"tjgg\x03\0\0\0", b"\x1b\0\0\0\0\0\0\0\x05\0\0\0<unk>"])
def test_noise(head: bytes, tmp_path: Path) -> None:
    rng = random.Random(head)
    with trial("gguf-spm", tmp_path) as attempt:
        for size in range(1, 2000, 10):
            attempt(head + rng.randbytes(size))
        assert attempt.opened == 0


@pytest.mark.parametrize("count", [1 << 19, 1 << 22])
def test_a_vocabulary_of_empty_tokens(tmp_path: Path, count: int) -> None:
    """As large as allowed, and larger than that: neither takes long, or more memory than the file has bytes."""
    key = struct.pack("<Q", 21) + b"tokenizer.ggml.tokens"
    head = b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + key + struct.pack("<IIQ", 9, 8, count)
    with trial("gguf-spm", tmp_path) as attempt:
        attempt(head + bytes(8 * count))
    with bounded_memory(), pytest.raises(WeightsError):
        open_weights(attempt.path)


def test_tokenizers_of_nothing_but_fields(tmp_path: Path) -> None:
    first = b"\x0a\x07\x0a\x05<unk>"
    with trial("tokenizer.model", tmp_path) as attempt:
        attempt(first + b"\x98\x06\0" * (4 << 20))
        attempt(first + b"\x0a\0" * (4 << 20))
    assert attempt.reasons == ["has more than 1048576 fields, too much for a tokenizer"] * 2
    first = struct.pack("<IfI", 5, 0.0, 5) + b"<unk>"
    with trial("tokenizer.bin", tmp_path) as attempt:
        attempt(first + struct.pack("<fI", 0.0, 0) * (3 << 20))
    assert attempt.reasons == ["has more than 524288 entries in its tokens"]


def test_arrays_of_no_use_that_never_end(tmp_path: Path) -> None:
    count = 1 << 19
    records = b"".join(
        struct.pack("<Q", 2) + f"k{i}".encode() + struct.pack("<IIQ", 9, 8, count) + bytes(8 * count) for i in range(9)
    )
    with trial("gguf-spm", tmp_path) as attempt:
        attempt(b"GGUF" + struct.pack("<IQQ", 3, 0, 9) + records)
    assert attempt.reasons == ["has a header of more than 32 MiB, too much for a Llama model"]
