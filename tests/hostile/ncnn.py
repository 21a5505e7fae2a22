"""Broken models of ncnn: the graph as text, the weights, and the numbers."""

from __future__ import annotations

import struct
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from tests.hostile.cases import Case, Specimen, Verdict, every_rule, model
from tests.support.ncnn_files import write_ncnn


def cases(vocabulary: Mapping[str, bytes]) -> Iterator[Case]:
    """All of this family; ``vocabulary`` are the files of the tokens."""
    files = {**_written(), "tokenizer.bin": vocabulary["tokenizer.bin"]}
    for spoiled in ("tiny.param", "tiny.bin", "tiny.desc"):
        specimen = _specimen(files, spoiled)
        yield from every_rule(specimen, cuts=40, numbers=40)
    yield from _graphs(replace(_specimen(files, "tiny.param")))
    yield from _descriptions(_specimen(files, "tiny.desc"))
    yield from _weights(_specimen(files, "tiny.bin"))


def _written(**weights: np.ndarray) -> dict[str, bytes]:
    tiny = model()
    with tempfile.TemporaryDirectory() as folder:
        write_ncnn(Path(folder), replace(tiny, weights={**tiny.weights, **weights}))
        return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


def _specimen(files: Mapping[str, bytes], spoiled: str) -> Specimen:
    data = files[spoiled]
    marks: list[tuple[str, int]] = []
    numbers: list[tuple[str, int, str]] = []
    if spoiled.endswith(".bin"):
        embedding = 4 + 300 * 32 * 2
        marks = [("the embedding's values", 4), ("the first gain", embedding), ("the first scales", embedding + 128)]
        marks += [(f"part {i}", len(data) * i // 8) for i in range(1, 8)]
        numbers = [
            ("the embedding's flag", 0, "<I"),
            ("a flag of int8", data.index(struct.pack("<I", 0x000D4B38)), "<I"),
        ]
        numbers += [("a gain", embedding, "<f"), ("a scale", embedding + 128, "<f")]
    else:
        at = 0
        for i, line in enumerate(data.splitlines(keepends=True)):
            marks += [(f"line {i}", at), (f"the last word of line {i}", at + line.rfind(b" ") + 1)]
            at += len(line)
    return Specimen(f"ncnn {spoiled[4:]}", files, "tiny.param", spoiled, tuple(marks), tuple(numbers))


def _graphs(good: Specimen) -> Iterator[Case]:
    text = good.data.decode()
    lines = text.splitlines()
    linear = next(i for i, line in enumerate(lines) if line.startswith("LinearInt8"))
    words = lines[linear].split(" ")
    for key in (0, 1, 2):
        for value in (
            "0",
            "-1",
            "1",
            "2147483648",
            "4294967295",
            "9223372036854775808",
            "9" * 5000,
            "x",
            "",
            "1e9",
            "٣",
        ):
            changed = [f"{key}={value}" if word.startswith(f"{key}=") else word for word in words]
            data = "\n".join([*lines[:linear], " ".join(changed), *lines[linear + 1 :]])
            yield good.with_data(f"{key}={value[:20]} in a matrix", data.encode())
    for what, line in {
        "a line of one word": "LinearInt8",
        "blobs without end": f"{words[0]} {words[1]} 4294967295 4294967295 " + " ".join(words[4:]),
        "blobs below nothing": f"{words[0]} {words[1]} -5 -5 " + " ".join(words[4:]),
        "a layer of another kind": " ".join(["Convolution", *words[1:]]),
        "a layer of no model": " ".join([words[0], "conv_0_op1", *words[2:]]),
        "a layer of control characters": " ".join([words[0], "\x1b[2J", *words[2:]]),
        "a layer beyond": " ".join([words[0], "xq_linear_999_op9", *words[2:]]),
        "a layer of 300 kB": " ".join([words[0], "x" * 300_000, *words[2:]]),
    }.items():
        yield good.with_data(what, "\n".join([*lines[:linear], line, *lines[linear + 1 :]]).encode())
    for number in (linear, 2, len(lines) - 1):
        rest = [*lines[:number], *lines[number + 1 :]]
        rest[1] = f"{len(rest) - 2} 99"
        yield good.with_data(f"line {number} left out", "\n".join(rest).encode(), Verdict.EITHER)
        more = [*lines, lines[number]]
        more[1] = f"{len(more) - 2} 99"
        yield good.with_data(f"line {number} twice", "\n".join(more).encode(), Verdict.EITHER)
    endless = "7767517\n100000 1\n" + "Split s 0 0\n" * 100_000
    for counts in ("4294967295 4294967295", "-1 -1", "9223372036854775808 1", f"{len(lines) - 2} 99999999999", "1", ""):
        text = "\n".join([lines[0], counts, *lines[2:]])
        yield good.with_data(f"counts of {counts or 'nothing'}", text.encode(), Verdict.EITHER)
    yield good.with_data("100,000 layers", endless.encode())
    yield good.with_data("5 MB of layers", b"7767517\n" + b"\n" * (5 << 20))
    yield good.with_data("the magic number alone", b"7767517\n")
    yield good.with_data("the binary form", struct.pack("<3I", 7767517, 5, 5) + bytes(500))


def _descriptions(good: Specimen) -> Iterator[Case]:
    numbers = good.data.split()
    for i in range(4):
        for value in (b"0", b"-1", b"3", b"4294967296", b"9" * 4000, b"x", b"1.5", b"\xd9\xa3"):
            text = b"\n".join([*numbers[:i], value, *numbers[i + 1 :]])
            yield good.with_data(f"number {i} is {value[:12].decode()}", text, Verdict.EITHER)
    yield good.with_data("100 kB", b"1\n" * 50_000)
    for name in ("tiny.desc", "tiny.bin"):
        less = {key: data for key, data in good.files.items() if key != name}
        yield Case(good.family, f"no {name}", less, "tiny.param")
    yield good.with_files("a link to nothing", {"tiny.desc": lambda path: path.symlink_to("nowhere")})


def _weights(good: Specimen) -> Iterator[Case]:
    for bad in (np.nan, np.inf):
        for name in ("token_embd.weight", "blk.0.attn_norm.weight"):
            values = model().weights[name].copy()
            values.flat[3] = bad
            yield good.with_data(f"{bad} in {name}", _written(**{name: values})["tiny.bin"], Verdict.NOT_RUN)
        scale = bytearray(good.data)
        struct.pack_into("<f", scale, 4 + 300 * 32 * 2 + 128, bad)
        yield good.with_data(f"{bad} as a scale", bytes(scale), Verdict.NOT_RUN)
    yield good.with_data("a byte more", good.data + b"\0")
