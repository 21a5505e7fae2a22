"""Writing models: from any open weight file to any format, a few rows at a time.

A format's ``layout`` says what its files are made of, header and all, before a tensor is read; one loop then writes
the parts, encoding rows on all cores. Nothing is left of an output that did not become whole.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from llamachat.weights.base import TensorType, WeightFile
from llamachat.weights.write.files import check_folder, check_name, check_targets, is_there, new_files
from llamachat.weights.write.formats import FORMATS, OutputFormat, format_for, format_key, type_for
from llamachat.weights.write.parts import Model
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
    folder, main = _place(output)
    layout = output.format.layout(model, output.type, main)
    wanted = [file for file in layout.files if not is_there(folder / file.name, file.known_bytes)]
    names = [file.name for file in wanted]
    check_targets(folder, names, model.weights.source_paths, force=output.force)
    if output.format.inside and folder == output.path:
        check_folder(folder, main, [file.name for file in layout.files], model.weights.source_paths)
    n_bytes = sum(file.n_bytes for file in wanted)
    with new_files(folder, names, n_bytes, make=bool(output.format.inside)) as files:
        write_files(model.weights, list(zip(wanted, files, strict=True)), n_threads, progress, cancelled)
    return Written(sum(file.n_bytes for file in layout.files), layout.notes)


def _place(output: Output) -> tuple[Path, str]:
    """The folder of the new files, and the name of the one that stands for the model."""
    path, inside = output.path, output.format.inside
    check_name(path.name)
    if not inside or path.suffix.lower() == Path(inside).suffix:
        return path.parent, path.name
    return path, inside.format(path.stem)
