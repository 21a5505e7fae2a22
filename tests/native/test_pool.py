"""The pool's stages by themselves, with threads that stall and jobs that are aborted: see support/pool_stages.c."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
SOURCES = ("pool.c", "team.c", "waiting.c", "cores.c")
FLAGS = ("-std=c11", "-O2", "-g", "-Wall", "-Wextra", "-Werror", "-pthread")
#: gcc's sanitizer does not follow fences; the one there is orders atomics alone.
WATCHED = ("-fsanitize=thread", "-Wno-unknown-warning-option", "-Wno-tsan")


def compiled(folder: Path, *flags: str) -> Path | None:
    binary = folder / "pool_stages"
    sources = [str(PROJECT / "native" / name) for name in SOURCES]
    command = [os.environ.get("CC", "cc"), *FLAGS, *flags, f"-I{PROJECT / 'native'}"]
    command += [str(PROJECT / "tests" / "support" / "pool_stages.c"), *sources, "-o", str(binary)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert not done.returncode or flags, done.stderr
    return None if done.returncode else binary


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    binary = compiled(tmp_path_factory.mktemp("plain"))
    assert binary
    return binary


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    binary = compiled(tmp_path_factory.mktemp("watched"), *WATCHED)
    if not binary or subprocess.run([str(binary), "mixed", "1"], capture_output=True).returncode:
        pytest.skip("no thread sanitizer here")
    return binary


def holds(binary: Path, kind: str, threads: int) -> None:
    done = subprocess.run([str(binary), kind, str(threads)], capture_output=True, text=True, timeout=120)
    assert not done.returncode, done.stderr


@pytest.mark.parametrize("threads", [1, 2, 3, 7])
@pytest.mark.parametrize("kind", ["mixed", "aborted"])
def test_each_chunk_is_delivered_once(plain: Path, kind: str, threads: int) -> None:
    holds(plain, kind, threads)


@pytest.mark.parametrize("threads", [2, 3, 7])
def test_nobody_waits_for_a_thread_put_aside_with_a_chunk_to_try(plain: Path, threads: int) -> None:
    holds(plain, "stalled", threads)


@pytest.mark.parametrize("kind", ["mixed", "stalled", "aborted"])
def test_under_the_thread_sanitizer(watched: Path, kind: str) -> None:
    holds(watched, kind, 3)
