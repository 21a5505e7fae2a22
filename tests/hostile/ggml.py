"""Broken files of ggml, ggmf and ggjt, and models in several parts."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from tests.hostile.cases import SHAPE, Case, Cursor, Specimen, Verdict, every_rule, model
from tests.support.containers import GGML_KINDS, RawTensor, ggml
from tests.support.tiny_models import ggml_bytes, ggml_files, meta_name, spm_vocabulary

_HPARAMS = ("n_vocab", "n_embd", "n_mult", "n_head", "n_layer", "n_rot", "ftype")
_TYPES = {"ggml": "Q4_1", "ggmf v1": "F16", "ggjt v1": "Q4_2", "ggjt v2": "Q8_0", "ggjt v3": "Q5_1"}


def cases() -> Iterator[Case]:
    """All of this family."""
    for kind, types in _TYPES.items():
        data, _ = ggml_bytes(model(), kind=kind, types=types)
        many = kind == "ggjt v3"
        yield from every_rule(
            _specimen(kind, {"m.bin": data}, "m.bin"), cuts=50 if many else 20, numbers=50 if many else 24
        )
    yield from _headers()
    yield from _tensors()
    yield from _parts()


def _specimen(kind: str, files: dict[str, bytes], spoiled: str, family: str = "") -> Specimen:
    cursor = Cursor(files[spoiled])
    _, version, has_scores, alignment = GGML_KINDS[kind]
    cursor.text("the magic number", 4)
    if version is not None:
        cursor.number("the version", "<I")
    n_vocab, *_ = (cursor.number(name, "<I") for name in _HPARAMS)
    for i in range(n_vocab):
        if i in (0, 1, 270, n_vocab - 1):
            cursor.text(f"token {i}", cursor.number(f"the length of token {i}", "<I"))
            if has_scores:
                cursor.number(f"the score of token {i}", "<f")
        else:
            cursor.skip(cursor.plain("<I") + 4 * has_scores)
    number = 0
    while cursor.at < len(cursor.data):
        number += 1
        _walk_tensor(cursor, alignment, f"tensor {number}")
    return cursor.specimen(family or kind, files, "m.bin", spoiled)


#: Bytes of a block, and elements, by type number; those that these files have.
_BLOCKS = {0: (4, 1), 1: (2, 1), 3: (24, 32), 4: (10, 16), 7: (24, 32), 8: (36, 32)}


def _walk_tensor(cursor: Cursor, alignment: int, which: str) -> None:
    n_dims = cursor.number(f"the dimensions of {which}", "<I")
    n_name = cursor.number(f"the length of the name of {which}", "<I")
    kind = cursor.number(f"the type of {which}", "<I")
    size = 1
    for axis in range(n_dims):
        size *= cursor.number(f"size {axis} of {which}", "<I")
    cursor.text(f"the name of {which}", n_name)
    cursor.mark(f"the padding of {which}")
    cursor.at += -cursor.at % alignment
    n_bytes, elements = _BLOCKS[kind]
    cursor.text(f"the data of {which}", size // elements * n_bytes)


def _tokens(n: int = SHAPE.n_vocab, text: bytes | None = None, score: float = 0.0) -> list[tuple[bytes, float]]:
    return [(f"w{i}".encode() if text is None else text, score) for i in range(n)]


def _raw(type_id: int = 0) -> list[RawTensor]:
    untied = model()
    return [
        RawTensor(meta_name(name), tuple(reversed(values.shape)), type_id, values.astype("<f4").tobytes())
        for name, values in untied.weights.items()
    ]


def _scales() -> Iterator[Case]:
    """Scales of blocks that are no numbers, or so large that weights are none."""
    for kind, types in _TYPES.items():
        if types == "F16":
            continue
        data, _ = ggml_bytes(model(), kind=kind, types=types)
        good = _specimen(kind, {"m.bin": data}, "m.bin")
        at = next(offset for label, offset in reversed(good.marks) if label.startswith("the data of tensor"))
        small = types in ("Q4_2", "Q5_1")  # whose scales are float16
        for bad in (float("nan"), float("inf"), -float("inf"), *(() if small else (3e38,))):
            spoiled = bytearray(data)
            struct.pack_into("<e" if small else "<f", spoiled, at, bad)
            verdict = Verdict.EITHER if bad == 3e38 else Verdict.NOT_RUN
            yield good.with_data(f"{bad} as a scale", bytes(spoiled), verdict)


_NUMBERS = (SHAPE.n_vocab, SHAPE.n_embd, 32, SHAPE.n_heads, SHAPE.n_layers, 16, 0)


def _headers() -> Iterator[Case]:
    good = _specimen("ggjt v3", {"m.bin": ggml("ggjt v3", _NUMBERS, _tokens(), _raw())}, "m.bin")
    yield good.case("numbers of its own", Verdict.OPENS)
    for i, name in enumerate(_HPARAMS):
        for value in (0, 1, 3, 1 << 16, 1 << 20, 1 << 31, (1 << 32) - 1):
            numbers = (*_NUMBERS[:i], value, *_NUMBERS[i + 1 :])
            free = name in ("n_mult", "n_rot", "ftype")
            if numbers != _NUMBERS:
                data = ggml("ggjt v3", numbers, _tokens(), _raw())
                yield good.with_data(f"{name} {value}", data, Verdict.EITHER if free else Verdict.REFUSED)
    for what, tokens, verdict in (
        ("a token too few", _tokens(299), Verdict.REFUSED),
        ("a token too many", _tokens(301), Verdict.REFUSED),
        ("tokens all alike", _tokens(text=b"same"), Verdict.EITHER),
        ("tokens of nothing", _tokens(text=b""), Verdict.EITHER),
        ("tokens of control characters", _tokens(text=b"\x1b[31m\xff"), Verdict.EITHER),
        ("scores that are no numbers", _tokens(score=float("nan")), Verdict.REFUSED),
        ("scores without end", _tokens(score=float("-inf")), Verdict.REFUSED),
        ("a token of 70,000 bytes", [*_tokens(299), (b"x" * 70_000, 0.0)], Verdict.REFUSED),
    ):
        yield good.with_data(what, ggml("ggjt v3", _NUMBERS, tokens, _raw()), verdict)
    yield from _scales()
    few = ggml("ggjt v3", (100, *_NUMBERS[1:]), _tokens(100), _raw())
    yield good.with_data("a hundred tokens", few)
    for magic, what in ((b"algg", "an adapter"), (b"nsgg", "a session"), (b"ggml", "the magic number turned around")):
        yield good.with_data(what, magic + good.data[4:])


def _tensors() -> Iterator[Case]:
    raw = _raw()
    good = _specimen("ggjt v3", {"m.bin": ggml("ggjt v3", _NUMBERS, _tokens(), raw)}, "m.bin")

    def spoiled(what: str, tensors: list[RawTensor], verdict: Verdict = Verdict.REFUSED) -> Case:
        return good.with_data(what, ggml("ggjt v3", _NUMBERS, _tokens(), tensors), verdict)

    for i, tensor in enumerate(raw):
        yield spoiled(f"{tensor.name} left out", [*raw[:i], *raw[i + 1 :]])
        yield spoiled(f"{tensor.name} twice", [*raw, tensor])
    for type_id in (4, 5, 9, 15, 16, 99, (1 << 32) - 1):
        yield spoiled(f"type {type_id}", [*raw[:3], replace(raw[3], type_id=type_id), *raw[4:]])
    yield spoiled("sizes whose product overflows", [*raw, RawTensor("x", (1 << 31, 1 << 31), 0, b"")])
    yield spoiled("a size of nothing", [*raw, RawTensor("x", (0, 5), 0, b"")])
    yield spoiled("a tensor of no model", [*raw, RawTensor("visual.\x1b[2J", (4,), 0, bytes(16))])
    yield spoiled("ten thousand tensors", [*raw, *(RawTensor(f"t{i}", (1,), 0, bytes(4)) for i in range(10_000))])
    for bad in (np.nan, np.inf):
        weights = {name: values.copy() for name, values in model().weights.items()}
        weights["blk.0.ffn_up.weight"].flat[7] = bad
        data, _ = ggml_bytes(replace(model(), weights=weights), kind="ggjt v1")
        yield good.with_data(f"{bad} in a matrix", data, Verdict.NOT_RUN)
    scaled = bytearray(ggml_bytes(model(), kind="ggjt v2", types="Q4_0")[0])
    struct.pack_into("<f", scaled, len(scaled) - 20, float("nan"))
    yield good.with_data("NaN as a scale of Q4_0 of version 2", bytes(scaled), Verdict.NOT_RUN)


def _parts() -> Iterator[Case]:
    made, _ = ggml_files(model(n_kv_heads=2), kind="ggmf v1", types="F16", parts=2)
    files = {"m.bin": made[0], "m.bin.1": made[1]}
    yield from every_rule(_specimen("ggmf v1", files, "m.bin.1", "ggmf in parts"), cuts=16, numbers=16)
    good = _specimen("ggmf v1", files, "m.bin", "ggmf in parts")
    yield Case(good.family, "the second part is missing", {"m.bin": made[0]}, "m.bin")
    yield Case(good.family, "the second part is named", files, "m.bin.1")
    other, _ = ggml_files(model(n_kv_heads=2, n_layers=2), kind="ggmf v1", types="F16", parts=2)
    quantised, _ = ggml_files(model(n_kv_heads=2), kind="ggmf v1", types="F32", parts=2)
    yield good.with_files("a part of another model", {"m.bin.1": other[1]})
    yield good.with_files("a part of other types", {"m.bin.1": quantised[1]})
    words = spm_vocabulary(320)
    yield good.with_files("a part of another vocabulary", {
        "m.bin.1": ggml_files(model(n_kv_heads=2, n_vocab=320), kind="ggmf v1", types="F16", parts=2,
                              vocabulary=words)[0][1]})  # fmt: skip
