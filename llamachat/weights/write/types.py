"""Which type each tensor gets.

Without a wish, every tensor keeps its type where the new format holds it, and becomes F32 where it does not, so that
nothing is lost. With one, matrices get it, but for those where a few bits more are worth most:

    the matrix of logits   Q6_K with every type of fewer bits (Q8_0 where its rows do not fill blocks of 256), since an
                           error there is an error in the answer itself; be it the embedding, where that is the output
    Q4_K, Q5_K             values and the way down of the feed-forward in Q6_K in half of the layers: the first and the
                           last eighth, and every third between, as files called "Q4_K_M" have them

Vectors stay F32. A type whose blocks a row does not fill gives way to its neighbour with blocks of 32, and that to F16.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping

from llamachat.weights.tensors import Tensor, TensorType
from llamachat.weights.write.parts import Model

#: What ``--type`` takes.
CHOICES: Mapping[str, TensorType] = {
    label.lower(): TensorType[label]
    for label in ("F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q4_K", "Q5_K", "Q6_K")
}

#: The types that the output's matrix is lifted from.
_BELOW_Q6_K = frozenset(TensorType[label] for label in ("Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q4_K", "Q5_K"))

#: What takes the place of a type where rows do not fill its blocks.
_NEIGHBOURS = {
    TensorType.Q4_K: TensorType.Q5_0,
    TensorType.Q5_K: TensorType.Q5_1,
    TensorType.Q6_K: TensorType.Q8_0,
}

_MIXED = ("attn_v.weight", "ffn_down.weight")


def types_of(
    model: Model, wanted: TensorType | None, holds: Collection[TensorType], *, mixed: bool = True
) -> dict[str, TensorType]:
    """The type of each tensor by its name, of those that the format ``holds``.

    Without ``mixed`` all matrices get what is wanted, in formats that have one type for all.
    """
    if wanted is None:
        return {name: t.type if t.type in holds else TensorType.F32 for name, t in model.tensors.items()}
    return {
        name: _fitting(tensor, _wish(model, tensor, wanted) if mixed else wanted, holds)
        for name, tensor in model.tensors.items()
    }


def _wish(model: Model, tensor: Tensor, wanted: TensorType) -> TensorType:
    """The type that suits a tensor's place, whatever its shape."""
    if tensor is model.output:
        return TensorType.Q6_K if wanted in _BELOW_Q6_K else wanted
    if wanted in (TensorType.Q4_K, TensorType.Q5_K) and tensor.name.endswith(_MIXED):
        layer, n = int(tensor.name.split(".")[1]), model.hyperparameters.n_layers
        if layer < n // 8 or layer >= 7 * n // 8 or (layer - n // 8) % 3 == 2:
            return TensorType.Q6_K
    return wanted


def _fitting(tensor: Tensor, wanted: TensorType, holds: Collection[TensorType]) -> TensorType:
    """The wanted type, or the best that the rows of the tensor fill blocks of."""
    if tensor.rows == 1 and tensor.name.endswith(("norm.weight", "freqs.weight")):
        return TensorType.F32
    kind = wanted
    if tensor.cols % kind.block_elements:
        kind = _NEIGHBOURS.get(kind, TensorType.F16)
    if tensor.cols % kind.block_elements:
        kind = TensorType.F16
    return kind if kind in holds else TensorType.F32


def notes_on_types(model: Model, wanted: TensorType | None, types: Mapping[str, TensorType]) -> list[str]:
    """What to tell of tensors that have another type than was wanted, since their rows do not fill its blocks."""
    others: Counter[tuple[int, TensorType, TensorType]] = Counter()
    for name, tensor in model.tensors.items():
        wish = _wish(model, tensor, wanted) if wanted else tensor.type
        if tensor.cols % wish.block_elements and tensor.rows > 1:
            others[tensor.cols, wish, types[name]] += 1
    return [
        f"{n} tensor{'s have' if n > 1 else ' has'} rows of {cols} weights, not whole {wish.label} blocks of"
        f" {wish.block_elements}: {'they are' if n > 1 else 'it is'} {kind.label}"
        for (cols, wish, kind), n in others.items()
    ]


#: The number by which files say what most of their tensors are.
_FILE_TYPES = {
    "F32": 0, "F16": 1, "Q4_0": 2, "Q4_1": 3, "Q8_0": 7, "Q5_0": 8, "Q5_1": 9, "Q2_K": 10, "Q3_K": 12, "Q4_K": 15,
    "Q5_K": 17, "Q6_K": 18, "IQ4_NL": 25, "IQ4_XS": 30, "BF16": 32,
}  # fmt: skip


def file_type(model: Model, types: Mapping[str, TensorType]) -> int:
    """ggml's number for a file whose matrices are mostly of one type, by weights."""
    counts: dict[TensorType, int] = {}
    for name, tensor in model.tensors.items():
        if tensor.rows > 1 and tensor is not model.output:
            counts[types[name]] = counts.get(types[name], 0) + tensor.rows * tensor.cols
    most = max(counts, key=lambda kind: counts[kind])
    return _FILE_TYPES.get(most.label, 0)
