"""Writing models: from any open weight file to any format, a few rows at a time.

A format's ``layout`` says what its files are made of, header and all, before a tensor is read; one loop then writes
the parts, encoding rows on all cores. Nothing is left of an output that did not become whole.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from llamachat.weights.base import WeightFile
from llamachat.weights.tensors import TensorType
from llamachat.weights.write.files import check_folder, check_name, check_shared, check_targets, is_there, new_files
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
    folder, main, whole = _place(output)
    layout = output.format.layout(model, output.type, main)
    written = [file.name for file in layout.files]
    wanted = [file for file in layout.files if not _is_kept(model, folder, file)]
    names = [file.name for file in wanted]
    if whole:
        check_folder(folder, main, written, model.weights.source_paths)
    else:
        check_shared(folder, main, names, written)
    check_targets(folder, names, model.weights.source_paths, force=output.force)
    n_bytes = sum(file.n_bytes for file in wanted)
    with new_files(folder, names, n_bytes, make=bool(output.format.inside)) as files:
        write_files(model.weights, list(zip(wanted, files, strict=True)), n_threads, progress, cancelled)
    return Written(sum(file.n_bytes for file in layout.files), layout.notes)


def _place(output: Output) -> tuple[Path, str, bool]:
    """The folder of the new files, the name of the one that stands for the model, and if the folder is to be that."""
    path, inside = output.path, output.format.inside
    whole = bool(inside) and path.suffix.lower() != Path(inside).suffix
    if whole and path.name in ("", ".."):
        path = path.resolve()  # the current folder has a name too
    check_name(path)
    return (path, inside.format(path.stem), True) if whole else (path.parent, path.name, False)


def _is_kept(model: Model, folder: Path, file: NewFile) -> bool:
    """Whether a file of the layout is there already: the same, or the very one that the vocabulary was read from."""
    path = folder / file.name
    own = model.weights.vocabulary_path
    if file.name == TOKENIZER_BIN and own.name == TOKENIZER_BIN and path.exists() and path.samefile(own):
        return True
    return is_there(path, file.known_bytes)
