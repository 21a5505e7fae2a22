"""Broken models of Hugging Face's layout: safetensors, indexes of shards, configurations, tokenizers."""

from __future__ import annotations

import json
import os
import struct
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from tests.hostile.cases import SHAPE, Case, Content, Cursor, Specimen, Verdict, every_rule, json_values, model
from tests.support.huggingface_files import config_of, huggingface_state, safetensors, write_huggingface

_MAIN = "model.safetensors"
_INDEX = "model.safetensors.index.json"


def cases(vocabulary: Mapping[str, bytes]) -> Iterator[Case]:
    """All of this family; ``vocabulary`` are the files of the tokens."""
    words = {"tokenizer.model": vocabulary["tokenizer.model"]}
    good = _specimen(_written(words, label="F16"), _MAIN)
    yield from every_rule(good)
    yield from _headers(good)
    yield from _configurations(good)
    yield from _tokenizers(good)
    yield from _not_numbers(good)
    yield from _shards(words)
    torch = _written(words, torch=True)
    plain = Specimen("pytorch_model.bin", torch, "", "pytorch_model.bin", tuple(
        (f"part {i}", len(torch["pytorch_model.bin"]) * i // 12) for i in range(1, 13)))  # fmt: skip
    yield from every_rule(plain)


def _written(words: Mapping[str, bytes], **how: Any) -> dict[str, bytes]:
    with tempfile.TemporaryDirectory() as folder:
        write_huggingface(Path(folder), model(), **how)
        return {**{path.name: path.read_bytes() for path in Path(folder).iterdir()}, **words}


def _specimen(files: Mapping[str, bytes], spoiled: str, family: str = "safetensors") -> Specimen:
    cursor = Cursor(files[spoiled])
    n = cursor.number("the header's length", "<Q")
    header = cursor.text("the header", n)
    for sign in (b"{", b":", b"[", b",", b"}", b'"'):
        first, last = header.find(sign), header.rfind(sign)
        cursor.marks += [(f"the first {sign.decode()}", 8 + first), (f"the last {sign.decode()}", 8 + last)]
    cursor.mark("the data")
    step = (len(cursor.data) - cursor.at) // 4
    cursor.marks += [(f"quarter {i} of the data", cursor.at + i * step) for i in (1, 2, 3)]
    return cursor.specimen(family, files, "", spoiled)


def _with_header(text: bytes, data: bytes = b"") -> bytes:
    return struct.pack("<Q", len(text)) + text + data


def _headers(good: Specimen) -> Iterator[Case]:
    n = struct.unpack_from("<Q", good.data)[0]
    header, data = json.loads(good.data[8 : 8 + n]), good.data[8 + n :]
    name = "model.layers.0.self_attn.q_proj.weight"
    entry = header[name]
    start, end = entry["data_offsets"]
    wrong: dict[str, list[Any]] = {
        "dtype": ["F64", "I8", "F8_E5M2", "\x1b[31m", "", 5, None, ["F16"], {}],
        "shape": [[], [0, 32], [32], [32, 32, 1], [1 << 31, 1 << 31], [1 << 62, 4], [-32, -32], [32.0, 32], "32", None,
                  [True, 1], [[32, 32]], [1] * 1000, [10**300, 1]],
        "data_offsets": [[0, 0], [end, start], [start, end + 1], [start + 1, end + 1], [0, end - start], [-1, 5], [],
                         [start], [start, end, end], [1 << 62, 1 << 63], [1 << 64, 1 << 65], "0", None, [0.5, 1.5]],
    }  # fmt: skip
    for key, values in wrong.items():
        for value in values:
            changed = {**header, name: {**entry, key: value}}
            what = f"{key} is {str(value)[:30]}"
            yield good.with_data(what, _with_header(json.dumps(changed).encode(), data))
    for what, changed in {
        "an entry that is a list": {**header, name: []},
        "an entry that is empty": {**header, name: {}},
        "a tensor too many": {**header, "x.weight": {"dtype": "F16", "shape": [0], "data_offsets": [end, end]}},
        "a tensor left out": {k: v for k, v in header.items() if k != name},
        "no tensors": {},
        "metadata that is a number": {**header, "__metadata__": 5},
        "a layer of 4,000 digits": {**header, "model.layers." + "9" * 4000 + ".mlp.up_proj.weight": entry},
    }.items():
        verdict = Verdict.EITHER if "metadata" in what else Verdict.REFUSED
        yield good.with_data(what, _with_header(json.dumps(changed).encode(), data), verdict)
    twice = json.dumps(header)[:-1] + f', "{name}": {json.dumps(entry)}}}'
    yield good.with_data("a name twice", _with_header(twice.encode(), data))
    for what, text in _json_bombs().items():
        yield good.with_data(what, _with_header(b"{" + text[1:] if text[:1] != b"{" else text, data))
    yield good.with_data("bytes behind", good.data + bytes(64))
    yield good.with_data("a hole", _with_header(json.dumps(header).encode(), data + bytes(8)))


def _json_bombs() -> dict[str, bytes]:
    deep = 200_000
    return {
        "arrays 200,000 deep": b'{"a":' + b"[" * deep + b"]" * deep + b"}",
        "objects 60,000 deep": b'{"a":' * 60_000 + b"1" + b"}" * 60_000,
        "objects 900 deep": b'{"a":' * 900 + b"1" + b"}" * 900,
        "a number of 4,000,000 digits": b'{"a":' + b"9" * 4_000_000 + b"}",
        "a number of 4,000 digits": b'{"a":' + b"9" * 4_000 + b"}",
        "a million keys": b"{" + b",".join(b'"%d":0' % i for i in range(1_000_000)) + b"}",
        "30,000 empty objects": b"{" + b",".join(b'"%d":{}' % i for i in range(30_000)) + b"}",
        "a key of 4 MB": b'{"' + b"k" * (4 << 20) + b'":0}',
        "spaces of 6 MB": b"{" + b" " * (6 << 20) + b"}",
        "half a surrogate": b'{"\\ud800.weight": {"dtype": "F16", "shape": [1], "data_offsets": [0, 2]}}',
        "a key of control characters": b'{"\\u001b[2J\\u0007": {"dtype": "F16", "shape": [1], "data_offsets": [0, 2]}}',
        "no UTF-8": b'{"\xff\xfe": 1}',
        "UTF-16": '{"a": {"dtype": "F16", "shape": [1], "data_offsets": [0, 2]}}'.encode("utf-16-le"),
        "a byte order mark": b"\xef\xbb\xbf{}",
        "no end": b'{"a": [1, 2',
        "not a number": b'{"a": NaN, "b": Infinity, "c": -Infinity}',
        "nothing but a brace": b"{",
    }


def _configurations(good: Specimen) -> Iterator[Case]:
    config = config_of(SHAPE)
    for what, values in json_values(good, "config.json", config):
        yield good.with_files(what, {"config.json": json.dumps(values).encode()}, Verdict.EITHER)
    for what, text in _json_bombs().items():
        yield good.with_files(f"config.json: {what}", {"config.json": text})
    doubled = json.dumps(config)[:-1] + ', "hidden_size": 1099511627776}'
    yield good.with_files("config.json states a size twice", {"config.json": doubled.encode()})
    contradictions: list[dict[str, Any]] = [
        {"hidden_size": 64},
        {"vocab_size": 301},
        {"num_hidden_layers": 2},
        {"num_attention_heads": 4},
        {"num_key_value_heads": 2},
        {"num_key_value_heads": 3},
        {"intermediate_size": 33},
        {"head_dim": 8},
        {"head_dim": 15},
        {"tie_word_embeddings": "no"},
        {"model_type": "qwen2\x1b[31m"},
        {"hidden_act": "gelu"},
        {"attention_bias": True},
        {"quantization_config": {"quant_method": "gptq"}},
        {"rope_scaling": {"rope_type": "yarn", "factor": 4.0}},
        {"rope_scaling": {"type": "linear", "factor": 0.0}},
        {"rope_scaling": {"type": "linear", "factor": "4"}},
        {"rope_scaling": {"rope_type": "llama3", "factor": 0, "original_max_position_embeddings": 1}},
        {"rope_scaling": {"rope_type": "llama3", "low_freq_factor": 4.0, "high_freq_factor": 4.0}},
        {"rope_scaling": [1]},
        {"rope_theta": 0},
        {"rope_theta": 1e308},
        {"rms_norm_eps": -1e-5},
        {"auto_map": {"AutoModel": "evil--code"}, "model_type": "evil"},
    ]
    for more in contradictions:
        text = json.dumps({**config, **more}).encode()
        flat = "low_freq_factor" in str(more)  # both bounds of Llama 3.1's scaling in one place
        yield good.with_files(f"config.json says {json.dumps(more)[:60]}", {"config.json": text},
                              Verdict.EITHER if flat else Verdict.REFUSED)  # fmt: skip
    yield Case(good.family, "no config.json", {k: v for k, v in good.files.items() if k != "config.json"}, "")
    yield good.with_files("config.json is a folder", {"config.json": Path.mkdir})
    yield good.with_files("config.json is a link out of the folder", {"config.json": _link("/etc/hostname")})
    yield good.with_files("config.json is a link to itself", {"config.json": _link("config.json")})


def _tokenizers(good: Specimen) -> Iterator[Case]:
    proto = good.files["tokenizer.model"]
    for end in range(1, len(proto), len(proto) // 12):
        yield good.with_files(f"tokenizer.model cut at {end}", {"tokenizer.model": proto[:end]})
    endless = b"\x0a\x07\x0a\x05<unk>" + b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\x7f"
    yield good.with_files("tokenizer.model: a field of 2^63", {"tokenizer.model": endless})
    yield good.with_files("tokenizer.model: a number without end", {"tokenizer.model": proto + b"\xff" * 4096})
    less = {k: v for k, v in good.files.items() if k != "tokenizer.model"}
    for what, value in _tokenizer_jsons().items():
        text = value if isinstance(value, bytes) else json.dumps(value).encode()
        yield Case(good.family, f"tokenizer.json: {what}", {**less, "tokenizer.json": text}, "", Verdict.EITHER)
    for name in ("tokenizer_config.json", "generation_config.json"):
        for what, text in list(_json_bombs().items())[:4]:
            yield good.with_files(f"{name}: {what}", {name: text}, Verdict.EITHER)
        for value in ([], {"chat_template": 5}, {"chat_template": [{}]}, {"eos_token_id": [1 << 70, -1, "x"]},
                      {"bos_token": {"content": 5}}, {"add_bos_token": "x"}, {"eos_token": "\x1b[2J"}):  # fmt: skip
            text = json.dumps(value).encode()
            yield good.with_files(f"{name} is {text.decode()[:40]}", {name: text}, Verdict.EITHER)


def _tokenizer_jsons() -> dict[str, Any]:
    vocab = {f"w{i}": i for i in range(300)}
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True}

    def made(model: Any, **more: Any) -> dict[str, Any]:
        return {"model": model, "pre_tokenizer": byte_level, "decoder": {"type": "ByteLevel"}, **more}

    def bpe(**more: Any) -> dict[str, Any]:
        return {"type": "BPE", "vocab": vocab, "merges": [], **more}

    evil = {"type": "Split", "pattern": {"Regex": "(a+)+$"}, "behavior": "Isolated"}
    return {
        "plain": made(bpe()),
        "another model": made({"type": "Unigram", "vocab": [["a", 0.0]]}),
        "no vocabulary": made(bpe(vocab={})),
        "a vocabulary that is a list": made(bpe(vocab=["a"])),
        "ids that are texts": made(bpe(vocab={k: str(v) for k, v in vocab.items()})),
        "ids that are negative": made(bpe(vocab={k: -v for k, v in vocab.items()})),
        "ids all alike": made(bpe(vocab=dict.fromkeys(vocab, 0))),
        "an id without end": made(bpe(vocab={**vocab, "x": 1 << 40})),
        "merges of one": made(bpe(merges=["a"])),
        "merges of numbers": made(bpe(merges=[1, 2])),
        "merges of three": made(bpe(merges=[["a", "b", "c"]])),
        "merges of words unknown": made(bpe(merges=["x y"])),
        "added tokens that are numbers": made(bpe(), added_tokens=[1]),
        "an added token without end": made(bpe(), added_tokens=[{"id": 1 << 62, "content": "x"}]),
        "an added token of control characters": made(bpe(), added_tokens=[{"id": 299, "content": "\x1b[2J"}]),
        "half a surrogate": made(bpe(vocab={**dict(list(vocab.items())[:299]), "\ud800": 299})),
        "an expression that never ends": {**made(bpe()), "pre_tokenizer": evil},
        "a pre-tokenizer of itself": {**made(bpe()), "pre_tokenizer": {"type": "Sequence", "pretokenizers": [{}] * 9}},
        "nothing": {},
        **_json_bombs(),
    }


def _not_numbers(good: Specimen) -> Iterator[Case]:
    for bad in (np.nan, np.inf):
        for name in ("token_embd.weight", "blk.0.attn_q.weight", "blk.0.ffn_norm.weight"):
            for label in ("F32", "F16", "BF16"):
                weights = {key: values.copy() for key, values in model().weights.items()}
                weights[name].flat[3] = bad
                data = safetensors(huggingface_state(replace(model(), weights=weights)), label)
                yield good.with_data(f"{bad} in {name} as {label}", data, Verdict.NOT_RUN)


def _link(target: str) -> Content:
    return lambda path: path.symlink_to(target)


def _shards(words: Mapping[str, bytes]) -> Iterator[Case]:
    files = _written(words, shards=3)
    second = "model-00002-of-00003.safetensors"
    good = _specimen(files, second, "safetensors shards")
    yield from every_rule(good, cuts=16)
    index = json.loads(files[_INDEX])
    places = index["weight_map"]
    name = next(key for key, place in places.items() if place == second)
    elsewhere = [
        "../model.safetensors",
        "/etc/passwd",
        "",
        ".",
        "nowhere.safetensors",
        "config.json",
        "tokenizer.model",
    ]
    odd: list[Any] = [f"{second}\0x", "\x1b[2J", "a" * 5000, "\u00e9" * 200, "\ud800", "\udcff", 5, None, [second]]
    for place in [*elsewhere, *odd]:
        changed = {**index, "weight_map": {**places, name: place}}
        yield good.with_files(f"a tensor in {place!a}"[:60], {_INDEX: json.dumps(changed).encode()})
    yield good.with_files("a shard that is a link to itself", {second: _link(second)})
    for what, value in {
        "an index that is a list": [],
        "an index of nothing": {"weight_map": {}},
        "an index without a map": {"metadata": {}},
        "a map that is a list": {"weight_map": [second]},
        "a thousand files": {"weight_map": {f"x{i}": f"f{i}" for i in range(1000)}},
        "a tensor of none": {"weight_map": {**places, "model.layers.0.mlp.up_proj.weight": second}},
    }.items():
        yield good.with_files(what, {_INDEX: json.dumps(value).encode()})
    for what, text in _json_bombs().items():
        yield good.with_files(f"index: {what}", {_INDEX: text})
    whole = _written(words)[_MAIN]
    yield good.with_files("two shards with all tensors", {second: whole, "model-00001-of-00003.safetensors": whole})
    yield good.with_files("a shard that is a pipe", {second: os.mkfifo})
    yield good.with_files("a shard that is a link to itself, in a folder", {second: _link("./" + second)})
    yield good.with_files("a shard that is a link up and back", {second: _link("../x/../" + second)})
    yield good.with_files("a shard that is another", {second: files["model-00001-of-00003.safetensors"]})
    yield Case(good.family, "a shard is missing", {k: v for k, v in files.items() if k != second}, "")
    yield good.with_files("a shard that is a link out of the folder", {second: _link("/etc/hostname")})
    yield good.with_files("a shard that is a folder", {second: Path.mkdir})
    yield Case(good.family, "a shard is named", files, second)
