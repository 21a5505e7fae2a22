"""Weight files byte by byte, so that tests can write good ones and spoil them in any place."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class RawTensor:
    """A tensor as a file states it: ``ne`` counts columns first, ``type_id`` is ggml's number."""

    name: str
    ne: tuple[int, ...]
    type_id: int
    data: bytes
    offset: int | None = None  #: GGUF: where the file says the data is; None: where it really is


@dataclass(frozen=True)
class Typed:
    """A GGUF value whose type is stated: its number, and the bytes after it."""

    type_id: int
    payload: bytes


GGUF_TYPES = {"u8": 0, "i8": 1, "u16": 2, "i16": 3, "u32": 4, "i32": 5, "f32": 6, "bool": 7, "str": 8, "array": 9}
GGUF_TYPES |= {"u64": 10, "i64": 11, "f64": 12}
_STRUCTS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}


def gguf_string(text: str | bytes) -> bytes:
    data = text.encode() if isinstance(text, str) else text
    return struct.pack("<Q", len(data)) + data


def scalar(type_name: str, value: float) -> Typed:
    type_id = GGUF_TYPES[type_name]
    return Typed(type_id, struct.pack(_STRUCTS[type_id], value))


def array(type_name: str, values: Sequence[Any], count: int | None = None) -> Typed:
    """An array value; ``count`` is what the file claims, where that is to differ from the truth."""
    type_id = GGUF_TYPES[type_name]
    items = b"".join(gguf_string(v) if type_id == 8 else struct.pack(_STRUCTS[type_id], v) for v in values)
    return Typed(9, struct.pack("<IQ", type_id, len(values) if count is None else count) + items)


def typed(value: Any) -> Typed:
    """The GGUF value that a converter would write for a Python value."""
    match value:
        case Typed():
            return value
        case bool():
            return scalar("bool", value)
        case int():
            return scalar("u32", value)
        case float():
            return scalar("f32", value)
        case str() | bytes():
            return Typed(8, gguf_string(value))
        case [str() | bytes(), *_]:
            return array("str", value)
        case [float(), *_]:
            return array("f32", value)
        case _:
            return array("i32", list(value))


def gguf(
    metadata: Mapping[str, Any] | Iterable[tuple[str, Any]],
    tensors: Sequence[RawTensor],
    *,
    version: int = 3,
    alignment: int = 32,
    n_tensors: int | None = None,
    n_metadata: int | None = None,
) -> bytes:
    """A GGUF v2 or v3 file. The two counts are what the header claims, where that is to differ from the truth."""
    records = list(metadata.items() if isinstance(metadata, Mapping) else metadata)
    head = [
        b"GGUF",
        struct.pack(
            "<IQQ",
            version,
            len(tensors) if n_tensors is None else n_tensors,
            len(records) if n_metadata is None else n_metadata,
        ),
    ]
    for key, value in records:
        value = typed(value)
        head.append(gguf_string(key) + struct.pack("<I", value.type_id) + value.payload)
    data = bytearray()
    for tensor in tensors:
        offset = len(data) if tensor.offset is None else tensor.offset
        dims = struct.pack(f"<I{len(tensor.ne)}Q", len(tensor.ne), *tensor.ne)
        head.append(gguf_string(tensor.name) + dims + struct.pack("<IQ", tensor.type_id, offset))
        data += tensor.data
        data += bytes(-len(data) % alignment)
    header = b"".join(head)
    return header + bytes(-len(header) % alignment) + data


def gguf_plain(
    metadata: Mapping[str, Any], tensors: Sequence[RawTensor], *, version: int, order: str = "<", nul: bool = False
) -> bytes:
    """A GGUF file of any version and byte order (``<`` or ``>``), with plain Python values for metadata.

    The data of the tensors must be in that order already. ``nul`` ends texts as the first writers did.
    """
    count = order + ("I" if version == 1 else "Q")

    def text(value: str) -> bytes:
        data = value.encode() + b"\0" * nul
        return struct.pack(count, len(data)) + data

    def value_of(value: Any) -> bytes:
        match value:
            case bool():
                return struct.pack(order + "I?", 7, value)
            case int():
                return struct.pack(order + "II", 4, value)
            case float():
                return struct.pack(order + "If", 6, value)
            case str():
                return struct.pack(order + "I", 8) + text(value)
        code = {str: 8, float: 6, int: 5}[type(value[0])]
        items = b"".join(
            text(v) if isinstance(v, str) else struct.pack(order + ("f" if isinstance(v, float) else "i"), v)
            for v in value
        )
        return struct.pack(order + "II", 9, code) + struct.pack(count, len(value)) + items

    head = (
        b"GGUF"
        + struct.pack(order + "I", version)
        + struct.pack(count, len(tensors))
        + struct.pack(count, len(metadata))
    )
    head += b"".join(text(key) + value_of(value) for key, value in metadata.items())
    data = b""
    for tensor in tensors:
        ne = b"".join(struct.pack(count, n) for n in tensor.ne)
        head += text(tensor.name) + struct.pack(order + "I", len(tensor.ne)) + ne
        head += struct.pack(order + "IQ", tensor.type_id, len(data))
        data += tensor.data + bytes(-len(tensor.data) % 32)
    return head + bytes(-len(head) % 32) + data


#: Magic, version, whether tokens have scores, alignment of data: what sets the kinds of ggml file apart.
GGML_KINDS = {
    "ggml": (0x67676D6C, None, False, 1),
    "ggmf v1": (0x67676D66, 1, True, 1),
    "ggjt v1": (0x67676A74, 1, True, 32),
    "ggjt v2": (0x67676A74, 2, True, 32),
    "ggjt v3": (0x67676A74, 3, True, 32),
}


def ggml(
    kind: str, hparams: Sequence[int], vocabulary: Iterable[tuple[bytes, float]], tensors: Iterable[RawTensor]
) -> bytes:
    """A ggml, ggmf or ggjt file; ``hparams`` are n_vocab, n_embd, n_mult, n_head, n_layer, n_rot, ftype."""
    magic, version, has_scores, alignment = GGML_KINDS[kind]
    out = bytearray(struct.pack("<I", magic))
    out += b"" if version is None else struct.pack("<I", version)
    out += struct.pack("<7I", *hparams)
    for text, score in vocabulary:
        out += struct.pack("<I", len(text)) + text + (struct.pack("<f", score) if has_scores else b"")
    for tensor in tensors:
        name = tensor.name.encode()
        out += struct.pack(f"<3I{len(tensor.ne)}I", len(tensor.ne), len(name), tensor.type_id, *tensor.ne) + name
        out += bytes(-len(out) % alignment)
        out += tensor.data
    return bytes(out)


def tokenizer_bin(vocabulary: Sequence[tuple[bytes, float]]) -> bytes:
    """llama2.c's tokenizer.bin, in its current layout."""
    out = bytearray(struct.pack("<I", max(len(text) for text, _ in vocabulary)))
    for text, score in vocabulary:
        out += struct.pack("<fI", score, len(text)) + text
    return bytes(out)
