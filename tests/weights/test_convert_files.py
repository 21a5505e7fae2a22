"""What converting does to the files around it: nothing half written, nothing lost, nothing read that is written."""

from __future__ import annotations

import errno
import fcntl
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pytest

from llamachat.errors import Cancelled, LlamachatError
from llamachat.files import new_files
from llamachat.files.unfinished import new_part, sweep
from llamachat.weights import open_weights
from llamachat.weights.write import FORMATS, Output, convert
from tests.support.containers import tokenizer_bin
from tests.support.conversions import as_model, assert_same_values, converted, values_in
from tests.support.tiny_models import TinyShape, random_model, spm_vocabulary, write_gguf, write_llama2c

MODEL = random_model(TinyShape(n_heads=4, n_kv_heads=2, tied=False))


def model_file(folder: Path) -> Path:
    write_gguf(folder / "m.gguf", MODEL, types={"blk.0.attn_q.weight": "Q8_0", "blk.0.ffn_down.weight": "F16"})
    return folder / "m.gguf"


def outcome(path: Path, target: Path, to: str = "gguf", *, force: bool = False, cancel_at: int = -1) -> None:
    calls = iter(range(10**6))
    with open_weights(path) as weights:
        output = Output(target, FORMATS[to], None, force)
        convert(as_model(weights), output, 2, lambda _done, _total: None, lambda: next(calls) == cancel_at)


def names_in(folder: Path) -> set[str]:
    return {entry.name for entry in folder.iterdir()}


@pytest.mark.parametrize("to", list(FORMATS))
def test_cancelling_leaves_nothing(tmp_path: Path, to: str) -> None:
    path = model_file(tmp_path)
    for at in (0, 1, 5):
        with pytest.raises(Cancelled):
            outcome(path, tmp_path / "new", to, cancel_at=at)
        assert names_in(tmp_path) == {"m.gguf"}


def test_a_broken_weight_leaves_nothing(tmp_path: Path) -> None:
    weights = {name: values.copy() for name, values in MODEL.weights.items()}
    weights["blk.1.ffn_up.weight"][3, 5] = np.nan
    write_gguf(tmp_path / "m.gguf", replace(MODEL, weights=weights))
    with pytest.raises(LlamachatError, match=r"NaN or an infinity in tensor blk\.1\.ffn_up"):
        converted(tmp_path / "m.gguf", tmp_path / "new.gguf", "gguf", "q8_0")
    weights["blk.1.ffn_up.weight"][3, 5] = 1e6
    write_gguf(tmp_path / "m.gguf", replace(MODEL, weights=weights))
    with pytest.raises(LlamachatError, match=r"blk\.1\.ffn_up\.weight that are too large for F16"):
        converted(tmp_path / "m.gguf", tmp_path / "new.gguf", "gguf", "f16")
    assert names_in(tmp_path) == {"m.gguf"}


def test_nothing_is_overwritten_unless_forced(tmp_path: Path) -> None:
    path = model_file(tmp_path)
    (tmp_path / "new.gguf").write_text("mine")
    with pytest.raises(LlamachatError, match="is there already; --force replaces it"):
        outcome(path, tmp_path / "new.gguf")
    assert (tmp_path / "new.gguf").read_text() == "mine"
    outcome(path, tmp_path / "new.gguf", force=True)
    open_weights(tmp_path / "new.gguf").close()
    (tmp_path / "tokenizer.bin").write_text("mine")
    with pytest.raises(LlamachatError, match=r"tokenizer\.bin: is there already"):
        outcome(path, tmp_path / "new.bin", "llama2c-v0")
    assert names_in(tmp_path) == {"m.gguf", "new.gguf", "tokenizer.bin"}


@pytest.mark.parametrize(
    ("to", "target", "neighbour", "shared"),
    [
        ("llama2c-v0", "new.bin", "other.bin", "tokenizer.bin"),
        ("ncnn", "new.param", "other.param", "tokenizer.bin"),
        ("safetensors", "new.safetensors", "model.safetensors", "config.json"),
    ],
)
def test_what_a_neighbour_may_need_is_not_replaced(
    tmp_path: Path, to: str, target: str, neighbour: str, shared: str
) -> None:
    path = model_file(tmp_path)
    (tmp_path / shared).write_text("of another model")
    (tmp_path / neighbour).write_text("another model")
    words = f"{shared}: is there already, and '{neighbour}' beside it may need it; write into another folder"
    for force in (False, True):
        with pytest.raises(LlamachatError, match=words):
            outcome(path, tmp_path / target, to, force=force)
    assert names_in(tmp_path) == {"m.gguf", shared, neighbour}
    assert (tmp_path / shared).read_text() == "of another model"
    (tmp_path / neighbour).unlink()
    outcome(path, tmp_path / target, to, force=True)  # nobody's but the new model's now
    assert_same_values(tmp_path / target, values_in(path))


def test_the_vocabulary_that_was_read_stays_as_it_is(tmp_path: Path) -> None:
    model = random_model()
    write_llama2c(tmp_path / "one.bin", model)
    v = spm_vocabulary()
    texts = [chr(i - 3) if 3 <= i < 259 else p.replace("▁", " ") for i, p in enumerate(v.pieces)]  # as in July 2023
    data = tokenizer_bin([(text.encode(), score) for text, score in zip(texts, v.scores, strict=True)])
    (tmp_path / "tokenizer.bin").write_bytes(data)
    before = (tmp_path / "tokenizer.bin").read_bytes()
    outcome(tmp_path / "one.bin", tmp_path / "two.bin", "llama2c-v1")
    assert (tmp_path / "tokenizer.bin").read_bytes() == before
    assert names_in(tmp_path) == {"one.bin", "two.bin", "tokenizer.bin"}


def test_the_current_folder_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = model_file(tmp_path)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    outcome(path, Path(), "ncnn")
    assert "here.param" in names_in(tmp_path / "here")
    assert_same_values(tmp_path / "here", values_in(path))
    for name in ("", ".", "..", "/"):
        with pytest.raises(LlamachatError, match=f"^'{Path(name)}': name a file to write"):
            outcome(path, Path(name), "gguf")


def test_a_file_beside_that_is_as_it_would_be_stays(tmp_path: Path) -> None:
    path = model_file(tmp_path)
    outcome(path, tmp_path / "one.bin", "llama2c-v0")
    before = (tmp_path / "tokenizer.bin").stat()
    outcome(path, tmp_path / "two.bin", "llama2c-v0")
    assert (tmp_path / "tokenizer.bin").stat().st_ino == before.st_ino


def test_what_is_read_is_never_written(tmp_path: Path) -> None:
    path = model_file(tmp_path)
    before = path.read_bytes()
    (tmp_path / "link.gguf").symlink_to(path)
    (tmp_path / "hard.gguf").hardlink_to(path)
    for name in ("m.gguf", "link.gguf", "hard.gguf", "../" + tmp_path.name + "/m.gguf"):
        with pytest.raises(LlamachatError, match="would be read from"):
            outcome(path, tmp_path / name, force=True)
    assert path.read_bytes() == before


def test_names_that_cannot_be_files(tmp_path: Path) -> None:
    path = model_file(tmp_path)
    (tmp_path / "folder").mkdir()
    for target, reason in (
        (tmp_path / "folder", "is a folder"),
        (tmp_path / "none/new.gguf", "no such folder"),
        (path / "new.gguf", "is no folder"),
        (tmp_path / ("x" * 300), "name too long"),
        (tmp_path / "a\0b", "name a file"),
    ):
        with pytest.raises(LlamachatError, match=reason):
            outcome(path, target)
    assert names_in(tmp_path) == {"m.gguf", "folder"}


def test_what_is_no_file_is_not_replaced(tmp_path: Path) -> None:
    path = model_file(tmp_path)
    os.mkfifo(tmp_path / "new.gguf")
    (tmp_path / "link.gguf").symlink_to("new.gguf")
    for name in ("new.gguf", "link.gguf"):
        with pytest.raises(LlamachatError, match=rf"{name}: is a device, a pipe or a socket; name a file"):
            outcome(path, tmp_path / name, force=True)
    assert (tmp_path / "new.gguf").is_fifo()
    assert (tmp_path / "link.gguf").is_symlink()


def test_a_folder_that_is_there_is_used_and_kept(tmp_path: Path) -> None:
    path = model_file(tmp_path)
    (tmp_path / "new").mkdir()
    (tmp_path / "new/notes.txt").write_text("mine")
    with pytest.raises(Cancelled):
        outcome(path, tmp_path / "new", "safetensors", cancel_at=3)
    assert names_in(tmp_path / "new") == {"notes.txt"}
    outcome(path, tmp_path / "new", "safetensors")
    assert {"notes.txt", "config.json", "model.safetensors"} < names_in(tmp_path / "new")


def test_a_folder_that_would_open_as_another_model(tmp_path: Path) -> None:
    path, folder = model_file(tmp_path), tmp_path / "new"
    outcome(path, folder, "safetensors")
    outcome(path, folder, "safetensors", force=True)  # the same files again
    index = folder / "model.safetensors.index.json"
    index.write_text('{"weight_map": {}}')
    before = {entry.name: entry.read_bytes() for entry in folder.iterdir()}
    for to in ("safetensors", "ncnn"):
        with pytest.raises(LlamachatError, match=r"new: holds another model, and would not open as the new one"):
            outcome(path, folder, to, force=True)
    assert {entry.name: entry.read_bytes() for entry in folder.iterdir()} == before


def test_no_model_is_written_among_the_files_it_is_read_from(tmp_path: Path) -> None:
    path, folder = model_file(tmp_path), tmp_path / "new"
    outcome(path, folder, "safetensors")
    data = (folder / "model.safetensors").read_bytes()
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    places = dict.fromkeys(header.keys() - {"__metadata__"}, "model-00001-of-00001.safetensors")
    (folder / "model.safetensors").rename(folder / "model-00001-of-00001.safetensors")
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))
    config = (folder / "config.json").read_bytes()
    with pytest.raises(LlamachatError, match="new: holds what would be read from; give another folder"):
        outcome(folder, folder, "safetensors", force=True)
    assert (folder / "config.json").read_bytes() == config


# ---- what killed conversions left behind ----


def parts(folder: Path) -> list[Path]:
    return sorted(folder.glob(".llamachat-*.part"))


def test_only_unlocked_files_of_its_own_are_swept(tmp_path: Path) -> None:
    path = model_file(tmp_path)
    (tmp_path / "elsewhere").write_text("precious")
    others = {".llamachat-notes.part", ".llamachat-abcdefgh.txt", ".llamachat-ABCDEFGH.part", "llamachat-abcdefgh.part"}
    for name in others:
        (tmp_path / name).write_text("a person's own")
    (tmp_path / ".llamachat-abcd_123.part").write_text("left behind")
    (tmp_path / ".llamachat-link0000.part").symlink_to("elsewhere")
    (tmp_path / ".llamachat-folder00.part").mkdir()
    os.mkfifo(tmp_path / ".llamachat-pipe0000.part")
    outcome(path, tmp_path / "new.gguf")
    kept = {".llamachat-link0000.part", ".llamachat-folder00.part", ".llamachat-pipe0000.part", "elsewhere"}
    assert names_in(tmp_path) == {"m.gguf", "new.gguf"} | others | kept


def test_a_file_is_locked_until_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is closed before, to be sure that it is on disk; another start must not sweep it then."""
    path, seen = model_file(tmp_path), []

    def sweep_between(folder: Path) -> None:
        seen.append(len(parts(folder)))
        sweep(folder)
        seen.append(len(parts(folder)))

    real = new_files._finish

    def finish(file: BinaryIO, target: Path) -> None:
        real(file, target)
        sweep_between(target.parent)

    monkeypatch.setattr(new_files, "_finish", finish)
    outcome(path, tmp_path / "new.param", "ncnn")
    assert seen[0] > 1
    assert len(set(seen)) == 1
    assert not parts(tmp_path)


def test_a_file_that_is_swept_before_it_is_locked_is_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = fcntl.flock
    swept: list[Path] = []

    def slow(descriptor: int, how: int) -> None:
        if not swept:
            swept.extend(parts(tmp_path))
            sweep(tmp_path)
        real(descriptor, how)

    monkeypatch.setattr("llamachat.files.unfinished.fcntl.flock", slow)
    descriptor, path = new_part(tmp_path)
    os.close(descriptor)
    assert [path] == parts(tmp_path)
    assert swept
    assert path not in swept


def test_where_locks_are_not_known_nothing_is_swept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_descriptor: int, _how: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("llamachat.files.unfinished.fcntl.flock", refuse)
    (tmp_path / ".llamachat-abcd_123.part").write_text("perhaps another's")
    outcome(model_file(tmp_path), tmp_path / "new.gguf")
    assert names_in(tmp_path) == {"m.gguf", "new.gguf", ".llamachat-abcd_123.part"}
