"""Which model is meant, and what there is."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

import pytest

from llamachat.chat.model_names import model_names
from llamachat.chat.names import find_model, model_files, model_word
from llamachat.chat.session import ChatSession
from llamachat.chat.store import SessionStore
from llamachat.cli.chat import _model_of
from llamachat.cli.last_used import note_theme, theme_used_last
from llamachat.cli.model_files import chosen_model, default_model, model_used_last, remember_model, usual_tokenizer
from llamachat.cli.pull import DEFAULT
from llamachat.errors import FileError, LlamachatError
from tests.cli.program import Run, assert_one_line
from tests.support.huggingface_files import write_huggingface
from tests.support.scripted_engine import ScriptedEngine
from tests.support.tiny_models import gguf_parts, random_model, write_ggml, write_gguf


@pytest.fixture
def data(tmp_path: Path) -> Path:
    (tmp_path / "models").mkdir()
    return tmp_path


def put(data: Path, *names: str) -> None:
    for name in names:
        (data / "models" / name).touch()


def test_a_name_is_found_in_any_case_whole_or_begun(data: Path) -> None:
    put(data, "Tiny-1B.Q4_0.gguf", "Tiny-1B.Q8_0.gguf", "Other.bin")
    found = data / "models" / "Tiny-1B.Q4_0.gguf"
    for name in ("Tiny-1B.Q4_0.gguf", "tiny-1b.q4_0", "TINY-1B.Q4"):
        assert find_model(name, data) == found
    assert find_model("oth", data).name == "Other.bin"


def test_a_whole_name_wins_over_a_longer_one(data: Path) -> None:
    put(data, "tiny.gguf", "tiny-chat.gguf")
    assert find_model("tiny", data).name == "tiny.gguf"


def test_a_name_that_could_be_several_lists_them(data: Path) -> None:
    put(data, "tiny-a.gguf", "tiny-b.gguf", "c.gguf")
    with pytest.raises(FileError, match=r"^tiny: which one: tiny-a, tiny-b\?$"):
        find_model("tiny", data)


def test_an_unknown_name_lists_what_there_is(data: Path) -> None:
    put(data, "tiny-a.gguf", "tiny-b.gguf")
    with pytest.raises(FileError, match=r"^nope: no such file, and no such model: there is tiny-a, tiny-b$"):
        find_model("nope", data)


def test_a_zero_byte_in_a_path_is_refused(data: Path) -> None:
    """A terminal passes it on, and the system's search for a home folder does not take it."""
    with pytest.raises(FileError, match=r"is no file name$"):
        find_model("~\0/tiny.gguf", data)


def put_split_and_folder(data: Path) -> None:
    """Models of several files: a split GGUF, a Hugging Face folder, and a llama2.c file with its tokenizer."""
    for i, content in enumerate(gguf_parts(random_model(), 2)):
        (data / f"models/tiny-0000{i + 1}-of-00002.gguf").write_bytes(content)
    write_huggingface(data / "models/Hub-1B-v1.0", random_model())
    put(data, "tokenizer.bin")


def test_models_of_several_files_are_one_each(data: Path) -> None:
    put_split_and_folder(data)
    first, folder = data / "models/tiny-00001-of-00002.gguf", data / "models/Hub-1B-v1.0"
    assert model_files(data / "models") == [folder, first]
    for word in ("tiny", "TIN", "tiny-00001-of-00002", first.name):
        assert find_model(word, data) == first
    for word in ("hub-1b-v1.0", "hub"):
        assert find_model(word, data) == folder
    with pytest.raises(LlamachatError, match=r": Hub-1B-v1\.0, tiny$"):
        chosen_model(None, data)
    assert (model_word(first, data), model_word(folder, data)) == ("tiny", "Hub-1B-v1.0")


def test_the_only_model_is_the_default_one_whatever_lies_beside_it(data: Path) -> None:
    put(data, "tiny-00001-of-00002.gguf", "tiny-00002-of-00002.gguf", "tokenizer.bin")
    (data / "models/empty").mkdir()
    assert default_model(data) == data / "models/tiny-00001-of-00002.gguf"


def test_what_is_no_model_says_itself_why_not(llamachat: Run, data: Path) -> None:
    put_split_and_folder(data)
    for name, content in (("a.gguf", b"GGUF"), ("b.gguf", b"GGUF")):
        (data / "models/two").mkdir(exist_ok=True)
        (data / "models/two" / name).write_bytes(content)
    for word, reason in (
        ("tiny-00002-of-00002.gguf", "is part 2 of 2 of a split GGUF; name the first part"),
        ("two", "is a folder with 2 weight files; name one of them"),
    ):
        done = llamachat("complete", "--data-dir", data, "-m", word, "hi")
        assert done.returncode == 1
        assert_one_line(done.stderr, reason)


def test_two_of_one_name_are_told_apart(data: Path) -> None:
    put(data, "tiny.gguf", "Tiny.bin", "other.gguf")
    names = model_names(model_files(data / "models"))
    assert names == ["other", "Tiny.bin", "tiny.gguf"]
    for name in names:
        assert find_model(name, data).name.startswith(name)
    with pytest.raises(FileError, match=r"which one: Tiny.bin, tiny.gguf\?$"):
        find_model("tiny", data)


def test_the_list_shows_models_of_several_files(llamachat: Run, data: Path) -> None:
    put_split_and_folder(data)
    rows = {row["name"]: row for row in json.loads(llamachat("models", "--json", "--data-dir", data).stdout)}
    assert set(rows) == {"tiny", "Hub-1B-v1.0"}
    assert rows["tiny"]["size_bytes"] == sum(path.stat().st_size for path in (data / "models").glob("tiny-*"))
    assert rows["Hub-1B-v1.0"]["size_bytes"] == (data / "models/Hub-1B-v1.0/model.safetensors").stat().st_size
    assert (rows["tiny"]["format"], rows["Hub-1B-v1.0"]["format"]) == ("GGUF v3", "Hugging Face")


def test_an_empty_name_is_not_the_default_model(llamachat: Run, tmp_path: Path) -> None:
    for command in (["convert", "", tmp_path / "new.gguf"], ["inspect", ""]):
        done = llamachat(*command)
        assert (done.returncode, done.stderr) == (1, "llamachat: error: the model's name is empty\n"), command
    assert not (tmp_path / "new.gguf").exists()


def test_an_unknown_name_without_any_model_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"^nope: no such file, and no model yet; .*llamachat pull$"):
        find_model("nope", tmp_path)


def test_a_file_is_a_file(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(data, "tiny.gguf")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.gguf").touch()
    (tmp_path / "folder").mkdir()
    assert find_model("tiny.gguf", data) == Path("tiny.gguf")
    assert find_model("./absent", data) == Path("./absent")
    assert find_model("folder", data) == Path("folder")
    put(data, "folder.gguf")
    assert find_model("folder", data) == data / "models/folder.gguf"


def test_commands_take_the_default_model_and_chats_the_one_used_last(data: Path, tmp_path: Path) -> None:
    with pytest.raises(LlamachatError, match=r"^no model yet; fetch the default one with: llamachat pull$"):
        chosen_model(None, data)
    put(data, "only.gguf")
    assert default_model(data) == data / "models/only.gguf"
    put(data, "another.gguf")
    assert default_model(data) is None
    with pytest.raises(LlamachatError, match=r"which model\? Name one with -m .*: another, only$"):
        chosen_model(None, data)
    put(data, DEFAULT.file_name, "z.gguf")
    assert default_model(data) == chosen_model(None, data) == data / "models" / DEFAULT.file_name
    mine = tmp_path / "my model\n.gguf"
    mine.touch()
    remember_model(data, mine)
    assert model_used_last(data) == mine
    assert default_model(data) == data / "models" / DEFAULT.file_name
    assert sorted(path.name for path in data.iterdir()) == ["last-model", "models", mine.name]
    mine.unlink()
    assert model_used_last(data) is None


def test_a_spoilt_memory_is_forgotten(data: Path) -> None:
    put(data, "only.gguf")
    for spoilt in (b"\xff\0" * 100_000, b"", b"\0", b"a\0", b"\0b", b"only.gguf"):
        (data / "last-model").write_bytes(spoilt)
        assert model_used_last(data) is None
        assert usual_tokenizer(data, data / "models/only.gguf") is None


def test_a_model_that_cannot_be_looked_at_holds_up_no_start(data: Path) -> None:
    """As where a network is gone: neither the one used last, nor the one of the chat that is opened."""
    nameless = data / ("x" * 300)  # an error of the system as well
    remember_model(data, nameless)
    assert model_used_last(data) is None
    with closing(ChatSession(SessionStore(None), ScriptedEngine())) as session:
        session.conversation.model_path = str(nameless)
        assert _model_of(session) is None
        session.conversation.model_path = str(data)
        assert _model_of(session) == data


def test_not_being_able_to_remember_is_no_trouble(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    remember_model(tmp_path / "file", tmp_path / "x.gguf")
    note_theme(tmp_path / "file", "paper")
    assert theme_used_last(tmp_path / "file") == ""


def test_a_theme_is_remembered(data: Path) -> None:
    assert theme_used_last(data) == ""
    note_theme(data, "paper")
    note_theme(data, "größer")
    assert theme_used_last(data) == "größer"


def test_the_list_shows_name_format_type_size_and_what_is_broken(llamachat: Run, data: Path) -> None:
    write_gguf(data / "models/tiny.gguf", random_model(), types="Q8_0")
    write_ggml(data / "models/other.bin", random_model())
    (data / "models/broken\x1b.gguf").write_bytes(b"GGUF")
    (data / "models" / DEFAULT.file_name).write_bytes((data / "models/tiny.gguf").read_bytes())
    (data / "models/.pull-x").mkdir()
    lines = llamachat("models", "--data-dir", data).stdout.splitlines()
    assert len(lines) == 4
    assert lines[0].split()[:2] == ["broken\ufffd", "broken:"]
    assert lines[1].split()[:4] == ["other", "ggjt", "v3", "F32"]
    assert lines[2].split()[:5] == ["*", "SmolLM2-135M-Instruct.Q4_1", "GGUF", "v3", "Q8_0"]
    assert lines[3].split()[:4] == ["tiny", "GGUF", "v3", "Q8_0"]
    assert all(line.rstrip().endswith((".gguf", ".bin")) for line in lines)

    rows = {row["name"]: row for row in json.loads(llamachat("models", "--json", "--data-dir", data).stdout)}
    assert set(rows) == {"broken\x1b", "other", "tiny", "SmolLM2-135M-Instruct.Q4_1"}
    assert rows["tiny"].keys() == {"name", "path", "size_bytes", "format", "type", "parameters"}
    assert rows["tiny"]["size_bytes"] == (data / "models/tiny.gguf").stat().st_size
    assert rows["broken\x1b"]["error"]


def test_an_empty_list_says_how_to_get_one(llamachat: Run, tmp_path: Path) -> None:
    done = llamachat("models", "--data-dir", tmp_path)
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == f"{tmp_path}/models: no model yet; fetch the default one with: llamachat pull\n"
    assert llamachat("models", "--json", "--data-dir", tmp_path).stdout == "[]\n"
    done = llamachat("models", "--data-dir", tmp_path / "a\x1b]0;x\a\nb")
    assert done.stderr.endswith("b/models: no model yet; fetch the default one with: llamachat pull\n")
    assert not {"\x1b", "\a"} & set(done.stderr)
    assert done.stderr.count("\n") == 1
