"""A weight file looked at without being used: all that its header says, and what is odd about it.

What the readers of the formats find is reported also where the model cannot be run, with the reason why not.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llamachat.errors import WeightsError
from llamachat.vocabulary import TokenKind, Vocabulary
from llamachat.weights import open_files, open_into
from llamachat.weights.base import WeightFile
from llamachat.weights.report import Report, Stored
from llamachat.weights.rope_scaling import NAME as ROPE_FREQS
from llamachat.weights.tensors import Hyperparameters

_SOME = 6  #: names in a list that is no table
_SHOWN_METADATA = (bool, int, float, str)
_DESCRIPTIVE = ("general.", "quantize.", "split.")  #: keys of GGUF that nothing has to look at


@dataclass(frozen=True)
class Inspection:
    """What there is to know about a model's file or files. Texts come from the file and are untrusted."""

    path: Path
    format: str
    name: str
    size_bytes: int
    n_files: int
    hyperparameters: Hyperparameters | None  #: None where they could not be read
    vocabulary: Vocabulary | None
    chat_template: str | None
    tensors: tuple[Stored, ...]  #: all of the file, in its order
    used: frozenset[str]  #: names of those that the model uses
    problem: str = ""  #: why it cannot be run; empty where it can
    culprit: str = ""  #: the name of the file that is to blame for it, where that is another one
    vocabulary_path: Path | None = None  #: the file that the vocabulary is from, where it is known
    notes: tuple[str, ...] = ()  #: what is odd about it, a sentence each
    metadata: dict[str, Any] = field(default_factory=dict)  #: GGUF: single values by key, long texts cut

    @property
    def n_params(self) -> int:
        """Weights of the model, a tied output counted once; of all tensors where the model cannot be run."""
        return sum(t.rows * t.cols for t in self._counted)

    @property
    def weight_bytes(self) -> int:
        """Bytes of the weights in memory."""
        return sum(t.tensor.n_bytes for t in self._counted)

    @property
    def types(self) -> list[tuple[str, int, int]]:
        """(type in the file, tensors, bytes), the most bytes first."""
        counts, sizes = Counter[str](), Counter[str]()
        for tensor in self.tensors:
            counts[tensor.label] += 1
            sizes[tensor.label] += tensor.n_bytes
        return [(label, counts[label], n_bytes) for label, n_bytes in sizes.most_common()]

    @property
    def _counted(self) -> list[Stored]:
        return [t for t in self.tensors if t.name in self.used] if self.used else list(self.tensors)


def inspect_weights(path: Path | str, *, tokenizer: Path | str | None = None) -> Inspection:
    """Reads the header of a weight file, or of the model in a folder, and nothing of the weights.

    A model that cannot be run is told of in ``problem``, if it is a model at all. ``WeightsError`` for any other file,
    and where the header itself is broken.
    """
    files = open_files(path, tokenizer)
    weights: WeightFile | None = None
    problem = culprit = ""
    try:
        weights = open_into(files)
    except WeightsError as error:
        if not files.report.format:
            raise
        problem = error.reason
        culprit = "" if error.path == files.first.path else error.path.name
    finally:
        files.close()
    report = files.report
    vocabulary = weights.vocabulary if weights else report.vocabulary
    stored = dict(report.tensors)
    if weights and ROPE_FREQS in weights.tensors and ROPE_FREQS not in stored:  # computed out of the configuration
        report.notes.append("its RoPE frequency factors are computed from its configuration (Llama 3.1's scaling)")
    return Inspection(
        path=files.path,
        format=report.format,
        name=(weights.name if weights else report.name) or files.path.stem,
        size_bytes=files.size_bytes,
        n_files=len(files.weight_paths),
        hyperparameters=report.hyperparameters,
        vocabulary=vocabulary,
        chat_template=weights.chat_template if weights else report.chat_template,
        tensors=tuple(stored.values()),
        used=frozenset(weights.tensors) if weights else frozenset(),
        problem=problem,
        culprit=culprit,
        vocabulary_path=weights.vocabulary_path if weights else None,
        notes=(*report.notes, *_oddities(report, weights, vocabulary)),
        metadata={key: _short(value) for key, value in report.metadata.items() if isinstance(value, _SHOWN_METADATA)},
    )


def _short(value: Any) -> Any:
    return value[:197] + "..." if isinstance(value, str) and len(value) > 200 else value


def _oddities(report: Report, weights: WeightFile | None, vocabulary: Vocabulary | None) -> Iterator[str]:
    if "big-endian" in report.format:
        yield "its numbers are big-endian; they are turned around while it is loaded"
    yield from _about_types(report)
    if weights is not None:
        yield from _about_tensors(report, weights)
        unused = [key for key in report.metadata if key not in report.asked and not key.startswith(_DESCRIPTIVE)]
        if unused:
            yield f"metadata that llamachat has no use for: {_some(unused)}"
    h = report.hyperparameters
    if h is not None and h.rope_scale != 1.0:
        yield f"its positions are scaled by {h.rope_scale:g} (linear RoPE scaling)"
    if h is not None and h.head_dim * h.n_heads != h.n_embd:
        yield f"its {h.n_heads} heads of {h.head_dim} are not its embedding of {h.n_embd}, as in other Llama models"
    if vocabulary is not None:
        yield from _about_vocabulary(vocabulary)
    elif weights is not None:
        yield "it holds no vocabulary, and there is none beside it: name one with --tokenizer"


def _about_types(report: Report) -> Iterator[str]:
    """Types that are not kept as they are."""
    changed: dict[tuple[str, str], int] = {}
    for stored in report.tensors.values():
        if stored.rows > 1 and stored.label != stored.tensor.type.label:
            pair = stored.label, stored.tensor.type.label
            changed[pair] = changed.get(pair, 0) + stored.tensor.n_bytes - stored.n_bytes
    for (label, kept), more in changed.items():
        if kept == "F32":
            yield (
                f"its {label} weights do not fill blocks of 32 that share a scale:"
                f" they become F32 and take {_difference(more)} in memory"
            )
        elif more:
            yield f"its {label} weights are kept as {kept} and take {_difference(more)} in memory"


def _difference(n_bytes: int) -> str:
    return f"{abs(n_bytes) / 1e6:,.1f} MB {'more' if n_bytes >= 0 else 'less'}"


def _about_tensors(report: Report, weights: WeightFile) -> Iterator[str]:
    if "output.weight" not in weights.tensors:
        yield "its output is tied to its embedding: one matrix serves for both"
    unused = [name for name in report.tensors if name not in weights.tensors]
    if unused:
        yield f"tensors that are not used: {_some(unused)}"
    if ROPE_FREQS in report.tensors and ROPE_FREQS in weights.tensors:
        yield "it brings RoPE frequency factors of its own (a stretched context, as Llama 3.1's)"


def _about_vocabulary(vocabulary: Vocabulary) -> Iterator[str]:
    if vocabulary.eos_id is None and not vocabulary.stop_ids:
        yield "no token ends a text: its answers end at the reply length"
    kinds = Counter(vocabulary.kinds)
    if kinds[TokenKind.UNDEFINED]:
        yield f"{kinds[TokenKind.UNDEFINED]:,} tokens are of no stated kind"
    if kinds[TokenKind.UNUSED]:
        yield f"{kinds[TokenKind.UNUSED]:,} of its {len(vocabulary):,} tokens are unused or missing"
    stray = [
        piece
        for piece, kind in zip(vocabulary.pieces, vocabulary.kinds, strict=True)
        if kind is TokenKind.NORMAL and piece.startswith("<|") and piece.endswith("|>") and len(piece) > 4
    ]
    if stray:
        yield f"tokens that look like control tokens are not marked as such: {_some(stray)}"


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _SOME:,} more" if len(names) > _SOME else ""
    return ", ".join(name[:60] for name in names[:_SOME]) + more
