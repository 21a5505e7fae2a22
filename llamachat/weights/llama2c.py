"""llama2.c version 0: the files that ``run.c`` reads.

Seven i32 (dim, hidden_dim, n_layers, n_heads, n_kv_heads, vocab_size, seq_len), then float32 arrays without names or
padding. vocab_size is negative where the output is a matrix of its own. There is no magic number: a file is one of
these if its size is exactly what the seven numbers ask for. The vocabulary is in another file.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from llamachat.weights.base import Hyperparameters, StoredWeights, Tensor, TensorType
from llamachat.weights.files import Refusal
from llamachat.weights.llama import check_hyperparameters, layer_shapes, required_shapes
from llamachat.weights.model_files import ModelFiles
from llamachat.weights.rows import Rows, StoredRows

_HEADER = struct.Struct("<7i")

#: Order of the arrays that each layer has.
_PER_LAYER = (
    *("attn_norm", "attn_q", "attn_k", "attn_v", "attn_output"),
    *("ffn_norm", "ffn_gate", "ffn_down", "ffn_up"),
)


def is_llama2c(head: bytes, size: int) -> bool:
    """Whether the first bytes can be such a header, whatever the file's size."""
    try:
        return size >= _HEADER.size and bool(_read_header(head))
    except Refusal:
        return False


def open_llama2c(files: ModelFiles) -> StoredWeights:
    """The model in a llama2.c file; its vocabulary is None. ``Refusal`` if the size is not what the header asks for."""
    file = files.first
    hyperparameters, tied = _read_header(file.read(0, _HEADER.size))
    offset = _HEADER.size
    tensors: dict[str, tuple[Tensor, Rows]] = {}
    for name, rows, cols in _arrays(hyperparameters, tied):
        tensor = Tensor(name, TensorType.F32, rows, cols)
        tensors[name] = tensor, StoredRows(file, offset, tensor.row_bytes)
        offset += tensor.n_bytes
    if offset != file.size:
        what = "is cut short" if offset > file.size else "is no weight file that llamachat knows"
        raise Refusal(f"{what}: as a llama2.c model it would have {offset} bytes, not {file.size}")
    used = {name: place for name, place in tensors.items() if name != _FREQUENCIES}
    return StoredWeights(files, "llama2.c v0", hyperparameters, used)


def _read_header(head: bytes) -> tuple[Hyperparameters, bool]:
    dim, hidden_dim, n_layers, n_heads, n_kv_heads, vocab_size, seq_len = _HEADER.unpack(head[: _HEADER.size])
    if n_heads < 1 or n_kv_heads < 1 or dim % n_heads:
        raise Refusal("is no llama2.c file")
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
    return hyperparameters, vocab_size > 0


_FREQUENCIES = "freqs"  # cosines and sines of RoPE, which are computed here instead


def _arrays(h: Hyperparameters, tied: bool) -> Iterator[tuple[str, int, int]]:
    """(name, rows, cols) of every array in the file's order."""
    shapes, layer = required_shapes(h), layer_shapes(h)
    yield "token_embd.weight", *shapes["token_embd.weight"]
    for role in _PER_LAYER:
        for i in range(h.n_layers):
            yield f"blk.{i}.{role}.weight", *layer[f"{role}.weight"]
    yield "output_norm.weight", *shapes["output_norm.weight"]
    yield _FREQUENCIES, 2 * h.n_ctx_train, h.head_dim // 2
    if not tied:
        yield "output.weight", *shapes["token_embd.weight"]
