"""ncnn models: X.param, the graph as text, X.bin, the weights, and X.desc, as two programs write them.

llama2.c-to-ncnn (2023):

    X.param:  7767517 / layers blobs / per layer: type name n_in n_out in... out... key=value...
    X.desc:   context, layers, dimensions, heads; a number a line
    X.bin:    the weights of each layer that has any, in the order of X.param:
              Embed        u32 flag (f16 or f32), values, zeros to a multiple of 4
              MemoryData   f32 values
              LinearInt8   f32 scales, one per group, u32 flag of int8, int8 values, row by row

llamachat, of layers that every ncnn has (``llamachat.weights.write.ncnn``): Gemm in place of LinearInt8, its int8 in
blocks of a row with inverse scales, RMSNorm in place of MemoryData, and in X.desc lines ``name=value`` for what the
four numbers do not tell.

A layer is known by the beginning of its name: its place in the file depended on the compiler. int8 stays int8 with a
float32 scale for each 32 weights, where groups and rows are whole blocks of 32; else it becomes F32, as the layer's own
arithmetic gives it.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from llamachat.weights.base import StoredWeights
from llamachat.weights.files import Refusal, RegularFile, blaming, quoted
from llamachat.weights.llama import check_hyperparameters, head_dim, rows_of, used_tensors
from llamachat.weights.model_files import ModelFiles
from llamachat.weights.rope_scaling import NAME as ROPE_FREQS
from llamachat.weights.rows import BlockRows, ComputedRow, GroupedRows, Rows, StoredRows
from llamachat.weights.tensors import Hyperparameters, Tensor, TensorType

MAGIC = b"7767517"

_PARAM_LIMIT = 4 << 20  # bytes; that of Llama 2 7B has some 200 kB
_LAYERS_LIMIT = 1 << 16
_COUNT_LIMIT = 1 << 40
_DESC_LIMIT = 1 << 16  # bytes; factors of RoPE can be 512 numbers
F16_FLAG, INT8_FLAG = 0x01306B47, 0x000D4B38
_F32_FLAGS = (0, 0x0002C056)

#: Layers without weights that the graph of a Llama model has.
_WEIGHTLESS = frozenset(
    (
        *("Input", "Split", "BinaryOp", "UnaryOp", "Reduction", "MatMul", "Softmax", "Swish"),
        *("RotaryEmbed", "SDPA", "Reshape", "Slice", "Concat", "Crop", "Permute", "ExpandDims", "Squeeze", "Noop"),
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
    "attn_norm": "attn_norm",
    "ffn_norm": "ffn_norm",
}
INT8_BLOCK = 32  #: weights of a row that share a scale in Gemm
_INT8_BLOCKS = 800  # how Gemm calls such: 8 bits, blocks of 32
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
    first = files.first.path
    stem = first.stem if first.suffix.lower() == ".param" else first.name
    layers = list(_read_param(files.first))
    (context, n_layers, dim, n_heads), more = _read_desc(files, f"{stem}.desc")
    file = files.open(f"{stem}.bin")
    with blaming(file.path):
        tensors = _read_weights(file, layers, n_layers)
    with blaming(files.folder / f"{stem}.desc"):
        head = int(_number(more, "head_dim", 0)) or head_dim(dim, n_heads)
        numbers = {key: _number(more, key, value) for key, value in _USUAL.items()}
        factors = _factors(more, head)
    if factors:
        tensors[ROPE_FREQS] = factors
    h = Hyperparameters(
        n_vocab=rows_of(tensors, "token_embd.weight"),
        n_embd=dim,
        n_ff=rows_of(tensors, "blk.0.ffn_gate.weight"),
        n_layers=n_layers,
        n_heads=n_heads,
        n_kv_heads=rows_of(tensors, "blk.0.attn_k.weight") // max(head, 1),
        head_dim=head,
        n_ctx_train=context,
        **numbers,
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


#: What the graph of 2023 had built in.
_USUAL = {"norm_eps": 1e-5, "rope_base": 10000.0, "rope_scale": 1.0}


def _read_desc(files: ModelFiles, name: str) -> tuple[tuple[int, int, int, int], dict[str, str]]:
    """Context, layers, dimensions, heads; and what is named."""
    text = files.text(name, _DESC_LIMIT)
    if text is None:
        raise Refusal(f"needs {quoted(name)} beside it")
    with blaming(files.folder / name):
        words = text.decode(errors="replace").split()
        try:
            context, n_layers, dim, n_heads = (int(word) for word in words[:4] if len(word) < 16)
        except ValueError:
            raise Refusal("is broken: four numbers must be in it") from None
        if not 1 <= n_layers <= 512:
            raise Refusal(f"states {n_layers} layers")
        more = dict(word.split("=", 1) for word in words[4:] if "=" in word)
        return (context, n_layers, dim, n_heads), more


def _number(values: dict[str, str], key: str, usual: float) -> float:
    try:
        number = float(values[key]) if key in values else usual
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise Refusal(f"has under {quoted(key)} something else than a number")
    return number


def _factors(values: dict[str, str], head: int) -> tuple[Tensor, Rows] | None:
    """What RoPE's frequencies are divided by."""
    if "rope_freqs" not in values:
        return None
    words = values["rope_freqs"].split(",")
    if not 2 <= head <= 1024 or len(words) != head // 2:
        raise Refusal(f"has {len(words)} factors of RoPE for heads of {head}")
    numbers = [_number({"rope_freqs": word}, "rope_freqs", 1.0) for word in words]
    if not all(1e-30 < number < 1e30 for number in numbers):
        raise Refusal("has factors of RoPE that make no sense")
    data = struct.pack(f"<{len(numbers)}f", *numbers)
    return Tensor(ROPE_FREQS, TensorType.F32, 1, len(numbers)), ComputedRow(data)


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
    if base == "final_norm":
        return "output_norm.weight"
    match = _LINEAR.fullmatch(base)
    if not match or match[1] not in _ROLES:
        raise Refusal(f"has a layer {quoted(name)}, which no Llama model of ncnn has")
    return f"blk.{int(match[2])}.{_ROLES[match[1]]}.weight"


_Found = tuple[TensorType, int, int, Rows, int]


def _embed(file: RegularFile, layer: _Layer, offset: int) -> _Found:
    return _values(file, layer, offset, layer.param(1), layer.param(0))


def _values(file: RegularFile, layer: _Layer, offset: int, rows: int, cols: int) -> _Found:
    """Floats behind a flag."""
    flag = _flag(file, offset)
    if flag != F16_FLAG and flag not in _F32_FLAGS:
        raise Refusal(f"stores layer {quoted(layer.name)} in a way that is not supported (flag {flag:#010x})")
    kind = TensorType.F16 if flag == F16_FLAG else TensorType.F32
    row_bytes = cols * kind.block_bytes
    end = offset + 4 + rows * row_bytes
    return kind, rows, cols, StoredRows(file, offset + 4, row_bytes), end + -end % 4


def _gemm(file: RegularFile, layer: _Layer, offset: int) -> _Found:
    rows, cols = layer.param(8), layer.param(9)
    how = layer.params.get(18, 0)
    if how == 0:
        return _values(file, layer, offset, rows, cols)
    if how != _INT8_BLOCKS:
        raise Refusal(f"stores layer {quoted(layer.name)} in a way that is not supported")
    scales = offset + rows * cols
    scales += -scales % 4
    source = BlockRows(file, offset, scales, cols)
    return _int8_type(source), rows, cols, source, scales + 4 * rows * -(-cols // INT8_BLOCK)


def _gain(file: RegularFile, layer: _Layer, offset: int) -> _Found:
    cols = layer.param(0)
    return TensorType.F32, 1, cols, StoredRows(file, offset, 4 * cols), offset + 4 * cols


def _linear(file: RegularFile, layer: _Layer, offset: int) -> _Found:
    cols, rows, group = layer.param(0), layer.param(1), layer.param(2)
    if rows * cols % group:
        raise Refusal(f"states groups of {group} weights, which do not divide those of layer {quoted(layer.name)}")
    flag_at = offset + 4 * (rows * cols // group)
    if (flag := _flag(file, flag_at)) != INT8_FLAG:
        raise Refusal(f"stores layer {quoted(layer.name)} in a way that is not supported (flag {flag:#010x})")
    source = GroupedRows(file, flag_at + 4, offset, cols, group)
    return _int8_type(source), rows, cols, source, flag_at + 4 + rows * cols


def _int8_type(rows: GroupedRows | BlockRows) -> TensorType:
    return TensorType.Q8_0_F32 if rows.in_blocks else TensorType.F32


def _flag(file: RegularFile, offset: int) -> int:
    if offset + 4 > file.size:
        raise Refusal(f"is cut short: it has {file.size} bytes, and more layers than those")
    return int(struct.unpack("<I", file.read(offset, 4))[0])


_READERS = {"Embed": _embed, "MemoryData": _gain, "LinearInt8": _linear, "RMSNorm": _gain, "Gemm": _gemm}
