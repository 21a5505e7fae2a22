"""A weight file becomes a model in memory."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llamachat.engine.core import Pool, check, default_threads, ffi, lib, select_isa
from llamachat.engine.events import ModelInfo
from llamachat.engine.loading import Loading
from llamachat.engine.memory import cache_bytes_per_token, choose_n_ctx
from llamachat.engine.source import ModelSource, Rounding
from llamachat.errors import EngineError, TokenizerError, WeightsError
from llamachat.tokenizer import Tokenizer, load_tokenizer
from llamachat.weights import WeightFile, open_weights

if TYPE_CHECKING:
    from llamachat.vocabulary import Vocabulary

_MODEL_SLOTS = {
    "token_embd.weight": lib.LC_TOKEN_EMBD,
    "output_norm.weight": lib.LC_OUTPUT_NORM,
    "output.weight": lib.LC_OUTPUT,
    "rope_freqs.weight": lib.LC_ROPE_FREQS,
}
_LAYER_SLOTS = {
    "attn_norm.weight": lib.LC_ATTN_NORM,
    "attn_q.weight": lib.LC_ATTN_Q,
    "attn_k.weight": lib.LC_ATTN_K,
    "attn_v.weight": lib.LC_ATTN_V,
    "attn_output.weight": lib.LC_ATTN_OUTPUT,
    "ffn_norm.weight": lib.LC_FFN_NORM,
    "ffn_gate.weight": lib.LC_FFN_GATE,
    "ffn_up.weight": lib.LC_FFN_UP,
    "ffn_down.weight": lib.LC_FFN_DOWN,
}

# Narrower models are read as exactly as they answer, at any length: with so few activations in a sum the errors of 8
# bits hardly cancel (of 64, perplexity is up to 0.6 % off), and what exactness costs them nobody waits for.
_NARROW = 256


def slot_of(name: str) -> tuple[int, int] | None:
    """The C core's (slot, layer) of a tensor's canonical name; None for a tensor it has no use for."""
    if name in _MODEL_SLOTS:
        return _MODEL_SLOTS[name], 0
    prefix, _, rest = name.partition(".")
    layer, _, kind = rest.partition(".")
    if prefix == "blk" and layer.isdecimal() and kind in _LAYER_SLOTS:
        return _LAYER_SLOTS[kind], int(layer)
    return None


def name_of(slot: int, layer: int) -> str:
    """The canonical tensor name of a (slot, layer) of the C core."""
    for name, number in _MODEL_SLOTS.items():
        if number == slot:
            return name
    return f"blk.{layer}." + next(kind for kind, number in _LAYER_SLOTS.items() if number == slot)


@dataclass(frozen=True, slots=True)
class Traffic:
    """What evaluating one token reads from memory."""

    weight_bytes: int
    cache_bytes: int  #: for each token that the context holds


class Model:
    """Weights laid out for this machine's kernels, with their tokenizer and threads. Read-only once loaded."""

    def __init__(
        self,
        handle: Any,
        info: ModelInfo,
        tokenizer: Tokenizer,
        pool: Pool,
        source: ModelSource,
        traffic: Traffic,
    ) -> None:
        self.handle = handle
        self.source = source
        self.info = info
        self.tokenizer = tokenizer
        self.pool = pool
        self.traffic = traffic

    @property
    def vocabulary(self) -> Vocabulary:
        """The tokens by id."""
        return self.tokenizer.vocabulary

    @classmethod
    def load(
        cls,
        source: ModelSource,
        progress: Callable[[int, int], None] = lambda _done, _total: None,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> Model:
        """Reads and repacks a weight file.

        ``progress(done_bytes, total_bytes)`` is called as it goes on. Raises ``WeightsError`` for a file
        that is broken or has a vocabulary that no tokenizer can be built from, ``EngineError`` where memory is
        short, and ``Cancelled`` once ``cancelled()`` is true.
        """
        select_isa()
        with ExitStack() as opened:
            weights = opened.enter_context(open_weights(source.path, tokenizer=source.tokenizer))
            if weights.vocabulary is None:
                raise WeightsError(source.path, "this file holds no vocabulary: pass --tokenizer FILE")
            handle = _create(weights)
            wanted = [(tensor, place) for name, tensor in weights.tensors.items() if (place := slot_of(name))]
            with Loading(handle, weights, wanted, source.threads or default_threads()) as loading:
                tokenizer = _tokenizer(weights.vocabulary, weights.vocabulary_path)
                loading.wait(progress, cancelled)
            _finish(handle, weights)
            info, pool = _describe(weights, tokenizer, source), Pool(source.threads)
            cache_bytes = cache_bytes_per_token(weights.hyperparameters, source.kv_type)
            traffic = Traffic(weight_bytes_per_token(weights), cache_bytes)
            if source.rounding is Rounding.FAST and weights.hyperparameters.n_embd < _NARROW:
                source = replace(source, rounding=Rounding.EXACT)
            return cls(handle, info, tokenizer, pool, source, traffic)

    def close(self) -> None:
        """Frees the weights and ends the threads; contexts must be closed before."""
        ffi.release(self.handle)
        self.pool.close()


def weight_bytes_per_token(weights: WeightFile) -> int:
    """Bytes of weights that evaluating one token reads, in the file's own types.

    Every tensor counts whole but the embedding: where an output matrix of its own gives the logits, one row of it.
    """
    tensors = weights.tensors
    total = sum(tensor.n_bytes for name, tensor in tensors.items() if slot_of(name))
    if "output.weight" in tensors:
        embedding = tensors["token_embd.weight"]
        total -= embedding.n_bytes - embedding.n_bytes // embedding.rows
    return total


def _create(weights: WeightFile) -> Any:
    h = weights.hyperparameters
    hparams = ffi.new(
        "lc_hparams *",
        {
            "n_vocab": h.n_vocab,
            "n_embd": h.n_embd,
            "n_ff": h.n_ff,
            "n_layers": h.n_layers,
            "n_heads": h.n_heads,
            "n_kv_heads": h.n_kv_heads,
            "head_dim": h.head_dim,
            "norm_eps": h.norm_eps,
            "rope_base": h.rope_base,
            "rope_scale": h.rope_scale,
        },
    )
    out: Any = ffi.new("lc_model **")
    check(lib.lc_model_create(hparams, out), f"{weights.path}: hyperparameters")
    return ffi.gc(out[0], lib.lc_model_free)


def _tokenizer(vocabulary: Vocabulary, path: Path) -> Tokenizer:
    try:
        return load_tokenizer(vocabulary)
    except TokenizerError as error:
        raise WeightsError(path, str(error)) from None


def _finish(handle: Any, weights: WeightFile) -> None:
    slot: Any = ffi.new("int32_t *")
    layer: Any = ffi.new("int32_t *")
    if lib.lc_model_finish(handle, slot, layer) != lib.LC_OK:
        raise WeightsError(weights.path, f"tensor {name_of(slot[0], layer[0])} is missing or incomplete")


def _describe(weights: WeightFile, tokenizer: Tokenizer, source: ModelSource) -> ModelInfo:
    h = weights.hyperparameters
    n_ctx = choose_n_ctx(source.n_ctx, h.n_ctx_train, cache_bytes_per_token(h, source.kv_type))
    if n_ctx < 1:
        raise EngineError(f"{weights.path}: not enough memory for a context of any length")
    return ModelInfo(
        path=weights.path,
        name=_display_name(weights),
        format=weights.format,
        type_name=weights.type_name,
        n_params=weights.n_params,
        n_ctx=n_ctx,
        n_ctx_train=h.n_ctx_train,
        n_vocab=h.n_vocab,
        size_bytes=weights.size_bytes,
        chat_template=weights.chat_template,
        notices=(*tokenizer.notices, *_beyond(n_ctx, h.n_ctx_train)),
    )


def _beyond(n_ctx: int, trained: int) -> tuple[str, ...]:
    if n_ctx <= trained:
        return ()
    return (f"a context of {n_ctx:,} tokens, but the model was trained on {trained:,} at most",)


def _display_name(weights: WeightFile) -> str:
    """The file's name without its ending and its tensor type: what the person who chose the file calls it.

    The name inside a file is the converter's, often that of a training run.
    """
    stem = weights.path.resolve().name if weights.path.is_dir() else weights.path.stem
    kind = weights.type_name.partition(" ")[0]  # of a type whose scales are of the old kind its first word
    for separator in ".-_":
        base, found, last = stem.rpartition(separator)
        if found and base and last.upper() == kind.upper():
            return base
    return stem
