"""Builds the C core as the extension module ``llamachat._native`` (cffi, API mode).

``llamachat.h`` is the single description of the interface: the C compiler includes it, and
cffi reads the same text with the preprocessor's lines left out.
``LLAMACHAT_CFLAGS`` adds compiler flags (``make test`` passes ``-Wall -Wextra -Werror``).
"""

from __future__ import annotations

import os
import shlex
from pathlib import Path

from cffi import FFI

NATIVE = Path(__file__).resolve().parent


def declarations() -> str:
    """The header without its preprocessor lines."""
    lines = (NATIVE / "llamachat.h").read_text(encoding="utf-8").splitlines()
    return "\n".join(line for line in lines if not line.lstrip().startswith("#"))


def sources() -> list[str]:
    """Every C file of the core, relative to the project, as setuptools wants them."""
    return sorted(str(path.relative_to(NATIVE.parent)) for path in NATIVE.rglob("*.c"))


ffibuilder = FFI()
ffibuilder.cdef(declarations())
ffibuilder.set_source(
    "llamachat._native",
    '#include "llamachat.h"',
    sources=sources(),
    include_dirs=["native"],
    depends=sorted(str(path.relative_to(NATIVE.parent)) for path in NATIVE.rglob("*.h")),
    extra_compile_args=[
        "-std=c11",
        "-O3",
        "-fno-math-errno",
        "-fno-trapping-math",
        "-ffp-contract=off",  # fused operations only where the code says so: the same rounding by every compiler
        "-fvisibility=hidden",
        "-pthread",
        *shlex.split(os.environ.get("LLAMACHAT_CFLAGS", "")),
    ],
    extra_link_args=["-pthread", "-lm", *shlex.split(os.environ.get("LLAMACHAT_LDFLAGS", ""))],
)

if __name__ == "__main__":
    ffibuilder.compile(verbose=True)
