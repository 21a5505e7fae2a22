"""Broken files of llama2.c: versions 0, 1 and 2, tokenizer.bin, and training checkpoints."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from tests.hostile.cases import SHAPE, Case, Cursor, Specimen, Verdict, every_rule, model
from tests.support.containers import tokenizer_bin
from tests.support.tiny_models import llama2c_bytes, llama2c_later_bytes

_NUMBERS = ("dim", "hidden_dim", "n_layers", "n_heads", "n_kv_heads", "vocab_size", "seq_len")


def cases(vocabulary: Mapping[str, bytes]) -> Iterator[Case]:
    """All of this family; ``vocabulary`` are the files of the tokens."""
    words = {"tokenizer.bin": vocabulary["tokenizer.bin"]}
    zero = _specimen("llama2.c v0", llama2c_bytes(model()), words)
    yield from every_rule(zero, cuts=16, numbers=35)
    yield from every_rule(_specimen("llama2.c v1", llama2c_later_bytes(model(), version=1)[0], words), cuts=16)
    second = _specimen("llama2.c v2", llama2c_later_bytes(model(), version=2, group=32)[0], words)
    yield from every_rule(second, cuts=16)
    yield from _contradictions(zero, second)
    yield from _not_numbers(zero, second)
    yield from _tokenizers(zero)


def _specimen(family: str, data: bytes, words: Mapping[str, bytes]) -> Specimen:
    cursor = Cursor(data)
    if family.endswith("v0"):
        for name in _NUMBERS:
            cursor.number(name, "<i")
    else:
        cursor.text("the magic number", 4)
        for name in ("the version", *_NUMBERS):
            cursor.number(name, "<i")
        cursor.number("whether it is tied", "<B")
        if family.endswith("v2"):
            cursor.number("the group", "<i")
        cursor.at = 256
    cursor.mark("the data")
    step = (len(data) - cursor.at) // 5
    cursor.marks += [(f"part {i} of the data", cursor.at + i * step) for i in (1, 2, 3, 4)]
    return cursor.specimen(family, {"m.bin": data, **words}, "m.bin", "m.bin")


def _contradictions(zero: Specimen, second: Specimen) -> Iterator[Case]:
    for name, values in (
        ("dim", (31, 64, 16)),
        ("n_heads", (3, 4, 32)),
        ("n_kv_heads", (2, 3)),
        ("vocab_size", (-301, -299, 300)),
        ("seq_len", (127, 129, 1 << 30)),
    ):
        for value in values:
            data = bytearray(zero.data)
            struct.pack_into("<i", data, 4 * _NUMBERS.index(name), value)
            yield zero.with_data(f"{name} is {value}", bytes(data))
    for group in (3, 31, 64, 96, 1 << 30):
        data = bytearray(second.data)
        struct.pack_into("<i", data, 37, group)
        yield second.with_data(f"groups of {group}", bytes(data))
    yield second.with_data("says that it is tied", second.data[:36] + b"\1" + second.data[37:])
    yield second.with_data("neither tied nor not", second.data[:36] + b"\2" + second.data[37:])
    yield zero.with_data("a byte more", zero.data + b"\0")
    yield zero.with_data("the magic number turned around", b"ak42" + second.data[4:])


def _not_numbers(zero: Specimen, second: Specimen) -> Iterator[Case]:
    for bad in (np.nan, np.inf, -np.inf):
        for name in ("token_embd.weight", "blk.0.attn_norm.weight", "output.weight"):
            weights = {key: values.copy() for key, values in model().weights.items()}
            weights[name].flat[5] = bad
            data = llama2c_bytes(replace(model(), weights=weights))
            yield zero.with_data(f"{bad} in {name}", data, Verdict.NOT_RUN)
        groups = bytearray(second.data)
        struct.pack_into("<f", groups, len(groups) - 4, bad)
        yield second.with_data(f"{bad} as a scale", bytes(groups), Verdict.NOT_RUN)


def _tokenizers(zero: Specimen) -> Iterator[Case]:
    """The vocabulary beside the model, which is as hostile as the model itself."""
    cursor = Cursor(zero.files["tokenizer.bin"])
    cursor.number("the longest", "<I")
    for i in range(SHAPE.n_vocab):
        if i in (0, 1, 258, 299):
            cursor.number(f"the score of {i}", "<f")
            cursor.text(f"token {i}", cursor.number(f"the length of {i}", "<I"))
        else:
            cursor.at += 4
            cursor.skip(cursor.plain("<I"))
    beside = cursor.specimen("tokenizer.bin", zero.files, "m.bin", "tokenizer.bin")
    yield from every_rule(beside, cuts=30, numbers=40)
    for what, tokens in (
        ("tokens of nothing but a letter", [(b"<unk>", 0.0), *[(b"a", 0.0)] * 299]),
        ("tokens of no text", [(b"<unk>", 0.0), *[(b"\xff\xfe", 0.0)] * 299]),
        ("tokens of control characters", [(b"<unk>", 0.0), *[(b"\x1b]0;x\x07", 0.0)] * 299]),
        ("a token of 60 kB", [(b"<unk>", 0.0), *[(b"a", 0.0)] * 298, (b"x" * 60_000, 0.0)]),
    ):
        yield beside.with_data(what, tokenizer_bin(tokens), Verdict.EITHER)
    million = tokenizer_bin([(b"<unk>", 0.0), *[(b"a", 0.0)] * 600_000])
    yield beside.with_data("a vocabulary of 600,000", million)
    yield beside.with_files("a link to nothing in place of the vocabulary", {"tokenizer.bin": _link("nowhere")})
    yield beside.with_files("a folder in place of the vocabulary", {"tokenizer.bin": Path.mkdir})


def _link(target: str):
    return lambda path: path.symlink_to(target)
