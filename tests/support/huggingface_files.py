"""Models in Hugging Face's layout: config.json, safetensors or PyTorch files, tokenizers."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tests.support.blocks import Floats, dequantize, quantize
from tests.support.tiny_models import TinyModel, TinyShape
from tests.support.torch_files import checkpoint

_NAMES = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
    "attn_norm.weight": "input_layernorm.weight",
    "attn_q.weight": "self_attn.q_proj.weight",
    "attn_k.weight": "self_attn.k_proj.weight",
    "attn_v.weight": "self_attn.v_proj.weight",
    "attn_output.weight": "self_attn.o_proj.weight",
    "ffn_norm.weight": "post_attention_layernorm.weight",
    "ffn_gate.weight": "mlp.gate_proj.weight",
    "ffn_down.weight": "mlp.down_proj.weight",
    "ffn_up.weight": "mlp.up_proj.weight",
}


def huggingface_name(name: str) -> str:
    if name.startswith("blk."):
        _, layer, role = name.split(".", 2)
        return f"model.layers.{layer}.{_NAMES[role]}"
    return _NAMES[name]


def permuted(values: Floats, n_heads: int) -> Floats:
    """Query or key rows as Hugging Face's conversion of Meta's weights orders them."""
    rows, cols = values.shape
    return values.reshape(n_heads, rows // n_heads // 2, 2, cols).transpose(0, 2, 1, 3).reshape(rows, cols)


def huggingface_state(model: TinyModel) -> dict[str, Floats]:
    """The tensors as such files hold them."""
    s, state = model.shape, {}
    for name, values in model.weights.items():
        if name.endswith("attn_q.weight"):
            values = permuted(values, s.n_heads)
        elif name.endswith("attn_k.weight"):
            values = permuted(values, s.n_kv_heads)
        state[huggingface_name(name)] = np.ascontiguousarray(values)
    return state


def config_of(shape: TinyShape, **more: Any) -> dict[str, Any]:
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": shape.n_embd,
        "intermediate_size": shape.n_ff,
        "num_hidden_layers": shape.n_layers,
        "num_attention_heads": shape.n_heads,
        "num_key_value_heads": shape.n_kv_heads,
        "vocab_size": shape.n_vocab,
        "max_position_embeddings": shape.n_ctx,
        "rms_norm_eps": shape.norm_eps,
        "rope_theta": shape.rope_base,
        "hidden_act": "silu",
        "tie_word_embeddings": shape.tied,
        "bos_token_id": 1,
        "eos_token_id": 2,
    }
    if shape.head_dim:
        config["head_dim"] = shape.head_dim
    return config | more


def safetensors(tensors: Mapping[str, Floats], label: str = "F32", *, header: dict[str, Any] | None = None) -> bytes:
    """A safetensors file; ``header`` is put over the entries that are true."""
    entries: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    data = b""
    for name, values in tensors.items():
        part = quantize(label, values)
        entries[name] = {
            "dtype": label,
            "shape": list(values.shape),
            "data_offsets": [len(data), len(data) + len(part)],
        }
        data += part
    text = json.dumps(entries | (header or {})).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + data


def write_huggingface(
    folder: Path, model: TinyModel, *, label: str = "F32", shards: int = 0, torch: bool = False, **config: Any
) -> dict[str, Floats]:
    """A folder with a model, in ``shards`` files with an index or (0) in one; returns the values that it holds."""
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config_of(model.shape, **config)))
    state = huggingface_state(model)
    make, stem, ending = (checkpoint, "pytorch_model", "bin") if torch else (safetensors, "model", "safetensors")
    if not shards:
        (folder / f"{stem}.{ending}").write_bytes(make(state, label))
    else:
        names = [f"{stem}-{i + 1:05d}-of-{shards:05d}.{ending}" for i in range(shards)]
        places = {tensor: names[i % shards] for i, tensor in enumerate(state)}
        for name in names:
            (folder / name).write_bytes(make({t: v for t, v in state.items() if places[t] == name}, label))
        index = {"metadata": {"total_size": 0}, "weight_map": places}
        (folder / f"{stem}.{ending}.index.json").write_text(json.dumps(index))
    return {name: dequantize(label, quantize(label, v), v.shape) for name, v in model.weights.items()}
