"""Things in place of a file, files that are larger than the disk, and files of other kinds."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.hostile.cases import Case, Content, Verdict, model
from tests.support.tiny_models import gguf_bytes, gguf_parts, llama2c_bytes

_GOOD = gguf_bytes(model())[0]
_TERA = 4 << 40


def cases() -> Iterator[Case]:
    """All of this kind."""
    for name, content in _things().items():
        yield Case("places", name, {"m.gguf": content}, "m.gguf")
    for name, head, size in _HUGE:
        yield Case("places", name, {"m.bin": _sparse(head, size)}, "m.bin")
    for name, files in _folders().items():
        yield Case("places", f"a folder with {name}", files, "")
    for name, data in _OTHERS.items():
        yield Case("other kinds", name, {"m.gguf": data}, "m.gguf")
    for name in ("m\x1b[2J.gguf", "m\n\rllamachat: error: ok.gguf", "m\u202egnp.gguf", "n" * 250 + ".gguf", "-m.gguf",
                 "[bold]m[.gguf", " .gguf", "m.gguf\u200b"):  # fmt: skip
        yield Case("names", f"whole: {name!r}"[:60], {name: _GOOD}, name, Verdict.OPENS)
        yield Case("names", f"broken: {name!r}"[:60], {name: _GOOD[:-100]}, name)
    odd = os.fsdecode(b"m\xff\xfe.gguf")
    yield Case("names", "no UTF-8, whole", {odd: _GOOD}, odd, Verdict.OPENS)
    yield Case("names", "no UTF-8, broken", {odd: _GOOD[:-100]}, odd)


def _socket(path: Path) -> None:
    before = Path.cwd()
    os.chdir(path.parent)  # such names have 107 bytes at most
    try:
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(path.name)
    finally:
        os.chdir(before)


def _link(target: str) -> Content:
    return lambda path: path.symlink_to(target)


def _things() -> dict[str, Content]:
    return {
        "a pipe": os.mkfifo,
        "a socket": _socket,
        "an empty folder": Path.mkdir,
        "a link to nothing": _link("nowhere"),
        "a link to itself": _link("m.gguf"),
        "a link to a device": _link("/dev/zero"),
        "a link to the terminal": _link("/dev/tty"),
        "a link to a folder": _link("."),
        "a link to memory": _link("/proc/self/mem"),
        "a file of the kernel": _link("/proc/self/maps"),
        "nothing": b"",
        "a byte": b"G",
        "four bytes": b"GGUF",
        "noise": bytes((i * i * 7 + i) % 251 for i in range(5000)),
    }


def _link_to_a_model(path: Path) -> None:
    """To a whole one that lies outside of the folder."""
    elsewhere = path.parent.with_name(path.parent.name + ".elsewhere")
    elsewhere.write_bytes(_GOOD)
    path.symlink_to(f"../{elsewhere.name}")


def _sparse(head: bytes, size: int) -> Content:
    def make(path: Path) -> None:
        with path.open("wb") as file:
            file.write(head)
            file.truncate(size)

    return make


_V0 = struct.pack("<7i", 1 << 15, 1 << 17, 80, 64, 8, 32_000, 4096)
_HUGE = (
    ("4 TiB of zeros", b"", _TERA),
    ("1 GiB of zeros", b"", 1 << 30),
    ("4 TiB of GGUF", struct.pack("<4sIQQ", b"GGUF", 3, 1 << 40, 1 << 40), _TERA),
    ("4 TiB of GGUF with a key of a TiB", struct.pack("<4sIQQQ", b"GGUF", 3, 1, 1, 1 << 40), _TERA),
    ("4 TiB of GGUF with empty records", struct.pack("<4sIQQ", b"GGUF", 3, 1, 16_000), _TERA),
    ("4 TiB of GGUF with empty tokens", struct.pack("<4sIQQQ21sIIQ", b"GGUF", 3, 1, 1, 21, b"tokenizer.ggml.tokens",
                                                      9, 8, 1 << 35), _TERA),
    ("4 TiB of ggjt", struct.pack("<2I7I", 0x67676A74, 3, 1 << 31, 4096, 256, 32, 32, 128, 2), _TERA),
    ("4 TiB of ggml with 500,000 empty tokens", struct.pack("<I7I", 0x67676D6C, 1 << 19, 64, 2, 2, 2, 2, 2), _TERA),
    ("4 TiB of llama2.c", _V0, _TERA),
    ("4 TiB of llama2.c v2", b"24ka" + struct.pack("<i", 2) + _V0, _TERA),
    ("a safetensors header of 5 GiB", struct.pack("<Q", 5 << 30) + b"{", 6 << 30),
    ("a safetensors header of 99 MB", struct.pack("<Q", 99_000_000) + b"{", 1 << 30),
    ("4 TiB of zip", b"PK\x03\x04", _TERA),
    ("1 GiB of JSON", b"{", 1 << 30),
    ("1 GiB of ncnn", b"7767517\n", 1 << 30),
    ("1 GiB of tokenizer.bin", struct.pack("<IfI", 5, 0.0, 5) + b"<unk>", 1 << 30),
    ("1 GiB of SentencePiece", b"\x0a\x07\x0a\x05<unk>", 1 << 30),
    ("1 GiB of pickle", b"\x80\x02}", 1 << 30),
)  # fmt: skip


def _folders() -> Mapping[str, dict[str, Content]]:
    return {
        "nothing": {},
        "two models": {"a.gguf": _GOOD, "b.gguf": _GOOD},
        "a pipe for a model": {"m.gguf": os.mkfifo},
        "a pipe for an index": {"model.safetensors.index.json": os.mkfifo},
        "a pipe for a configuration": {"model.safetensors": struct.pack("<Q", 2) + b"{}", "config.json": os.mkfifo},
        "a folder for a model": {"model.safetensors": Path.mkdir},
        "4,200 files": {f"{i}.txt": b"" for i in range(4200)},
        "a model that is a link out of it": {"m.gguf": _link_to_a_model},
        "a model that is a link to a file of the system": {"model.safetensors": _link("/etc/passwd")},
        "a pipe for a vocabulary": {"m.bin": llama2c_bytes(model()), "tokenizer.bin": os.mkfifo},
        "a socket for a vocabulary": {"m.bin": llama2c_bytes(model()), "tokenizer.model": _socket},
        "a pipe for a part": {"m-00001-of-00002.gguf": gguf_parts(model(), 2)[0], "m-00002-of-00002.gguf": os.mkfifo},
        "a link to a folder above": {"m.gguf": _link("..")},
        "a graph without weights": {"m.param": b"7767517\n1 1\n"},
    }


_OTHERS: dict[str, bytes] = {
    "a web page": b"<!DOCTYPE html><html><title>404</title>" + b" " * 500,
    "a pointer of Git LFS": b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n",
    "a picture": b"\x89PNG\r\n\x1a\n" + bytes(500),
    "gzip": b"\x1f\x8b\x08" + bytes(500),
    "a program": b"\x7fELF" + bytes(500),
    "a script": b"#!/bin/sh\ntouch marker\n",
    "a pickle": b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x0ctouch marker\x85R.",
    "an older GGUF": b"FUGG" + bytes(500),
    "words": b"Once upon a time, there was a file. " * 100,
    "an adapter": b"algg\x01\0\0\0" + bytes(500),
    "a session": b"nsgg\x01\0\0\0" + bytes(500),
    "JSON that is a list": b"[1, 2, 3]",
    "JSON of another program": b'{"name": "x", "version": 1}',
    "XML": b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>',
}
