"""Writing models: from any open weight file to any format, a few rows at a time.

A format's ``layout`` says what its files are made of, header and all, before a tensor is read; one loop then writes
the parts, encoding rows on all cores. Nothing is left of an output that did not become whole.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from llamachat.files.new_files import is_there, new_files
from llamachat.weights.base import WeightFile
from llamachat.weights.tensors import TensorType
from llamachat.weights.write.checks import (
    check_folder,
    check_names,
    check_neighbours,
    check_strangers,
    check_targets,
    place_of,
)
from llamachat.weights.write.formats import FORMATS, OutputFormat, format_for, format_key, type_for
from llamachat.weights.write.parts import Model, NewFile
from llamachat.weights.write.plain_vocabulary import TOKENIZER_BIN
from llamachat.weights.write.stream import write_files
from llamachat.weights.write.types import CHOICES

__all__ = ["CHOICES", "FORMATS", "Model", "Output", "convert", "format_for", "format_key", "model_of", "type_for"]


@dataclass(frozen=True)
class Output:
    """What is to be written, and where."""

    path: Path
    format: OutputFormat
    type: TensorType | None = None  #: of the matrices; None keeps each tensor's own
    force: bool = False  #: whether files that are there may be replaced


@dataclass(frozen=True)
class Written:
    """What was written."""

    n_bytes: int
    notes: tuple[str, ...]  #: what a person should know of it


def model_of(weights: WeightFile, sentencepiece: bytes | None = None) -> Model:
    """The model of an open weight file; ``sentencepiece`` is its vocabulary as a tokenizer.model, if it is such."""
    return Model(
        weights,
        weights.name,
        weights.hyperparameters,
        weights.tensors,
        weights.vocabulary,
        weights.chat_template,
        weights.about,
        sentencepiece,
    )


def convert(
    model: Model,
    output: Output,
    n_threads: int,
    progress: Callable[[int, int], None],
    cancelled: Callable[[], bool],
) -> Written:
    """Writes a model; the output appears when it is whole.

    ``progress(done_bytes, total_bytes)`` is called after each piece. ``LlamachatError`` where the format cannot hold
    the model, a file is in the way or cannot be written, or weights are broken; ``Cancelled`` soon after
    ``cancelled()`` is true. Nothing is left then.
    """
    place, weights = place_of(output.path, output.format.inside), model.weights
    layout = output.format.layout(model, output.type, place.main)
    written = [file.name for file in layout.files]
    check_names(place, written)
    wanted = [file for file in layout.files if not _is_kept(model, place.folder, file)]
    names = [file.name for file in wanted]
    if place.whole:
        check_folder(place, written, weights.source_paths)
    check_neighbours(place, names, written, weights.source_paths)
    check_strangers(place, written, output.format.read_beside, weights)
    check_targets(place, names, weights.source_paths, force=output.force)
    n_bytes = sum(file.n_bytes for file in wanted)
    with new_files(place.folder, names, n_bytes, make=bool(output.format.inside), replace=output.force) as files:
        write_files(weights, list(zip(wanted, files, strict=True)), n_threads, progress, cancelled)
        weights.check_unchanged()
    return Written(sum(file.n_bytes for file in layout.files), layout.notes)


def _is_kept(model: Model, folder: Path, file: NewFile) -> bool:
    """Whether a file of the layout is there already: the same, or the very one that the vocabulary was read from."""
    path = folder / file.name
    own = model.weights.vocabulary_path
    if file.name == TOKENIZER_BIN and own.name == TOKENIZER_BIN and path.exists() and path.samefile(own):
        return True
    return is_there(path, file.known_bytes)
