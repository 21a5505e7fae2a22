"""What a new file is made of: bytes that are known, numbers that are computed, and tensors in some encoding."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from llamachat.vocabulary import Vocabulary
from llamachat.weights.base import WeightFile
from llamachat.weights.tensors import Hyperparameters, Tensor


@dataclass(frozen=True)
class Model:
    """What is to be written, whatever the format it came from."""

    weights: WeightFile
    name: str
    hyperparameters: Hyperparameters
    tensors: Mapping[str, Tensor]
    vocabulary: Vocabulary | None
    chat_template: str | None
    about: Mapping[str, Any] = field(default_factory=dict)  #: what is said of the model, by keys of GGUF
    sentencepiece: bytes | None = None  #: the vocabulary as a tokenizer.model, where it is SentencePiece's

    @property
    def tied(self) -> bool:
        """Whether the output is the embedding."""
        return "output.weight" not in self.tensors

    @property
    def output(self) -> Tensor:
        """The matrix that makes logits, be it the embedding."""
        return self.tensors["token_embd.weight" if self.tied else "output.weight"]


class Encoding(Protocol):
    """How the rows of a tensor are written. Any thread may encode any rows."""

    @property
    def rows_together(self) -> int:
        """Rows are encoded in multiples of this, counted from the first."""

    def size(self, tensor: Tensor) -> int:
        """Bytes of the whole tensor."""

    def encode(self, weights: WeightFile, tensor: Tensor, first: int, count: int) -> tuple[bytes, bytes]:
        """The bytes of rows, and those that follow when all rows of the tensor are written."""


@dataclass(frozen=True)
class Encoded:
    """A tensor of the source in an encoding."""

    tensor: Tensor
    encoding: Encoding

    @property
    def n_bytes(self) -> int:
        """Its size in the new file."""
        return self.encoding.size(self.tensor)


@dataclass(frozen=True)
class Computed:
    """Numbers that the source does not hold, a few at a time."""

    n_bytes: int
    chunks: Callable[[], Iterator[bytes]]


@dataclass(frozen=True)
class Known:
    """Bytes as they are."""

    data: bytes

    @property
    def n_bytes(self) -> int:
        """How many."""
        return len(self.data)


Part = Encoded | Computed | Known


def padding(n_bytes: int, alignment: int) -> Known:
    """Zeros from a place to the next multiple of ``alignment``."""
    return Known(bytes(-n_bytes % alignment))


@dataclass(frozen=True)
class NewFile:
    """A file to be written into the output's folder."""

    name: str
    parts: tuple[Part, ...]

    @property
    def n_bytes(self) -> int:
        """Its size."""
        return sum(part.n_bytes for part in self.parts)

    @property
    def known_bytes(self) -> bytes | None:
        """The whole content, where it does not depend on weights."""
        if not all(isinstance(part, Known) for part in self.parts):
            return None
        return b"".join(part.data for part in self.parts if isinstance(part, Known))


@dataclass(frozen=True)
class Layout:
    """All files of an output, that which stands for the model last, and what a person should know of it."""

    files: tuple[NewFile, ...]
    notes: tuple[str, ...] = field(default=())


def new_file(name: str, parts: Iterable[Part | bytes]) -> NewFile:
    """A file of these parts."""
    return NewFile(name, tuple(Known(part) if isinstance(part, bytes) else part for part in parts))
