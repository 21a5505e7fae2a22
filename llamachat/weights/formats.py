"""The formats, recognised by a file's first bytes and its size, never by its name. The first match wins.

A format that is read has an ``open``; the others are named, with the reason why they are refused.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from llamachat.vocabulary import Vocabulary
from llamachat.weights import (
    ggml,
    gguf,
    gguf_container,
    huggingface,
    huggingface_tokenizer,
    llama2c,
    ncnn,
    pytorch,
    safetensors,
    sentencepiece_model,
    tokenizer_bin,
    zip_archive,
)
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
    raise Refusal("is no weight file that llamachat knows")


def _starts(*magics: bytes) -> _Probe:
    return lambda head, _: head.startswith(magics)


_TOKENIZER = "is a tokenizer, no model; name it with --tokenizer, beside a model"
_UNVERSIONED_LIST = b"\x05\0\0\0 \xe2\x81\x87 "  # the unknown token as the first ggml files wrote it

_LLAMA2C_STOPS = frozenset({1, 2})  # run.c ends a text at either

#: Formats that are read, or will be.
_WEIGHTS = (
    Format(_starts(gguf_container.MAGIC), open=gguf.open_gguf, vocabulary=gguf.gguf_vocabulary),
    Format(_starts(*ggml.MAGICS), open=ggml.open_ggml, vocabulary=ggml.ggml_vocabulary),
    Format(_starts(llama2c.MAGIC), open=llama2c.open_llama2c_later, stop_ids=_LLAMA2C_STOPS),
    Format(_starts(zip_archive.MAGIC), open=pytorch.open_pytorch),
    Format(_starts(b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19"), "is a PyTorch file from before 1.6"),
    Format(safetensors.is_safetensors, open=huggingface.open_file),
    Format(_starts(ncnn.MAGIC + b"\n", ncnn.MAGIC + b"\r\n"), open=ncnn.open_ncnn, stop_ids=_LLAMA2C_STOPS),
)

_TOKENIZERS = (
    Format(
        lambda head, _: tokenizer_bin.is_tokenizer_bin(head), _TOKENIZER, vocabulary=tokenizer_bin.read_tokenizer_bin
    ),
    Format(
        lambda head, _: tokenizer_bin.is_without_scores(head), _TOKENIZER, vocabulary=tokenizer_bin.read_without_scores
    ),
    Format(
        lambda head, _: sentencepiece_model.is_sentencepiece_model(head),
        _TOKENIZER,
        vocabulary=sentencepiece_model.read_sentencepiece_model,
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
    Format(llama2c.is_llama2c, open=llama2c.open_llama2c, stop_ids=_LLAMA2C_STOPS),
    Format(_starts(b"{"), open=huggingface.open_index, vocabulary=huggingface_tokenizer.tokenizer_json_vocabulary),
    *_FOREIGN,
)
