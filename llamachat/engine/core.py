"""The C core as the engine uses it: which instruction set, how many threads, what an error code says."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import Any

from llamachat._native import ffi, lib
from llamachat.engine.cgroups import OWN, ROOT, groups
from llamachat.errors import Cancelled, EngineError

__all__ = ["Pool", "StopFlag", "check", "default_threads", "ffi", "lib", "select_isa"]

_REASONS = {
    lib.LC_ERR_MEMORY: "not enough memory",
    lib.LC_ERR_ARGUMENT: "a value outside its range",
    lib.LC_ERR_SHAPE: "a shape that does not fit the model",
    lib.LC_ERR_TYPE: "a tensor type that cannot be used here",
    lib.LC_ERR_STATE: "a call out of order",
    lib.LC_ERR_NONFINITE: "a NaN or an infinity",
    lib.LC_ERR_CONTEXT: "more tokens than the context holds",
    lib.LC_ERR_THREAD: "a thread could not be started",
}


def check(status: int, what: str) -> None:
    """Raises what a status of the C core means: ``Cancelled``, or ``EngineError("what: reason")``."""
    if status == lib.LC_OK:
        return
    if status == lib.LC_ERR_CANCELLED:
        raise Cancelled
    raise EngineError(f"{what}: {_REASONS.get(status, f'error {status} in the C core')}")


@cache
def select_isa() -> str:
    """Chooses the kernels once per process and returns the set's name.

    ``LLAMACHAT_ISA`` forces a set (``generic``, ``avx2``, ...); ``EngineError`` lists those this machine has.
    """
    wanted = os.environ.get("LLAMACHAT_ISA", "").strip()
    if lib.lc_isa_select(wanted.encode()) != lib.LC_OK:
        raise EngineError(f"LLAMACHAT_ISA={wanted[:40]}: this machine has {', '.join(supported_isas())}")
    name: Any = ffi.string(lib.lc_isa_selected())
    return str(name.decode())


def supported_isas() -> list[str]:
    """The instruction sets that this build has and this processor runs, best last."""
    names: list[str] = []
    index = 0
    while (pointer := lib.lc_isa_name(index)) != ffi.NULL:
        if lib.lc_isa_supported(pointer):
            name: Any = ffi.string(pointer)
            names.append(name.decode())
        index += 1
    return names


def default_threads() -> int:
    """The physical cores this process may run on.

    Hyperthreads of one core share its multipliers, so a second thread on it gains nothing. Affinity and
    the cgroup's CPU quota are respected.
    """
    try:
        allowed = os.sched_getaffinity(0)
    except AttributeError:  # not Linux
        return os.cpu_count() or 1
    cores = {_core_of(cpu) for cpu in allowed}
    return max(1, min(len(cores), _quota() or len(cores), 256))


def _core_of(cpu: int) -> str:
    path = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")
    try:
        return path.read_text().strip()
    except OSError:
        return str(cpu)


def _quota(root: Path = ROOT, own: Path = OWN) -> int | None:
    """Whole processors of the least quota of this process's cgroups and those above them, or None."""
    shares = [share for group in groups("cpu", root, own) for share in _share(group)]
    return max(1, round(min(shares))) if shares else None


def _share(group: Path) -> list[float]:
    """Processors that a cgroup may use: microseconds allowed over the period, of version 2 or 1; empty for no limit."""
    for names in (("cpu.max",), ("cpu.cfs_quota_us", "cpu.cfs_period_us")):
        try:
            allowed, period = " ".join((group / name).read_text() for name in names).split()
            return [int(allowed) / int(period)] if int(allowed) > 0 else []
        except (OSError, ValueError, ZeroDivisionError):  # "max", or not this version
            continue
    return []


class Pool:
    """Threads of the C core. One evaluation at a time may use it."""

    def __init__(self, n_threads: int | None = None) -> None:
        select_isa()
        self.n_threads = n_threads or default_threads()
        out: Any = ffi.new("lc_pool **")
        check(lib.lc_pool_create(self.n_threads, out), f"starting {self.n_threads} threads")
        self.handle = ffi.gc(out[0], lib.lc_pool_free)

    def close(self) -> None:
        """Ends the threads; the pool is of no use afterwards."""
        ffi.release(self.handle)


class StopFlag:
    """A flag that any thread may raise, and that the C core looks at in every layer."""

    def __init__(self) -> None:
        self.handle: Any = ffi.new("int32_t *", 0)

    def set(self) -> None:
        """Asks what runs to stop."""
        self.handle[0] = 1

    def clear(self) -> None:
        """Forgets an earlier request."""
        self.handle[0] = 0

    def __bool__(self) -> bool:
        return bool(self.handle[0])
