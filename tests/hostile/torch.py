"""Broken checkpoints of PyTorch: archives that are not what they say, and pickles that are bombs or would run code."""

from __future__ import annotations

import io
import json
import os
import pickle
import pickletools
import struct
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from tests.hostile.cases import SHAPE, Case, Cursor, Specimen, Verdict, every_rule, json_values, model
from tests.support.blocks import quantize
from tests.support.tiny_models import meta_name
from tests.support.torch_files import Call, View, archive, checkpoint, contiguous, pickled

_PARAMS = {"dim": 32, "n_layers": 1, "n_heads": 2, "n_kv_heads": 1, "norm_eps": 1e-5, "vocab_size": 300}
_PARAMS |= {"max_seq_len": 128}
_FIRST = "consolidated.00.pth"
_WEIGHTS = {meta_name(name): values for name, values in model().weights.items()}


def cases(vocabulary: Mapping[str, bytes]) -> Iterator[Case]:
    """All of this family; ``vocabulary`` are the files of the tokens."""
    words = {"tokenizer.model": vocabulary["tokenizer.model"]}
    files = {_FIRST: checkpoint(_WEIGHTS, "BF16"), "params.json": json.dumps(_PARAMS).encode(), **words}
    good = _specimen("meta .pth", files, "", _FIRST)
    yield from every_rule(good, cuts=60, numbers=90)
    yield from _archives(good)
    yield from _pickles(good)
    yield from _states(good)
    for what, values in json_values(good, "params.json", _PARAMS):
        yield good.with_files(what, {"params.json": json.dumps(values).encode()}, Verdict.EITHER)
    yield from _shards(words)
    yield from _training(vocabulary)


def _specimen(family: str, files: Mapping[str, bytes], opened: str, spoiled: str) -> Specimen:
    cursor = Cursor(files[spoiled])
    number, text = cursor.number, cursor.text
    for magic, what in ((b"PK\x03\x04", "member"), (b"PK\x01\x02", "entry")):
        which = 0
        while cursor.data.startswith(magic, cursor.at):
            _walk_member(cursor, f"{what} {which}", is_entry=what == "entry")
            which += 1
    text("the end record", 4)
    for label, layout in (("disk", "H"), ("first disk", "H"), ("count here", "H"), ("count", "H"), ("size", "I"),
                          ("place", "I"), ("comment's length", "H")):  # fmt: skip
        number(f"the directory's {label}", "<" + layout)
    return cursor.specimen(family, files, opened, spoiled)


def _walk_member(cursor: Cursor, which: str, *, is_entry: bool) -> None:
    """A member's own header and data, or its entry in the directory."""
    cursor.text(which, 6 if is_entry else 4)
    for label, layout in (("version", "H"), ("flags", "H"), ("method", "H"), ("time", "I"), ("checksum", "I")):
        cursor.number(f"the {label} of {which}", "<" + layout)
    size, _ = cursor.number(f"the size of {which}", "<I"), cursor.number(f"the whole size of {which}", "<I")
    lengths = [cursor.number(f"length {i} of {which}", "<H") for i in range(3 if is_entry else 2)]
    if is_entry:
        cursor.text(f"the attributes of {which}", 8)
        cursor.number(f"the place of {which}", "<I")
    cursor.text(f"the name of {which}", sum(lengths))
    if not is_entry:
        cursor.text(f"the data of {which}", size)


# ---- archives ----


def _zipped(members: Mapping[str, bytes], method: int) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as file:
        for name, data in members.items():
            file.writestr(name, data)
    return out.getvalue()


def _archives(good: Specimen) -> Iterator[Case]:
    everything = _members(good.data)
    yield good.with_data("members compressed", _zipped(everything, zipfile.ZIP_DEFLATED))
    yield good.with_data("a bomb of 256 MB", _zipped({"a/data.pkl": bytes(256 << 20)}, zipfile.ZIP_DEFLATED))
    bombs = {f"a/{i}.pkl": _zipped({"b": bytes(1 << 20)}, zipfile.ZIP_DEFLATED) for i in range(50)}
    yield good.with_data("bombs in a bomb", _zipped(bombs, zipfile.ZIP_STORED))
    yield good.with_data("bzip2", _zipped(everything, zipfile.ZIP_BZIP2))
    yield good.with_data("20,000 members", _zipped({f"a/{i}": b"" for i in range(20_000)}, zipfile.ZIP_STORED))
    yield good.with_data("no pickle", _zipped({"word/document.xml": b"<x/>"}, zipfile.ZIP_STORED))
    yield good.with_data("two pickles", _zipped({"a/data.pkl": b"N.", "b/data.pkl": b"N."}, zipfile.ZIP_STORED))
    yield good.with_data("names that lead elsewhere", _zipped(
        {"../../data.pkl": b"N.", "/etc/passwd": b""}, zipfile.ZIP_STORED))  # fmt: skip
    yield good.with_data("names of control characters", _zipped({"\x1b[2J/data.pkl": b"N."}, zipfile.ZIP_STORED))
    for name in list(everything)[1:4]:
        less = {key: data for key, data in everything.items() if key != name}
        yield good.with_data(f"without {name}", _zipped(less, zipfile.ZIP_STORED))
        yield good.with_data(f"{name} shorter", _zipped(
            {**everything, name: everything[name][:-2]}, zipfile.ZIP_STORED))  # fmt: skip
    overlapping = bytearray(good.data)
    first = overlapping.index(b"PK\x01\x02")
    for at in _all_of(bytes(overlapping), b"PK\x01\x02"):
        overlapping[at + 42 : at + 46] = overlapping[first + 42 : first + 46]
    yield good.with_data("members all in one place", bytes(overlapping))
    flipped = bytearray(good.data)
    flipped[_all_of(good.data, b"PK\x03\x04")[1] + 300] ^= 0x40
    yield good.with_data("a bit of the weights flipped", bytes(flipped), Verdict.NOT_RUN)
    for order in (b"big", b"middle", b"b" * 100_000):
        members = {**everything, "archive/byteorder": order}
        yield good.with_data(f"byte order {order[:8].decode()}", _zipped(members, zipfile.ZIP_STORED), Verdict.EITHER)
    yield from _disagreements(good, everything)
    yield good.with_data("a file from before PyTorch 1.6", b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19." + bytes(500))


def _disagreements(good: Specimen, everything: Mapping[str, bytes]) -> Iterator[Case]:
    """What a member says of itself, against what the directory says of it."""
    locals_, entries = _all_of(good.data, b"PK\x03\x04"), _all_of(good.data, b"PK\x01\x02")
    for what, at, layout, change in (
        ("another name", 30, "B", 1),
        ("a byte more", 22, "I", 1),
        ("a byte less", 22, "I", -1),
        ("half the stored size", 18, "I", -32),
        ("another checksum", 14, "I", 1),
        ("another method", 8, "H", 8),
        ("a password", 6, "H", 1),
        ("sizes that follow", 6, "H", 8),
        ("a longer extra field", 28, "H", 4),
    ):
        for which in (0, 1):
            data = bytearray(good.data)
            place = locals_[which] + at
            value = struct.unpack_from("<" + layout, data, place)[0] + change
            struct.pack_into("<" + layout, data, place, value % (1 << 8 * struct.calcsize(layout)))
            yield good.with_data(f"member {which} has {what} than the directory", bytes(data), Verdict.EITHER)
    later = bytearray(good.data)
    for which, step in ((1, -8), (2, 4)):
        struct.pack_into("<I", later, entries[which] + 42, locals_[which] + step)
    yield good.with_data("members that overlap by a few bytes", bytes(later))
    twice = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(twice, "w", zipfile.ZIP_STORED) as file:
        warnings.simplefilter("ignore")
        for name, content in [*everything.items(), ("archive/data.pkl", b"}.")]:
            file.writestr(name, content)
    yield good.with_data("a member twice", twice.getvalue())
    wide = io.BytesIO()
    with zipfile.ZipFile(wide, "w", zipfile.ZIP_STORED) as file:
        for name, content in everything.items():
            with file.open(name, "w", force_zip64=True) as member:
                member.write(content)
    yield good.with_data("sizes of 64 bits", wide.getvalue(), Verdict.OPENS)
    nowhere = bytearray(good.data)
    struct.pack_into("<2I", nowhere, locals_[1] + 18, (1 << 32) - 1, (1 << 32) - 1)
    yield good.with_data("sizes of 64 bits that are nowhere", bytes(nowhere))
    end = good.data.rindex(b"PK\x05\x06")
    record = struct.pack("<4sQ2H2I4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, 1 << 60, 1 << 60, 1 << 62, 1 << 62)
    locator = struct.pack("<4sIQI", b"PK\x06\x07", 0, end, 1)
    full = struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, (1 << 32) - 1, (1 << 32) - 1, 0)
    yield good.with_data("a directory of 64 bits without end", good.data[:end] + record + locator + full)
    yield good.with_data("a directory of 64 bits that is itself", good.data[:end] + locator + full)
    yield good.with_data("something in front", b"#!/bin/sh\n" + good.data, Verdict.EITHER)
    yield good.with_data("something behind", good.data + bytes(1000), Verdict.EITHER)
    yield good.with_data(
        "an end in the comment", good.data[:-2] + struct.pack("<H", 22) + good.data[end:], Verdict.EITHER
    )


def _all_of(data: bytes, magic: bytes) -> list[int]:
    places = [data.find(magic)]
    while (at := data.find(magic, places[-1] + 1)) >= 0:
        places.append(at)
    return places


def _members(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        return {name: file.read(name) for name in file.namelist()}


# ---- pickles ----


class _Payload:
    """Makes a file where it is unpickled by Python: a case that leaves one has run it."""

    def __init__(self, function: Any, *args: Any) -> None:
        self.what = function, args

    def __reduce__(self) -> Any:
        return self.what


def _pickles(good: Specimen) -> Iterator[Case]:
    whole = _members(good.data)["archive/data.pkl"]
    ends = [at for _, _, at in pickletools.genops(whole) if at][:: max(1, len(whole) // 1500)]
    for end in ends[:40]:
        yield good.with_data(f"a pickle cut at {end}", archive(whole[:end], {}))
        yield good.with_data(f"a pickle that stops at {end}", archive(whole[:end] + b".", {}))
    for protocol in range(6):
        for what, payload in (
            ("a command", _Payload(os.system, "touch marker")),
            ("code", _Payload(exec, "open('marker', 'w').close()")),
            ("an evaluation", {"tok_embeddings.weight": _Payload(eval, "open('marker', 'w')")}),
        ):
            yield good.with_data(f"{what}, protocol {protocol}", archive(pickle.dumps(payload, protocol), {}))
    for what, data in _ways_around().items():
        yield good.with_data(what, archive(data, {}))
    for what, data in _bombs().items():
        yield good.with_data(what, archive(data, {}))


def _ways_around() -> dict[str, bytes]:
    """Calls that hide behind names that are allowed, or in instructions that few files have."""
    run = b'(S\'open("marker","w")\'\nt'

    def named(module: str, name: str) -> bytes:  # protocol 4, where a name may have dots
        return b"\x80\x04\x8c" + bytes([len(module)]) + module.encode() + b"\x8c" + bytes([len(name)]) + name.encode()

    return {
        "a name with dots": named("torch._utils", "torch.os.system") + b"\x93\x8c\x0ctouch marker\x85R.",
        "a name with dots, of a dictionary": named("collections", "OrderedDict.fromkeys") + b"\x93)R.",
        "eval by the old name": b"c__builtin__\neval\n" + run + b"R.",
        "an import": b"cbuiltins\n__import__\n(S'this'\ntR.",
        "getattr of what is allowed": b"cbuiltins\ngetattr\n(ctorch._utils\n_rebuild_tensor_v2\nS'__globals__'\ntR.",
        "an object with arguments": b"\x80\x04cos\nsystem\n(S'touch marker'\nt}\x92.",
        "an object by its class, new": b"\x80\x02cos\nsystem\n(S'touch marker'\nt\x81.",
        "a state for what is allowed": b"ccollections\nOrderedDict\n)R}S'__class__'\ncos\nsystem\nsb.",
        "a reduction in a storage": b"((S'storage'\ncos\nsystem\nS'0'\nS'cpu'\nK\x01tQ.",
        "a storage of a call": b"\x80\x02(X\x07\0\0\0storagecos\nsystem\nX\x01\0\0\x000X\x03\0\0\0cpuK\x01tQ.",
        "functools": b"cfunctools\npartial\n(cos\nsystem\nS'touch marker'\ntR)R.",
        "numpy": b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\0tS'b'\ntR.",
        "code of a module": b"ctypes\nCodeType\n)R.",
        "torch.load in it": b"ctorch\nload\n(S'marker'\ntR.",
        "a shell": b"csubprocess\nPopen\n((S'touch'\nS'marker'\nltR.",
        "two ends": b"N.N.",
        "a buffer out of band": b"\x80\x05\x97.",
        "text that is no text": b"\x8c\x04\xff\xfe\xed\xa0.",
        "a number of text": b"L" + b"9" * 100_000 + b"L\n.",
        "a float of text": b"F" + b"1" * 100_000 + b"\n.",
    }


def _bombs() -> dict[str, bytes]:
    doubling = b"]q\0" + b"(h\0h\0h\0h\0e" * 50_000 + b"."
    return {
        "lists 500,000 deep": b"]" * 500_000 + b"a" * 499_999 + b".",
        "tuples 500,000 deep": b")" + b"\x85" * 500_000 + b".",
        "marks 500,000 deep": b"(" * 500_000 + b".",
        "a list of itself": doubling,
        "tuples that double": b"K\1" + b"q\0h\0\x86" * 100_000 + b".",
        "dictionaries as keys": b"}(" + b"}N" * 100_000 + b"u.",
        "tuples as keys that double": b"}K\1" + b"q\0h\0\x86" * 40 + b"Ns.",
        "a text of 4 GB": b"X\xff\xff\xff\xffabc.",
        "bytes of 2^63": b"\x8e" + struct.pack("<Q", 1 << 63) + b"abc.",
        "a frame of 2^64": b"\x80\x04\x95" + b"\xff" * 8 + b"N.",
        "a number of 2 GB": b"\x8b\xff\xff\xff\x7f.",
        "a number of 255 bytes": b"\x8a\xff" + b"\x7f" * 255 + b".",
        "a memo without end": b"N" + b"r\xff\xff\xff\xff" * 100_000 + b".",
        "a memo that is not there": b"h\x07.",
        "two million nothings": b"N" * 2_000_000 + b".",
        "9 MB of nothing": b"N" * (9 << 20),
        "a name without end": b"c" + b"a" * 1_000_000,
        "a name of control characters": b"cos\x1b[31m\nsys\x07tem\n.",
        "an extension": b"\x82\x01.",
        "a persistent id in text": b"Pstorage\n.",
        "an object by its class": b"(cos\nsystem\no.",
        "an instance": b"(S'touch marker'\nios\nsystem\n.",
        "build on nothing": b"}b.",
        "a set": b"\x8f.",
        "a call of a size": b"ctorch\nSize\n(K\1t\x85R.",
        "a call of a storage": b"ctorch\nFloatStorage\n)R.",
        "a type within a type": b"ctorch._tensor\n_rebuild_from_type_v2\n" * 1 + b"(h\0)R.",
    }


# ---- what is in a state ----


def _states(good: Specimen) -> Iterator[Case]:
    state = {name: contiguous(str(i), "BF16", values) for i, (name, values) in enumerate(_WEIGHTS.items())}
    storages = {str(i): quantize("BF16", values) for i, values in enumerate(_WEIGHTS.values())}
    name = "layers.0.attention.wq.weight"
    view = state[name]

    def spoiled(what: str, other: Any, verdict: Verdict = Verdict.REFUSED) -> Case:
        return good.with_data(what, archive(pickled({**state, name: other}), storages), verdict)

    for what, change in {
        "beyond its storage": {"offset": 1},
        "an offset that overflows": {"offset": (1 << 63) - 1},
        "a negative stride": {"stride": (-32, 1)},
        "a stride without end": {"stride": ((1 << 63) - 1, 1)},
        "rows all in one place": {"stride": (0, 1)},
        "rows that overlap": {"stride": (1, 1)},
        "columns apart": {"stride": (1, 32)},
        "a shape of nothing": {"shape": (0, 32)},
        "a shape without end": {"shape": (1 << 31, 1 << 31), "stride": (1 << 31, 1)},
        "three dimensions": {"shape": (1, 32, 32), "stride": (1024, 32, 1)},
        "a thousand dimensions": {"shape": (1,) * 1000, "stride": (1,) * 1000},
        "no dimensions": {"shape": (), "stride": ()},
        "other strides than sizes": {"stride": (1,)},
        "turned over": {"shape": (64, 16), "stride": (16, 1)},
        "a storage of another tensor": {"key": "0"},
        "a storage that is not there": {"key": "../0"},
        "a storage of control characters": {"key": "\x1b[2J"},
        "a storage of more than there is": {"n_elements": 1 << 40},
    }.items():
        overlap = what in ("rows all in one place", "rows that overlap", "a storage of another tensor")
        yield spoiled(what, replace(view, **change), Verdict.EITHER if overlap else Verdict.REFUSED)  # type: ignore[arg-type]
    yield spoiled("a number in place of a tensor", 5)
    yield spoiled("a list in place of a tensor", [view])
    yield spoiled("a call in place of a tensor", Call("collections OrderedDict"))
    for key in state:
        less = {k: v for k, v in state.items() if k != key}
        yield good.with_data(f"{key} left out", archive(pickled(less), storages),
                             Verdict.EITHER if key == "output.weight" else Verdict.REFUSED)  # fmt: skip
    yield good.with_data("a list in place of a dictionary", archive(pickled(list(state.values())), storages))
    yield good.with_data("no tensors", archive(pickled({}), storages))
    both = {**state, "_orig_mod." + name: view}
    yield good.with_data("a tensor under two names", archive(pickled(both), storages), Verdict.EITHER)
    for bad in (np.nan, np.inf):
        weights = {key: values.copy() for key, values in _WEIGHTS.items()}
        weights[name].flat[3] = bad
        yield good.with_data(f"{bad} in a matrix", checkpoint(weights, "BF16"), Verdict.NOT_RUN)


def _shards(words: Mapping[str, bytes]) -> Iterator[Case]:
    by_columns = ("tok_embeddings.weight", "wo.weight", "w2.weight")
    cut: list[dict[str, Any]] = [{}, {}]
    for name, values in {meta_name(n): v for n, v in model(n_kv_heads=2).weights.items()}.items():
        pieces = np.split(values, 2, int(name.endswith(by_columns))) if values.ndim == 2 else [values, values]
        for shard, piece in zip(cut, pieces, strict=True):
            shard[name] = np.ascontiguousarray(piece)
    files = {f"consolidated.{i:02d}.pth": checkpoint(shard, "F16") for i, shard in enumerate(cut)}
    files |= {"params.json": json.dumps({**_PARAMS, "n_kv_heads": 2}).encode(), **words}
    second = "consolidated.01.pth"
    good = _specimen("meta .pth shards", files, "", second)
    yield from every_rule(good, cuts=16, numbers=16)
    yield Case(good.family, "the second is missing", {k: v for k, v in files.items() if k != second}, "")
    yield Case(good.family, "the first is missing", {k: v for k, v in files.items() if k != _FIRST}, "")
    yield Case(good.family, "no numbers", {k: v for k, v in files.items() if k != "params.json"}, "")
    yield good.with_data("of other shapes", checkpoint(_WEIGHTS, "F16"))
    yield good.with_data("of another type", checkpoint(cut[1], "BF16"))
    less = {k: v for k, v in cut[1].items() if "w3" not in k}
    yield good.with_data("without a tensor", checkpoint(less, "F16"))
    third = {"consolidated.02.pth": checkpoint(cut[1], "F16")}
    yield good.with_files("a third", third)


def _training(vocabulary: Mapping[str, bytes]) -> Iterator[Case]:
    """llama2.c's ckpt.pt: the numbers are in the pickle."""
    args = {"dim": 32, "n_layers": 1, "n_heads": 2, "n_kv_heads": 1, "vocab_size": 300, "max_seq_len": 128}
    state = {name: contiguous(str(i), "F32", values) for i, (name, values) in enumerate(_WEIGHTS.items())}
    storages = {str(i): quantize("F32", values) for i, values in enumerate(_WEIGHTS.values())}

    def made(numbers: Any, tensors: Mapping[str, View] = state) -> bytes:
        return archive(pickled({"model": dict(tensors), "model_args": numbers, "iter_num": 5}), storages)

    files = {"ckpt.pt": made(args), "tokenizer.bin": vocabulary["tokenizer.bin"]}
    good = _specimen("llama2.c ckpt.pt", files, "ckpt.pt", "ckpt.pt")
    yield from every_rule(good, cuts=16, numbers=16)
    for key in args:
        for value in (0, -1, 7, 1 << 31, 1 << 62, 0.5, "text", None, [1]):
            yield good.with_data(f"{key} is {value}", made({**args, key: value}), Verdict.EITHER)
    yield good.with_data("no numbers", made([]))
    yield good.with_data("no tensors", made(args, {}))
    yield good.with_data("a context without end", made({**args, "max_seq_len": 1 << 40}), Verdict.EITHER)
    assert SHAPE.n_vocab == args["vocab_size"]
