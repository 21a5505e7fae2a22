"""Which groups bind a process, for processors and memory alike."""

from __future__ import annotations

import os
from pathlib import Path

from llamachat.engine.cgroups import groups


def found(tmp_path: Path, controller: str, own: bytes) -> list[str]:
    (tmp_path / "own").write_bytes(own)
    root = tmp_path / "cgroup"
    return sorted(str(group.relative_to(root)) for group in groups(controller, root, tmp_path / "own"))


def test_every_group_on_the_way_up_comes_once(tmp_path: Path) -> None:
    assert found(tmp_path, "memory", b"0::/a/b\n") == [".", "a", "a/b"]
    assert found(tmp_path, "memory", b"0::/\n") == ["."]


def test_each_controller_of_version_1_has_its_tree(tmp_path: Path) -> None:
    own = b"4:memory:/m\n3:cpuset:/s\n1:cpu,cpuacct:/c\n"
    assert found(tmp_path, "memory", own) == ["memory", "memory/m"]
    assert found(tmp_path, "cpu", own) == ["cpu,cpuacct", "cpu,cpuacct/c"]


def test_a_name_of_any_bytes(tmp_path: Path) -> None:
    assert found(tmp_path, "cpu", b"0::/caf\xe9\n") == [".", os.fsdecode(b"caf\xe9")]


def test_where_nothing_is_told_the_root_counts(tmp_path: Path) -> None:
    assert list(groups("cpu", tmp_path, tmp_path / "absent")) == [tmp_path]
