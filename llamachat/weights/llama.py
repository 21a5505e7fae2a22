"""What a Llama model is made of: the range of each number, and the tensors with their shapes."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, TypeVar

from llamachat.weights.files import Refusal, quoted
from llamachat.weights.tensors import Hyperparameters, Tensor, TensorType

#: Types that the C core computes with.
SUPPORTED_TYPES = frozenset(
    TensorType[label]
    for label in (
        *("F32", "F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0"),
        *("Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ4_NL", "IQ4_XS"),
        *("Q4_0_F32", "Q4_1_F32", "Q8_0_F32", "Q4_2", "Q4_3"),
    )
)

#: More context than any Llama has; what a file claims beyond is cut to it.
MAX_CONTEXT = 1 << 24

_RANGES = {
    "n_vocab": (1, 1 << 19),
    "n_embd": (1, 1 << 16),
    "n_ff": (1, 1 << 18),
    "n_layers": (1, 512),
    "n_heads": (1, 1024),
    "n_kv_heads": (1, 1024),
    "head_dim": (2, 1024),
    "n_ctx_train": (1, MAX_CONTEXT),
    "norm_eps": (0.0, 0.1),
    "rope_base": (1.0, 1e12),
    "rope_scale": (1e-6, 1e6),
}


def check_hyperparameters(h: Hyperparameters) -> None:
    """Refuses numbers that no Llama model has, or that contradict each other."""
    for name, (low, high) in _RANGES.items():
        value = getattr(h, name)
        if not low <= value <= high:  # true of a NaN as well
            raise Refusal(f"states {name} {value}, which is not in {low}..{high}")
    if h.n_heads % h.n_kv_heads:
        raise Refusal(f"has {h.n_heads} heads, which {h.n_kv_heads} key-value heads do not divide")
    if h.head_dim % 2:
        raise Refusal(f"has heads of {h.head_dim} elements; RoPE needs an even number")


def head_dim(n_embd: int, n_heads: int) -> int:
    """The size of a head where the file does not state it."""
    if n_heads < 1 or n_embd % n_heads:
        raise Refusal(f"has an embedding of {n_embd}, which {n_heads} heads do not divide")
    return n_embd // n_heads


_NAME = re.compile(r"(?:blk\.(\d+)\.)?([a-z_]+)\.weight")


def layer_and_role(name: str) -> tuple[str, str]:
    """(number of the layer, role in it) of a tensor by GGUF's name: ("3", "attn_q"); each is "" where there is none."""
    match = _NAME.fullmatch(name)
    return (match[1] or "", match[2]) if match else ("", "")


def translated(name: str, pattern: re.Pattern[str], roles: Mapping[str, str]) -> str:
    """GGUF's name for one of another layout's; a name not known stays as it is.

    ``pattern`` finds the number of the layer, if there is one, and the role; ``roles`` has GGUF's word for that.
    """
    match = pattern.fullmatch(name)
    if not match or match[2] not in roles:
        return name
    layer = "" if match[1] is None else f"blk.{int(match[1])}."
    return f"{layer}{roles[match[2]]}.weight"


def layer_shapes(h: Hyperparameters) -> dict[str, tuple[int, int]]:
    """(rows, cols) of the tensors of one layer, by the end of their names."""
    q, kv = h.n_heads * h.head_dim, h.n_kv_heads * h.head_dim
    return {
        "attn_norm.weight": (1, h.n_embd),
        "attn_q.weight": (q, h.n_embd),
        "attn_k.weight": (kv, h.n_embd),
        "attn_v.weight": (kv, h.n_embd),
        "attn_output.weight": (h.n_embd, q),
        "ffn_norm.weight": (1, h.n_embd),
        "ffn_gate.weight": (h.n_ff, h.n_embd),
        "ffn_down.weight": (h.n_embd, h.n_ff),
        "ffn_up.weight": (h.n_ff, h.n_embd),
    }


def required_shapes(h: Hyperparameters) -> dict[str, tuple[int, int]]:
    """(rows, cols) of every tensor that a model must have."""
    shapes = {"token_embd.weight": (h.n_vocab, h.n_embd)}
    layer = layer_shapes(h)
    for i in range(h.n_layers):
        shapes |= {f"blk.{i}.{end}": shape for end, shape in layer.items()}
    shapes["output_norm.weight"] = (1, h.n_embd)
    return shapes


def optional_shapes(h: Hyperparameters) -> dict[str, tuple[int, int]]:
    """(rows, cols) of the tensors that a model may have: an output of its own, RoPE frequency factors."""
    return {"output.weight": (h.n_vocab, h.n_embd), "rope_freqs.weight": (1, h.head_dim // 2)}


#: Tables that some converters wrote and that are computed here instead.
_IGNORED = re.compile(r"(^|\.)(rope\.freqs|attn_rot_embd(\.weight)?|rotary_emb\.inv_freq|freqs_(cis|cos|sin)|mask)$")


def is_ignored(name: str) -> bool:
    """Whether a tensor is a table that converters or trainers wrote, and of no use here."""
    return bool(_IGNORED.search(name))


#: Tensors that change the computation in ways not supported, and what they mean.
_FOREIGN = (
    (re.compile(r"\.bias$"), "biases"),
    (re.compile(r"attn_qkv"), "query, key and value in one tensor"),
    (re.compile(r"ffn_gate_inp|_exps|\.\d+\.weight$|_shexp"), "a mixture of experts"),
    (re.compile(r"_norm(_2)?\.weight$"), "norms that a Llama model has not"),
)


class Blocks(Protocol):
    """What a type says of its blocks."""

    @property
    def label(self) -> str:
        """The name people know."""

    @property
    def block_elements(self) -> int:
        """Elements of one block."""


def rows_and_columns(name: str, kind: Blocks, ne: Sequence[int]) -> tuple[int, int]:
    """(rows, cols) of a tensor as a ggml header states it: ``ne`` counts columns first, trailing ones are none."""
    if not ne or min(ne) < 1 or math.prod(ne) >= 1 << 63:
        raise Refusal(f"has a tensor {quoted(name)} of impossible size {' x '.join(map(str, ne))}")
    if ne[0] % kind.block_elements:
        raise Refusal(
            f"has a tensor {quoted(name)} with rows of {ne[0]}, not whole {kind.label} blocks of {kind.block_elements}"
        )
    return math.prod(ne[1:]), ne[0]


_Place = TypeVar("_Place")


def used_tensors(
    h: Hyperparameters, found: Mapping[str, tuple[Tensor, _Place]], own_name: Callable[[str], str] = str
) -> dict[str, tuple[Tensor, _Place]]:
    """The tensors of the model among those of a file, each with its place; refuses any that is missing, misshapen,
    of a type that is not computed, or foreign to the architecture. ``own_name`` gives the format's name of a tensor."""
    required = required_shapes(h)
    known = required | optional_shapes(h)
    for name in required:
        if name not in found:
            fused = re.sub(r"attn_[qkv]\.weight$", "attn_qkv.weight", name)
            if fused != name and fused in found:
                raise Refusal(f"has queries, keys and values in one tensor, {quoted(fused)}: not supported")
            raise Refusal(f"has no tensor {quoted(own_name(name))}: it is not whole")
    used = {}
    for name, (tensor, offset) in found.items():
        if name in known:
            _check_tensor(tensor, quoted(own_name(name)), known[name])
            used[name] = (tensor, offset)
        elif not is_ignored(name):
            raise Refusal(_foreign(name, h, own_name))
    return used


def rows_of(found: Mapping[str, tuple[Tensor, _Place]], name: str, own_name: Callable[[str], str] = str) -> int:
    """The rows of a tensor that states a size; ``Refusal`` if there is none."""
    if name not in found:
        raise Refusal(f"has no tensor {quoted(own_name(name))}: it is not whole")
    return found[name][0].rows


def _check_tensor(tensor: Tensor, name: str, shape: tuple[int, int]) -> None:
    rows, cols = shape
    if (tensor.rows, tensor.cols) != shape:
        raise Refusal(f"has a tensor {name} of {tensor.rows} x {tensor.cols} where the model needs {rows} x {cols}")
    if tensor.type not in SUPPORTED_TYPES:
        raise Refusal(f"has a tensor {name} of type {tensor.type.label}: not supported yet")
    if rows == 1 and tensor.name.endswith(("norm.weight", "freqs.weight")) and tensor.type is not TensorType.F32:
        raise Refusal(f"has a tensor {name} of type {tensor.type.label}; it must be F32")


def _foreign(name: str, h: Hyperparameters, own_name: Callable[[str], str]) -> str:
    if name.split(".", 2)[-1] in layer_shapes(h):
        return f"has a tensor {quoted(own_name(name))}, of a layer beyond its {h.n_layers}"
    for pattern, what in _FOREIGN:
        if pattern.search(name):
            return f"has {what} (tensor {quoted(name)}): not supported"
    return f"has a tensor {quoted(name)}, which a Llama model has not"
