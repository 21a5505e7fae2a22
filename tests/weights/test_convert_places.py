"""Where a new model is refused to stand: there a file would be lost, a neighbour changed, or it would not be itself."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from llamachat.errors import LlamachatError
from llamachat.weights import open_weights
from llamachat.weights.write import FORMATS, Output, convert
from tests.support.conversions import as_model, converted
from tests.support.huggingface_files import write_huggingface
from tests.support.tiny_models import (
    TinyShape,
    bpe_vocabulary,
    random_model,
    spm_vocabulary,
    write_gguf,
    write_llama2c,
    write_tokenizer_bin,
)

SHAPE = TinyShape(n_layers=1)
WITH_SPM, WITH_BPE = "spm.gguf", "bpe.gguf"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model with each kind of vocabulary, and a folder for what comes of it."""
    write_gguf(tmp_path / WITH_SPM, random_model(SHAPE), vocabulary=spm_vocabulary())
    write_gguf(
        tmp_path / WITH_BPE,
        random_model(SHAPE),
        vocabulary=bpe_vocabulary(),
        metadata={"tokenizer.chat_template": "{{ its own }}"},
    )
    (tmp_path / "d").mkdir()
    return tmp_path / "d"


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def assert_refused(source: Path, target: Path, to: str, words: str) -> None:
    """With ``force`` and without it, and nothing has changed."""
    there = target if target.is_dir() else target.parent
    before = contents(there)
    for force in (False, True):
        with pytest.raises(LlamachatError, match=words):
            converted(source, target, to, force=force)
    assert contents(there) == before


@pytest.mark.parametrize(
    ("target", "to"), [("tokenizer.param", "ncnn"), ("Tokenizer.PARAM", "ncnn"), ("tokenizer.bin", "llama2c-v0")]
)
def test_two_files_of_one_name(folder: Path, target: str, to: str) -> None:
    assert_refused(folder.parent / WITH_SPM, folder / target, to, "is the name of two files of the new model")


def test_the_name_of_a_part(folder: Path) -> None:
    target = folder / "a-00001-of-00003.safetensors"
    assert_refused(folder.parent / WITH_SPM, target, "safetensors", "is the name of a part of a model")


def test_capitals_in_an_ending(folder: Path) -> None:
    converted(folder.parent / WITH_SPM, folder / "X.PARAM", "ncnn")
    assert contents(folder).keys() == {"X.PARAM", "X.bin", "X.desc", "tokenizer.bin"}
    open_weights(folder / "X.PARAM").close()


@pytest.mark.parametrize("name", ["tokenizer.model", "chat_template.jinja", "added_tokens.json"])
def test_what_would_be_taken_for_a_part_of_the_new_model(folder: Path, name: str) -> None:
    (folder / name).write_text("of another model")
    words = f"{name}: would be taken for the new model's own; remove it, or write into another folder"
    assert_refused(folder.parent / WITH_BPE, folder, "safetensors", words)


@pytest.mark.parametrize("target", ["x.bin", ""])
def test_a_vocabulary_that_would_be_taken_for_its_own(folder: Path, target: str) -> None:
    """llama2.c and ncnn have no file for byte-level vocabularies."""
    (folder / "tokenizer.bin").write_text("of another model")
    to = "llama2c-v0" if target else "ncnn"
    assert_refused(folder.parent / WITH_BPE, folder / target, to, "tokenizer.bin: would be taken for the new model's")


def test_a_model_of_another_vocabulary_into_the_same_folder(folder: Path) -> None:
    converted(folder.parent / WITH_SPM, folder, "safetensors")
    converted(folder.parent / WITH_SPM, folder, "safetensors", force=True)
    words = "tokenizer.model: would be taken for the new model's own"
    assert_refused(folder.parent / WITH_BPE, folder, "safetensors", words)
    (folder / "tokenizer.model").unlink()
    converted(folder.parent / WITH_BPE, folder, "safetensors", force=True)
    with open_weights(folder) as weights:
        assert weights.vocabulary is not None
        assert (weights.vocabulary.model, weights.chat_template) == ("bpe", "{{ its own }}")


def test_a_model_without_a_vocabulary_may_get_one(folder: Path) -> None:
    write_llama2c(folder.parent / "m.bin", random_model(SHAPE))
    write_tokenizer_bin(folder / "tokenizer.bin", spm_vocabulary())
    converted(folder.parent / "m.bin", folder / "new.bin", "llama2c-v1")
    with open_weights(folder / "new.bin") as weights:
        assert weights.vocabulary is not None
        assert weights.vocabulary.pieces == spm_vocabulary().pieces


@pytest.mark.parametrize("to", ["ncnn", "safetensors"])
def test_a_folder_with_a_neighbour(folder: Path, to: str) -> None:
    if to == "ncnn":
        write_llama2c(folder / "old.bin", random_model(TinyShape(n_layers=2)))
        (folder / "tokenizer.bin").write_text("of another model")
    else:
        write_huggingface(folder, random_model(TinyShape(n_layers=2)), torch=True)
    words = "beside it may need it; write into another folder"
    assert_refused(folder.parent / WITH_SPM, folder, to, words)


@pytest.mark.parametrize("target", ["new.bin", ""])
def test_a_neighbour_keeps_its_vocabulary(folder: Path, target: str) -> None:
    """tokenizer.bin is taken before tokenizer.model."""
    write_llama2c(folder / "old.bin", random_model(SHAPE))
    (folder / "tokenizer.model").write_text("of the old model")
    words = "tokenizer.bin: would be taken for the vocabulary of 'old.bin' too; write into another folder"
    assert_refused(folder.parent / WITH_SPM, folder / target, "llama2c-v0" if target else "ncnn", words)


def test_whatever_a_model_is_read_from_stays(folder: Path) -> None:
    write_huggingface(folder, random_model(SHAPE))
    write_tokenizer_bin(folder / "voc", spm_vocabulary())
    before = contents(folder)
    for name in ("config.json", "model.safetensors", "voc"):
        with pytest.raises(LlamachatError, match=f"{name}: is what would be read from"):
            converted(folder, folder / name, "gguf", tokenizer=folder / "voc", force=True)
    assert contents(folder) == before


def test_a_file_that_appears_meanwhile_is_not_replaced(folder: Path) -> None:
    def appears(_done: int, _total: int) -> None:
        (folder / "new.param").write_text("precious")

    with open_weights(folder.parent / WITH_SPM) as weights:
        output = Output(folder / "new.param", FORMATS["ncnn"])
        with pytest.raises(LlamachatError, match=r"new\.param: is there already; --force replaces it"):
            convert(as_model(weights), output, 2, appears, lambda: False)
    assert contents(folder) == {"new.param": b"precious"}


def test_a_source_that_is_written_to_meanwhile(folder: Path) -> None:
    source = folder.parent / WITH_SPM

    def change(_done: int, _total: int) -> None:
        with source.open("r+b") as file:
            file.seek(-4, os.SEEK_END)
            file.write(b"\0\0\0\0")
        os.utime(source, ns=(1, 1))

    output, words = Output(folder / "new.gguf", FORMATS["gguf"]), "was changed while it was being read"
    with open_weights(source) as weights, pytest.raises(LlamachatError, match=f"{WITH_SPM}: {words}"):
        convert(as_model(weights), output, 2, change, lambda: False)
    assert not contents(folder)


def test_no_room_leaves_no_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 5})())
    with pytest.raises(LlamachatError, match="not enough space"):
        converted(folder.parent / WITH_SPM, folder / "new", "ncnn")
    assert not contents(folder)


def test_a_private_file_stays_private(folder: Path) -> None:
    (folder / "new.gguf").touch(0o600)
    converted(folder.parent / WITH_SPM, folder / "new.gguf", "gguf", force=True)
    assert (folder / "new.gguf").stat().st_mode & 0o777 == 0o600
