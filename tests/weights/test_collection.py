"""A folder of models: what in it is a model, told by names."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from llamachat.weights import collection
from llamachat.weights.collection import models_among, size_of
from llamachat.weights.folders import names_in


def put(folder: Path, *names: str, n_bytes: int = 0) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_bytes(bytes(n_bytes))


@pytest.mark.parametrize(
    ("names", "models"),
    [
        (["a-00001-of-00002.gguf", "a-00002-of-00002.gguf"], ["a-00001-of-00002.gguf"]),
        (["a-00002-of-00002.gguf"], []),
        (["a-00001-of-00001.gguf", "a.gguf"], ["a-00001-of-00001.gguf", "a.gguf"]),
        (["a.bin", "tokenizer.bin", "tokenizer.model", "tokenizer.json"], ["a.bin"]),
        (["a.param", "a.bin", "a.desc", "b.bin"], ["a.param", "b.bin"]),
        (["a.bin", "a.bin.1", "a.bin.2"], ["a.bin"]),
        (["llama-3", "llama-3.1"], ["llama-3", "llama-3.1"]),
        (
            ["config.json", "m.safetensors.index.json", "m-00001-of-00002.safetensors", "m-00002-of-00002.safetensors"],
            ["m.safetensors.index.json"],
        ),
        (["consolidated.00.pth", "consolidated.01.pth", "params.json"], ["consolidated.00.pth"]),
        (["m-00001-of-00002.safetensors", "consolidated.01.pth", "m-00002-of-00002.bin"], []),
        ([".pull-1.gguf", "notes.txt"], ["notes.txt"]),
    ],
    ids=lambda names: names[0] if names else "none",
)
def test_files(tmp_path: Path, names: list[str], models: list[str]) -> None:
    put(tmp_path, *names)
    assert sorted(models_among(tmp_path)) == models


def test_folders(tmp_path: Path) -> None:
    put(tmp_path / "hf", "config.json", "model.safetensors", "tokenizer.json")
    put(tmp_path / "meta", "consolidated.00.pth", "consolidated.01.pth", "params.json")
    put(tmp_path / "ncnn", "a.param", "a.bin", "a.desc", "tokenizer.bin")
    put(tmp_path / "split", "a-00001-of-00002.gguf", "a-00002-of-00002.gguf")
    put(tmp_path / "several", "a.gguf", "b.gguf")
    put(tmp_path / "other", "readme.txt")
    put(tmp_path / ".hidden", "a.gguf")
    (tmp_path / "link").symlink_to("hf")
    (tmp_path / "loop").symlink_to("loop")
    os.mkfifo(tmp_path / "pipe")
    assert sorted(models_among(tmp_path)) == ["hf", "link", "meta", "ncnn", "split"]


def test_the_size_is_that_of_all_parts(tmp_path: Path) -> None:
    put(tmp_path, "a.gguf", "b-00001-of-00002.gguf", "b-00002-of-00002.gguf", "c.bin", "c.bin.1", n_bytes=10)
    put(tmp_path / "meta", "consolidated.00.pth", "consolidated.01.pth", "params.json", n_bytes=10)
    put(tmp_path / "other", "readme.txt")
    sizes = {"a.gguf": 10, "b-00001-of-00002.gguf": 20, "c.bin": 20, "meta": 20, "other": 0, "absent": 0}
    assert {name: size_of(tmp_path / name) for name in sizes} == sizes
    assert size_of(tmp_path / ("x" * 300)) == 0  # which the system says nothing of


def test_a_folder_with_thousands_of_entries_is_listed_at_once(tmp_path: Path) -> None:
    put(tmp_path, *(f"m{i}.gguf" for i in range(5000)))
    put(tmp_path / "many", *(f"{i:05d}.txt" for i in range(5000)))
    for i in range(500):
        put(tmp_path / f"hf{i}", "model.safetensors")
    started = time.process_time()
    assert len(models_among(tmp_path)) == 5500
    assert time.process_time() - started < 0.5


def test_folders_are_looked_into_as_far_as_nobody_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collection, "_ENTRIES_LIMIT", 5)
    for name in "abcd":
        put(tmp_path / name, "model.safetensors", "config.json")
    assert models_among(tmp_path) == ["a"]


def test_folders_without_a_model_count_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They may be many: the list is made anew with every letter of a name that is typed."""
    looked_into: list[str] = []

    def noting(folder: Path) -> list[str]:
        looked_into.append(folder.name)
        return names_in(folder)

    monkeypatch.setattr(collection, "names_in", noting)
    monkeypatch.setattr(collection, "_ENTRIES_LIMIT", 5)
    for name in "abcd":
        put(tmp_path / name, "notes.txt", "readme.txt")
    assert models_among(tmp_path) == []
    assert looked_into == ["a", "b"]
