"""config.json: a model's numbers as Hugging Face's layout states them."""

from __future__ import annotations

import struct
from typing import Any

from llamachat.weights.rope_scaling import NAME as ROPE_FREQS
from llamachat.weights.rope_scaling import Llama3Scaling, rope_freqs
from llamachat.weights.tensors import TensorType
from llamachat.weights.write.parts import Model
from llamachat.weights.write.requirements import unfit

_NUMBERS = {TensorType.F32: "float32", TensorType.F16: "float16", TensorType.BF16: "bfloat16"}

#: Contexts that models whose RoPE is scaled by Llama 3's rule were trained with before; all known ones had the first.
_ORIGINAL_CONTEXTS = (8192.0, 4096.0, 2048.0, 16384.0, 32768.0)


def config_of(model: Model, kind: TensorType) -> dict[str, Any]:
    """The configuration; ``LlamachatError`` where it cannot say how RoPE is scaled."""
    h, v = model.hyperparameters, model.vocabulary
    config: dict[str, Any] = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_act": "silu",
        "hidden_size": h.n_embd,
        "intermediate_size": h.n_ff,
        "num_hidden_layers": h.n_layers,
        "num_attention_heads": h.n_heads,
        "num_key_value_heads": h.n_kv_heads,
        "head_dim": h.head_dim,
        "vocab_size": h.n_vocab,
        "max_position_embeddings": h.n_ctx_train,
        "rms_norm_eps": shortest(h.norm_eps),
        "rope_theta": shortest(h.rope_base),
        "rope_scaling": _scaling(model),
        "attention_bias": False,
        "mlp_bias": False,
        "tie_word_embeddings": model.tied,
        "torch_dtype": _NUMBERS[kind],
    }
    if v is not None:
        config |= {"bos_token_id": v.bos_id, "eos_token_id": v.eos_id}
    return config


def _scaling(model: Model) -> dict[str, Any] | None:
    h = model.hyperparameters
    if ROPE_FREQS in model.tensors:
        if h.rope_scale != 1.0:
            raise unfit(model, "Hugging Face's layout cannot hold RoPE that is scaled in two ways")
        s = model.weights.rope_rule or _llama3(model)
        return {
            "rope_type": "llama3",
            "factor": s.factor,
            "low_freq_factor": s.low,
            "high_freq_factor": s.high,
            "original_max_position_embeddings": _whole(s.original_context),
        }
    if h.rope_scale == 1.0:
        return None
    factor = shortest(1.0 / h.rope_scale)
    return {"rope_type": "linear", "type": "linear", "factor": factor}


def _llama3(model: Model) -> Llama3Scaling:
    """The numbers of Llama 3's rule that give its factors: the longest wave has the largest, the rest is tried."""
    h, data = model.hyperparameters, model.weights.read(ROPE_FREQS, 0, 1)
    factors = struct.unpack(f"<{h.head_dim // 2}f", data)
    for original in _ORIGINAL_CONTEXTS:
        scaling = Llama3Scaling(factor=shortest(max(factors)), original_context=original)
        if 1.0 < scaling.factor < 1e6 and rope_freqs(h, scaling)[1].data == data:
            return scaling
    raise unfit(model, "Hugging Face's layout cannot hold this model's RoPE: its factors follow no rule that is known")


def _whole(value: float) -> float:
    """An integer, if it is one: other programs take no 8192.0 for a number of tokens."""
    return int(value) if value.is_integer() else value


def shortest(value: float) -> float:
    """The number with the fewest digits that is this one in float32: what a person once wrote."""
    single = struct.pack("<f", value)
    numbers = (float(f"{value:.{digits}g}") for digits in range(1, 18))
    return next(number for number in numbers if struct.pack("<f", number) == single)
