"""Good models of every format, for the fuzzer to spoil: small, so that thousands a second can be opened."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.hostile.cases import SHAPE, model, spm_files
from tests.support.blocks import quantize
from tests.support.containers import RawTensor, gguf_plain
from tests.support.huggingface_files import write_huggingface
from tests.support.ncnn_files import write_ncnn
from tests.support.tiny_models import (
    bpe_vocabulary,
    ggml_bytes,
    gguf_bytes,
    gguf_metadata,
    gguf_parts,
    llama2c_bytes,
    llama2c_later_bytes,
    meta_name,
    spm_vocabulary,
)
from tests.support.torch_files import archive, checkpoint, contiguous, pickled

_PARAMS = {"dim": 32, "n_layers": 1, "n_heads": 2, "n_kv_heads": 1, "norm_eps": 1e-5, "vocab_size": 300}


@dataclass(frozen=True)
class Good:
    """A model that opens, and the files of it that may be spoiled."""

    files: Mapping[str, bytes] = field(repr=False)
    opened: str  #: the file that is named; empty: the folder
    spoiled: tuple[str, ...]


def _one(data: bytes, words: Mapping[str, bytes] | None = None) -> Good:
    return Good({"m.bin": data, **(words or {})}, "m.bin", ("m.bin",))


def _gguf(_: Mapping[str, bytes]) -> Iterator[Good]:
    yield _one(gguf_bytes(model(), types="Q8_0")[0])
    yield _one(gguf_bytes(model(), types="Q4_1", vocabulary=bpe_vocabulary(300))[0])
    yield _one(gguf_bytes(model(tied=True, rope_freqs=True), types="F16", version=2)[0])
    for version, order in ((1, "<"), (3, ">")):
        raw = [
            RawTensor(name, tuple(reversed(values.shape)), 0, values.astype(order + "f4").tobytes())
            for name, values in model().weights.items()
        ]
        records = gguf_metadata(SHAPE, spm_vocabulary(SHAPE.n_vocab))
        yield _one(gguf_plain(records, raw, version=version, order=order))
    parts = {f"m-{i + 1:05d}-of-00003.gguf": data for i, data in enumerate(gguf_parts(model(), 3))}
    yield Good(parts, next(iter(parts)), tuple(parts))


def _ggml(_: Mapping[str, bytes]) -> Iterator[Good]:
    kinds = {"ggml": "Q4_1", "ggmf v1": "F16", "ggjt v1": "Q4_2", "ggjt v2": "Q8_0", "ggjt v3": "Q5_1"}
    for kind, types in kinds.items():
        yield _one(ggml_bytes(model(), kind=kind, types=types)[0])


def _llama2c(words: Mapping[str, bytes]) -> Iterator[Good]:
    beside = {"tokenizer.bin": words["tokenizer.bin"]}
    yield _one(llama2c_bytes(model()), beside)
    yield _one(llama2c_later_bytes(model(), version=1)[0], beside)
    yield _one(llama2c_later_bytes(model(), version=2, group=16)[0], beside)


def _torch(words: Mapping[str, bytes]) -> Iterator[Good]:
    weights = {meta_name(name): values for name, values in model().weights.items()}
    files = {"consolidated.00.pth": checkpoint(weights, "BF16"), "params.json": json.dumps(_PARAMS).encode()}
    yield Good({**files, "tokenizer.model": words["tokenizer.model"]}, "", tuple(files))
    state = {name: contiguous(str(i), "F32", values) for i, (name, values) in enumerate(weights.items())}
    args = {**_PARAMS, "max_seq_len": 128}
    whole = {"model": state, "model_args": {k: v for k, v in args.items() if k != "norm_eps"}, "iter_num": 1}
    data = archive(pickled(whole), {str(i): quantize("F32", v) for i, v in enumerate(weights.values())})
    yield Good({"ckpt.pt": data, "tokenizer.bin": words["tokenizer.bin"]}, "ckpt.pt", ("ckpt.pt",))
    yield from _huggingface_files(words, torch=True)


def _safetensors(words: Mapping[str, bytes]) -> Iterator[Good]:
    yield from _huggingface_files(words, label="F16")
    yield from _huggingface_files(words, shards=2)


def _huggingface_files(words: Mapping[str, bytes], **how: object) -> Iterator[Good]:
    with tempfile.TemporaryDirectory() as folder:
        write_huggingface(Path(folder), model(), **how)  # type: ignore[arg-type]
        made = {path.name: path.read_bytes() for path in Path(folder).iterdir()}
    yield Good({**made, "tokenizer.model": words["tokenizer.model"]}, "", tuple(made))


def _ncnn(words: Mapping[str, bytes]) -> Iterator[Good]:
    with tempfile.TemporaryDirectory() as folder:
        write_ncnn(Path(folder), model())
        made = {path.name: path.read_bytes() for path in Path(folder).iterdir()}
    yield Good({**made, "tokenizer.bin": words["tokenizer.bin"]}, "tiny.param", tuple(made))


def _tokenizers(words: Mapping[str, bytes]) -> Iterator[Good]:
    """Vocabularies beside a model that has none."""
    for name in ("tokenizer.bin", "tokenizer.model"):
        yield Good({"m.bin": llama2c_bytes(model()), name: words[name]}, "m.bin", (name,))


FORMATS: Mapping[str, Callable[[Mapping[str, bytes]], Iterator[Good]]] = {
    "gguf": _gguf,
    "ggml": _ggml,
    "llama2c": _llama2c,
    "torch": _torch,
    "safetensors": _safetensors,
    "ncnn": _ncnn,
    "tokenizers": _tokenizers,
}


def good_models(name: str) -> list[Good]:
    """The models of a format."""
    with tempfile.TemporaryDirectory() as folder:
        words = spm_files(Path(folder))
    return list(FORMATS[name](words))
