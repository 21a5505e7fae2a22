"""GGUF model files."""

from __future__ import annotations

from llamachat.vocabulary import Vocabulary
from llamachat.weights.base import StoredWeights
from llamachat.weights.files import Refusal, RegularFile
from llamachat.weights.gguf_container import read_container
from llamachat.weights.gguf_metadata import (
    Metadata,
    chat_template,
    check_architecture,
    read_hyperparameters,
    read_vocabulary,
)
from llamachat.weights.llama import check_hyperparameters, used_tensors
from llamachat.weights.model_files import ModelFiles
from llamachat.weights.rows import StoredRows


def open_gguf(files: ModelFiles) -> StoredWeights:
    """The Llama model in a GGUF file. ``Refusal`` where there is none, or a broken one."""
    container = read_container(files.first)
    metadata = Metadata(container.metadata)
    check_architecture(metadata)
    vocabulary = read_vocabulary(metadata)
    if not container.tensors:
        raise Refusal("holds a vocabulary and no weights: it is no model" if vocabulary else "holds no weights")
    if "token_embd.weight" not in container.tensors:
        raise Refusal("has no tensor 'token_embd.weight': it is not whole")
    n_vocab = container.tensors["token_embd.weight"][0].rows
    if vocabulary and len(vocabulary) != n_vocab:
        raise Refusal(f"has a vocabulary of {len(vocabulary)} tokens and an embedding of {n_vocab}")
    hyperparameters = read_hyperparameters(metadata, n_vocab)
    check_hyperparameters(hyperparameters)
    used = used_tensors(hyperparameters, container.tensors)
    return StoredWeights(
        files,
        f"GGUF v{container.version}",
        hyperparameters,
        {name: (tensor, StoredRows(files.first, offset, tensor.row_bytes)) for name, (tensor, offset) in used.items()},
        name=metadata.text("general.name", ""),
        vocabulary=vocabulary,
        chat_template=chat_template(metadata),
    )


def gguf_vocabulary(file: RegularFile) -> Vocabulary:
    """The vocabulary of a GGUF file of any architecture, with or without weights."""
    vocabulary = read_vocabulary(Metadata(read_container(file).metadata))
    if vocabulary is None:
        raise Refusal("holds no vocabulary")
    return vocabulary
