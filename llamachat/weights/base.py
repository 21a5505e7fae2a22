"""What every weight file is, whatever its container: hyperparameters, named tensors, a vocabulary."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import TYPE_CHECKING, Any, Self

from llamachat.vocabulary import Vocabulary
from llamachat.weights.model_files import ModelFiles
from llamachat.weights.rows import Rows, StoredRows

if TYPE_CHECKING:
    from llamachat.weights.rope_scaling import Llama3Scaling


class TensorType(Enum):
    """A tensor type: its number, and the elements and bytes of one block. The name is its label, unless one is given.

    Numbers are ggml's. From 256 on are blocks of older files, for which ggml has none: see ``native/llamachat.h``.
    """

    F32 = (0, 1, 4)
    F16 = (1, 1, 2)
    Q4_0 = (2, 32, 18)
    Q4_1 = (3, 32, 20)
    Q5_0 = (6, 32, 22)
    Q5_1 = (7, 32, 24)
    Q8_0 = (8, 32, 34)
    Q8_1 = (9, 32, 36)
    Q2_K = (10, 256, 84)
    Q3_K = (11, 256, 110)
    Q4_K = (12, 256, 144)
    Q5_K = (13, 256, 176)
    Q6_K = (14, 256, 210)
    Q8_K = (15, 256, 292)
    IQ2_XXS = (16, 256, 66)
    IQ2_XS = (17, 256, 74)
    IQ3_XXS = (18, 256, 98)
    IQ1_S = (19, 256, 50)
    IQ4_NL = (20, 32, 18)
    IQ3_S = (21, 256, 110)
    IQ2_S = (22, 256, 82)
    IQ4_XS = (23, 256, 136)
    I8 = (24, 1, 1)
    I16 = (25, 1, 2)
    I32 = (26, 1, 4)
    I64 = (27, 1, 8)
    F64 = (28, 1, 8)
    IQ1_M = (29, 256, 56)
    BF16 = (30, 1, 2)
    Q4_0_4_4 = (31, 32, 18)  # this and the next: rows in turn, in files of August to December 2024
    Q4_0_4_8 = (32, 32, 18)
    Q4_0_8_8 = (33, 32, 18)
    TQ1_0 = (34, 256, 54)
    TQ2_0 = (35, 256, 66)
    IQ4_NL_4_4 = (36, 32, 18)
    IQ4_NL_4_8 = (37, 32, 18)
    IQ4_NL_8_8 = (38, 32, 18)
    MXFP4 = (39, 32, 17)
    NVFP4 = (40, 64, 36)
    Q1_0 = (41, 128, 18)
    Q2_0 = (42, 64, 18)
    Q4_0_F32 = (256, 32, 20, "Q4_0 (f32 scales)")
    Q4_1_F32 = (257, 32, 24, "Q4_1 (f32 scales)")
    Q8_0_F32 = (258, 32, 36, "Q8_0 (f32 scales)")
    Q4_2 = (259, 32, 20)
    Q4_3 = (260, 32, 24)

    def __init__(self, number: int, block_elements: int, block_bytes: int, label: str = "") -> None:
        self.id = number
        self.block_elements = block_elements
        self.block_bytes = block_bytes
        self._label = label

    @property
    def label(self) -> str:
        """The name people know: ``Q4_1``."""
        return self._label or self.name


#: ggml's, by the numbers that files state.
TYPES_BY_ID: Mapping[int, TensorType] = {t.id: t for t in TensorType if t.id < 256}


@dataclass(frozen=True, slots=True)
class Hyperparameters:
    """The numbers of a Llama model, checked: each is in the range that ``native/llamachat.h`` states."""

    n_vocab: int
    n_embd: int
    n_ff: int
    n_layers: int
    n_heads: int
    n_kv_heads: int
    head_dim: int
    n_ctx_train: int  #: tokens the model was trained for
    norm_eps: float = 1e-5
    rope_base: float = 10000.0
    rope_scale: float = 1.0  #: positions are multiplied by it: 1/factor of linear scaling


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor in a file, by its canonical (GGUF) name. ``rows`` are outputs; a vector has one row."""

    name: str
    type: TensorType
    rows: int
    cols: int

    @property
    def row_bytes(self) -> int:
        """Bytes of one row."""
        return self.cols // self.type.block_elements * self.type.block_bytes

    @property
    def n_bytes(self) -> int:
        """Bytes of all rows."""
        return self.rows * self.row_bytes


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
        """The files that the weights are read from."""

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
        return self._files.weight_paths

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

    def close(self) -> None:  # noqa: D102
        self._files.close()
