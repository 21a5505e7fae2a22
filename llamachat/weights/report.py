"""What a weight file was found to hold while it was opened: kept also where the file cannot be used in the end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from llamachat.vocabulary import Vocabulary
    from llamachat.weights.rows import Rows
    from llamachat.weights.tensors import Hyperparameters, Tensor


@dataclass(frozen=True, slots=True)
class Stored:
    """A tensor as a file holds it, by its canonical name."""

    name: str
    label: str  #: the type in the file: "Q4_0", "int8 in groups of 64"
    rows: int
    cols: int
    n_bytes: int  #: in the file
    tensor: Tensor  #: as it is in memory


@dataclass
class Report:
    """Filled in by the readers of the formats, as far as they come."""

    format: str = ""
    tensors: dict[str, Stored] = field(default_factory=dict)  #: every one there is, used or not
    hyperparameters: Hyperparameters | None = None
    vocabulary: Vocabulary | None = None
    chat_template: str | None = None
    name: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)  #: GGUF: values by key; None for what is passed over
    asked: set[str] = field(default_factory=set)  #: the keys of it that were looked at
    notes: list[str] = field(default_factory=list)  #: what is to be known about this file, a sentence each

    def found(self, tensors: Mapping[str, tuple[Tensor, Rows]]) -> None:
        """Notes all tensors of the file, before any is refused."""
        self.tensors = {name: _stored(name, *place) for name, place in tensors.items()}


def _stored(name: str, tensor: Tensor, rows: Rows) -> Stored:
    label, n_bytes = _as_stored(tensor, rows, tensor.rows)
    return Stored(name, label, tensor.rows, tensor.cols, n_bytes, tensor)


def _as_stored(tensor: Tensor, rows: Rows, n_rows: int) -> tuple[str, int]:
    """(type, bytes) of ``n_rows`` rows in the file they come from."""
    from llamachat.weights import rows as kinds

    match rows:
        case kinds.ConvertedRows(stored, conversion):
            _, n_bytes = _as_stored(tensor, stored, n_rows)
            label = conversion.removeprefix("big-endian ").removeprefix("interleaved ").removesuffix(" to F32")
            return label, n_bytes
        case kinds.GroupedRows(group=group):
            n = n_rows * tensor.cols
            return f"int8 in groups of {group}", n + 4 * (n // group)
        case kinds.BlockRows():
            return "int8 in blocks of 32", n_rows * rows.row_bytes
        case kinds.StackedRows(parts):
            pieces = [_as_stored(tensor, part, count) for part, count in parts]
        case kinds.JoinedColumns(parts):
            pieces = [_as_stored(tensor, part, n_rows) for part in parts]
        case kinds.UnpermutedRows(stored):
            pieces = [_as_stored(tensor, stored, n_rows)]
        case kinds.ComputedRow():
            return "computed", 0
        case _:
            return tensor.type.label, n_rows * getattr(rows, "row_bytes", tensor.row_bytes)
    return pieces[0][0], sum(n_bytes for _, n_bytes in pieces)
