"""ggjt version 3, the last format of llama.cpp before GGUF; see ``llamachat.weights.ggml`` for the layout."""

from __future__ import annotations

import struct

from llamachat.errors import FileError
from llamachat.weights.meta_names import meta_name
from llamachat.weights.tensors import Tensor, TensorType
from llamachat.weights.write.encodings import Blocks
from llamachat.weights.write.parts import Encoded, Known, Layout, Model, Part, new_file, padding
from llamachat.weights.write.plain_vocabulary import ggml_tokens, losses, plain_tokens
from llamachat.weights.write.requirements import check_plain, notes_on_eps, unfit
from llamachat.weights.write.types import file_type, notes_on_types, types_of

LABEL = "ggjt v3"
#: Types that the format had when it ended.
HOLDS = frozenset(
    TensorType[label]
    for label in ("F32", "F16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K")
)

_VERSION = 3
_ALIGNMENT = 32
_N_CTX = 2048  # what readers take, unless told


def ggjt_layout(model: Model, wanted: TensorType | None, file_name: str) -> Layout:
    """One file: header, vocabulary, then each tensor behind a header of its own."""
    check_plain(model, LABEL)
    h, v = model.hyperparameters, model.vocabulary
    if v is None:
        raise FileError(
            model.weights.path, f"{LABEL} must hold a vocabulary, and none was found; name one: --tokenizer"
        )
    tokens = plain_tokens(v)
    if tokens is None:
        raise unfit(model, f"{LABEL} cannot hold this vocabulary: it has room for Llama 2's kind alone")
    types = types_of(model, wanted, HOLDS)
    n_mult = next(n for n in (256, 128, 64, 32, 16, 8, 4, 2, 1) if h.n_ff % n == 0)
    head = b"tjgg" + struct.pack(
        "<8I", _VERSION, h.n_vocab, h.n_embd, n_mult, h.n_heads, h.n_layers, h.head_dim, file_type(model, types)
    )
    parts: list[Part] = [Known(head + ggml_tokens(tokens))]
    offset = parts[0].n_bytes
    for name, tensor in _named_tensors(model):
        for part in _tensor(name, tensor, types[tensor.name], offset):
            parts.append(part)
            offset += part.n_bytes
    notes = notes_on_types(model, wanted, types) + notes_on_eps(h, LABEL) + losses(v)
    if h.n_ctx_train != _N_CTX:
        notes.append(f"{LABEL} does not hold the context, which is {h.n_ctx_train}: readers take {_N_CTX}, unless told")
    return Layout((new_file(file_name, parts),), tuple(notes))


def _named_tensors(model: Model) -> list[tuple[str, Tensor]]:
    """Tensors by the names they get. Each such file has an output, be it the embedding once more."""
    named = [(meta_name(name), tensor) for name, tensor in model.tensors.items()]
    return [*named, (meta_name("output.weight"), model.output)] if model.tied else named


def _tensor(name: str, tensor: Tensor, kind: TensorType, offset: int) -> list[Part]:
    ne = (tensor.cols,) if tensor.name.endswith("norm.weight") else (tensor.cols, tensor.rows)
    text = name.encode()
    head = struct.pack(f"<{3 + len(ne)}I", len(ne), len(text), kind.id, *ne) + text
    return [Known(head), padding(offset + len(head), _ALIGNMENT), Encoded(tensor, Blocks(kind))]
