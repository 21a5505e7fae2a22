"""What every weight file is, whatever its container: hyperparameters, named tensors, a vocabulary."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import TYPE_CHECKING, Any, Self

from llamachat.vocabulary import Vocabulary
from llamachat.weights.model_files import ModelFiles
from llamachat.weights.rows import Rows, StoredRows
from llamachat.weights.tensors import Hyperparameters, Tensor

if TYPE_CHECKING:
    from llamachat.weights.rope_scaling import Llama3Scaling


class WeightFile(ABC):
    """An open weight file, checked whole: a context manager.

    Every tensor in ``tensors`` is one that a Llama model of these ``hyperparameters`` has, none is
    missing, and its bytes lie inside the file. A model whose output is tied to its embedding has no
    ``output.weight``. Query and key rows are in Meta's order (RoPE turns adjacent pairs).
    """

    path: Path
    format: str  #: "GGUF v3", "llama2.c v0", "ggjt v3"
    name: str  #: the model's own name, or the file's; untrusted text
    hyperparameters: Hyperparameters
    vocabulary: Vocabulary | None
    vocabulary_path: Path  #: the file that it is from
    tensors: Mapping[str, Tensor]
    chat_template: str | None = None  #: Jinja source; untrusted
    size_bytes: int
    about: Mapping[str, Any] = MappingProxyType({})  #: what is said of the model: general.* keys of GGUF; untrusted
    group_size: int = 0  #: weights that share a scale, where matrices are int8 in groups through all rows
    rope_rule: Llama3Scaling | None = None  #: what the factors in ``rope_freqs.weight`` come from, where that is stated

    @property
    @abstractmethod
    def source_paths(self) -> Sequence[Path]:
        """The files that the model is read from: its weights, and what is beside them."""

    @abstractmethod
    def read(self, name: str, first_row: int, n_rows: int) -> bytes:
        """Whole rows of a tensor, in blocks of its type as the C core takes them; any thread may call it.

        ``WeightsError`` if the file can no longer give them.
        """

    @abstractmethod
    def read_into(self, buffer: memoryview, name: str, first_row: int, n_rows: int) -> memoryview | bytes:
        """The same; rows that stand in the file as they are come in ``buffer``, which has their size."""

    @abstractmethod
    def is_stored(self, name: str) -> bool:
        """Whether the rows of a tensor stand in the file as they are, so that reading them needs no other memory."""

    @abstractmethod
    def check_unchanged(self) -> None:
        """``WeightsError`` if somebody has written to the weights since they were opened."""

    @abstractmethod
    def close(self) -> None:
        """Closes the file; twice is fine."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    @property
    def type_name(self) -> str:
        """The tensor type that most of the weights have, by bytes: ``Q4_1``."""
        sizes: Counter[str] = Counter()
        for tensor in self.tensors.values():
            sizes[tensor.type.label] += tensor.n_bytes
        return sizes.most_common(1)[0][0]

    @property
    def n_params(self) -> int:
        """Weights of the model; a tied output counts once."""
        return sum(t.rows * t.cols for t in self.tensors.values())


class StoredWeights(WeightFile):
    """A weight file by its tensors and where the rows of each come from."""

    def __init__(
        self,
        files: ModelFiles,
        format_name: str,
        hyperparameters: Hyperparameters,
        tensors: Mapping[str, tuple[Tensor, Rows]],
        *,
        name: str = "",
        vocabulary: Vocabulary | None = None,
        chat_template: str | None = None,
    ) -> None:
        """``files`` are closed with it; what is open of them by now is what its ``size_bytes`` counts."""
        report = files.report
        report.format, report.hyperparameters = format_name, hyperparameters
        if not report.tensors:
            report.found(tensors)
        self._files = files
        self._rows = {key: rows for key, (_, rows) in tensors.items()}
        self.path = files.path
        self.format = format_name
        self.name = name or files.path.stem
        self.hyperparameters = hyperparameters
        self.vocabulary = vocabulary
        self.vocabulary_path = files.first.path
        self.tensors = {key: tensor for key, (tensor, _) in tensors.items()}
        self.chat_template = chat_template
        self.size_bytes = files.size_bytes

    @property
    def source_paths(self) -> Sequence[Path]:  # noqa: D102  (see WeightFile)
        return self._files.read_paths

    def read(self, name: str, first_row: int, n_rows: int) -> bytes:  # noqa: D102
        return self._checked(name, first_row, n_rows).read(first_row, n_rows) if n_rows else b""

    def read_into(self, buffer: memoryview, name: str, first_row: int, n_rows: int) -> memoryview | bytes:  # noqa: D102
        rows = self._checked(name, first_row, n_rows)
        return rows.read_into(buffer, first_row) if isinstance(rows, StoredRows) else rows.read(first_row, n_rows)

    def is_stored(self, name: str) -> bool:  # noqa: D102
        return isinstance(self._rows[name], StoredRows)

    def _checked(self, name: str, first_row: int, n_rows: int) -> Rows:
        tensor = self.tensors[name]
        if not 0 <= first_row <= first_row + n_rows <= tensor.rows:
            raise IndexError(f"{name} has {tensor.rows} rows, not {first_row}..{first_row + n_rows}")
        return self._rows[name]

    def check_unchanged(self) -> None:  # noqa: D102
        self._files.check_unchanged()

    def close(self) -> None:  # noqa: D102
        self._files.close()
