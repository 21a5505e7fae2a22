"""GGUF metadata: hyperparameters and vocabulary out of keys and values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from llamachat.vocabulary import Vocabulary
from llamachat.weights.files import Refusal, quoted
from llamachat.weights.llama import MAX_CONTEXT, head_dim
from llamachat.weights.tensors import Hyperparameters
from llamachat.weights.tokens import finish_vocabulary, kinds_by_text, kinds_of

ARCHITECTURE = "llama"
NO_ID = 0xFFFFFFFF  # what old converters wrote for "none"


@dataclass(frozen=True)
class Metadata:
    """Values by key, taken out by the type they must have. A default of None makes a key required."""

    values: Mapping[str, Any]
    asked: set[str] = field(default_factory=set)  #: the keys looked at

    def integer(self, key: str, default: int | None = None) -> int:
        """An integer of any width; an array with one value per layer must hold the same for all."""
        value: int = self._get(key, default, lambda v: type(v) is int, "an integer")
        return value

    def number(self, key: str, default: float | None = None) -> float:
        """A float or an integer."""
        return float(self._get(key, default, lambda v: type(v) in (int, float), "a number"))

    def text(self, key: str, default: str | None = None) -> str:
        """A text."""
        value: str = self._get(key, default, lambda v: isinstance(v, str), "a text")
        return value

    def flag(self, key: str, default: bool) -> bool:
        """True or false."""
        value: bool = self._get(key, default, lambda v: isinstance(v, bool), "true or false")
        return value

    def token_id(self, key: str, n_vocab: int, default: int | None = None) -> int | None:
        """The id of a token, or None where the file has none."""
        value = self.integer(key, -1 if default is None else default)
        if value in (-1, NO_ID):
            return None
        if not 0 <= value < n_vocab:
            raise Refusal(f"states {quoted(key)} {value}, outside its vocabulary of {n_vocab}")
        return value

    def array(self, key: str, kind: type | tuple[type, ...]) -> tuple[Any, ...]:
        """An array of one type; empty where the file has none."""
        self.asked.add(key)
        value = self.values.get(key, ())
        if not isinstance(value, tuple) or (value and not isinstance(value[0], kind)):
            raise Refusal(f"has something else than a list under {quoted(key)}")
        return value

    def _get(self, key: str, default: Any, fits: Callable[[Any], bool], what: str) -> Any:
        self.asked.add(key)
        value = self.values.get(key)
        if value is None:
            value = default
        if isinstance(value, tuple) and value:
            if value.count(value[0]) != len(value):
                raise Refusal(f"has layers that differ in {quoted(key)}: not supported yet")
            value = value[0]
        if value is None:
            raise Refusal(f"does not state {quoted(key)}")
        if not fits(value):
            raise Refusal(f"has under {quoted(key)} something else than {what}")
        return value


def check_architecture(metadata: Metadata) -> None:
    """Refuses what is no Llama model, or only a part of one."""
    architecture = metadata.text("general.architecture")
    if architecture != ARCHITECTURE:
        raise Refusal(f"holds a model of the architecture {quoted(architecture)}; supported is '{ARCHITECTURE}'")
    kind = metadata.text("general.type", "model")
    if kind not in ("model", ""):
        raise Refusal(f"holds {quoted(kind)} data, not a model")
    if metadata.integer("llama.expert_count", 0) > 0:
        raise Refusal("holds a mixture of experts: not supported")


def read_hyperparameters(metadata: Metadata, n_vocab: int) -> Hyperparameters:
    """The model's numbers, of which the file must state the sizes; ``n_vocab`` is the rows of its embedding."""
    n_embd = metadata.integer("llama.embedding_length")
    n_heads = metadata.integer("llama.attention.head_count")
    head = metadata.integer("llama.attention.key_length", 0) or head_dim(n_embd, n_heads)
    for key in ("llama.attention.value_length", "llama.rope.dimension_count"):
        other = metadata.integer(key, head)
        if other != head:
            raise Refusal(f"states {quoted(key)} {other} where its heads have {head} elements: not supported")
    return Hyperparameters(
        n_vocab=n_vocab,
        n_embd=n_embd,
        n_ff=metadata.integer("llama.feed_forward_length"),
        n_layers=metadata.integer("llama.block_count"),
        n_heads=n_heads,
        n_kv_heads=metadata.integer("llama.attention.head_count_kv", n_heads),
        head_dim=head,
        n_ctx_train=min(metadata.integer("llama.context_length"), MAX_CONTEXT),
        norm_eps=metadata.number("llama.attention.layer_norm_rms_epsilon"),
        rope_base=metadata.number("llama.rope.freq_base", 10000.0),
        rope_scale=_rope_scale(metadata),
    )


def _rope_scale(metadata: Metadata) -> float:
    """What positions are multiplied by: 1/factor of linear scaling, which old files state under another key."""
    kind = metadata.text("llama.rope.scaling.type", "linear")
    if kind not in ("linear", "none"):
        raise Refusal(f"scales RoPE by {quoted(kind)}: not supported yet")
    factor = metadata.number("llama.rope.scaling.factor", metadata.number("llama.rope.scale_linear", 0.0))
    return 1.0 / factor if kind == "linear" and factor != 0.0 else 1.0


#: By ``tokenizer.ggml.model``: our name, ids of BOS, EOS and unknown where not stated, whether spaces are prefixed.
_MODELS: Mapping[str, tuple[Any, int | None, int | None, int | None, bool]] = {
    "llama": ("spm", 1, 2, 0, True),
    "gpt2": ("bpe", None, None, None, False),
}

#: Pre-tokenizers whose models expect BOS where the file does not say.
_BOS_BY_DEFAULT = ("llama-bpe", "llama3", "llama-v3", "tekken")


def read_vocabulary(metadata: Metadata) -> Vocabulary | None:
    """The vocabulary, or None where the file has none."""
    family = metadata.text("tokenizer.ggml.model", "none")
    if family in ("none", "no_vocab"):
        return None
    if family not in _MODELS:
        raise Refusal(f"has a vocabulary of the kind {quoted(family)}; supported are {', '.join(_MODELS)}")
    model, bos, eos, unknown, space_prefix = _MODELS[family]
    pieces = metadata.array("tokenizer.ggml.tokens", str)
    n = len(pieces)
    if not n:
        raise Refusal("has an empty vocabulary")
    types = _per_token(metadata, "token_type", int, n)
    pre = metadata.text("tokenizer.ggml.pre", "")

    def special(name: str, default: int | None = None) -> int | None:
        default = default if default is not None and default < n else None
        return metadata.token_id(f"tokenizer.ggml.{name}_token_id", n, default)

    return finish_vocabulary(
        Vocabulary(
            model=model,
            pieces=pieces,
            scores=tuple(map(float, _per_token(metadata, "scores", (int, float), n, required=model == "spm"))),
            kinds=kinds_by_text(pieces) if model == "spm" and not types else kinds_of(types, n),
            merges=metadata.array("tokenizer.ggml.merges", str),
            pre=pre,
            bos_id=special("bos", bos),
            eos_id=special("eos", eos),
            unk_id=special("unknown", unknown),
            add_bos=metadata.flag("tokenizer.ggml.add_bos_token", model == "spm" or pre in _BOS_BY_DEFAULT),
            add_eos=metadata.flag("tokenizer.ggml.add_eos_token", False),
            add_space_prefix=metadata.flag("tokenizer.ggml.add_space_prefix", space_prefix),
            remove_extra_whitespaces=metadata.flag("tokenizer.ggml.remove_extra_whitespaces", False),
        ),
        stops=(special("eot"), special("eom")),
    )


def _per_token(
    metadata: Metadata, name: str, kind: type | tuple[type, ...], n: int, *, required: bool = False
) -> tuple[Any, ...]:
    values = metadata.array(f"tokenizer.ggml.{name}", kind)
    if len(values) < n and (values or required):
        raise Refusal(f"has a vocabulary of {n} tokens with {len(values)} {name.replace('_', ' ')}s")
    return values[:n]


def chat_template(metadata: Metadata) -> str | None:
    """The Jinja source of the model's chat template, if there is one."""
    return metadata.text("tokenizer.chat_template", "") or None
