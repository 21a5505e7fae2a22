"""safetensors: u64 length of a JSON header, the header, then the tensors' bytes, row by row.

The header gives each name its type, shape (rows first) and place, counted from the header's end. Places must follow
each other without holes up to the end of the file, as the format demands.
"""

from __future__ import annotations

import math
from typing import Any, TypeGuard

from llamachat.weights.files import Refusal, RegularFile, quoted
from llamachat.weights.json_text import parse_object
from llamachat.weights.llama import is_ignored
from llamachat.weights.rows import Rows, StoredRows
from llamachat.weights.tensors import Tensor, TensorType

_HEADER_LIMIT = 4 << 20  # bytes; Llama 70B's index of 723 tensors has some 90 kB
_ITEMS_LIMIT = 1 << 18

_TYPES = {"F32": TensorType.F32, "F16": TensorType.F16, "BF16": TensorType.BF16}
_BITS = {"F64": 64, "F32": 32, "F16": 16, "BF16": 16, "I64": 64, "I32": 32, "I16": 16, "I8": 8}
_BITS |= {"U64": 64, "U32": 32, "U16": 16, "U8": 8, "BOOL": 8, "F8_E4M3": 8, "F8_E5M2": 8}


def is_safetensors(head: bytes, size: int) -> bool:
    """Whether the first bytes are the length of a header that fits, and its beginning."""
    n = int.from_bytes(head[:8], "little")
    return head[8:9] == b"{" and n <= 100_000_000 and n + 8 <= size


def read_safetensors(file: RegularFile) -> dict[str, tuple[Tensor, Rows]]:
    """The tensors of a file by their names in it; a vector has one row."""
    if file.size < 8 or not is_safetensors(file.read(0, min(9, file.size)), file.size):
        raise Refusal("is cut short, or no safetensors file")
    n = int.from_bytes(file.read(0, 8), "little")
    if n > _HEADER_LIMIT:
        raise Refusal(f"has a header of {n} bytes; at most {_HEADER_LIMIT} are allowed")
    header = parse_object(file.read(8, n), items_limit=_ITEMS_LIMIT)
    header.pop("__metadata__", None)
    places = sorted(_place(name, entry) for name, entry in header.items())
    end = 0
    for start, stop, name in places:
        if start != end:
            raise Refusal(f"is broken: tensor {quoted(name)} does not begin where the one before it ends")
        end = stop
    if 8 + n + end != file.size:
        what = "is cut short" if 8 + n + end > file.size else "is broken"
        raise Refusal(f"{what}: its tensors end at byte {8 + n + end} of {file.size}")
    return {name: _tensor(file, name, header[name], 8 + n + start) for start, _, name in places if not is_ignored(name)}


def _place(name: str, entry: Any) -> tuple[int, int, str]:
    """(first byte, end, name) of a tensor, its length held against its shape."""
    if not isinstance(entry, dict):
        raise Refusal(f"is broken: tensor {quoted(name)} has no description")
    kind, shape, place = entry.get("dtype"), entry.get("shape"), entry.get("data_offsets")
    if not isinstance(kind, str) or kind not in _BITS:
        raise Refusal(f"has a tensor {quoted(name)} of type {quoted(str(kind))}: not supported")
    if not _are_counts(shape) or not _are_counts(place) or len(place) != 2 or place[0] > place[1]:
        raise Refusal(f"is broken: tensor {quoted(name)} has no shape or no place")
    if len(shape) > 8 or math.prod(shape) * _BITS[kind] != 8 * (place[1] - place[0]):
        raise Refusal(f"is broken: tensor {quoted(name)} has a shape that is not as long as its data")
    return place[0], place[1], name


def _are_counts(value: Any) -> TypeGuard[list[int]]:
    return isinstance(value, list) and all(type(n) is int and 0 <= n < 1 << 63 for n in value)


def _tensor(file: RegularFile, name: str, entry: dict[str, Any], offset: int) -> tuple[Tensor, Rows]:
    shape = entry["shape"]
    kind = _TYPES.get(entry["dtype"])
    if kind is None:
        raise Refusal(f"has a tensor {quoted(name)} of type {entry['dtype']}: not supported")
    if not 1 <= len(shape) <= 2 or min(shape) < 1:
        raise Refusal(f"has a tensor {quoted(name)} of impossible size {' x '.join(map(str, shape))}")
    rows, cols = (1, *shape)[-2:]
    return Tensor(name, kind, rows, cols), StoredRows(file, offset, cols * kind.block_bytes)
