"""Anything that can stand where a weight file was meant: refused at once, in one line."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from llamachat.errors import WeightsError
from llamachat.weights import open_weights, read_vocabulary
from tests.support.tiny_models import random_model, write_ggml, write_gguf, write_llama2c


def refusal(path: Path | str, *, has_tokens: bool = False) -> str:
    with pytest.raises(WeightsError) as caught:
        open_weights(path)
    if not has_tokens:  # or the start of one
        with pytest.raises(WeightsError):
            read_vocabulary(path)
    return caught.value.reason


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "is empty"),
        (b"\0", "no weight file that llamachat knows"),
        (b"hello", "no weight file that llamachat knows"),
        (b"\0" * 5000, "no weight file that llamachat knows"),
        (b"\xff" * 5000, "no weight file that llamachat knows"),
        (b"GGUF", "is cut short"),
        (b"tjgg", "is cut short"),
        (b"GGUF\x02\0", "is cut short"),
        (b"lmgg" + bytes(60), "no tensor starts at byte 32"),
        (b"fmgg\x01\0\0\0" + bytes(2), "is cut short"),
        (b"24ka\x01\0\0\0" + bytes(300), "its numbers are no model's"),
        (b"24ka\x02\0\0\0" + bytes(300), "its numbers are no model's"),
        (b"24ka\x09\0\0\0" + bytes(300), "is a llama2.c file of version 9"),
        (b"ak42\x01\0\0\0" + bytes(300), "in the wrong byte order"),
        (b"FUGG\x01\0\0\0", "from before the format's release"),
        (b"IQ== 0\nIg== 1\n", "is a vocabulary in the form of tiktoken: not supported yet"),
        (b"algg" + bytes(60), "is a LoRA adapter, no model"),
        (b"nsgg" + bytes(60), "is a saved llama.cpp session, no model"),
        (b"PK\x03\x04" + bytes(60), "is cut short: its archive has no directory"),
        (b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.", "is a PyTorch file from before 1.6"),
        (b"\x80\x04\x95cos\nsystem\n(S'true'\ntR.", "is a Python pickle, which could run any code"),
        (b'\x02\0\0\0\0\0\0\0{"__metadata__":{}}', "no valid JSON"),
        (b"\x02\0\0\0\0\0\0\0{}", "no config.json is beside it"),
        (b"7767517\n75 83\nInput in 0 1 in\n", "is cut short or broken: it states"),
        (b'{"architectures": ["LlamaForCausalLM"]}', "is JSON text, no model"),
        (b"\x89PNG\r\n\x1a\n" + bytes(60), "is a picture"),
        (b"\xff\xd8\xff\xe0" + bytes(60), "is a picture"),
        (b"%PDF-1.7", "is a PDF document"),
        (b"\x7fELF" + bytes(60), "is a program"),
        (b"\x1f\x8b\x08" + bytes(60), "is compressed; unpack it first"),
        (b"<!DOCTYPE html><html>", "is a web page, no model: the download went wrong"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "fetch it with: git lfs pull"),
        (b"SQLite format 3\0", "is an SQLite database"),
        (b"\x05\0\0\0<unk>\x05\0\0\0\n<s>\n", "is a tokenizer, no model"),
        (b"\0}\0\0\x05\0\0\0 \xe2\x81\x87 " + bytes(60), "is a list of tokens without a header"),
    ],
)
def test_content(tmp_path: Path, data: bytes, words: str) -> None:
    for name in ("file.gguf", "file.bin", "file"):
        (tmp_path / name).write_bytes(data)
        assert words in refusal(tmp_path / name, has_tokens=data.startswith(b"lmgg"))


def test_what_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "link").symlink_to("pipe")
    server = socket.socket(socket.AF_UNIX)
    with server:
        server.bind(str(tmp_path / "socket"))
        for name, words in (
            ("missing", "no such file"),
            ("missing/too", "no such file"),
            ("pipe", "is a pipe, not a weight file"),
            ("link", "is a pipe, not a weight file"),
            ("socket", "is a socket, not a weight file"),
            ("dangling", "is a link to a file that is not there"),
            ("loop", "symbolic links"),
            ("", "is a folder without a model that llamachat knows"),
            ("x" * 300, "name too long"),
            ("a\0b", "is no file name"),
        ):
            assert words in refusal(tmp_path / name)
    assert "is a device, not a weight file" in refusal("/dev/zero")
    assert "is a device, not a weight file" in refusal("/dev/tty")


@pytest.mark.skipif(os.geteuid() == 0, reason="a superuser may read every file")
def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    write_gguf(tmp_path / "m", random_model())
    (tmp_path / "m").chmod(0)
    assert refusal(tmp_path / "m") == "permission denied"


@pytest.mark.parametrize("head", [b"", b"GGUF\x03\0\0\0" + bytes(16), b"tjgg\x03\0\0\0", b"\x0a\x0e\x0a\x05<unk>"])
@pytest.mark.parametrize("size", [1 << 30, 4 << 40])
def test_a_file_of_holes(tmp_path: Path, head: bytes, size: int) -> None:
    (tmp_path / "m").write_bytes(head)
    try:
        os.truncate(tmp_path / "m", size)
    except OSError:
        pytest.skip("this file system has no files of 4 TiB")
    refusal(tmp_path / "m")


def test_a_model_followed_by_holes(tmp_path: Path) -> None:
    """What a header does not speak of does no harm in GGUF; a ggjt file goes on to its end, a llama2.c one is exact."""
    write_gguf(tmp_path / "gguf", random_model())
    os.truncate(tmp_path / "gguf", 1 << 32)
    open_weights(tmp_path / "gguf").close()
    write_ggml(tmp_path / "ggjt", random_model())
    os.truncate(tmp_path / "ggjt", 1 << 32)
    with pytest.raises(WeightsError, match="no tensor starts at byte"):
        open_weights(tmp_path / "ggjt")
    write_llama2c(tmp_path / "llama2c", random_model())
    os.truncate(tmp_path / "llama2c", 1 << 32)
    assert "it would have" in refusal(tmp_path / "llama2c")


def test_a_file_that_shrinks_while_it_is_read(tmp_path: Path) -> None:
    for write in (write_gguf, write_ggml, write_llama2c):
        write(tmp_path / "m", random_model())
        with open_weights(tmp_path / "m") as weights:
            name, tensor = list(weights.tensors.items())[-1]
            assert len(weights.read(name, 0, tensor.rows)) == tensor.n_bytes
            os.truncate(tmp_path / "m", 2000)
            with pytest.raises(WeightsError, match="m: got shorter while it was being read"):
                weights.read(name, 0, tensor.rows)


def test_a_file_that_is_replaced_stays_the_one_that_was_opened(tmp_path: Path) -> None:
    write_gguf(tmp_path / "m", random_model(seed=1))
    with open_weights(tmp_path / "m") as weights:
        before = weights.read("token_embd.weight", 0, 320)
        write_gguf(tmp_path / "new", random_model(seed=2))
        (tmp_path / "new").rename(tmp_path / "m")
        assert weights.read("token_embd.weight", 0, 320) == before


def test_nothing_stays_open(tmp_path: Path) -> None:
    write_gguf(tmp_path / "good", random_model())
    (tmp_path / "bad").write_bytes(b"GGUF")
    os.mkfifo(tmp_path / "pipe")
    before = len(list(Path("/dev/fd").iterdir()))
    for _ in range(20):
        open_weights(tmp_path / "good").close()
        for name in ("bad", "pipe", "missing"):
            refusal(tmp_path / name)
    weights = open_weights(tmp_path / "good")
    weights.close()
    weights.close()
    with pytest.raises(WeightsError):
        weights.read("token_embd.weight", 0, 1)
    assert len(list(Path("/dev/fd").iterdir())) == before
