"""What a model is made of: its hyperparameters, and tensors, each of a type."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum


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
