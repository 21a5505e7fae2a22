"""Weight files: hyperparameters, named tensors and a vocabulary, out of any container.

Nothing in a file is believed: counts are held against the bytes left before anything of that size is
made, shapes against the model's numbers, and what is refused is refused in one line that says why.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from llamachat.errors import WeightsError
from llamachat.vocabulary import Vocabulary
from llamachat.weights.base import WeightFile
from llamachat.weights.files import Refusal, open_regular
from llamachat.weights.folders import weight_file_in
from llamachat.weights.formats import recognise
from llamachat.weights.model_files import TOKENIZER_NAMES, ModelFiles, check_link
from llamachat.weights.tensors import Hyperparameters, Tensor, TensorType

__all__ = ["Hyperparameters", "Tensor", "TensorType", "WeightFile", "open_weights", "read_vocabulary"]


def open_weights(path: Path | str, *, tokenizer: Path | str | None = None) -> WeightFile:
    """Opens a weight file of any format, recognised by its content, or a folder with one model; the caller closes it.

    ``tokenizer`` names the file of the vocabulary, before the weight file's own. Where neither has
    one, ``tokenizer.bin`` or ``tokenizer.model`` beside the weight file is taken, or else the
    ``vocabulary`` stays None. ``WeightsError`` says what is wrong with which file.
    """
    return open_into(open_files(path, tokenizer))


def open_files(path: Path | str, tokenizer: Path | str | None = None) -> ModelFiles:
    """The files of a model, the first of them open, whatever is in it."""
    path = Path(path)
    inside = weight_file_in(path)
    if inside:  # a link that was named may lead anywhere; one that came with a folder may not
        try:
            check_link(inside)
        except Refusal as refusal:
            raise WeightsError(inside, str(refusal)) from None
    first = open_regular(inside or path)
    return ModelFiles(path, first, Path(tokenizer) if tokenizer else None)


def open_into(files: ModelFiles) -> WeightFile:
    """Opens the model in these files, which are closed if that fails; see ``open_weights``."""
    first = files.first
    try:
        kind = recognise(first)
        if kind.open is None:
            raise Refusal(kind.refusal, first.path)  # noqa: TRY301  (one place makes errors of refusals)
        weights = kind.open(files)
        source = files.tokenizer or (None if weights.vocabulary else _tokenizer_beside(files))
        if source:
            weights.vocabulary = read_vocabulary(source, weights.hyperparameters.n_vocab)
            weights.vocabulary_path = source
        if weights.vocabulary and kind.stop_ids:
            weights.vocabulary = replace(weights.vocabulary, stop_ids=weights.vocabulary.stop_ids | kind.stop_ids)
    except Refusal as refusal:
        files.close()
        raise WeightsError(refusal.path or first.path, str(refusal)) from None
    except BaseException:
        files.close()
        raise
    return weights


def read_vocabulary(path: Path | str, n_vocab: int | None = None) -> Vocabulary:
    """The vocabulary in a tokenizer.bin, a tokenizer.model, or a GGUF or ggml file with or without weights.

    ``n_vocab`` is how many tokens it must have. ``WeightsError`` says what is wrong with the file.
    """
    path = Path(path)
    file = open_regular(path)
    try:
        kind = recognise(file)
        if kind.vocabulary is None:
            raise Refusal(kind.refusal)  # noqa: TRY301
        vocabulary = kind.vocabulary(file)
        if n_vocab is not None and len(vocabulary) != n_vocab:
            raise Refusal(  # noqa: TRY301
                f"has {len(vocabulary)} tokens where the model has {n_vocab}; name its own with --tokenizer"
            )
    except Refusal as refusal:
        raise WeightsError(path, str(refusal)) from None
    finally:
        file.close()
    return vocabulary


def _tokenizer_beside(files: ModelFiles) -> Path | None:
    return next((path for name in TOKENIZER_NAMES if (path := files.path_of(name))), None)
