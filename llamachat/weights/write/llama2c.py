"""llama2.c's files: version 0 and 1 in float32, version 2 in int8; see ``llamachat.weights.llama2c`` for the layouts.

The vocabulary goes into a tokenizer.bin beside.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np

from llamachat.weights.llama2c import FREQUENCIES, LATER, LATER_BYTES, MAGIC, NUMBERS, arrays_later, arrays_of_version_0
from llamachat.weights.tensors import Hyperparameters, Tensor, TensorType
from llamachat.weights.write.encodings import Blocks, GroupedBytes
from llamachat.weights.write.parts import Computed, Encoded, Known, Layout, Model, NewFile, Part, new_file, padding
from llamachat.weights.write.plain_vocabulary import TOKENIZER_BIN, losses, plain_tokens, tokenizer_bin
from llamachat.weights.write.requirements import check_plain, notes_on_eps

_LARGEST_GROUP = 64
_USUAL_GROUP = 32  # from which on a weight takes at most 1.125 bytes
_POSITIONS_AT_ONCE = 4096


def version_0_layout(model: Model, _wanted: TensorType | None, file_name: str) -> Layout:
    """Seven numbers, then float32 arrays, in which run.c expects tables of RoPE too."""
    h = model.hyperparameters
    head = NUMBERS.pack(*_numbers(h, -h.n_vocab if not model.tied else h.n_vocab))
    parts: list[Part] = [Known(head)]
    for name, _, _ in arrays_of_version_0(h, tied=model.tied):
        parts += _rope_tables(h) if name == FREQUENCIES else [_floats(model.tensors[name])]
    return _layout(model, "llama2.c v0", new_file(file_name, parts))


def version_1_layout(model: Model, _wanted: TensorType | None, file_name: str) -> Layout:
    """A header of 256 bytes, then float32 arrays."""
    h = model.hyperparameters
    head = LATER.pack(MAGIC, 1, *_numbers(h, h.n_vocab), model.tied, 0)
    arrays = [_floats(model.tensors[name]) for name, _, _ in arrays_later(h, tied=model.tied)]
    return _layout(model, "llama2.c v1", new_file(file_name, [head, padding(len(head), LATER_BYTES), *arrays]))


def version_2_layout(model: Model, _wanted: TensorType | None, file_name: str) -> Layout:
    """The same header, norms in float32, and matrices in int8 with a scale for each group."""
    h = model.hyperparameters
    group = model.weights.group_size or _group(h)
    head = LATER.pack(MAGIC, 2, *_numbers(h, h.n_vocab), model.tied, group)
    parts = []
    for name, rows, _ in arrays_later(h, tied=model.tied):
        tensor = model.tensors[name]
        together = group // math.gcd(group, tensor.cols)
        parts.append(_floats(tensor) if rows == 1 else Encoded(tensor, GroupedBytes(group, together)))
    file = new_file(file_name, [head, padding(len(head), LATER_BYTES), *parts])
    return _layout(model, "llama2.c v2", file, _notes_on_group(model, group))


def _group(h: Hyperparameters) -> int:
    """The largest group, of those that its exporter tries, that never straddles rows: its kernel expects none to."""
    group = _LARGEST_GROUP
    while h.n_embd % group or h.n_ff % group:
        group //= 2
    return group


def _notes_on_group(model: Model, group: int) -> list[str]:
    """What to tell of groups so small that their scales weigh much, unless the source has them."""
    if group >= _USUAL_GROUP or model.weights.group_size:
        return []
    h = model.hyperparameters
    return [
        f"its groups have {group} weight{'s' * (group > 1)}, since rows of {h.n_embd} and {h.n_ff} are to be whole"
        f" groups: {1 + 4 / group:g} bytes a weight"
    ]


def _layout(model: Model, label: str, file: NewFile, remarks: Sequence[str] = ()) -> Layout:
    check_plain(model, label)
    notes = [*remarks, *notes_on_eps(model.hyperparameters, label)]
    tokens = plain_tokens(model.vocabulary) if model.vocabulary else None
    if tokens is None:
        kind = "none was found" if model.vocabulary is None else "it is not of the kind that this holds"
        return Layout((file,), (*notes, f"no {TOKENIZER_BIN} is written for the vocabulary: {kind}"))
    if model.vocabulary:
        notes += losses(model.vocabulary)
    return Layout((new_file(TOKENIZER_BIN, [tokenizer_bin(tokens)]), file), tuple(notes))


def _numbers(h: Hyperparameters, n_vocab: int) -> tuple[int, ...]:
    return h.n_embd, h.n_ff, h.n_layers, h.n_heads, h.n_kv_heads, n_vocab, h.n_ctx_train


def _floats(tensor: Tensor) -> Encoded:
    return Encoded(tensor, Blocks(TensorType.F32))


def _rope_tables(h: Hyperparameters) -> list[Part]:
    """Cosines, then sines, of each position and pair; nothing in use reads them, but they are part of the file."""
    n_bytes = 4 * h.n_ctx_train * (h.head_dim // 2)
    return [Computed(n_bytes, partial(_angles, h, np.cos)), Computed(n_bytes, partial(_angles, h, np.sin))]


def _angles(h: Hyperparameters, function: np.ufunc) -> Iterator[bytes]:
    frequencies = h.rope_base ** (-np.arange(0, h.head_dim, 2) / h.head_dim)
    for first in range(0, h.n_ctx_train, _POSITIONS_AT_ONCE):
        positions = np.arange(first, min(first + _POSITIONS_AT_ONCE, h.n_ctx_train))
        yield function(np.outer(positions, frequencies)).astype("<f4").tobytes()
