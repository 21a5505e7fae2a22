"""GGUF model files."""

from __future__ import annotations

import re

from llamachat.vocabulary import Vocabulary
from llamachat.weights.base import StoredWeights
from llamachat.weights.files import Refusal, RegularFile, blaming, quoted
from llamachat.weights.gguf_container import MAGIC, Container, read_container
from llamachat.weights.gguf_metadata import (
    Metadata,
    chat_template,
    check_architecture,
    read_hyperparameters,
    read_vocabulary,
)
from llamachat.weights.llama import check_hyperparameters, rows_of, used_tensors
from llamachat.weights.model_files import ModelFiles
from llamachat.weights.rows import ConvertedRows, Rows, StoredRows
from llamachat.weights.tensors import Tensor

_FIRST_PART = re.compile(r"(.*)-00001-of-(\d{5})\.gguf", re.DOTALL)
_PARTS_LIMIT = 1024


def open_gguf(files: ModelFiles) -> StoredWeights:
    """The Llama model in a GGUF file, or in all parts of a split one. ``Refusal`` where none is, or a broken one."""
    container = read_container(files.first)
    report = files.report
    metadata = Metadata(container.metadata, report.asked)
    tensors = _tensors(files.first, container)
    report.format, report.metadata = _format_name(container), container.metadata
    report.found(tensors)
    n_parts, part = metadata.integer("split.count", 0), metadata.integer("split.no", 0)
    if n_parts > 1 and part:
        raise Refusal(f"is part {part + 1} of {n_parts} of a split GGUF; name the first part")
    check_architecture(metadata)
    report.name = metadata.text("general.name", "")
    report.chat_template = chat_template(metadata)
    report.vocabulary = vocabulary = read_vocabulary(metadata)
    if n_parts > 1:
        _add_parts(files, metadata, n_parts, tensors)
        report.found(tensors)
    if not tensors:
        raise Refusal("holds a vocabulary and no weights: it is no model" if vocabulary else "holds no weights")
    n_vocab = rows_of(tensors, "token_embd.weight")
    _note_oddities(files, container, metadata, n_vocab)
    if vocabulary and len(vocabulary) != n_vocab:
        raise Refusal(f"has a vocabulary of {len(vocabulary)} tokens and an embedding of {n_vocab}")
    hyperparameters = read_hyperparameters(metadata, n_vocab)
    check_hyperparameters(hyperparameters)
    report.hyperparameters = hyperparameters
    weights = StoredWeights(
        files,
        report.format,
        hyperparameters,
        used_tensors(hyperparameters, tensors),
        name=report.name,
        vocabulary=vocabulary,
        chat_template=report.chat_template,
    )
    weights.about = {key: value for key, value in metadata.values.items() if key.startswith("general.")}
    return weights


def _note_oddities(files: ModelFiles, container: Container, metadata: Metadata, n_vocab: int) -> None:
    """Notes a contradiction, and bytes that nothing reads."""
    notes = files.report.notes
    stated = metadata.integer("llama.vocab_size", n_vocab)
    if stated != n_vocab:
        notes.append(f"it states a vocabulary of {stated:,} tokens; its embedding has {n_vocab:,}")
    end = max((at + tensor.n_bytes for tensor, at in container.tensors.values()), default=files.first.size)
    end += -end % metadata.integer("general.alignment", 32)
    if files.first.size > end:
        notes.append(f"{files.first.size - end:,} bytes at its end belong to no tensor")


def _format_name(container: Container) -> str:
    return f"GGUF v{container.version}" + (" (big-endian)" if container.big_endian else "")


def _tensors(file: RegularFile, container: Container) -> dict[str, tuple[Tensor, Rows]]:
    found: dict[str, tuple[Tensor, Rows]] = {}
    for name, (tensor, offset) in container.tensors.items():
        rows: Rows = StoredRows(file, offset, tensor.row_bytes)
        if container.big_endian:
            rows = ConvertedRows(rows, f"big-endian {tensor.type.label}")
        found[name] = tensor, rows
    return found


def _add_parts(files: ModelFiles, metadata: Metadata, count: int, tensors: dict[str, tuple[Tensor, Rows]]) -> None:
    """Adds the tensors of the other parts, PREFIX-00002-of-0000N.gguf and so on, which lie beside the first."""
    match = _FIRST_PART.fullmatch(files.first.path.name)
    if count > _PARTS_LIMIT or not match or int(match[2]) != count:
        raise Refusal(f"is the first of {count} parts, so that its name must end in -00001-of-{count:05d}.gguf")
    for i in range(1, count):
        name = f"{match[1]}-{i + 1:05d}-of-{match[2]}.gguf"
        with blaming(files.folder / name):
            file = files.open(name)
            if not file.read(0, min(4, file.size)) == MAGIC:
                raise Refusal("is no GGUF file")
            container = read_container(file)
            part = Metadata(container.metadata)
            if (part.integer("split.no", -1), part.integer("split.count", -1)) != (i, count):
                raise Refusal(f"does not say that it is part {i + 1} of {count}")
            for key, tensor in _tensors(file, container).items():
                if key in tensors:
                    raise Refusal(f"has the tensor {quoted(key)}, which another part has too")
                tensors[key] = tensor
    total = metadata.integer("split.tensors.count", len(tensors))
    if total != len(tensors):
        raise Refusal(f"states {total} tensors in all its parts, which have {len(tensors)}")


def gguf_vocabulary(file: RegularFile) -> Vocabulary:
    """The vocabulary of a GGUF file of any architecture, with or without weights."""
    vocabulary = read_vocabulary(Metadata(read_container(file).metadata))
    if vocabulary is None:
        raise Refusal("holds no vocabulary")
    return vocabulary
