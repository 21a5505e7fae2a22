"""Memory: what a token takes in the cache, and how long a context there is room for."""

from __future__ import annotations

from pathlib import Path

import pytest

from llamachat.engine import memory
from llamachat.engine.context import Context
from llamachat.engine.core import lib
from llamachat.engine.memory import available_bytes, cache_bytes_per_token, choose_n_ctx
from llamachat.engine.model import Model
from llamachat.engine.source import KvType, ModelSource
from llamachat.weights import Hyperparameters, open_weights

MACHINE = 1 << 40  # bytes that are free outside any group
V1_NONE = str(2**63 - 4096)


@pytest.mark.parametrize("kv_type", KvType)
def test_what_a_token_takes_is_what_the_core_takes(tiny_path: Path, kv_type: KvType) -> None:
    model = Model.load(ModelSource(tiny_path, kv_type=kv_type))
    with open_weights(tiny_path) as weights:
        expected = cache_bytes_per_token(weights.hyperparameters, kv_type)
    sizes = []
    for n_ctx in (512, 512 + 640):
        context = Context(model, n_ctx)
        sizes.append(lib.lc_context_bytes(context.handle))
        context.close()
    model.close()
    assert sizes[1] - sizes[0] == 640 * expected


def test_bytes_take_half_of_what_halves_take() -> None:
    h = Hyperparameters(n_vocab=32000, n_embd=4096, n_ff=11008, n_layers=32, n_heads=32, n_kv_heads=32, head_dim=128,
                        n_ctx_train=4096)  # fmt: skip
    assert cache_bytes_per_token(h, KvType.F16) == 32 * 32 * 128 * 2 * 2
    assert cache_bytes_per_token(h, KvType.Q8_0) == 32 * 32 * 128 * 2 * 34 // 32


def test_a_context_is_as_long_as_memory_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available_bytes", lambda: 2 << 30)
    assert choose_n_ctx(None, 2048, 1000) == 2048
    assert choose_n_ctx(None, 1 << 20, 1000) == 32_768
    assert choose_n_ctx(None, 32_768, 1 << 20) == 1024
    assert choose_n_ctx(77, 32_768, 1 << 20) == 77


def available(tmp_path: Path, own: str, meminfo: str = f"MemTotal: 9 kB\nMemAvailable: {MACHINE >> 10} kB\n") -> int:
    (tmp_path / "own").write_text(own)
    (tmp_path / "meminfo").write_text(meminfo)
    return available_bytes(tmp_path / "meminfo", tmp_path / "cgroup", tmp_path / "own")


def group_v2(folder: Path, limit: str, used: str = "0", stat: str = "") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in {"max": limit, "current": used, "stat": stat}.items():
        (folder / f"memory.{name}").write_text(text + "\n")


def group_v1(folder: Path, limit: str, used: str = "0", stat: str = "") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in {"limit_in_bytes": limit, "usage_in_bytes": used, "stat": stat}.items():
        (folder / f"memory.{name}").write_text(text + "\n")


def test_a_nested_group_of_version_2_leaves_what_it_has_not_used(tmp_path: Path) -> None:
    root = tmp_path / "cgroup"
    root.mkdir()
    (root / "memory.stat").write_text("inactive_file 5\n")  # the root has no limit, and no file for one
    group_v2(root / "a", "max", "7000")
    group_v2(root / "a" / "b", "5000", "1200")
    assert available(tmp_path, "0::/a/b\n") == 3800
    assert available(tmp_path, "0::/a\n") == MACHINE


def test_the_least_room_on_the_way_up_counts(tmp_path: Path) -> None:
    root = tmp_path / "cgroup"
    group_v2(root / "a", "6000", "5500")
    group_v2(root / "a" / "b", "5000", "1200")
    group_v2(root / "a" / "beside", "1")
    assert available(tmp_path, "0::/a/b\n") == 500
    assert available(tmp_path, "0::/a/b\n", "MemAvailable: 0 kB\n") == 0


def test_a_nested_group_of_version_1(tmp_path: Path) -> None:
    root = tmp_path / "cgroup" / "memory"
    group_v1(root, V1_NONE, "900000")
    group_v1(root / "docker", "9000", "4000")
    group_v1(root / "docker" / "job", "8000", "1000")
    group_v1(tmp_path / "cgroup" / "cpu" / "job", "1")  # of another controller's tree
    assert available(tmp_path, "5:cpu:/job\n4:memory:/docker/job\n0::/\n") == 5000


def test_a_container_sees_its_group_as_the_root(tmp_path: Path) -> None:
    """Without a namespace of its own, the path that a process reads is one of the machine outside."""
    group_v1(tmp_path / "cgroup" / "memory", "8000", "1000")
    assert available(tmp_path, "4:memory:/docker/0123abc\n") == 7000
    group_v2(tmp_path / "cgroup", "6000", "1000")
    assert available(tmp_path, "0::/\n") == 5000
    assert available_bytes(tmp_path / "meminfo", tmp_path / "cgroup", tmp_path / "absent") == 5000


def test_pages_of_files_can_be_given_back(tmp_path: Path) -> None:
    """A model file that was just read fills the page cache, which counts as used."""
    group_v2(tmp_path / "cgroup", "5000", "4900", "anon 900\ninactive_file 3000\nactive_file 1000")
    assert available(tmp_path, "0::/\n") == 4100  # what is read a second time is active from then on
    # The first two are without the groups below.
    stat = "inactive_file 1\nactive_file 2\ntotal_inactive_file 2900\ntotal_active_file 100"
    group_v1(tmp_path / "cgroup" / "memory", "5000", "4900", stat)
    assert available(tmp_path, "4:memory:/\n") == 3100


def test_room_is_between_nothing_and_the_limit(tmp_path: Path) -> None:
    group_v2(tmp_path / "cgroup", "5000", "5100")
    assert available(tmp_path, "0::/\n") == 0
    group_v2(tmp_path / "cgroup", "5000", "100", "inactive_file 300")
    assert available(tmp_path, "0::/\n") == 5000


@pytest.mark.parametrize("limit", ["max", "", "many", "-1", "1.5", "9" * 5000, V1_NONE, str(2**63 - 65536)])
def test_no_limit(tmp_path: Path, limit: str) -> None:
    group_v2(tmp_path / "cgroup", limit, "4000")
    group_v1(tmp_path / "cgroup" / "memory", limit, "4000")
    for own in ("0::/\n", "4:memory:/\n", "", "nonsense\n", "4:memory\n"):
        assert available(tmp_path, own) == MACHINE


@pytest.mark.parametrize("broken", ["many", "", "-5", "inactive_file many", "inactive_file -5"])
def test_a_limit_holds_where_the_usage_cannot_be_read(tmp_path: Path, broken: str) -> None:
    group_v2(tmp_path / "cgroup", "5000", broken, "inactive_file 9")
    assert available(tmp_path, "0::/\n") == 5000
    group_v2(tmp_path / "cgroup", "5000", "1000", broken)
    assert available(tmp_path, "0::/\n") == 4000
    for name in ("current", "stat"):
        (tmp_path / "cgroup" / f"memory.{name}").unlink()
    assert available(tmp_path, "0::/\n") == 5000


def test_files_that_are_no_text_are_no_limit(tmp_path: Path) -> None:
    group_v2(tmp_path / "cgroup", "5000")
    (tmp_path / "cgroup" / "memory.max").write_bytes(b"\xff\x00")
    assert available(tmp_path, "0::/\n") == MACHINE


def test_a_limit_holds_where_the_machine_tells_nothing(tmp_path: Path) -> None:
    group_v2(tmp_path / "cgroup", "5000", "1000")
    assert available(tmp_path, "0::/\n", "nothing\n") == 4000
