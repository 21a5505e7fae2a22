"""llama2.c's files: version 0, which ``run.c`` reads, version 1 in float32, and version 2 in int8.

    version 0:  i32 dim, hidden_dim, n_layers, n_heads, n_kv_heads, vocab_size, seq_len; then arrays
    later:      u32 "24ka", i32 version, the same seven, u8 whether the output is the embedding,
                version 2: i32 group size; zeros up to byte 256; then arrays

Arrays have neither names nor padding. In version 0 a negative vocab_size says that the output is a matrix of its own,
and there is no magic number: a file is one of these if its size is exactly what the seven numbers ask for.

A matrix of version 2 is int8 q[n], then f32 s[n / group]: weight i is q[i] * s[i / group], counted through the whole
matrix, so that a group may begin in one row and end in the next. Where groups and rows are whole blocks of 32 the
weights stay int8, each block with its group's scale; else they become F32, as the original's own arithmetic gives them.
The vocabulary is in another file.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from llamachat.weights.base import StoredWeights
from llamachat.weights.files import Refusal
from llamachat.weights.llama import check_hyperparameters, layer_shapes, required_shapes
from llamachat.weights.model_files import ModelFiles
from llamachat.weights.rows import GroupedRows, Rows, StoredRows
from llamachat.weights.tensors import Hyperparameters, Tensor, TensorType

MAGIC = b"24ka"

NUMBERS = struct.Struct("<7i")
LATER = struct.Struct("<4si7iBi")
LATER_BYTES = 256

_NORMS = ("attn_norm", "ffn_norm")
_MATRICES = ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_down", "ffn_up")
#: Order of the arrays that each layer has, in version 0.
_PER_LAYER = ("attn_norm", "attn_q", "attn_k", "attn_v", "attn_output", "ffn_norm", "ffn_gate", "ffn_down", "ffn_up")

FREQUENCIES = "freqs"  # cosines and sines of RoPE, which are computed here instead


def is_llama2c(head: bytes, size: int) -> bool:
    """Whether the first bytes can be the header of version 0, whatever the file's size."""
    try:
        return size >= NUMBERS.size and bool(_hyperparameters(NUMBERS.unpack(head[: NUMBERS.size])))
    except Refusal:
        return False


def open_llama2c(files: ModelFiles) -> StoredWeights:
    """The model in a file of version 0; its vocabulary is None. ``Refusal`` if the size is not what its numbers ask."""
    numbers = NUMBERS.unpack(files.first.read(0, NUMBERS.size))
    h = _hyperparameters(numbers)
    return _open(files, 0, h, NUMBERS.size, arrays_of_version_0(h, tied=numbers[5] > 0))


def open_llama2c_later(files: ModelFiles) -> StoredWeights:
    """The model in a file of version 1 or 2, likewise."""
    if files.first.size < LATER_BYTES:
        raise Refusal("is cut short: it ends inside the header")
    _, version, *numbers, tied, group = LATER.unpack(files.first.read(0, LATER.size))
    if version not in (1, 2):
        raise Refusal(f"is a llama2.c file of version {version}; versions 0 to 2 are known")
    if tied > 1:
        raise Refusal(f"is no llama2.c file, or a broken one: it states {tied} where 0 or 1 must be")
    h = _hyperparameters(tuple(numbers))
    if numbers[5] < 1:
        raise Refusal(f"states a vocabulary of {numbers[5]} tokens")
    if version == 2 and group < 1:
        raise Refusal(f"states groups of {group} weights")
    return _open(files, version, h, LATER_BYTES, arrays_later(h, tied=bool(tied)), group if version == 2 else 0)


def _open(
    files: ModelFiles,
    version: int,
    h: Hyperparameters,
    offset: int,
    arrays: Iterator[tuple[str, int, int]],
    group: int = 0,
) -> StoredWeights:
    """The arrays one after another; a group of 0 is none: all are float32."""
    file = files.first
    tensors: dict[str, tuple[Tensor, Rows]] = {}
    for name, rows, cols in arrays:
        n = rows * cols
        kind = TensorType.F32
        source: Rows
        if group and rows > 1:
            if n % group:
                raise Refusal(f"states groups of {group} weights, which do not divide the {n} of '{name}'")
            source = GroupedRows(file, offset, offset + n, cols, group)
            kind = TensorType.Q8_0_F32 if source.in_blocks else kind
            offset += n + 4 * (n // group)
        else:
            source = StoredRows(file, offset, 4 * cols)
            offset += 4 * n
        tensors[name] = Tensor(name, kind, rows, cols), source
    if offset != file.size:
        cut = "is cut short" if offset > file.size else "has more than it should"
        what = cut if version or offset > file.size else "is no weight file that llamachat knows"
        raise Refusal(f"{what}: as a llama2.c model it would have {offset} bytes, not {file.size}")
    tensors.pop(FREQUENCIES, None)
    weights = StoredWeights(files, f"llama2.c v{version}", h, tensors)
    weights.group_size = group
    return weights


def _hyperparameters(numbers: tuple[int, ...]) -> Hyperparameters:
    dim, hidden_dim, n_layers, n_heads, n_kv_heads, vocab_size, seq_len = numbers
    if n_heads < 1 or n_kv_heads < 1 or dim % n_heads:
        raise Refusal("is no llama2.c file, or a broken one: its numbers are no model's")
    hyperparameters = Hyperparameters(
        n_vocab=abs(vocab_size),
        n_embd=dim,
        n_ff=hidden_dim,
        n_layers=n_layers,
        n_heads=n_heads,
        n_kv_heads=n_kv_heads,
        head_dim=dim // n_heads,
        n_ctx_train=seq_len,
    )
    check_hyperparameters(hyperparameters)
    return hyperparameters


def arrays_of_version_0(h: Hyperparameters, *, tied: bool) -> Iterator[tuple[str, int, int]]:
    """(name, rows, cols) of every array in the file's order."""
    shapes = required_shapes(h)
    yield "token_embd.weight", *shapes["token_embd.weight"]
    yield from _layers(h, _PER_LAYER)
    yield "output_norm.weight", *shapes["output_norm.weight"]
    yield FREQUENCIES, 2 * h.n_ctx_train, h.head_dim // 2
    if not tied:
        yield "output.weight", *shapes["token_embd.weight"]


def arrays_later(h: Hyperparameters, *, tied: bool) -> Iterator[tuple[str, int, int]]:
    """The same for versions 1 and 2."""
    shapes = required_shapes(h)
    yield from _layers(h, _NORMS)
    yield "output_norm.weight", *shapes["output_norm.weight"]
    yield "token_embd.weight", *shapes["token_embd.weight"]
    yield from _layers(h, _MATRICES)
    if not tied:
        yield "output.weight", *shapes["token_embd.weight"]


def _layers(h: Hyperparameters, roles: tuple[str, ...]) -> Iterator[tuple[str, int, int]]:
    layer = layer_shapes(h)
    for role in roles:
        for i in range(h.n_layers):
            yield f"blk.{i}.{role}.weight", *layer[f"{role}.weight"]
