"""PyTorch checkpoints, written instruction by instruction, so that tests can write any pickle at all."""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tests.support.blocks import Floats, quantize

_STORAGES = {"F32": "FloatStorage", "F16": "HalfStorage", "BF16": "BFloat16Storage"}


@dataclass(frozen=True)
class View:
    """A tensor of a storage: key, type and elements of the storage; offset, shape and strides in elements."""

    key: str
    label: str
    n_elements: int
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]


class Call:
    """A call of a global in a pickle: ``module name``, and the arguments."""

    def __init__(self, name: str, *args: Any) -> None:
        self.name = name
        self.args = args


def pickled(value: Any) -> bytes:
    """The pickle of plain values, views and calls, as torch.save writes it (protocol 2)."""
    return b"\x80\x02" + _value(value) + b"."


def _value(value: Any) -> bytes:
    match value:
        case None:
            return b"N"
        case bool():
            return b"\x88" if value else b"\x89"
        case int() if 0 <= value < 1 << 31:
            return b"J" + struct.pack("<i", value)
        case int():
            return b"\x8a\x08" + struct.pack("<q", value)
        case float():
            return b"G" + struct.pack(">d", value)
        case str():
            return b"X" + struct.pack("<I", len(value.encode())) + value.encode()
        case tuple():
            return b"(" + b"".join(map(_value, value)) + b"t"
        case list():
            return b"](" + b"".join(map(_value, value)) + b"e"
        case dict():
            return b"}(" + b"".join(_value(k) + _value(v) for k, v in value.items()) + b"u"
        case Call():
            return b"c" + value.name.replace(" ", "\n").encode() + b"\n" + _value(value.args) + b"R"
        case View():
            storage = _value(("storage",))[:-1] + b"ctorch\n" + _STORAGES[value.label].encode() + b"\n"
            storage += _value(value.key) + _value("cpu") + _value(value.n_elements) + b"tQ"
            rest = (
                _value(value.offset) + _value(value.shape) + _value(value.stride) + b"\x89ccollections\nOrderedDict\n)R"
            )
            return b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + rest + b"tR"
    raise TypeError(type(value))


def contiguous(key: str, label: str, values: Floats) -> View:
    """A whole storage as one tensor."""
    stride = tuple(int(s) // 4 for s in values.strides)
    return View(key, label, values.size, 0, values.shape, stride)


def archive(pickle: bytes, storages: Mapping[str, bytes], *, top: str = "archive", **more: bytes) -> bytes:
    """The zip file; ``more`` are further members."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as zip_file:
        zip_file.writestr(f"{top}/data.pkl", pickle)
        for key, data in storages.items():
            zip_file.writestr(f"{top}/data/{key}", data)
        for name, data in more.items():
            zip_file.writestr(f"{top}/{name}", data)
    return out.getvalue()


def checkpoint(tensors: Mapping[str, Floats], label: str = "F32") -> bytes:
    """The file of a dictionary of tensors, all of one type."""
    state = {name: contiguous(str(i), label, values) for i, (name, values) in enumerate(tensors.items())}
    storages = {str(i): quantize(label, values) for i, values in enumerate(tensors.values())}
    return archive(pickled(state), storages)
