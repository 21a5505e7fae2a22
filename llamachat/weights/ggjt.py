"""ggjt version 3: llama.cpp's files of May to August 2023.

    u32 "ggjt" (stored as "tjgg"), u32 version, u32 n_vocab n_embd n_mult n_head n_layer n_rot ftype
    n_vocab tokens:  u32 length, bytes, f32 score
    tensors to the end of the file:
        u32 n_dims, u32 name length, u32 type, u32 ne[n_dims], name, zeros to a multiple of 32, data

The file states neither the context nor the norm's epsilon nor RoPE's base, and no count of key-value
heads or of the feed-forward's rows: the last two follow from tensors, the others are Llama 2's.
"""

from __future__ import annotations

import re
import struct

from llamachat.weights.base import Hyperparameters, StoredWeights, Tensor
from llamachat.weights.files import Refusal, RegularFile, quoted
from llamachat.weights.llama import check_hyperparameters, head_dim, make_tensor, used_tensors
from llamachat.weights.reader import Reader, RecordLayout
from llamachat.weights.tokens import classify_by_id

MAGIC = b"tjgg"

_VERSION = struct.Struct("<4sI")
_HPARAMS = struct.Struct("<7I")
_TOKENS = RecordLayout(struct.Struct("<I"), after=4)
_TENSOR = struct.Struct("<3I")
_ALIGNMENT = 32
_NAME_LIMIT = 4095
_TENSORS_LIMIT = 1 << 13

#: LLaMA 1 was trained for 2048 tokens and Llama 2 for 4096, which the file does not tell.
_N_CTX = 2048

#: Canonical names by Meta's.
_NAMES = {
    "tok_embeddings": "token_embd",
    "norm": "output_norm",
    "output": "output",
    "attention_norm": "attn_norm",
    "attention.wq": "attn_q",
    "attention.wk": "attn_k",
    "attention.wv": "attn_v",
    "attention.wo": "attn_output",
    "ffn_norm": "ffn_norm",
    "feed_forward.w1": "ffn_gate",
    "feed_forward.w2": "ffn_down",
    "feed_forward.w3": "ffn_up",
}
_META_NAME = re.compile(r"(?:layers\.(\d{1,4})\.)?([a-z0-9_.]+)\.weight")


def open_ggjt(file: RegularFile) -> StoredWeights:
    """The Llama model in a ggjt file. ``Refusal`` where it is broken, or of an older version."""
    reader = Reader(file)
    _, version = reader.unpack(_VERSION)
    if version in (1, 2):
        raise Refusal(f"is a ggjt file of version {version}: not supported yet")
    if version != 3:
        raise Refusal(f"is a ggjt file of version {version}, which never was")
    n_vocab, n_embd, _, n_heads, n_layers, _, _ = reader.unpack(_HPARAMS)
    reader.part = "its vocabulary"
    texts, scores = reader.records(_TOKENS, n_vocab)
    vocabulary = classify_by_id(texts, struct.unpack(f"<{n_vocab}f", scores))
    tensors = _read_tensors(reader)
    head = head_dim(n_embd, n_heads)
    hyperparameters = Hyperparameters(
        n_vocab=n_vocab,
        n_embd=n_embd,
        n_ff=_rows(tensors, "blk.0.ffn_gate.weight"),
        n_layers=n_layers,
        n_heads=n_heads,
        n_kv_heads=_rows(tensors, "blk.0.attn_k.weight") // max(head, 1),
        head_dim=head,
        n_ctx_train=_N_CTX,
    )
    check_hyperparameters(hyperparameters)
    used = used_tensors(hyperparameters, tensors)
    return StoredWeights(file, f"ggjt v{version}", hyperparameters, used, vocabulary=vocabulary)


def _read_tensors(reader: Reader) -> dict[str, tuple[Tensor, int]]:
    tensors: dict[str, tuple[Tensor, int]] = {}
    while reader.left:
        reader.part = f"the header of its tensor {len(tensors) + 1}"
        if len(tensors) == _TENSORS_LIMIT:
            raise Refusal(f"has more than {_TENSORS_LIMIT} tensors")
        n_dims, name_bytes, type_id = reader.unpack(_TENSOR)
        if n_dims not in (1, 2) or not 1 <= name_bytes <= _NAME_LIMIT:
            raise Refusal(f"is broken: no tensor starts at byte {reader.position - _TENSOR.size}")
        ne = reader.unpack(struct.Struct(f"<{n_dims}I"))
        name = _canonical(reader.take(name_bytes))
        tensor = make_tensor(name, type_id, ne)
        if name in tensors:
            raise Refusal(f"has the tensor {quoted(name)} twice")
        reader.align(_ALIGNMENT)
        tensors[name] = tensor, reader.position
        reader.part = f"the data of tensor {quoted(name)}"
        reader.skip(tensor.n_bytes)
    return tensors


def _canonical(name: bytes) -> str:
    """GGUF's name for one of Meta's; a name not known stays as it is."""
    text = name.decode(errors="replace")
    match = _META_NAME.fullmatch(text)
    if not match or match[2] not in _NAMES:
        return text
    layer = "" if match[1] is None else f"blk.{int(match[1])}."
    return f"{layer}{_NAMES[match[2]]}.weight"


def _rows(tensors: dict[str, tuple[Tensor, int]], name: str) -> int:
    if name not in tensors:
        raise Refusal(f"has no tensor {quoted(name)}: it is not whole")
    return tensors[name][0].rows
