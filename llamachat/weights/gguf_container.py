"""GGUF, versions 1 to 3: the container. Metadata by key, tensors by name.

    "GGUF", u32 version, u64 tensors, u64 records
    record:  string key, u32 type, value           string: u64 length, bytes
    tensor:  string name, u32 n, u64 ne[n], u32 type, u64 offset from the data
    padding to the alignment, then the data

In version 1 counts, lengths and ne are u32. A file in which the low half of the version is zero is big-endian: all
numbers in it, those of the tensors too, and not the four letters.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from llamachat.weights.files import Refusal, RegularFile, quoted
from llamachat.weights.llama import rows_and_columns
from llamachat.weights.reader import COUNT_LIMIT, Reader, RecordLayout
from llamachat.weights.tensors import TYPES_BY_ID, Tensor

MAGIC = b"GGUF"

#: Bytes of one text (a chat template, a description) that are kept, at most.
TEXT_LIMIT = 1 << 20
#: Records and tensors, at most: real files have some 40 and up to 723.
RECORDS_LIMIT = 1 << 14
TENSORS_LIMIT = 1 << 16
KEY_LIMIT = 1 << 10
NAME_LIMIT = 63
ALIGNMENT_LIMIT = 1 << 20

_START = struct.Struct("<4sI")
_STRING, _ARRAY_TYPE = 8, 9
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}


class _Layout:
    """How numbers are written in a version and byte order (``<`` or ``>``)."""

    def __init__(self, version: int, order: str) -> None:
        count = "I" if version == 1 else "Q"
        self.version = version
        self.order = order
        self.count = count
        self.counts = struct.Struct(f"{order}2{count}")
        self.u32 = struct.Struct(f"{order}I")
        self.length = struct.Struct(f"{order}{count}")
        self.array = struct.Struct(f"{order}I{count}")
        self.strings = RecordLayout(self.length)
        self.scalars = {number: struct.Struct(order + code) for number, code in _SCALARS.items()}

    def dims(self, n: int) -> struct.Struct:
        """What follows a tensor's number of dimensions: sizes, type, offset."""
        return struct.Struct(f"{self.order}{n}{self.count}IQ")

    def text(self, data: bytes) -> bytes:
        """A text; the first writers counted a NUL at its end."""
        return data.removesuffix(b"\0") if self.version == 1 else data


#: Arrays and long texts under other keys are checked and passed over.
_WANTED = ("llama.", "tokenizer.ggml.", "tokenizer.chat_template")

#: Texts in a list under these keys go along when the model is converted: licences, languages, tags.
_KEPT_LISTS = "general."


@dataclass(frozen=True)
class Container:
    """What a GGUF file says of itself: values by key (arrays as tuples), and tensors with their places."""

    version: int
    big_endian: bool
    metadata: Mapping[str, Any]
    tensors: Mapping[str, tuple[Tensor, int]]


def read_container(file: RegularFile) -> Container:
    """Reads and checks everything before the data. ``Refusal`` says what is wrong."""
    reader = Reader(file)
    _, stated = reader.unpack(_START)
    big_endian = stated & 0xFFFF == 0
    version = int.from_bytes(stated.to_bytes(4, "little"), "big") if big_endian else stated
    if version not in (1, 2, 3):
        raise Refusal(f"is a GGUF of version {version}; versions 1 to 3 are known")
    layout = _Layout(version, ">" if big_endian else "<")
    n_tensors, n_records = reader.unpack(layout.counts)
    metadata = _read_metadata(reader, layout, n_records)
    alignment = metadata.get("general.alignment", 32)
    return Container(version, big_endian, metadata, _read_tensors(reader, layout, n_tensors, alignment))


def _read_metadata(reader: Reader, layout: _Layout, count: int) -> dict[str, Any]:
    reader.part = "its metadata"
    if count > RECORDS_LIMIT:
        raise Refusal(f"claims {count} metadata records; at most {RECORDS_LIMIT} are allowed")
    reader.need(count * (layout.length.size + layout.u32.size + 1))
    metadata: dict[str, Any] = {}
    for _ in range(count):
        key = _read_name(reader, layout, KEY_LIMIT, "metadata key")
        if key in metadata:
            raise Refusal(f"has the metadata key {quoted(key)} twice")
        (type_id,) = reader.unpack(layout.u32)
        metadata[key] = _read_value(reader, layout, key, type_id)
    return metadata


def _read_name(reader: Reader, layout: _Layout, limit: int, what: str) -> str:
    (n,) = reader.unpack(layout.length)
    reader.need(n)
    if not 1 <= n <= limit:
        raise Refusal(f"has a {what} of {n} bytes, not 1..{limit}")
    try:
        return layout.text(reader.take(n)).decode()
    except UnicodeDecodeError:
        raise Refusal(f"has a {what} that is not text") from None


def _read_value(reader: Reader, layout: _Layout, key: str, type_id: int) -> Any:
    """The value, or None where it is of no use here."""
    if type_id in layout.scalars:
        return reader.unpack(layout.scalars[type_id])[0]
    if type_id == _STRING:
        (n,) = reader.unpack(layout.length)
        reader.need(n)
        if n <= TEXT_LIMIT:
            return layout.text(reader.take(n)).decode(errors="replace")
        if key.startswith(_WANTED):
            raise Refusal(f"has {n} bytes of text under {quoted(key)}; at most {TEXT_LIMIT} are allowed")
        reader.skip(n)
        return None
    if type_id == _ARRAY_TYPE:
        return _read_array(reader, layout, key)
    raise Refusal(f"has a value of unknown type {type_id} under {quoted(key)}")


def _read_array(reader: Reader, layout: _Layout, key: str) -> tuple[Any, ...] | None:
    type_id, count = reader.unpack(layout.array)
    wanted = key.startswith(_WANTED)
    if type_id == _STRING:
        texts, _ = reader.records(layout.strings, count)
        if layout.version == 1:
            texts = list(map(layout.text, texts))
        return _decode_all(texts) if wanted or key.startswith(_KEPT_LISTS) else None
    if type_id not in layout.scalars:
        what = "arrays in an array" if type_id == _ARRAY_TYPE else f"an array of unknown type {type_id}"
        raise Refusal(f"has {what} under {quoted(key)}")
    item = layout.scalars[type_id]
    reader.need(count * item.size)
    if not wanted:
        reader.skip(count * item.size)
        return None
    if count > COUNT_LIMIT:
        raise Refusal(f"claims {count} values under {quoted(key)}; at most {COUNT_LIMIT} are allowed")
    return struct.unpack(f"{layout.order}{count}{item.format[1:]}", reader.take(count * item.size))


def _decode_all(texts: list[bytes]) -> tuple[str, ...]:
    try:
        return tuple(map(bytes.decode, texts))  # twice as fast as what follows
    except UnicodeDecodeError:
        return tuple([text.decode(errors="replace") for text in texts])


def _read_tensors(reader: Reader, layout: _Layout, count: int, alignment: Any) -> dict[str, tuple[Tensor, int]]:
    reader.part = "its list of tensors"
    if count > TENSORS_LIMIT:
        raise Refusal(f"claims {count} tensors; at most {TENSORS_LIMIT} are allowed")
    reader.need(count * (layout.length.size + 1 + layout.u32.size + layout.dims(1).size))
    if type(alignment) is not int or alignment < 1 or alignment & (alignment - 1):
        raise Refusal(f"states an alignment of {quoted(str(alignment))}, which is no power of two")
    if alignment > ALIGNMENT_LIMIT:
        raise Refusal(f"states an alignment of {quoted(str(alignment))}; at most {ALIGNMENT_LIMIT} is allowed")
    listed: dict[str, tuple[Tensor, int]] = {}
    for _ in range(count):
        name = _read_name(reader, layout, NAME_LIMIT, "tensor name")
        if name in listed:
            raise Refusal(f"has the tensor {quoted(name)} twice")
        (n_dims,) = reader.unpack(layout.u32)
        if not 1 <= n_dims <= 4:
            raise Refusal(f"has a tensor {quoted(name)} of {n_dims} dimensions, not 1..4")
        *ne, type_id, offset = reader.unpack(layout.dims(n_dims))
        if type_id not in TYPES_BY_ID:
            raise Refusal(f"has a tensor {quoted(name)} of an unknown type, number {type_id}")
        kind = TYPES_BY_ID[type_id]
        listed[name] = Tensor(name, kind, *rows_and_columns(name, kind, ne)), offset
    return _place(reader, listed, alignment)


def _place(reader: Reader, listed: dict[str, tuple[Tensor, int]], alignment: int) -> dict[str, tuple[Tensor, int]]:
    """The tensors with their places in the file, which must be aligned, inside it, and apart from each other."""
    start = reader.position + -reader.position % alignment
    end, before = start, ""
    placed = {}
    for name, (tensor, offset) in sorted(listed.items(), key=lambda item: item[1][1]):
        if offset % alignment:
            raise Refusal(f"has the tensor {quoted(name)} at offset {offset}, not a multiple of {alignment}")
        if start + offset < end:
            raise Refusal(f"has the tensors {quoted(before)} and {quoted(name)} in the same place")
        end, before = start + offset + tensor.n_bytes, name
        if end > reader.file.size:
            raise Refusal(f"is cut short: tensor {quoted(name)} ends at byte {end} of {reader.file.size}")
        placed[name] = tensor, start + offset
    return placed
