"""A PyTorch checkpoint: a zip archive with one pickle, and one member for each storage of numbers.

TOP/data.pkl, TOP/byteorder (newer ones), TOP/data/0, TOP/data/1...
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from llamachat.weights.files import Refusal, RegularFile, quoted
from llamachat.weights.llama import is_ignored
from llamachat.weights.pickle_reader import BYTES_LIMIT, StorageRef, TensorRef, read_pickle
from llamachat.weights.rows import ConvertedRows, Rows
from llamachat.weights.tensors import Tensor, TensorType
from llamachat.weights.zip_archive import Member, ZipArchive

#: Types by the storage's name, and bytes of one element.
_TYPES = {"Float": TensorType.F32, "Half": TensorType.F16, "BFloat16": TensorType.BF16}


@dataclass(frozen=True, slots=True)
class _MemberRows:
    """Rows in a storage, ``stride_bytes`` apart."""

    member: Member
    offset: int
    row_bytes: int
    stride_bytes: int

    def read(self, first: int, count: int) -> bytes:
        if self.stride_bytes == self.row_bytes:
            return self.member.read(self.offset + first * self.row_bytes, count * self.row_bytes)
        places = (self.offset + row * self.stride_bytes for row in range(first, first + count))
        return b"".join(self.member.read(at, self.row_bytes) for at in places)


class TorchFile:
    """The object that was saved, and the tensors in it."""

    def __init__(self, file: RegularFile) -> None:
        self._archive = ZipArchive(file)
        pickles = [name for name in self._archive.names if name.endswith(".pkl")]
        if len(pickles) != 1:
            raise Refusal("is a zip archive, but no PyTorch checkpoint")
        self._top = pickles[0].removesuffix(".pkl")
        pickle = self._archive.member(pickles[0])
        if pickle.size > BYTES_LIMIT:
            raise Refusal(f"has a pickle of {pickle.size} bytes; at most {BYTES_LIMIT} are allowed")
        self.root = read_pickle(pickle.read(0, pickle.size))
        self._members: dict[str, Member] = {}
        self._big_endian = self._order() == b"big"

    def state(self, root: Any = None) -> Mapping[str, TensorRef]:
        """The tensors by name in a dictionary (the one saved); anything else in it is passed over."""
        root = self.root if root is None else root
        if not isinstance(root, dict):
            raise Refusal("holds no model: what was saved is no dictionary of tensors")
        return {
            name: value
            for name, value in root.items()
            if isinstance(name, str) and isinstance(value, TensorRef) and not is_ignored(name)
        }

    def tensor(self, name: str, ref: TensorRef) -> tuple[Tensor, Rows]:
        """A tensor under the name given, a vector as one row."""
        kind = _TYPES.get(ref.storage.kind)
        if kind is None:
            raise Refusal(f"has a tensor {quoted(name)} of type {ref.storage.kind}: not supported")
        if not 1 <= len(ref.shape) <= 2 or min(ref.shape) < 1 or max(ref.shape) >= 1 << 31:
            raise Refusal(f"has a tensor {quoted(name)} of impossible size {' x '.join(map(str, ref.shape))}")
        rows, cols = (1, *ref.shape)[-2:]
        stride, step = (cols, *ref.stride)[-2:]
        if step != 1 and cols > 1:
            raise Refusal(f"has a tensor {quoted(name)} with columns apart (stored transposed?): not supported")
        size = kind.block_bytes
        member = self._member(ref.storage, size)
        if (ref.offset + (rows - 1) * stride + cols) * size > member.size:
            raise Refusal(f"is broken: tensor {quoted(name)} passes the end of its storage")
        stride = stride if rows > 1 else cols
        source: Rows = _MemberRows(member, ref.offset * size, cols * size, stride * size)
        if self._big_endian:
            source = ConvertedRows(source, f"big-endian {kind.label}")
        return Tensor(name, kind, rows, cols), source

    def _member(self, storage: StorageRef, size: int) -> Member:
        if storage.key not in self._members:
            self._members[storage.key] = self._archive.member(f"{self._top}/{storage.key}")
        member = self._members[storage.key]
        if storage.n_elements * size > member.size:
            raise Refusal(f"is broken: its storage {quoted(storage.key)} is shorter than stated")
        return member

    def _order(self) -> bytes:
        name = f"{self._top.rpartition('/')[0]}/byteorder".lstrip("/")
        if name not in self._archive.names:
            return b"little"
        member = self._archive.member(name)
        return member.read(0, min(member.size, 16)).strip()


def as_weights(name: str, tensor: Tensor, rows: Rows) -> tuple[Tensor, Rows]:
    """A tensor of a training format under its canonical name: norms, which are computed in F32, are widened to it."""
    kind = tensor.type
    if tensor.rows == 1 and name.endswith("norm.weight") and kind in (TensorType.F16, TensorType.BF16):
        return Tensor(name, TensorType.F32, 1, tensor.cols), ConvertedRows(rows, f"{kind.label} to F32")
    return Tensor(name, kind, tensor.rows, tensor.cols), rows
