"""The C core of another processor, compiled here and run by an emulator: see emulated_core.c."""

from __future__ import annotations

import shutil
import struct
import subprocess
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from tests.support.blocks import IDS, Floats
from tests.support.core import ROUNDINGS, SLOTS, ffi, lib
from tests.support.llama_reference import TinyLlama

PROJECT = Path(__file__).resolve().parents[2]
COMPILERS = ("aarch64-linux-gnu-gcc", "aarch64-linux-gnu-gcc-14", "aarch64-linux-gnu-gcc-12")
EMULATORS = ("qemu-aarch64", "qemu-aarch64-static")
FLAGS = ("-std=c11", "-O2", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=off", "-pthread", "-static")


def _first_of(names: Sequence[str], what: str) -> str:
    found = next((path for name in names if (path := shutil.which(name))), None)
    if not found:
        pytest.skip(f"no {what} for aarch64 here: {names[0]} is not installed")
    return found


@cache
def _program(folder: Path) -> Path:
    binary = folder / "emulated_core"
    sources = [str(path) for path in sorted((PROJECT / "native").rglob("*.c"))]
    command = [_first_of(COMPILERS, "cross compiler"), *FLAGS, "-Wall", "-Wextra", "-Werror"]
    command += [f"-I{PROJECT / 'native'}", str(Path(__file__).with_suffix(".c")), *sources, "-o", str(binary), "-lm"]
    subprocess.run(command, check=True)
    return binary


class EmulatedCore:
    """Collects requests, and asks the emulated core all of them at once."""

    def __init__(self, folder: Path, isa: str) -> None:
        self._emulator = _first_of(EMULATORS, "emulator")
        self._binary = _program(folder)
        self._requests = [b"I" + struct.pack("16s", isa.encode())]

    def multiply(self, label: str, rows: int, weights: bytes, x: Floats) -> None:
        """A matrix's product with x[n][cols], and its rows read back."""
        n, cols = x.shape
        self._requests.append(b"M" + struct.pack("<4i", IDS[label], rows, cols, n) + weights + x.tobytes())

    def evaluate(self, model: TinyLlama, parts: Sequence[Sequence[int]], *, rounding: str = "fast") -> None:
        """The logits after each part of a text."""
        ids = [token for part in parts for token in part]
        hparams = bytes(ffi.buffer(ffi.new("lc_hparams *", model.hparams())))
        head = struct.pack("<5i", len(model.tensors), len(ids), len(ids), ROUNDINGS[rounding], lib.LC_F16)
        tensors = b"".join(
            struct.pack("<6i", SLOTS[slot], layer, IDS[label], rows, cols, len(data)) + data
            for (slot, layer), (label, data, rows, cols) in model.tensors.items()
        )
        tail = np.array([len(parts), *map(len, parts), *ids], "<i4").tobytes()
        self._requests.append(b"L" + hparams + head + tensors + tail)

    def answers(self) -> bytes:
        """Everything answered, after the status of choosing the instruction set."""
        done = subprocess.run(
            [self._emulator, "-cpu", "max", str(self._binary)],
            input=b"".join(self._requests),
            stdout=subprocess.PIPE,
            check=True,
        )
        assert done.stdout[:4] == bytes(4), "the instruction set is not supported"
        return done.stdout[4:]
