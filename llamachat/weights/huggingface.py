"""Models in Hugging Face's layout: config.json, and the weights as safetensors or PyTorch files, one or several.

Query and key rows are stored in an order of its own, and come back in Meta's (``UnpermutedRows``).
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from llamachat.weights.base import StoredWeights
from llamachat.weights.files import Refusal, RegularFile, blaming, quoted
from llamachat.weights.huggingface_tokenizer import read_chat_template, read_tokenizer
from llamachat.weights.json_text import CONFIG_LIMIT, Fields, parse_object
from llamachat.weights.llama import (
    MAX_CONTEXT,
    check_hyperparameters,
    head_dim,
    layer_and_role,
    translated,
    used_tensors,
)
from llamachat.weights.model_files import ModelFiles
from llamachat.weights.rope_scaling import NAME as ROPE_FREQS
from llamachat.weights.rope_scaling import Llama3Scaling, rope_freqs
from llamachat.weights.rows import Rows, UnpermutedRows
from llamachat.weights.safetensors import read_safetensors
from llamachat.weights.tensors import Hyperparameters, Tensor
from llamachat.weights.torch_file import TorchFile, as_weights
from llamachat.weights.zip_archive import MAGIC as ZIP_MAGIC

CONFIG = "config.json"

_INDEX_LIMIT = 4 << 20
_SHARDS_LIMIT = 512
_SHARD = re.compile(r"-\d{5}-of-\d{5}\.")

#: Models that compute as Llama does.
_MODEL_TYPES = ("llama", "mistral")

_Found = dict[str, tuple[Tensor, Rows]]

_ROLES = {
    "embed_tokens": "token_embd",
    "norm": "output_norm",
    "lm_head": "output",
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.down_proj": "ffn_down",
    "mlp.up_proj": "ffn_up",
}
_NAME = re.compile(r"(?:model\.)?(?:layers\.(\d{1,4})\.)?([a-z_.]+)\.weight")


def is_huggingface(state: Any) -> bool:
    """Whether a dictionary has tensors by Hugging Face's names."""
    return isinstance(state, dict) and any(_canonical(name) != name for name in state if isinstance(name, str))


def is_shard(name: str) -> bool:
    """Whether a file of this name is one of several that make up a model."""
    return bool(_SHARD.search(name))


def open_file(files: ModelFiles) -> StoredWeights:
    """The model whose weights are in one file."""
    if is_shard(files.first.path.name):
        raise Refusal("is one shard of a model; name its folder")
    return _open(files, _read(files.first))


def open_index(files: ModelFiles) -> StoredWeights:
    """The model whose weights are in the files of an index, ``{"weight_map": {tensor: file}}``."""
    if files.first.size > _INDEX_LIMIT:
        raise Refusal("is JSON text, no model")
    index = parse_object(files.first.read(0, files.first.size))
    places = index.get("weight_map")
    if not isinstance(places, dict) or not places:
        raise Refusal("is JSON text, no model; name the model's folder")
    if not all(isinstance(place, str) for place in places.values()):
        raise Refusal("is broken: it has something else than a file's name in its 'weight_map'")
    shards = sorted(set(places.values()))
    if len(shards) > _SHARDS_LIMIT:
        raise Refusal(f"names {len(shards)} files; at most {_SHARDS_LIMIT} are allowed")
    tensors: _Found = {}
    for shard in shards:
        file = files.open(shard)
        with blaming(file.path):
            found = _read(file)
            for name in found.keys() & tensors.keys():
                raise Refusal(f"has the tensor {quoted(huggingface_name(name))}, which another file has too")
            for name, place in places.items():
                if place == shard and (key := _canonical(name)) != name and key not in found:
                    raise Refusal(f"has no tensor {quoted(name)}, which {quoted(files.first.path.name)} puts there")
        tensors |= found
    return _open(files, tensors)


def _read(file: RegularFile) -> _Found:
    """The tensors of a file by canonical names."""
    if file.read(0, min(4, file.size)) == ZIP_MAGIC:
        checkpoint = TorchFile(file)
        found = {name: checkpoint.tensor(name, ref) for name, ref in checkpoint.state().items()}
    else:
        found = read_safetensors(file)
    tensors: _Found = {}
    for name, (tensor, rows) in found.items():
        key = _canonical(name)
        if key in tensors:
            raise Refusal(f"has the tensor {quoted(name)} twice")
        tensors[key] = as_weights(key, tensor, rows)
    return tensors


def _canonical(name: str) -> str:
    """GGUF's name for one of Hugging Face's; a name not known stays as it is."""
    return translated(name, _NAME, _ROLES)


_NAMES_OF_ROLES = {role: name for name, role in _ROLES.items()}


def huggingface_name(name: str) -> str:
    """Hugging Face's name for one of GGUF's; a name not known stays as it is."""
    layer, role = layer_and_role(name)
    if role not in _NAMES_OF_ROLES:
        return name
    if layer:
        return f"model.layers.{layer}.{_NAMES_OF_ROLES[role]}.weight"
    return f"{'' if role == 'output' else 'model.'}{_NAMES_OF_ROLES[role]}.weight"


def _open(files: ModelFiles, tensors: _Found) -> StoredWeights:
    text = files.text(CONFIG, CONFIG_LIMIT)
    if text is None:
        raise Refusal(f"holds weights, but no {CONFIG} is beside it")
    with blaming(files.folder / CONFIG):
        config = Fields(parse_object(text))
        h = _hyperparameters(config)
        scaling = _llama3_scaling(config)
        freqs = rope_freqs(h, scaling) if scaling else None
    report = files.report
    report.format, report.hyperparameters = "Hugging Face", h
    report.found(tensors)
    _check_embedding(h, tensors)
    _tie(config, files.folder / CONFIG, tensors)
    in_order = {name: _in_meta_order(name, place, h) for name, place in tensors.items()}
    used = used_tensors(h, in_order, huggingface_name)
    if freqs:
        used[ROPE_FREQS] = freqs
    weights = StoredWeights(files, report.format, h, used, name=files.folder.resolve().name)
    weights.rope_rule = scaling
    if not files.tokenizer and (found := read_tokenizer(files, h.n_vocab, config)):
        weights.vocabulary, weights.vocabulary_path = found
    weights.chat_template = read_chat_template(files)
    return weights


def _check_embedding(h: Hyperparameters, tensors: _Found) -> None:
    """Refuses weights that are another model's than the configuration's."""
    if "token_embd.weight" in tensors:
        tensor, _ = tensors["token_embd.weight"]
        if (tensor.rows, tensor.cols) != (h.n_vocab, h.n_embd):
            raise Refusal(
                f"contradicts its {CONFIG}: the embedding has {tensor.rows} x {tensor.cols} weights,"
                f" where that states {h.n_vocab} x {h.n_embd}"
            )


def _in_meta_order(name: str, place: tuple[Tensor, Rows], h: Hyperparameters) -> tuple[Tensor, Rows]:
    tensor, rows = place
    if name.endswith(("attn_q.weight", "attn_k.weight")) and tensor.rows % h.head_dim == 0:
        return tensor, UnpermutedRows(rows, h.head_dim)
    return place


def _tie(config: Fields, config_path: Path, tensors: _Found) -> None:
    """A tied model has no output of its own, whatever its files have."""
    with blaming(config_path):
        tied = config.flag("tie_word_embeddings")
    if tied:
        tensors.pop("output.weight", None)
    elif config.values.get("tie_word_embeddings") is False and "output.weight" not in tensors:
        raise Refusal("has no tensor 'lm_head.weight', and its config.json does not say that it is tied")


def _hyperparameters(config: Fields) -> Hyperparameters:
    _check_architecture(config)
    n_embd, n_heads = config.integer("hidden_size"), config.integer("num_attention_heads")
    kind, rope = _rope(config)
    factor = rope.number("factor") if kind == "linear" else 1.0
    if not factor > 0:
        raise Refusal(f"scales RoPE by the factor {factor:g}; it must be above 0")
    h = Hyperparameters(
        n_vocab=config.integer("vocab_size"),
        n_embd=n_embd,
        n_ff=config.integer("intermediate_size"),
        n_layers=config.integer("num_hidden_layers"),
        n_heads=n_heads,
        n_kv_heads=config.integer("num_key_value_heads", n_heads),
        head_dim=config.integer("head_dim", 0) or head_dim(n_embd, n_heads),
        n_ctx_train=min(config.integer("max_position_embeddings", 2048), MAX_CONTEXT),
        norm_eps=config.number("rms_norm_eps", 1e-6),
        rope_base=rope.number("rope_theta", config.number("rope_theta", 10000.0)),
        rope_scale=1.0 / factor,
    )
    check_hyperparameters(h)
    return h


def _check_architecture(config: Fields) -> None:
    """Refuses what does not compute as Llama does."""
    kind = config.text("model_type", "llama")
    if kind not in _MODEL_TYPES:
        raise Refusal(f"describes a model of the type {quoted(kind)}; supported are {', '.join(_MODEL_TYPES)}")
    method = config.fields("quantization_config").text("quant_method")
    if method:
        raise Refusal(f"describes weights quantised by {quoted(method)}: not supported")
    if config.text("hidden_act", "silu") not in ("silu", "swish"):
        raise Refusal(f"describes a model with the activation {quoted(config.text('hidden_act'))}: not supported")
    if config.flag("attention_bias") or config.flag("mlp_bias"):
        raise Refusal("describes a model with biases: not supported")
    window = config.integer("sliding_window", 0) if kind == "mistral" else 0
    if 0 < window < config.integer("max_position_embeddings", 0):
        raise Refusal(f"describes attention through a window of {window} tokens: not supported")


def _rope(config: Fields) -> tuple[str, Fields]:
    """How RoPE is scaled, and the numbers for it; newer files have them under another key."""
    new = config.fields("rope_parameters")
    rope = new if new.values else config.fields("rope_scaling")
    kind = rope.text("rope_type", rope.text("type", "default"))
    if kind not in ("default", "linear", "llama3"):
        raise Refusal(f"scales RoPE by {quoted(kind)}: not supported yet")
    return kind, rope


def _llama3_scaling(config: Fields) -> Llama3Scaling | None:
    kind, rope = _rope(config)
    if kind != "llama3":
        return None
    return Llama3Scaling(
        factor=rope.number("factor", 8.0),
        low=rope.number("low_freq_factor", 1.0),
        high=rope.number("high_freq_factor", 4.0),
        original_context=rope.number("original_max_position_embeddings", 8192.0),
    )
