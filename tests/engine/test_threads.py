"""How many threads compute where nobody says so: what the process may run on."""

from __future__ import annotations

from pathlib import Path

from llamachat.engine.core import _quota


def write(folder: Path, **files: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)


def quota(root: Path, own: str) -> int | None:
    (root / "own").write_text(own)
    return _quota(root, root / "own")


def test_the_least_quota_on_the_way_up_counts(tmp_path: Path) -> None:
    write(tmp_path / "a" / "b", cpu__max="max 100000\n")
    write(tmp_path / "a", cpu__max="300000 100000\n")
    write(tmp_path, cpu__max="800000 100000\n")
    assert quota(tmp_path, "0::/a/b\n") == 3
    assert quota(tmp_path, "0::/\n") == 8
    assert quota(tmp_path, "0::/of/another/machine\n") == 8


def test_part_of_a_processor_is_one(tmp_path: Path) -> None:
    write(tmp_path, cpu__max="20000 100000\n")
    assert quota(tmp_path, "0::/\n") == 1


def test_the_first_version_of_cgroups(tmp_path: Path) -> None:
    write(tmp_path / "cpu,cpuacct" / "job", cpu__cfs_quota_us="200000\n", cpu__cfs_period_us="100000\n")
    write(tmp_path / "cpu,cpuacct", cpu__cfs_quota_us="-1\n", cpu__cfs_period_us="100000\n")
    assert quota(tmp_path, "4:memory:/job\n1:cpu,cpuacct:/job\n0::/\n") == 2


def test_no_quota(tmp_path: Path) -> None:
    write(tmp_path, cpu__max="max 100000\n")
    assert quota(tmp_path, "0::/\n") is None
    assert quota(tmp_path, "") is None
    assert quota(tmp_path, "nonsense\n") is None
    assert _quota(tmp_path, tmp_path / "absent") is None
