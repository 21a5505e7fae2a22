"""Meta's names of the tensors, which ggml files and llama2.c's checkpoints use too."""

from __future__ import annotations

import re

from llamachat.weights.llama import layer_and_role, translated

_ROLES = {
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
_NAME = re.compile(r"(?:layers\.(\d{1,4})\.)?([a-z0-9_.]+)\.weight")

#: Matrices that were cut by columns where a model was cut into parts; all others were cut by rows.
CUT_BY_COLUMNS = ("token_embd.weight", "attn_output.weight", "ffn_down.weight")


def canonical(name: str) -> str:
    """GGUF's name for one of Meta's; a name not known stays as it is."""
    return translated(name, _NAME, _ROLES)


_META_ROLES = {role: name for name, role in _ROLES.items()}


def meta_name(name: str) -> str:
    """Meta's name for one of GGUF's; a name not known stays as it is."""
    layer, role = layer_and_role(name)
    if role not in _META_ROLES:
        return name
    return f"{f'layers.{layer}.' if layer else ''}{_META_ROLES[role]}.weight"
