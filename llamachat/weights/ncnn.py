"""ncnn models as llama2.c-to-ncnn (2023) wrote them: X.param, the graph as text, X.bin, the weights, and X.desc.

    X.param:  7767517 / layers blobs / per layer: type name n_in n_out in... out... key=value...
    X.desc:   context, layers, dimensions, heads; a number a line
    X.bin:    the weights of each layer that has any, in the order of X.param:
              Embed        u32 flag (f16 or f32), values, zeros to a multiple of 4
              MemoryData   f32 values
              LinearInt8   f32 scales, one per group, u32 flag of int8, int8 values, row by row

A layer is known by the beginning of its name: its place in the file depended on the compiler. Scales in float32 are
in no current type; the weights of LinearInt8 become F32, as its own arithmetic gives them.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from llamachat.weights.base import Hyperparameters, StoredWeights, Tensor, TensorType
from llamachat.weights.files import Refusal, RegularFile, blaming, quoted
from llamachat.weights.llama import check_hyperparameters, head_dim, rows_of, used_tensors
from llamachat.weights.model_files import ModelFiles
from llamachat.weights.rows import GroupedRows, Rows, StoredRows

MAGIC = b"7767517"

_PARAM_LIMIT = 4 << 20  # bytes; that of Llama 2 7B has some 200 kB
_LAYERS_LIMIT = 1 << 16
_COUNT_LIMIT = 1 << 40
_F16_FLAG, _INT8_FLAG = 0x01306B47, 0x000D4B38
_F32_FLAGS = (0, 0x0002C056)

#: Layers without weights that the graph of a Llama model has.
_WEIGHTLESS = frozenset(
    (
        *("Input", "Split", "BinaryOp", "UnaryOp", "Reduction", "MatMul", "Softmax", "Swish"),
        *("Reshape", "Slice", "Concat", "Crop", "Permute", "ExpandDims", "Squeeze", "Noop"),
    )
)

_ROLES = {
    "xq_linear": "attn_q",
    "xk_linear": "attn_k",
    "xv_linear": "attn_v",
    "out_linear": "attn_output",
    "w1": "ffn_gate",
    "w2": "ffn_down",
    "w3": "ffn_up",
}
_LINEAR = re.compile(r"([a-z0-9_]+?)_(\d{1,4})")
_SUFFIX = re.compile(r"_op\d+$")


@dataclass(frozen=True)
class _Layer:
    kind: str
    name: str
    params: dict[int, int]  #: those that are integers

    def param(self, key: int) -> int:
        value = self.params.get(key, 0)
        if not 1 <= value <= _COUNT_LIMIT:
            raise Refusal(f"states {value} as the size of layer {quoted(self.name)}")
        return value


def open_ncnn(files: ModelFiles) -> StoredWeights:
    """The Llama model whose ``.param`` file was named. ``Refusal`` names the file at fault."""
    stem = files.first.path.name.removesuffix(".param")
    layers = list(_read_param(files.first))
    context, n_layers, dim, n_heads = _read_desc(files, f"{stem}.desc")
    file = files.open(f"{stem}.bin")
    with blaming(file.path):
        tensors = _read_weights(file, layers, n_layers)
    head = head_dim(dim, n_heads)
    h = Hyperparameters(
        n_vocab=rows_of(tensors, "token_embd.weight"),
        n_embd=dim,
        n_ff=rows_of(tensors, "blk.0.ffn_gate.weight"),
        n_layers=n_layers,
        n_heads=n_heads,
        n_kv_heads=rows_of(tensors, "blk.0.attn_k.weight") // max(head, 1),
        head_dim=head,
        n_ctx_train=context,
    )
    check_hyperparameters(h)
    return StoredWeights(files, "ncnn", h, used_tensors(h, tensors), name=stem)


def _read_param(file: RegularFile) -> Iterator[_Layer]:
    if file.size > _PARAM_LIMIT:
        raise Refusal(f"has {file.size} bytes of layers; at most {_PARAM_LIMIT} are allowed")
    lines = file.read(0, file.size).decode(errors="replace").splitlines()
    if len(lines) < 2 or len(lines) > _LAYERS_LIMIT:
        raise Refusal("is cut short, or no graph of ncnn")
    stated = lines[1].split(maxsplit=1)
    found = 0
    for line in lines[2:]:
        if line.strip():
            found += 1
            yield _layer(line)
    if not stated or stated[0] != str(found):
        raise Refusal(f"is cut short or broken: it states {quoted(stated[0] if stated else '')} layers and has {found}")


def _layer(line: str) -> _Layer:
    words = line.split()
    try:
        kind, name, n_in, n_out, *rest = words
        blobs = int(n_in) + int(n_out)
        pairs = [word.split("=", 1) for word in rest[blobs:]] if 0 <= blobs <= len(rest) else [[]]
        params = {int(key): int(value) for key, value in pairs if value.isdecimal() and len(value) < 16}
    except ValueError:
        raise Refusal(f"is broken: it has a line that describes no layer, {quoted(line)}") from None
    return _Layer(kind, name, params)


def _read_desc(files: ModelFiles, name: str) -> tuple[int, int, int, int]:
    text = files.text(name, 4096)
    if text is None:
        raise Refusal(f"needs {quoted(name)} beside it")
    with blaming(files.folder / name):
        try:
            context, n_layers, dim, n_heads = (int(word) for word in text.split()[:4] if len(word) < 16)
        except ValueError:
            raise Refusal("is broken: four numbers must be in it") from None
        if not 1 <= n_layers <= 512:
            raise Refusal(f"states {n_layers} layers")
        return context, n_layers, dim, n_heads


def _read_weights(file: RegularFile, layers: list[_Layer], n_layers: int) -> dict[str, tuple[Tensor, Rows]]:
    """The tensors, each where the ones before it end."""
    names = _gains(n_layers)
    tensors: dict[str, tuple[Tensor, Rows]] = {}
    offset = 0
    for layer in layers:
        if layer.kind in _WEIGHTLESS:
            continue
        if layer.kind not in _READERS:
            raise Refusal(f"needs a layer of the type {quoted(layer.kind)}, which no Llama model of ncnn has")
        name = next(names, "") if layer.kind == "MemoryData" else _canonical(layer.name)
        if not name or name in tensors:
            raise Refusal(f"has a layer {quoted(layer.name)} too many")
        kind, rows, cols, source, offset = _READERS[layer.kind](file, layer, offset)
        if offset > file.size:
            raise Refusal(f"is cut short: layer {quoted(layer.name)} ends at byte {offset} of {file.size}")
        tensors[name] = Tensor(name, kind, rows, cols), source
    if offset != file.size:
        raise Refusal(f"has {file.size} bytes where the layers need {offset}")
    return tensors


def _gains(n_layers: int) -> Iterator[str]:
    """The norms in the order of their layers, which all have one name."""
    for i in range(n_layers):
        yield f"blk.{i}.attn_norm.weight"
        yield f"blk.{i}.ffn_norm.weight"
    yield "output_norm.weight"


def _canonical(name: str) -> str:
    base = _SUFFIX.sub("", name)
    if base in ("embed", "unembed"):
        return {"embed": "token_embd.weight", "unembed": "output.weight"}[base]
    match = _LINEAR.fullmatch(base)
    if not match or match[1] not in _ROLES:
        raise Refusal(f"has a layer {quoted(name)}, which no Llama model of ncnn has")
    return f"blk.{int(match[2])}.{_ROLES[match[1]]}.weight"


_Found = tuple[TensorType, int, int, Rows, int]


def _embed(file: RegularFile, layer: _Layer, offset: int) -> _Found:
    cols, rows = layer.param(0), layer.param(1)
    flag = _flag(file, offset)
    if flag != _F16_FLAG and flag not in _F32_FLAGS:
        raise Refusal(f"stores layer {quoted(layer.name)} in a way that is not supported (flag {flag:#010x})")
    kind = TensorType.F16 if flag == _F16_FLAG else TensorType.F32
    row_bytes = cols * kind.block_bytes
    end = offset + 4 + rows * row_bytes
    return kind, rows, cols, StoredRows(file, offset + 4, row_bytes), end + -end % 4


def _gain(file: RegularFile, layer: _Layer, offset: int) -> _Found:
    cols = layer.param(0)
    return TensorType.F32, 1, cols, StoredRows(file, offset, 4 * cols), offset + 4 * cols


def _linear(file: RegularFile, layer: _Layer, offset: int) -> _Found:
    cols, rows, group = layer.param(0), layer.param(1), layer.param(2)
    if rows * cols % group:
        raise Refusal(f"states groups of {group} weights, which do not divide those of layer {quoted(layer.name)}")
    flag_at = offset + 4 * (rows * cols // group)
    if (flag := _flag(file, flag_at)) != _INT8_FLAG:
        raise Refusal(f"stores layer {quoted(layer.name)} in a way that is not supported (flag {flag:#010x})")
    source = GroupedRows(file, flag_at + 4, offset, cols, group)
    return TensorType.F32, rows, cols, source, flag_at + 4 + rows * cols


def _flag(file: RegularFile, offset: int) -> int:
    if offset + 4 > file.size:
        raise Refusal(f"is cut short: it has {file.size} bytes, and more layers than those")
    return int(struct.unpack("<I", file.read(offset, 4))[0])


_READERS = {"Embed": _embed, "MemoryData": _gain, "LinearInt8": _linear}
