"""The files of llama.cpp before GGUF, March to August 2023: ggml without a version, ggmf, ggjt.

    ggml:  u32 "ggml" (stored as "lmgg")
    ggmf:  u32 "ggmf" ("fmgg"), u32 version 1
    ggjt:  u32 "ggjt" ("tjgg"), u32 version 1, 2 or 3
    then   u32 n_vocab n_embd n_mult n_head n_layer n_rot ftype
    n_vocab tokens:  u32 length, bytes, and but for ggml f32 score
    tensors to the end of the file:
        u32 n_dims, u32 name length, u32 type, u32 ne[n_dims], name, in ggjt zeros to a multiple of 32, data

A large model was several files, F, F.1, F.2...: each has all of the header and its part of every matrix.

The files state neither the context nor the norm's epsilon nor RoPE's base, and no count of key-value heads or of the
feed-forward's rows: the last two follow from tensors, the others are Llama 2's.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass

from llamachat.vocabulary import Vocabulary
from llamachat.weights.base import StoredWeights
from llamachat.weights.files import Refusal, RegularFile, blaming, quoted
from llamachat.weights.ggml_types import Layout, layout_of
from llamachat.weights.llama import check_hyperparameters, head_dim, rows_and_columns, rows_of, used_tensors
from llamachat.weights.meta_names import CUT_BY_COLUMNS, canonical, meta_name
from llamachat.weights.model_files import ModelFiles
from llamachat.weights.reader import Reader, RecordLayout
from llamachat.weights.rows import ConvertedRows, JoinedColumns, Rows, StackedRows, StoredRows
from llamachat.weights.tensors import Hyperparameters, Tensor, TensorType
from llamachat.weights.tokens import classify_by_id, llama_scores

_U32 = struct.Struct("<I")
_HPARAMS = struct.Struct("<7I")
_TOKENS = RecordLayout(_U32)
_SCORED_TOKENS = RecordLayout(_U32, after=4)
_TENSOR = struct.Struct("<3I")
_ALIGNMENT = 32
_NAME_LIMIT = 4095
_TENSORS_LIMIT = 1 << 13
_PARTS_LIMIT = 64

#: LLaMA 1 was trained for 2048 tokens and Llama 2 for 4096, which the file does not tell.
_N_CTX = 2048


@dataclass(frozen=True)
class _Container:
    """The kinds of file: how they are called, how blocks are laid out, what is written where."""

    name: str
    blocks: int  #: the version of ggjt that had the same blocks
    has_scores: bool = True
    alignment: int = 1


_GGML = _Container("ggml", 1, has_scores=False)
_VERSIONED = {
    b"fmgg": {1: _Container("ggmf v1", 1)},
    b"tjgg": {version: _Container(f"ggjt v{version}", version, alignment=_ALIGNMENT) for version in (1, 2, 3)},
}


@dataclass(frozen=True)
class _Stored:
    """A tensor as one file holds it."""

    layout: Layout
    rows: int
    cols: int
    file: RegularFile
    offset: int

    @property
    def row_bytes(self) -> int:
        return self.cols // self.layout.block_elements * self.layout.block_bytes

    def source(self) -> Rows:
        stored = StoredRows(self.file, self.offset, self.row_bytes)
        return ConvertedRows(stored, self.layout.conversion) if self.layout.conversion else stored


@dataclass(frozen=True)
class _Part:
    """One file, read up to its end."""

    container: _Container
    hparams: tuple[int, ...]
    texts: list[bytes]
    scores: bytes
    tensors: dict[str, _Stored]


def open_ggml(files: ModelFiles) -> StoredWeights:
    """The Llama model in a file of any of these kinds. ``Refusal`` where it is broken."""
    first = _read_part(files.first)
    report = files.report
    report.format = first.container.name
    n_vocab, n_embd, _, n_heads, n_layers, _, _ = first.hparams
    if not first.tensors:
        raise Refusal("holds a vocabulary and no weights: it is no model")
    report.vocabulary = vocabulary = _vocabulary(first)
    tensors = _join(_all_parts(files, first))
    report.found(tensors)
    if first.container is _GGML:
        _check_scales(first)
    head = head_dim(n_embd, n_heads)
    hyperparameters = Hyperparameters(
        n_vocab=n_vocab,
        n_embd=n_embd,
        n_ff=rows_of(tensors, "blk.0.ffn_gate.weight", meta_name),
        n_layers=n_layers,
        n_heads=n_heads,
        n_kv_heads=rows_of(tensors, "blk.0.attn_k.weight", meta_name) // max(head, 1),
        head_dim=head,
        n_ctx_train=_N_CTX,
    )
    check_hyperparameters(hyperparameters)
    report.hyperparameters = hyperparameters
    report.notes.append(f"its context is not stated: {_N_CTX:,} tokens are assumed; --n-ctx sets another")
    report.notes.append("the epsilon of its norms and the base of RoPE are not stated: Llama 2's are assumed")
    # these files always have an output: one without was cut short between two tensors
    rows_of(tensors, "output.weight", meta_name)
    used = used_tensors(hyperparameters, tensors, meta_name)
    return StoredWeights(files, first.container.name, hyperparameters, used, vocabulary=vocabulary)


def ggml_vocabulary(file: RegularFile) -> Vocabulary:
    """The vocabulary of such a file, with or without weights."""
    return _vocabulary(_read_header(Reader(file)))


def _read_part(file: RegularFile) -> _Part:
    reader = Reader(file)
    part = _read_header(reader)
    while reader.left:
        _read_tensor(reader, part)
    return part


def _read_header(reader: Reader) -> _Part:
    container = _container(reader)
    hparams = reader.unpack(_HPARAMS)
    reader.part = "its vocabulary"
    texts, scores = reader.records(_SCORED_TOKENS if container.has_scores else _TOKENS, hparams[0])
    return _Part(container, hparams, texts, scores, {})


def _container(reader: Reader) -> _Container:
    magic = reader.take(4)
    if magic not in _VERSIONED:
        return _GGML
    (version,) = reader.unpack(_U32)
    if version not in _VERSIONED[magic]:
        raise Refusal(f"is a {magic[::-1].decode()} file of version {version}, which never was")
    return _VERSIONED[magic][version]


def _read_tensor(reader: Reader, part: _Part) -> None:
    tensors = part.tensors
    reader.part = f"the header of its tensor {len(tensors) + 1}"
    if len(tensors) == _TENSORS_LIMIT:
        raise Refusal(f"has more than {_TENSORS_LIMIT} tensors")
    n_dims, name_bytes, type_id = reader.unpack(_TENSOR)
    if n_dims not in (1, 2) or not 1 <= name_bytes <= _NAME_LIMIT:
        raise Refusal(f"is broken: no tensor starts at byte {reader.position - _TENSOR.size}")
    ne = reader.unpack(struct.Struct(f"<{n_dims}I"))
    own_name = reader.take(name_bytes).decode(errors="replace")
    name = canonical(own_name)
    layout = layout_of(part.container.blocks, part.hparams[6], type_id)
    if layout is None:
        raise Refusal(f"has a tensor {quoted(own_name)} of type number {type_id}, unknown in {part.container.name}")
    rows, cols = rows_and_columns(own_name, layout, ne)
    if name in tensors:
        raise Refusal(f"has the tensor {quoted(own_name)} twice")
    reader.align(part.container.alignment)
    tensors[name] = stored = _Stored(layout.of_rows(cols), rows, cols, reader.file, reader.position)
    reader.part = f"the data of tensor {quoted(own_name)}"
    reader.skip(rows * stored.row_bytes)


# ---- parts ----


def _all_parts(files: ModelFiles, first: _Part) -> list[_Part]:
    """The parts of a model in several files: as many as the embedding's columns were cut into."""
    embedding = first.tensors.get("token_embd.weight")
    n_embd = first.hparams[1]
    if embedding is None or n_embd % embedding.cols or not 1 < n_embd // embedding.cols <= _PARTS_LIMIT:
        return [first]
    n_parts = n_embd // embedding.cols
    parts = [first]
    for i in range(1, n_parts):
        name = f"{files.first.path.name}.{i}"
        if not files.has(name):
            raise Refusal(f"is one of {n_parts} parts, and {quoted(name)} is not beside it; name the first part")
        with blaming(files.folder / name):
            part = _read_part(files.open(name))
            if (part.container, part.hparams, part.tensors.keys()) != (
                first.container,
                first.hparams,
                first.tensors.keys(),
            ):
                raise Refusal(f"is no part of the same model as {quoted(files.first.path.name)}")
        parts.append(part)
    return parts


def _join(parts: list[_Part]) -> dict[str, tuple[Tensor, Rows]]:
    return {name: _joined(name, [part.tensors[name] for part in parts]) for name in parts[0].tensors}


def _joined(name: str, pieces: list[_Stored]) -> tuple[Tensor, Rows]:
    """A tensor out of its pieces. Vectors are whole in every part; the first one's is taken."""
    first = pieces[0]
    if any((p.layout, p.rows, p.cols) != (first.layout, first.rows, first.cols) for p in pieces):
        raise Refusal(f"has parts that differ in the shape or type of tensor {quoted(meta_name(name))}")
    rows, cols = first.rows, first.cols
    source = first.source()
    if len(pieces) > 1 and first.rows > 1:
        sources = [piece.source() for piece in pieces]
        if name.endswith(CUT_BY_COLUMNS):
            source, cols = JoinedColumns(sources), cols * len(pieces)
        else:
            source, rows = StackedRows([(s, first.rows) for s in sources]), rows * len(pieces)
    return Tensor(name, first.layout.current, rows, cols), source


# ---- what only the oldest files lack ----


def _vocabulary(part: _Part) -> Vocabulary:
    n = len(part.texts)
    scores = struct.unpack(f"<{n}f", part.scores) if part.container.has_scores else llama_scores(part.texts)
    return classify_by_id(part.texts, scores)


#: Fields of the blocks that the oldest files have: scale, and offset, both f32.
_SCALES = {TensorType.Q4_0_F32: struct.Struct("<f16x"), TensorType.Q4_1_F32: struct.Struct("<2f16x")}
_ROWS_LOOKED_AT = 8


def _check_scales(part: _Part) -> None:
    """Refuses blocks as they were in the first days, when all scales of a row stood before all quants.

    Nothing states it; but quants read as scales are not all small numbers, as true scales are.
    """
    for name, stored in part.tensors.items():
        layout = _SCALES.get(stored.layout.current)
        if layout is None:
            continue
        data = stored.file.read(stored.offset, min(stored.rows, _ROWS_LOOKED_AT) * stored.row_bytes)
        for d, *m in layout.iter_unpack(data):
            if not (d == 0.0 or 1e-12 < abs(d) < 1.0) or not all(math.isfinite(x) and abs(x) < 100.0 for x in m):
                raise Refusal(
                    f"has blocks in tensor {quoted(meta_name(name))} as only files of 10 to 17 March 2023 have:"
                    " not supported"
                )
        return
