"""Completing a path: folders, and the files that stand for a model, or may hold chats."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from llamachat.chat import path_completion
from llamachat.chat.path_completion import CHAT, FILE, MODEL, NEW_FILE, PathCompletions, complete_path


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))


def _make(*paths: str) -> None:
    for path in paths:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).touch()


def test_how_far_all_agree(tmp_path: Path) -> None:
    _make("models/deep/a\x1b]0;no\x07b.gguf", "models/deep/b\nc.gguf", ".hidden/x.gguf", "moss.gguf",
          "models/tiny-q4.gguf", "models/tiny-q8.gguf", "models/tiny.txt")  # fmt: skip
    for typed, whole in (
        ("m", "mo"), ("mod", "models/"), ("models/t", "models/tiny-q"), ("~/mos", "~/moss.gguf"), ("x", "x"),
        (".h", ".hidden/"), (f"{tmp_path}/models/d", f"{tmp_path}/models/deep/"), ("nowhere/x", "nowhere/x"),
        ("models/deep/", "models/deep/"), ("models/tiny.t", "models/tiny.t"), ("~", "~/"),
        ("~nobody-of-that-name/x", "~nobody-of-that-name/x"), ("a\0b/", "a\0b/"), ("~\0/", "~\0/"),
    ):  # fmt: skip
        assert complete_path(typed).common == whole


def test_folders_have_a_slash_and_other_files_are_left_out() -> None:
    _make("notes.txt", "Chat.gguf", "old.bin", "sub/x", "tokenizer.bin", "training_args.bin", ".cache/x",
          "big-00001-of-00002.gguf", "big-00002-of-00002.gguf", "with space.gguf", " led.gguf")  # fmt: skip
    os.mkfifo("pipe.gguf")
    Path("broken.gguf").symlink_to("nowhere")
    Path("loop.gguf").symlink_to("loop.gguf")
    Path("linked").symlink_to("sub")
    assert complete_path("").paths == (
        "big-00001-of-00002.gguf", "Chat.gguf", "linked/", "old.bin", "sub/", "with space.gguf",
    )  # fmt: skip


def test_where_any_file_is_meant_none_is_left_out() -> None:
    _make("notes.txt", "Chat.gguf", "tokenizer.bin", "sub/x", ".cache/x", " led.txt", "a\x1bb.txt", "a\tb.txt")
    os.mkfifo("pipe.txt")
    Path("broken").symlink_to("nowhere")
    assert complete_path("", FILE).paths == ("Chat.gguf", "notes.txt", "sub/", "tokenizer.bin")
    assert complete_path("./no", FILE).common == "./notes.txt"
    assert not complete_path("./sub", FILE).is_whole
    assert complete_path("no", MODEL).paths == ()


def test_of_a_model_in_several_files_the_one_that_stands_for_it() -> None:
    _make("hf/model.safetensors.index.json", "hf/model-00001-of-00002.safetensors", "hf/config.json")
    _make("meta/consolidated.00.pth", "meta/consolidated.01.pth", "meta/params.json")
    _make("ncnn/stories.param", "ncnn/stories.bin", "ncnn/tokenizer.bin")
    assert complete_path("hf/").paths == ("hf/model.safetensors.index.json",)
    assert complete_path("meta/").paths == ("meta/consolidated.00.pth",)
    assert complete_path("ncnn/").paths == ("ncnn/stories.param",)


def test_a_file_without_an_ending_is_told_by_its_first_bytes() -> None:
    Path("sha256-1").write_bytes(b"GGUF\3\0\0\0")
    Path("sha256-2").write_bytes(b"{}")
    _make("sha256-3")
    os.mkfifo("sha256-4")
    assert complete_path("sha").paths == ("sha256-1",)


def test_the_path_of_a_folder_is_told() -> None:
    _make("sub/x.gguf", "file.gguf")
    told = {typed: complete_path(typed).is_whole for typed in ("./sub", "sub/", "~/", "./su", "./file.gguf", "sub")}
    assert told == {"./sub": True, "sub/": True, "~/": True, "./su": False, "./file.gguf": False, "sub": False}


def test_each_kind_of_path_has_files_of_its_own() -> None:
    _make("a.gguf", "b.json", "c.JSON", "d.md", "e", "sub/x", ".hidden.json")
    os.mkfifo("pipe.json")
    assert complete_path("", MODEL).paths == ("a.gguf", "sub/")
    assert complete_path("", CHAT).paths == ("b.json", "c.JSON", "sub/")
    assert complete_path("", NEW_FILE).paths == ("sub/",)
    told = {kind: complete_path("su", kind).is_whole for kind in (MODEL, CHAT, NEW_FILE)}
    assert told == {MODEL: False, CHAT: False, NEW_FILE: True}  # a new file may have any name
    assert complete_path("b", CHAT).common == "b.json"


def test_where_not_all_were_looked_at_nothing_is_said_to_be_common(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(path_completion, "_ENTRIES_LIMIT", 2)
    _make("aa1.gguf", "aa2.gguf", "aa3.gguf")
    assert complete_path("a").common == "a"
    assert complete_path("no/").paths == PathCompletions().paths == ()
