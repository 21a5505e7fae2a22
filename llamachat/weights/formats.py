"""The formats, recognised by a file's first bytes and its size, never by its name. The first match wins.

A format that is read has an ``open``; the others are named, with the reason why they are refused.

A format's module is imported when a file may be of it: all of them take longer than to open a file.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from llamachat.vocabulary import Vocabulary
from llamachat.weights.base import WeightFile
from llamachat.weights.files import Refusal, RegularFile
from llamachat.weights.model_files import ModelFiles

HEAD_BYTES = 64  #: of a file, enough for every probe

_Probe = Callable[[bytes, int], bool]


@dataclass(frozen=True)
class Format:
    """A kind of file: how it is told by its first bytes and size, and what can be read from it."""

    matches: _Probe
    refusal: str = "holds no vocabulary"  #: why it is not opened, for what it has no reader for
    open: Callable[[ModelFiles], WeightFile] | None = None
    vocabulary: Callable[[RegularFile], Vocabulary] | None = None
    stop_ids: frozenset[int] = frozenset()  #: tokens that end a text by the format's own rule


def recognise(file: RegularFile) -> Format:
    """The format of a file; ``Refusal`` if it is none that is known."""
    if not file.size:
        raise Refusal("is empty")
    head = file.read(0, min(HEAD_BYTES, file.size))
    for candidate in FORMATS:
        if candidate.matches(head, file.size):
            return candidate
    if file.path.suffix == ".safetensors":  # which begins with no magic number, but with a size that it must have
        raise Refusal("is cut short, or no safetensors file")
    raise Refusal("is no weight file that llamachat knows")


def _starts(*magics: bytes) -> _Probe:
    return lambda head, _: head.startswith(magics)


def _in(module: str, function: str) -> Callable[..., Any]:
    """A function of a module of this room, which is imported at the first call."""

    def call(*arguments: Any) -> Any:
        return getattr(import_module(f"llamachat.weights.{module}"), function)(*arguments)

    return call


def _head_is(module: str, function: str) -> _Probe:
    probe = _in(module, function)
    return lambda head, _: bool(probe(head))


_TOKENIZER = "is a tokenizer, no model; name it with --tokenizer, beside a model"
_UNVERSIONED_LIST = b"\x05\0\0\0 \xe2\x81\x87 "  # the unknown token as the first ggml files wrote it

_LLAMA2C_STOPS = frozenset({1, 2})  # run.c ends a text at either

#: Formats that are read, or will be.
_WEIGHTS = (
    Format(_starts(b"GGUF"), open=_in("gguf", "open_gguf"), vocabulary=_in("gguf", "gguf_vocabulary")),
    Format(
        _starts(b"lmgg", b"fmgg", b"tjgg"), open=_in("ggml", "open_ggml"), vocabulary=_in("ggml", "ggml_vocabulary")
    ),
    Format(_starts(b"24ka"), open=_in("llama2c", "open_llama2c_later"), stop_ids=_LLAMA2C_STOPS),
    Format(_starts(b"PK\x03\x04"), open=_in("pytorch", "open_pytorch")),
    Format(_starts(b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19"), "is a PyTorch file from before 1.6"),
    Format(_in("safetensors", "is_safetensors"), open=_in("huggingface", "open_file")),
    Format(_starts(b"7767517\n", b"7767517\r\n"), open=_in("ncnn", "open_ncnn"), stop_ids=_LLAMA2C_STOPS),
)

_TOKENIZERS = (
    Format(
        _head_is("tokenizer_bin", "is_tokenizer_bin"), _TOKENIZER, vocabulary=_in("tokenizer_bin", "read_tokenizer_bin")
    ),
    Format(
        _head_is("tokenizer_bin", "is_without_scores"),
        _TOKENIZER,
        vocabulary=_in("tokenizer_bin", "read_without_scores"),
    ),
    Format(
        _head_is("sentencepiece_model", "is_sentencepiece_model"),
        _TOKENIZER,
        vocabulary=_in("sentencepiece_model", "read_sentencepiece_model"),
    ),
)

#: What people name by mistake.
_FOREIGN = tuple(
    Format(_starts(*magics), reason)
    for reason, *magics in (
        ("is a GGUF from before the format's release, which nothing reads; convert the model again", b"FUGG"),
        ("has the magic number of llama2.c in the wrong byte order; export the model again", b"ak42"),
        ("is a LoRA adapter, no model", b"algg"),
        ("is a vocabulary in the form of tiktoken: not supported yet; name another with --tokenizer", b"IQ== 0\n"),
        ("is a saved llama.cpp session, no model", b"nsgg", b"qsgg"),
        (
            "is a pointer that Git LFS left in place of the file; fetch it with: git lfs pull",
            b"version https://git-lfs",
        ),
        ("is a web page, no model: the download went wrong", b"<!DOCTYPE", b"<!doctype", b"<html", b"<HTML"),
        ("is a picture", b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"II*\0", b"MM\0*"),
        ("is a picture, or a sound", b"RIFF"),
        ("is a PDF document", b"%PDF"),
        ("is a program", b"\x7fELF", b"\xcf\xfa\xed\xfe", b"#!"),
        (
            "is compressed; unpack it first",
            b"\x1f\x8b",
            b"BZh",
            b"\xfd7zXZ",
            b"7z\xbc\xaf",
            b"\x28\xb5\x2f\xfd",
            b"Rar!",
        ),
        ("is an HDF5 file: not supported", b"\x89HDF"),
        ("is an SQLite database", b"SQLite format 3"),
        ("is a Python pickle, which could run any code", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"),
    )
)

FORMATS = (
    *_WEIGHTS,
    *_TOKENIZERS,
    Format(lambda head, _: head[4:13] == _UNVERSIONED_LIST, "is a list of tokens without a header, no model"),
    # No magic number, but seven numbers that could be a model's. Before what follows: a model of 640
    # dimensions begins with the two bytes of a pickle.
    Format(_in("llama2c", "is_llama2c"), open=_in("llama2c", "open_llama2c"), stop_ids=_LLAMA2C_STOPS),
    Format(
        _starts(b"{"),
        open=_in("huggingface", "open_index"),
        vocabulary=_in("huggingface_tokenizer", "tokenizer_json_vocabulary"),
    ),
    *_FOREIGN,
)
