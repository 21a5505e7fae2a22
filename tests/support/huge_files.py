"""Models of the true size, tens of gigabytes, in files that hold nothing but headers: the weights are holes.

A file system stores no holes, so such a file takes some megabytes, and reading its weights would take as long as ever.
"""

from __future__ import annotations

import json
import math
import struct
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

from llamachat.vocabulary import TokenKind, Vocabulary
from tests.support.blocks import IDS, block_size
from tests.support.containers import RawTensor, gguf
from tests.support.huggingface_files import config_of, huggingface_name
from tests.support.tiny_models import TinyShape, gguf_metadata, meta_name
from tests.support.torch_files import View, pickled

LLAMA_3_70B = TinyShape(128_256, 8192, 28_672, 80, 64, 8, n_ctx=8192, rope_base=500_000.0, tied=False)
LLAMA_1_65B = TinyShape(32_000, 8192, 22_016, 80, 64, 64, n_ctx=2048, tied=False)
N_MERGES = 280_147


def big_bpe_vocabulary() -> Vocabulary:
    """A vocabulary with as many tokens and merges as Llama 3's."""
    n = LLAMA_3_70B.n_vocab
    pieces = (*(f"token{i}" for i in range(n - 256)), *(f"<|reserved_{i}|>" for i in range(256)))
    kinds = (TokenKind.NORMAL,) * (n - 256) + (TokenKind.CONTROL,) * 256
    merges = tuple(f"to{i} ken{i}" for i in range(N_MERGES))
    return Vocabulary("bpe", pieces, (), kinds, merges, "llama-bpe", bos_id=n - 256, eos_id=n - 255)


def write_huge_gguf(
    path: Path,
    matrices: str = "Q4_0",
    parts: int = 1,
    shape: TinyShape = LLAMA_3_70B,
    vocabulary: Vocabulary | None = None,
) -> int:
    """A model (of 70B), split into files that end in -0000I-of-0000N; returns the bytes of all its tensors."""
    total = 0
    tensors = list(shape.tensors().items())
    for part in range(parts):
        raw, at = [], 0
        for name, size in tensors[part::parts]:
            label = matrices if len(size) == 2 else "F32"
            elements, n_bytes = block_size(label)
            raw.append(RawTensor(name, tuple(reversed(size)), IDS[label], b"", at))
            at += math.prod(size) // elements * n_bytes
            at += -at % 32
        metadata = gguf_metadata(shape, vocabulary or big_bpe_vocabulary()) if part == 0 else {}
        if parts > 1:
            metadata |= {"split.no": part, "split.count": parts, "split.tensors.count": len(tensors)}
        header = gguf(metadata, raw)
        file = path if parts == 1 else path.with_name(f"{path.stem}-{part + 1:05d}-of-{parts:05d}.gguf")
        _write(file, header, at)
        total += at
    return total


def write_huge_ggjt(path: Path, parts: int = 8) -> None:
    """A 65B model in F16 as 2023's converter cut it: by columns or rows, every file with all of the header."""
    shape = LLAMA_1_65B
    for part in range(parts):
        with path.with_name(path.name + (f".{part}" if part else "")).open("wb") as file:
            file.write(struct.pack("<2I7I", 0x67676A74, 1, shape.n_vocab, shape.n_embd, 256, 64, 80, 128, 1))
            for i in range(shape.n_vocab):
                text = f"word{i}".encode()
                file.write(struct.pack("<I", len(text)) + text + struct.pack("<f", -float(i)))
            for name, size in shape.tensors().items():
                rows, cols = (1, *size)[-2:]
                if len(size) == 2 and name.endswith(("token_embd.weight", "attn_output.weight", "ffn_down.weight")):
                    cols //= parts
                elif len(size) == 2:
                    rows //= parts
                ne, text = (cols, rows)[: len(size)], meta_name(name).encode()
                file.write(struct.pack(f"<3I{len(ne)}I", len(ne), len(text), int(len(ne) == 2), *ne) + text)
                _skip(file, -file.tell() % 32 + rows * cols * (2 if len(ne) == 2 else 4))


def write_huge_safetensors(folder: Path, shards: int = 30) -> None:
    """A 70B model in BF16 in Hugging Face's layout, without a tokenizer."""
    shape = LLAMA_3_70B
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config_of(shape)))
    names = [f"model-{i + 1:05d}-of-{shards:05d}.safetensors" for i in range(shards)]
    places = {huggingface_name(name): names[i % shards] for i, name in enumerate(shape.tensors())}
    sizes = {huggingface_name(name): size for name, size in shape.tensors().items()}
    for shard in names:
        entries, at = {}, 0
        for name, size in sizes.items():
            if places[name] == shard:
                end = at + 2 * math.prod(size)
                entries[name] = {"dtype": "BF16", "shape": list(size), "data_offsets": [at, end]}
                at = end
        text = json.dumps(entries).encode()
        _write(folder / shard, struct.pack("<Q", len(text)) + text, at)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))


def write_huge_pth(folder: Path, shards: int = 8) -> None:
    """A 70B model in BF16 as Meta cut it, with params.json and no tokenizer."""
    shape = LLAMA_3_70B
    folder.mkdir()
    params = {"dim": 8192, "n_layers": 80, "n_heads": 64, "n_kv_heads": 8, "norm_eps": 1e-5, "rope_theta": 500_000.0}
    (folder / "params.json").write_text(json.dumps(params))
    state, sizes = {}, {}
    for i, (name, size) in enumerate(shape.tensors().items()):
        rows, cols = (1, *size)[-2:]
        if len(size) == 2 and name.endswith(("attn_output.weight", "ffn_down.weight")):
            cols //= shards
        elif len(size) == 2:
            rows //= shards
        whole, stride = ((cols,), (1,)) if len(size) == 1 else ((rows, cols), (cols, 1))
        state[meta_name(name)] = View(str(i), "BF16", rows * cols, 0, whole, stride)
        sizes[f"consolidated/data/{i}"] = 2 * rows * cols
    for shard in range(shards):
        _write_zip(folder / f"consolidated.{shard:02d}.pth", {"consolidated/data.pkl": pickled(state)}, sizes)


def write_huge_ncnn(folder: Path, group: int = 64) -> None:
    """A 65B model in ncnn's int8, without a tokenizer."""
    shape = LLAMA_1_65B
    folder.mkdir()
    lines = ["Input in_op0 0 1 in"]
    roles = {"attn_q": "xq_linear", "attn_k": "xk_linear", "attn_v": "xv_linear", "attn_output": "out_linear"}
    roles |= {"ffn_gate": "w1", "ffn_up": "w3", "ffn_down": "w2"}
    with (folder / "huge.bin").open("wb") as file:
        for name, size in shape.tensors().items():
            rows, cols = (1, *size)[-2:]
            if len(size) == 1:
                lines.append(f"MemoryData gain_op{len(lines)} 1 1 a b 0={cols} 1=1 2=0")
                _skip(file, 4 * cols)
            elif name == "token_embd.weight":
                lines.append(f"Embed embed_op{len(lines)} 1 1 a b 0={cols} 1={rows} 2=0 3={rows * cols}")
                file.write(struct.pack("<I", 0x01306B47))
                _skip(file, 2 * rows * cols)
            else:
                label = "unembed" if name == "output.weight" else f"{roles[name.split('.')[2]]}_{name.split('.')[1]}"
                lines.append(f"LinearInt8 {label}_op{len(lines)} 1 1 a b 0={cols} 1={rows} 2={group}")
                _skip(file, 4 * (rows * cols // group))
                file.write(struct.pack("<I", 0x000D4B38))
                _skip(file, rows * cols)
    (folder / "huge.param").write_text(f"7767517\n{len(lines)} 99\n" + "\n".join(lines) + "\n")
    (folder / "huge.desc").write_text(f"{shape.n_ctx}\n{shape.n_layers}\n{shape.n_embd}\n{shape.n_heads}\n")


def write_huge_llama2c(path: Path) -> None:
    """A 65B model in llama2.c's version 1, all float32."""
    s = LLAMA_1_65B
    numbers = (s.n_embd, s.n_ff, s.n_layers, s.n_heads, s.n_kv_heads, s.n_vocab, s.n_ctx)
    header = b"24ka" + struct.pack("<i7iB", 1, *numbers, 0)
    _write(path, header.ljust(256, b"\0"), 4 * sum(map(math.prod, s.tensors().values())))


def _write(path: Path, header: bytes, n_bytes: int) -> None:
    with path.open("wb") as file:
        file.write(header)
        file.truncate(len(header) + n_bytes)


def _skip(file: BinaryIO, n_bytes: int) -> None:
    """Goes on behind a hole, which is there even at the file's end."""
    file.truncate(file.tell() + n_bytes)
    file.seek(n_bytes, 1)


def _write_zip(path: Path, members: Mapping[str, bytes], holes: Mapping[str, int]) -> None:
    """A zip archive of members as they are, and of members that are holes, as zip64."""
    directory = b""
    everything = [(name, data, len(data)) for name, data in members.items()]
    everything += [(name, b"", size) for name, size in holes.items()]
    with path.open("wb") as file:
        for name, data, size in everything:
            at, text = file.tell(), name.encode()
            sizes = struct.pack("<2H2Q", 1, 16, size, size)
            common = struct.pack("<5H3I", 45, 0, 0, 0, 0, zlib.crc32(data), 0xFFFFFFFF, 0xFFFFFFFF)
            file.write(b"PK\x03\x04" + common + struct.pack("<2H", len(text), len(sizes)) + text + sizes)
            if data:
                file.write(data)
            else:
                _skip(file, size)
            extra = struct.pack("<2H3Q", 1, 24, size, size, at)
            rest = struct.pack("<5H2I", len(text), len(extra), 0, 0, 0, 0, 0xFFFFFFFF)
            directory += b"PK\x01\x02" + struct.pack("<H", 45) + common + rest + text + extra
        at, n = file.tell(), len(everything)
        file.write(directory)
        end64 = file.tell()
        file.write(struct.pack("<4sQ2H2I4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, n, n, len(directory), at))
        file.write(struct.pack("<4sIQI", b"PK\x06\x07", 0, end64, 1))
        file.write(struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0))
