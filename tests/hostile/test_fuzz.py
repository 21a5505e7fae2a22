"""The fuzzer: it tells of what goes wrong, it spoils what it should, and a few files of each format hold."""

from __future__ import annotations

import argparse
import io
import json
import random
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.hostile import fuzz
from tests.hostile.mutations import mutated
from tests.hostile.specimens import FORMATS, Good, good_models


def options(**how: object) -> argparse.Namespace:
    usual = {"minutes": 1.0, "seed": "test", "first": 0, "count": 200, "seconds": 2.0, "keep": None}
    return argparse.Namespace(**usual | how)


@pytest.mark.parametrize("name", FORMATS)
def test_what_is_spoilt_at_random_is_opened_or_refused(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    problems = fuzz.fuzz(name, options())
    told = capfd.readouterr().out
    assert problems == 0, told
    assert f"{name}: 200 files" in told


@pytest.mark.parametrize(
    ("fault", "words"), [(ValueError("five"), "ValueError: five"), (MemoryError(), "MemoryError"), (None, "took 0")]
)
def test_it_tells_what_went_wrong_and_keeps_the_file(
    fault: Exception | None,
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    def use(path: Path) -> None:
        if fault:
            raise fault

    monkeypatch.setattr(fuzz, "use", use)
    assert fuzz.fuzz("llama2c", options(count=1, first=17, seconds=-1.0, keep=tmp_path)) == 1
    told = capfd.readouterr().out
    assert "llama2c 17 (--seed test), m.bin: " in told
    assert words in told
    assert {path.name for path in (tmp_path / "llama2c-test-17").iterdir()} == {"m.bin", "tokenizer.bin"}


def test_one_file_is_spoilt_at_a_time(tmp_path: Path) -> None:
    good = Good({"a": b"one", "b": b"two"}, "a", ("a", "b"))
    place = fuzz.Place(tmp_path / "x", good)
    place.spoil("a", b"spoilt")
    place.spoil("a", b"again")
    assert [(tmp_path / "x" / name).read_bytes() for name in "ab"] == [b"again", b"two"]
    place.spoil("b", b"")
    assert [(tmp_path / "x" / name).read_bytes() for name in "ab"] == [b"one", b""]


def spoilt(format_name: str, name: str, whole: Callable[[bytes], object]) -> list[bytes]:
    """Files of this name, spoiled in a hundred ways, that can still be taken apart by ``whole``."""
    good = next(good for good in good_models(format_name) if name in good.spoiled)
    made = []
    for seed in range(100):
        data = mutated(name, good.files[name], random.Random(seed))
        try:
            whole(data)
        except (zipfile.BadZipFile, ValueError, struct.error, NotImplementedError, EOFError):
            continue
        made.append(data)
    return made


def test_archives_are_put_together_again() -> None:
    def whole(data: bytes) -> None:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            if archive.testzip() or len(archive.namelist()) < 10:
                raise ValueError

    made = spoilt("torch", "ckpt.pt", whole)
    assert len(made) > 60
    pickles = {zipfile.ZipFile(io.BytesIO(data)).read("archive/data.pkl") for data in made}
    assert len(pickles) > 40


def test_headers_keep_their_length() -> None:
    def whole(data: bytes) -> None:
        (n,) = struct.unpack_from("<Q", data)
        if not data[8 : 8 + n].startswith(b"{") or len(data) < 8 + n:
            raise ValueError

    assert len(spoilt("safetensors", "model.safetensors", whole)) > 60
    assert len(spoilt("safetensors", "config.json", json.loads)) > 4
