"""GGUF version 3: metadata, the tensors' names, shapes and places, then their data, each at a multiple of 32 bytes."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Any

from llamachat.vocabulary import TokenKind, Vocabulary
from llamachat.weights.tensors import TYPES_BY_ID, Tensor, TensorType
from llamachat.weights.tokens import STOP_TEXTS
from llamachat.weights.write.encodings import Blocks
from llamachat.weights.write.parts import Encoded, Layout, Model, Part, new_file, padding
from llamachat.weights.write.types import file_type, notes_on_types, types_of

#: Every type of ggml may stand in a GGUF.
HOLDS = frozenset(TYPES_BY_ID.values())

_ALIGNMENT = 32
_VERSION = 3
_QUANTIZATION_VERSION = 2  # of the blocks: what they have been since May 2023

_U32, _I32, _F32, _BOOL, _STRING, _ARRAY, _I64, _F64 = 4, 5, 6, 7, 8, 9, 11, 12


def gguf_layout(model: Model, wanted: TensorType | None, file_name: str) -> Layout:
    """One file with everything."""
    types = types_of(model, wanted, HOLDS)
    notes = notes_on_types(model, wanted, types)
    records = _records(model, types, notes) | _about(model, as_it_is=wanted is None)
    tensors = list(model.tensors.values())
    infos, parts = bytearray(), list[Part]()
    offset = 0
    for tensor in tensors:
        encoded = Encoded(tensor, Blocks(types[tensor.name]))
        infos += _info(tensor, types[tensor.name], offset)
        parts += [encoded, padding(encoded.n_bytes, _ALIGNMENT)]
        offset += encoded.n_bytes + -encoded.n_bytes % _ALIGNMENT
    head = b"GGUF" + struct.pack("<IQQ", _VERSION, len(tensors), len(records))
    head += b"".join(_string(key) + value for key, value in records.items()) + bytes(infos)
    file = new_file(file_name, [head, padding(len(head), _ALIGNMENT), *parts])
    return Layout((file,), tuple(notes))


def _info(tensor: Tensor, kind: TensorType, offset: int) -> bytes:
    ne = (tensor.cols,) if _is_vector(tensor) else (tensor.cols, tensor.rows)
    dims = struct.pack(f"<I{len(ne)}Q", len(ne), *ne)
    return _string(tensor.name) + dims + struct.pack("<IQ", kind.id, offset)


def _is_vector(tensor: Tensor) -> bool:
    return tensor.rows == 1 and tensor.name.endswith(("norm.weight", "freqs.weight"))


def _records(model: Model, types: Mapping[str, TensorType], notes: list[str]) -> dict[str, bytes]:
    h = model.hyperparameters
    values: dict[str, bytes] = {
        "general.architecture": _text("llama"),
        "general.name": _text(model.name),
        "general.alignment": _u32(_ALIGNMENT),
        "general.file_type": _u32(file_type(model, types)),
        "general.quantization_version": _u32(_QUANTIZATION_VERSION),
        "llama.vocab_size": _u32(h.n_vocab),
        "llama.context_length": _u32(h.n_ctx_train),
        "llama.embedding_length": _u32(h.n_embd),
        "llama.block_count": _u32(h.n_layers),
        "llama.feed_forward_length": _u32(h.n_ff),
        "llama.attention.head_count": _u32(h.n_heads),
        "llama.attention.head_count_kv": _u32(h.n_kv_heads),
        "llama.attention.layer_norm_rms_epsilon": _f32(h.norm_eps),
        "llama.rope.dimension_count": _u32(h.head_dim),
        "llama.rope.freq_base": _f32(h.rope_base),
    }
    if h.head_dim * h.n_heads != h.n_embd:
        values["llama.attention.key_length"] = _u32(h.head_dim)
        values["llama.attention.value_length"] = _u32(h.head_dim)
    if h.rope_scale != 1.0:
        values["llama.rope.scaling.type"] = _text("linear")
        values["llama.rope.scaling.factor"] = _f32(1.0 / h.rope_scale)
    if model.vocabulary is None:
        notes.append("the new file has no vocabulary, since none was found: --tokenizer FILE gives it one")
        return values | {"tokenizer.ggml.model": _text("no_vocab")}
    values |= _vocabulary(model.vocabulary, notes)
    if model.chat_template:
        values["tokenizer.chat_template"] = _text(model.chat_template)
    return values


#: What is told anew of every file.
_OWN = frozenset(("general.architecture", "general.name", "general.alignment", "general.file_type"))
_OWN |= {"general.quantization_version"}
#: What is no longer so where the weights are of another type.
_OF_THE_TYPE = frozenset(("general.quantized_by", "general.uuid"))


def _about(model: Model, *, as_it_is: bool) -> dict[str, bytes]:
    """Licence, authors, sources and the like, as far as they stay true."""
    lost = _OWN if as_it_is else _OWN | _OF_THE_TYPE
    told = {key: _value(value) for key, value in model.about.items() if key not in lost}
    return {key: value for key, value in told.items() if value is not None}


def _value(value: Any) -> bytes | None:
    """A value of any kind that is kept of a file; None for what is not."""
    match value:
        case bool():
            return _flag(value)
        case int():
            return _u32(value) if 0 <= value < 1 << 32 else struct.pack("<Iq", _I64, value) if value < 1 << 63 else None
        case float():
            return struct.pack("<Id", _F64, value)
        case str():
            return _text(value)
        case (str(), *_):
            return _strings(value)
    return None


def _vocabulary(v: Vocabulary, notes: list[str]) -> dict[str, bytes]:
    values: dict[str, bytes] = {"tokenizer.ggml.model": _text("llama" if v.model == "spm" else "gpt2")}
    if v.model == "bpe":
        known = v.pre.isascii() and v.pre.replace("-", "").replace("_", "").replace(".", "").isalnum()
        if not known:
            notes.append("no name is known for the way in which this vocabulary cuts words: 'default' is written")
        values["tokenizer.ggml.pre"] = _text(v.pre if known else "default")
    values["tokenizer.ggml.tokens"] = _strings(v.pieces)
    if v.scores:
        values["tokenizer.ggml.scores"] = _array(_F32, "f", v.scores)
    values["tokenizer.ggml.token_type"] = _array(_I32, "i", [int(k or TokenKind.NORMAL) for k in v.kinds])
    if v.merges:
        values["tokenizer.ggml.merges"] = _strings(v.merges)
    ids = {"bos": v.bos_id, "eos": v.eos_id, "unknown": v.unk_id} | _further_ends(v)
    values |= {f"tokenizer.ggml.{name}_token_id": _u32(i) for name, i in ids.items() if i is not None}
    return values | {
        "tokenizer.ggml.add_bos_token": _flag(v.add_bos),
        "tokenizer.ggml.add_eos_token": _flag(v.add_eos),
        "tokenizer.ggml.add_space_prefix": _flag(v.add_space_prefix),
        "tokenizer.ggml.remove_extra_whitespaces": _flag(v.remove_extra_whitespaces),
    }


def _further_ends(v: Vocabulary) -> dict[str, int]:
    """The tokens that end an answer beside EOS, but for those that every reader knows by their texts."""
    ends = sorted(i for i in v.stop_ids - {v.eos_id} if v.pieces[i] not in STOP_TEXTS)
    return dict(zip(("eot", "eom"), ends, strict=False))


def _u32(value: int) -> bytes:
    return struct.pack("<II", _U32, value)


def _f32(value: float) -> bytes:
    return struct.pack("<If", _F32, value)


def _flag(value: bool) -> bytes:
    return struct.pack("<I?", _BOOL, value)


def _text(value: str) -> bytes:
    return struct.pack("<I", _STRING) + _string(value)


def _string(value: str) -> bytes:
    data = value.encode("utf-8", "replace")  # what was no text became surrogates
    return struct.pack("<Q", len(data)) + data


def _strings(values: Sequence[str]) -> bytes:
    return struct.pack("<IIQ", _ARRAY, _STRING, len(values)) + b"".join(map(_string, values))


def _array(kind: int, code: str, values: Sequence[Any]) -> bytes:
    return struct.pack("<IIQ", _ARRAY, kind, len(values)) + struct.pack(f"<{len(values)}{code}", *values)
