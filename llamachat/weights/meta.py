"""Meta's checkpoints, consolidated.NN.pth with params.json, and llama2.c's, which have the same names inside.

A large model is cut into shards: matrices by columns or by rows, vectors whole in each.
"""

from __future__ import annotations

from typing import Any

from llamachat.weights.base import StoredWeights
from llamachat.weights.files import Refusal, blaming, quoted
from llamachat.weights.folders import META_FIRST_SHARD, META_SHARD
from llamachat.weights.json_text import CONFIG_LIMIT, Fields, parse_object
from llamachat.weights.llama import MAX_CONTEXT, check_hyperparameters, head_dim, rows_of, used_tensors
from llamachat.weights.meta_names import CUT_BY_COLUMNS, canonical, meta_name
from llamachat.weights.model_files import ModelFiles
from llamachat.weights.rope_scaling import Llama3Scaling, rope_freqs
from llamachat.weights.rows import JoinedColumns, Rows, StackedRows
from llamachat.weights.tensors import Hyperparameters, Tensor
from llamachat.weights.torch_file import TorchFile, as_weights

PARAMS = "params.json"

_SHARDS_LIMIT = 100
_COMPILED = "_orig_mod."  # what torch.compile puts before each name

_Found = dict[str, tuple[Tensor, Rows]]


def is_meta(state: Any) -> bool:
    """Whether a dictionary has tensors by Meta's names."""
    return isinstance(state, dict) and "layers.0.attention_norm.weight" in state


def is_llama2c_checkpoint(root: Any) -> bool:
    """Whether a dictionary is what llama2.c's train.py saves."""
    return isinstance(root, dict) and isinstance(root.get("model"), dict) and isinstance(root.get("model_args"), dict)


def open_meta(files: ModelFiles, first: TorchFile) -> StoredWeights:
    """The model of which ``first`` is the first shard."""
    shard = META_SHARD.fullmatch(files.first.path.name)
    if shard and shard[1] != "00":
        raise Refusal(f"is one shard of a model; name its folder, or {META_FIRST_SHARD}")
    shards = [_tensors(first, first.root)]
    for i in range(1, _SHARDS_LIMIT if shard else 1):
        name = f"consolidated.{i:02d}.pth"
        if not files.has(name):
            break
        with blaming(files.folder / name):
            checkpoint = TorchFile(files.open(name))
            shards.append(_tensors(checkpoint, checkpoint.root))
            if shards[-1].keys() != shards[0].keys():
                raise Refusal(f"is no shard of the same model as {META_FIRST_SHARD}")
    name, params = _params(files)
    with blaming(files.folder / name):
        dim = params.integer("dim")
    _check_number(shards, dim)
    tensors = {name: _joined(name, [shard[name] for shard in shards], dim) for name in shards[0]}
    report = files.report
    report.format = "PyTorch checkpoint of Meta"
    report.found(tensors)
    scaling = None
    with blaming(files.folder / name):
        report.hyperparameters = h = _hyperparameters(params, tensors)
        if not params.integer("max_seq_len", 0):
            report.notes.append(f"its context is not stated: {h.n_ctx_train:,} tokens follow from its other numbers")
        if params.flag("use_scaled_rope"):
            scaling = Llama3Scaling(factor=params.number("rope_scaling_factor", 8.0))
            tensors["rope_freqs.weight"] = rope_freqs(h, scaling)
    used = used_tensors(h, tensors, meta_name)
    weights = StoredWeights(files, report.format, h, used, name=files.folder.resolve().name)
    weights.rope_rule = scaling
    return weights


def open_llama2c_checkpoint(files: ModelFiles, checkpoint: TorchFile) -> StoredWeights:
    """The model that llama2.c's train.py saved, with its numbers."""
    args = Fields(checkpoint.root["model_args"])
    state = {
        name.removeprefix(_COMPILED): ref for name, ref in checkpoint.root["model"].items() if isinstance(name, str)
    }
    tensors = _tensors(checkpoint, state)
    files.report.found(tensors)
    h = _hyperparameters(args, tensors)
    if state.get("output.weight") == state.get("tok_embeddings.weight"):  # one storage under two names
        tensors.pop("output.weight", None)
    return StoredWeights(files, "llama2.c checkpoint", h, used_tensors(h, tensors, meta_name))


def _tensors(checkpoint: TorchFile, root: Any) -> _Found:
    found: _Found = {}
    for name, ref in checkpoint.state(root).items():
        key = canonical(name)
        if key in found:
            raise Refusal(f"has the tensor {quoted(name)} twice")
        found[key] = as_weights(key, *checkpoint.tensor(name, ref))
    return found


def _check_number(shards: list[_Found], dim: int) -> None:
    """Refuses fewer shards than there were: attention's output is always cut by columns, of which there were ``dim``.

    A wrong ``dim`` tells nothing of shards, and is found when shapes are compared.
    """
    output, _ = shards[0].get("blk.0.attn_output.weight", (None, None))
    n = len(shards)
    if output and dim % output.cols == 0 and n < dim // output.cols <= _SHARDS_LIMIT:
        raise Refusal(f"is one of {dim // output.cols} shards, and 'consolidated.{n:02d}.pth' is not beside it")


def _joined(name: str, pieces: list[tuple[Tensor, Rows]], dim: int) -> tuple[Tensor, Rows]:
    """A tensor out of its shards."""
    tensor, source = pieces[0]
    if any(piece != tensor for piece, _ in pieces):
        raise Refusal(f"has shards that differ in the shape or type of tensor {quoted(meta_name(name))}")
    n = len(pieces)
    if n == 1 or tensor.rows == 1:
        return tensor, source
    by_columns = name.endswith(CUT_BY_COLUMNS)
    if name == "token_embd.weight":  # by columns in Llama 1 and 2, by rows in Llama 3
        by_columns = tensor.cols * n == dim
    if by_columns:
        return Tensor(name, tensor.type, tensor.rows, tensor.cols * n), JoinedColumns([rows for _, rows in pieces])
    stacked = StackedRows([(rows, tensor.rows) for _, rows in pieces])
    return Tensor(name, tensor.type, tensor.rows * n, tensor.cols), stacked


def _params(files: ModelFiles) -> tuple[str, Fields]:
    """The model's numbers and the name of their file: params.json, or the one other file that can be it."""
    name = PARAMS
    if not files.has(name):
        others = [other for other in files.names(".json") if _is_params(files, other)]
        if len(others) != 1:
            raise Refusal(f"is a checkpoint of Meta's, and no {PARAMS} is beside it")
        name = others[0]
    with blaming(files.folder / name):
        values = Fields(parse_object(files.text(name, CONFIG_LIMIT) or b""))
    nested = values.fields("model")
    return name, nested if nested.values else values


def _is_params(files: ModelFiles, name: str) -> bool:
    try:
        return {"dim", "n_layers", "n_heads"} <= parse_object(files.text(name, CONFIG_LIMIT) or b"").keys()
    except Refusal:
        return False


def _hyperparameters(params: Fields, tensors: _Found) -> Hyperparameters:
    """Numbers from params.json (or llama2.c's model_args), the others from tensors."""
    dim, n_heads = params.integer("dim"), params.integer("n_heads")
    head = head_dim(dim, n_heads)
    n_vocab = rows_of(tensors, "token_embd.weight", meta_name)
    if params.integer("vocab_size", -1) not in (-1, n_vocab):
        raise Refusal(f"states a vocabulary of {params.integer('vocab_size')} tokens where the embedding has {n_vocab}")
    h = Hyperparameters(
        n_vocab=n_vocab,
        n_embd=dim,
        n_ff=rows_of(tensors, "blk.0.ffn_gate.weight", meta_name),
        n_layers=params.integer("n_layers"),
        n_heads=n_heads,
        n_kv_heads=params.integer("n_kv_heads", n_heads),
        head_dim=head,
        n_ctx_train=_context(params),
        norm_eps=params.number("norm_eps", 1e-5),
        rope_base=params.number("rope_theta", 10000.0),
    )
    check_hyperparameters(h)
    return h


def _context(params: Fields) -> int:
    """Meta's files do not state the context, but tell the generations apart by other numbers."""
    stated = params.integer("max_seq_len", 0)
    if stated > 0:
        return min(stated, MAX_CONTEXT)
    if params.flag("use_scaled_rope"):
        return 131072  # Llama 3.1
    if params.number("rope_theta", 10000.0) >= 500000.0:
        return 8192  # Llama 3
    return 4096 if params.number("norm_eps", 1e-5) == 1e-5 else 2048  # Llama 2 or 1
