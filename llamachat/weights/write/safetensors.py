"""A folder in Hugging Face's layout: model.safetensors, config.json, and the tokenizer's files.

safetensors: u64 length of a JSON header, the header, then the tensors without holes, those of wider numbers first so
that each lies at a multiple of its width.
"""

from __future__ import annotations

import json
import struct
from typing import Any

from llamachat.weights.huggingface import CONFIG, huggingface_name
from llamachat.weights.rope_scaling import NAME as ROPE_FREQS
from llamachat.weights.tensors import Tensor, TensorType
from llamachat.weights.write.encodings import Blocks
from llamachat.weights.write.huggingface_config import config_of
from llamachat.weights.write.huggingface_tokenizer import tokenizer_files
from llamachat.weights.write.parts import Encoded, Layout, Model, new_file
from llamachat.weights.write.types import types_of

HOLDS = frozenset(TensorType[label] for label in ("F32", "F16", "BF16"))
_ALIGNMENT = 8


def safetensors_layout(model: Model, wanted: TensorType | None, file_name: str) -> Layout:
    """The weights and all small files beside them."""
    types = types_of(model, wanted, HOLDS)
    notes: list[str] = []
    config = config_of(model, _main_type(model, types))
    small = {CONFIG: config} | tokenizer_files(model, notes)
    files = [new_file(name, [_json(data) if isinstance(data, dict) else data]) for name, data in small.items()]
    tensors = sorted(
        (tensor for name, tensor in model.tensors.items() if name != ROPE_FREQS),
        key=lambda tensor: -types[tensor.name].block_bytes,
    )
    entries: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    parts = []
    offset = 0
    for tensor in tensors:
        turned = model.hyperparameters.head_dim if tensor.name.endswith(("attn_q.weight", "attn_k.weight")) else 0
        part = Encoded(tensor, Blocks(types[tensor.name], turned))
        entries[huggingface_name(tensor.name)] = {
            "dtype": types[tensor.name].label,
            "shape": [tensor.cols] if _is_norm(tensor) else [tensor.rows, tensor.cols],
            "data_offsets": [offset, offset + part.n_bytes],
        }
        offset += part.n_bytes
        parts.append(part)
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    return Layout((*files, new_file(file_name, [struct.pack("<Q", len(text)) + text, *parts])), tuple(notes))


def _is_norm(tensor: Tensor) -> bool:
    return tensor.rows == 1 and tensor.name.endswith("norm.weight")


def _main_type(model: Model, types: dict[str, TensorType]) -> TensorType:
    return types[model.output.name]


def _json(data: dict[str, Any]) -> bytes:
    return (json.dumps(data, indent=2, ensure_ascii=False) + "\n").encode("utf-8", "replace")
