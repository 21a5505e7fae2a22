"""Broken GGUF files of all versions and byte orders, and split ones."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from tests.hostile.cases import SHAPE, Case, Cursor, Specimen, Verdict, every_rule, model
from tests.support.blocks import IDS, block_size
from tests.support.containers import RawTensor, Typed, array, gguf, gguf_plain, scalar
from tests.support.tiny_models import (
    bpe_vocabulary,
    gguf_bytes,
    gguf_metadata,
    gguf_parts,
    random_model,
    spm_vocabulary,
)

_CODES = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_SHOWN = 2  # entries of an array that are places of their own


def cases() -> Iterator[Case]:
    """All of this family."""
    main = _specimen("gguf v3", gguf_bytes(model(), types="Q8_0")[0])
    yield from every_rule(main, cuts=90, numbers=120)
    yield from every_rule(_specimen("gguf v2", gguf_bytes(model(), types="F16", version=2)[0]), cuts=20, numbers=20)
    for version, order in ((1, "<"), (2, ">"), (3, ">")):
        family = f"gguf v{version}{' big-endian' if order == '>' else ''}"
        yield from every_rule(_specimen(family, _plain(version, order), order), cuts=24, numbers=30)
    yield from _records(main)
    yield from _tensors(main)
    yield from _not_numbers(main)
    yield from _vocabularies(main)
    yield from _split()


def _specimen(family: str, data: bytes, order: str = "<") -> Specimen:
    cursor = Cursor(data)
    cursor.text("the magic number", 4)
    version = cursor.number("the version", order + "I")
    count = order + ("I" if version == 1 else "Q")
    n_tensors, n_records = cursor.number("the count of tensors", count), cursor.number("the count of records", count)
    alignment = 32
    for i in range(n_records):
        _walk_record(cursor, order, count, i)
    for i in range(n_tensors):
        name = cursor.text(f"the name of tensor {i}", cursor.number(f"the length of name {i}", count))
        n_dims = cursor.number(f"the dimensions of {name.decode()}", order + "I")
        for axis in range(n_dims):
            cursor.number(f"size {axis} of {name.decode()}", count)
        cursor.number(f"the type of {name.decode()}", order + "I")
        cursor.number(f"the offset of {name.decode()}", order + "Q")
    cursor.mark("the padding")
    cursor.at += -cursor.at % alignment
    cursor.mark("the data")
    step = (len(data) - cursor.at) // 4
    cursor.marks += [(f"quarter {i} of the data", cursor.at + i * step) for i in (1, 2, 3)]
    return cursor.specimen(family, {"m.gguf": data}, "m.gguf", "m.gguf")


def _walk_record(cursor: Cursor, order: str, count: str, i: int) -> None:
    key = cursor.text(f"key {i}", cursor.number(f"the length of key {i}", count)).decode()
    kind = cursor.number(f"the type of {key}", order + "I")
    if kind == 8:
        cursor.text(f"the text of {key}", cursor.number(f"the length of {key}", count))
    elif kind == 9:
        item = cursor.number(f"the item type of {key}", order + "I")
        n = cursor.number(f"the count of {key}", count)
        for j in range(n):
            if item == 8 and j < _SHOWN:
                cursor.text(f"entry {j} of {key}", cursor.number(f"the length of entry {j} of {key}", count))
            elif item == 8:
                cursor.skip(cursor.plain(count))
            elif j < _SHOWN:
                cursor.number(f"entry {j} of {key}", order + _CODES[item])
            else:
                cursor.plain(order + _CODES[item])
    else:
        cursor.number(f"the value of {key}", order + _CODES[kind])


def _plain(version: int, order: str) -> bytes:
    """The model in F32, in any version and byte order."""
    tiny, raw = model(), []
    for name, values in tiny.weights.items():
        raw.append(RawTensor(name, tuple(reversed(values.shape)), 0, values.astype(order + "f4").tobytes()))
    return gguf_plain(gguf_metadata(SHAPE, spm_vocabulary(SHAPE.n_vocab)), raw, version=version, order=order)


# ---- metadata ----


def _nested(depth: int) -> Typed:
    """An array of an array of ... of one byte."""
    return Typed(9, struct.pack("<IQ", 9, 1) * depth + struct.pack("<IQB", 0, 1, 0))


_BOMB = Typed(9, struct.pack("<IQ", 9, 1 << 20) + struct.pack("<IQ", 9, 1 << 40))


def _wrong_values() -> Iterator[tuple[str, str, Any, Verdict]]:
    """(what, key, value, verdict)."""
    refused, either = Verdict.REFUSED, Verdict.EITHER
    numbers = ["context_length", "embedding_length", "block_count", "feed_forward_length", "attention.head_count"]
    for key in [*numbers, "attention.head_count_kv", "rope.dimension_count"]:
        for value in (scalar("u64", (1 << 64) - 1), scalar("i32", -1), scalar("u32", 0), "text", _nested(1)):
            yield (
                f"{key} is {value if isinstance(value, str) else value.payload[:8].hex()}",
                f"llama.{key}",
                value,
                (either if key == "context_length" else refused),
            )
    for key in ("attention.layer_norm_rms_epsilon", "rope.freq_base", "rope.scaling.factor"):
        for bad in (float("nan"), float("inf"), -1.0, 1e38):
            yield f"{key} is {bad}", f"llama.{key}", bad, either if "scaling" in key else refused
        yield f"{key} is a text", f"llama.{key}", "text", refused
    yield "an array per layer that differs", "llama.attention.head_count", [2, 4], refused
    yield "an array per layer that is empty", "llama.attention.head_count", array("i32", []), refused
    yield "experts", "llama.expert_count", 8, refused
    yield "a value length of its own", "llama.attention.value_length", 4, refused
    yield "a vocabulary size that differs", "llama.vocab_size", 301, either
    yield "another architecture", "general.architecture", "qwen2\x1b[31m", refused
    yield "no architecture but a number", "general.architecture", 3, refused
    yield "rope of a kind unknown", "llama.rope.scaling.type", "yarn", refused
    yield "a name of control characters", "general.name", "\x1b]0;owned\x07\x1b[2J\u202egnp", Verdict.OPENS
    yield "a name that is no UTF-8", "general.name", b"\xff\xfe\xed\xa0\x80", Verdict.OPENS
    yield "a name of a megabyte", "general.name", "x" * (1 << 20), either
    yield "a name of two megabytes", "general.name", "x" * (2 << 20), either
    yield "arrays in an array", "x.nested", _nested(1), refused
    yield "arrays a thousand deep", "x.nested", _nested(1000), refused
    yield "an array of arrays without end", "x.bomb", _BOMB, refused
    yield "an unknown type of value", "x.unknown", Typed(13, bytes(8)), refused
    yield "an unknown type of items", "x.unknown", Typed(9, struct.pack("<IQ", 99, 1) + bytes(8)), refused
    for count in (1 << 31, (1 << 32) - 1, 1 << 60, 1 << 63, (1 << 64) - 1):
        yield f"{count} items of 8 bytes", "x.many", array("u64", [], count), refused
        yield f"{count} texts", "x.many", array("str", [], count), refused
    yield "a template of a megabyte", "tokenizer.chat_template", "{% if x %}" * 100_000, either
    yield "a template that never ends", "tokenizer.chat_template", "{% for i in range(10**9) %}x{% endfor %}", either
    yield "a template of large numbers", "tokenizer.chat_template", "{{ 9**9**9 }}", either
    yield "a template that is a number", "tokenizer.chat_template", 7, either


def _records(main: Specimen) -> Iterator[Case]:
    tiny = model()
    for what, key, value, verdict in _wrong_values():
        yield main.with_data(what, gguf_bytes(tiny, metadata={key: value})[0], verdict)
    metadata = gguf_metadata(SHAPE, spm_vocabulary(SHAPE.n_vocab))
    raw = _raw(tiny.weights)
    records = list(metadata.items())
    for alignment in (scalar("u32", 0), 1, 3, 48, 64, 1 << 31, scalar("i32", -32), "32"):
        shown = alignment.payload.hex() if isinstance(alignment, Typed) else alignment
        data = gguf({**metadata, "general.alignment": alignment}, raw)
        yield main.with_data(f"alignment {shown}", data, Verdict.EITHER)
    for layers in (2, 128, 100_000):
        yield main.with_data(f"{layers} layers are stated", gguf_bytes(tiny, metadata={"llama.block_count": layers})[0])
    for context in (1 << 31, 10**12):
        stated = scalar("u64", context)
        yield main.with_data(
            f"a context of {context}", gguf_bytes(tiny, metadata={"llama.context_length": stated})[0], Verdict.EITHER
        )
    evil = gguf([*records, ("x.\x1b[2J\u202e\x07", Typed(13, bytes(8)))], raw)
    yield main.with_data("a key of control characters, of an unknown type", evil)
    yield main.with_data("a key twice", gguf([*records, records[0]], raw))
    yield main.with_data("a key of no letters", gguf([*records, ("", 1)], raw))
    yield main.with_data("a key of 64 kB", gguf([*records, ("k" * 65_536, 1)], raw))
    yield main.with_data("20,000 records", gguf([*records, *((f"x.{i}", i) for i in range(20_000))], raw))
    for key in metadata:
        optional = key in ("general.name", "llama.attention.head_count_kv") or key.startswith(
            ("llama.rope", "tokenizer.ggml.add", "tokenizer.ggml.token_type", "tokenizer.ggml.scores")
        )
        verdict = Verdict.EITHER if optional or key.endswith("_token_id") else Verdict.REFUSED
        if key == "tokenizer.ggml.model":
            verdict = Verdict.NOT_RUN  # there is no vocabulary then, and the weights can be written without one
        yield main.with_data(f"{key} left out", gguf_bytes(tiny, without=frozenset({key}))[0], verdict)


# ---- tensors ----


def _raw(weights: Any, label: str = "F32") -> list[RawTensor]:
    return [
        RawTensor(name, tuple(reversed(values.shape)), IDS[label], values.astype("<f4").tobytes())
        for name, values in weights.items()
    ]


def _tensors(main: Specimen) -> Iterator[Case]:
    tiny = model()
    metadata = gguf_metadata(SHAPE, spm_vocabulary(SHAPE.n_vocab))
    raw = _raw(tiny.weights)
    end = sum(len(t.data) for t in raw)

    def spoil(what: str, at: int, verdict: Verdict = Verdict.REFUSED, **change: Any) -> Case:
        return main.with_data(what, gguf(metadata, [*raw[:at], replace(raw[at], **change), *raw[at + 1 :]]), verdict)

    for i, tensor in enumerate(raw):
        yield main.with_data(f"{tensor.name} left out", gguf(metadata, [*raw[:i], *raw[i + 1 :]]),
                             Verdict.EITHER if tensor.name == "output.weight" else Verdict.REFUSED)  # fmt: skip
        yield spoil(f"{tensor.name} turned over", i, Verdict.EITHER, ne=tuple(reversed(tensor.ne)))
        yield spoil(f"{tensor.name} with a row too many", i, ne=(*tensor.ne[:-1], tensor.ne[-1] + 1))
        yield spoil(f"{tensor.name} is where the first is", i, Verdict.EITHER if i == 0 else Verdict.REFUSED, offset=0)
    yield spoil("a tensor twice", 3, name=raw[2].name)
    yield spoil("an offset out of the file", 3, offset=end + (1 << 30))
    yield spoil("an offset that overflows", 3, offset=(1 << 64) - 32)
    yield spoil("an offset that is no multiple", 3, offset=raw[3].offset or 33)
    yield spoil("sizes whose product overflows", 3, ne=(1 << 32, 1 << 32))
    yield spoil("sizes whose product is just below", 3, ne=(1 << 31, (1 << 32) - 1))
    yield spoil("a size of nothing", 3, ne=(0, raw[3].ne[-1]))
    yield spoil("no rows", 3, ne=(raw[3].ne[0], 0))
    yield spoil("rows that are no whole blocks", 3, type_id=IDS["Q8_0"], ne=(33, raw[3].ne[-1]))
    yield spoil("a row of 2^63", 3, ne=(1 << 63, 1))
    yield spoil("five dimensions", 3, ne=(2, 2, 2, 2, 2))
    yield spoil("no dimensions", 3, ne=())
    yield spoil("four dimensions", 3, Verdict.EITHER, ne=(*raw[3].ne, 1, 1))
    yield spoil("a tensor of control characters", 3, name="\x1b[2Jblk\x07")
    yield spoil("a tensor with a name of 64 kB", 3, name="n" * 65_536)
    yield spoil("biases", 3, name="blk.0.attn_q.bias")
    yield spoil("a layer beyond", 3, name="blk.9.attn_q.weight")
    yield spoil("a layer of a number without end", 3, name="blk." + "9" * 40 + ".attn_q.weight")
    for type_id in (4, 5, 9, 15, 16, 24, 27, 28, 31, 39, 43, 99, (1 << 32) - 1):
        yield spoil(f"type {type_id}", 3, type_id=type_id)
    yield spoil("a norm of whole blocks", 1, type_id=8)
    yield main.with_data("no tensors", gguf(metadata, []))
    yield main.with_data("70,000 tensors", gguf(metadata, [RawTensor(f"t{i}", (1,), 0, b"") for i in range(70_000)]))
    yield main.with_data("more tensors than stated", gguf(metadata, raw, n_tensors=5))
    yield main.with_data("fewer records than stated", gguf(metadata, raw, n_metadata=len(metadata) + 3))


def _not_numbers(main: Specimen) -> Iterator[Case]:
    for bad in (np.nan, np.inf, -np.inf):
        for name in ("token_embd.weight", "blk.0.attn_norm.weight", "blk.0.ffn_down.weight", "output.weight"):
            weights = {key: values.copy() for key, values in model().weights.items()}
            weights[name].flat[-1] = bad
            spoiled = replace(model(), weights=weights)
            yield main.with_data(f"{bad} in {name}", gguf_bytes(spoiled)[0], Verdict.NOT_RUN)
            if name != "blk.0.attn_norm.weight" and bad is not np.nan:
                yield main.with_data(f"{bad} in {name} as F16", gguf_bytes(spoiled, types="F16")[0], Verdict.NOT_RUN)
    wide = random_model(replace(SHAPE, n_embd=256, n_ff=256, n_heads=4, n_kv_heads=2))
    scales = {"Q4_0": (0,), "Q4_1": (0, 2), "Q5_0": (0,), "Q5_1": (0, 2), "Q8_0": (0,), "Q2_K": (80, 82)}
    scales |= {"Q3_K": (108,), "Q4_K": (0, 2), "Q5_K": (0, 2), "Q6_K": (208,), "IQ4_NL": (0,), "IQ4_XS": (0,)}
    for label, places in scales.items():
        data, _ = gguf_bytes(wide, types={"output.weight": label})
        elements, n_bytes = block_size(label)
        matrix = 300 * 256 // elements * n_bytes
        start = len(data) - matrix - (-matrix % 32)  # it is the last tensor
        for place in places:
            for bad, name in ((0x7E00, "NaN"), (0x7C00, "inf")):
                spoiled_bytes = bytearray(data)
                struct.pack_into("<H", spoiled_bytes, start + place, bad)
                yield main.with_data(f"{name} as a scale of {label} at {place}", bytes(spoiled_bytes), Verdict.NOT_RUN)


# ---- vocabularies ----


def _vocabularies(main: Specimen) -> Iterator[Case]:
    tiny, refused, either = model(), Verdict.REFUSED, Verdict.EITHER
    pieces = list(spm_vocabulary(300).pieces)
    key = "tokenizer.ggml."
    wrong: list[tuple[str, dict[str, Any], Verdict]] = [
        ("a token too few", {key + "tokens": pieces[:-1]}, refused),
        ("a token too many", {key + "tokens": [*pieces, "more"]}, refused),
        ("tokens that are numbers", {key + "tokens": [1, 2, 3]}, refused),
        ("tokens all alike", {key + "tokens": ["same"] * 300}, either),
        ("tokens of nothing", {key + "tokens": [""] * 300}, either),
        ("tokens of control characters", {key + "tokens": [f"\x1b[{i}m" for i in range(300)]}, either),
        (
            "tokens that are no UTF-8",
            {key + "tokens": array("str", [b"\xff\xfe" + bytes([i % 256]) for i in range(300)])},
            either,
        ),
        ("tokens of 64 kB", {key + "tokens": [*pieces[:-1], "x" * 65_537]}, refused),
        ("a token of a megabyte", {key + "tokens": [*pieces[:-1], "x" * (1 << 20)]}, refused),
        ("tokens twice", {key + "tokens": [*pieces[:150], *pieces[:150]]}, either),
        ("a type too few", {key + "token_type": [1] * 299}, refused),
        ("types unknown", {key + "token_type": [99] * 300}, either),
        ("types that are texts", {key + "token_type": ["1"] * 300}, refused),
        ("scores that are no numbers", {key + "scores": [float("nan")] * 300}, refused),
        ("scores without end", {key + "scores": [float("inf")] * 300}, refused),
        ("a score too few", {key + "scores": [0.0] * 299}, refused),
        ("a tokenizer unknown", {key + "model": "bert"}, refused),
        ("a tokenizer that is a number", {key + "model": 5}, refused),
        ("a flag that is a text", {key + "add_bos_token": "yes"}, either),
    ]
    for name in ("bos", "eos", "unknown", "padding", "eot"):
        for kind, id_ in (("u32", 300), ("u32", 1 << 31), ("u32", (1 << 32) - 1), ("i32", -1)):
            wrong += [(f"{name} is {id_}", {f"{key}{name}_token_id": scalar(kind, id_)}, either)]
    for what, metadata, verdict in wrong:
        yield main.with_data(what, gguf_bytes(tiny, metadata=metadata)[0], verdict)
    bpe = bpe_vocabulary(300)
    for what, metadata, verdict in (
        ("a merge of one word", {key + "merges": ["alone"]}, either),
        ("a merge of words unknown", {key + "merges": ["\u2200 \u2203"]}, either),
        ("no merges", {key + "merges": array("str", [])}, either),
        ("merges that are numbers", {key + "merges": [1, 2]}, refused),
        ("the same merge a thousand times", {key + "merges": [bpe.merges[0]] * 1000}, either),
        ("a pre-tokenizer unknown", {key + "pre": "\x1b[31mnone"}, either),
    ):
        yield main.with_data(f"bpe: {what}", gguf_bytes(tiny, vocabulary=bpe, metadata=metadata)[0], verdict)


# ---- split files ----


def _split() -> Iterator[Case]:
    names = [f"m-{i + 1:05d}-of-00003.gguf" for i in range(3)]
    parts = dict(zip(names, gguf_parts(model(), 3), strict=True))
    second = replace(_specimen("gguf split", parts[names[1]]), files=parts, opened=names[0], spoiled=names[1])
    yield from every_rule(second, cuts=30, numbers=20)
    first = replace(second, spoiled=names[0])
    yield Case("gguf split", "the second part is named", parts, names[1])
    yield Case("gguf split", "a part is missing", {names[0]: parts[names[0]], names[2]: parts[names[2]]}, names[0])
    yield first.with_files("the second part is the first", {names[1]: parts[names[0]]})
    yield first.with_files("two parts are exchanged", {names[1]: parts[names[2]], names[2]: parts[names[1]]})
    yield Case("gguf split", "names that are no parts'", {f"x{name}.gguf": d for name, d in parts.items()},
               f"x{names[0]}.gguf")  # fmt: skip
    for count in (0, 1, 2, 4, 65_535):
        data = gguf_parts(model(), 3, **{"split.count": count})[0]
        yield first.with_data(f"{count} parts are stated", data)
    for total in (0, 11, (1 << 31) - 1):
        yield first.with_data(
            f"{total} tensors are stated", gguf_parts(model(), 3, **{"split.tensors.count": total})[0]
        )
    yield first.with_data("the first says it is another", gguf_parts(model(), 3, **{"split.no": 7})[0])
