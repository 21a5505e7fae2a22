"""How much memory the installed command takes for a model of some size: its weights once, and little else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from llamachat.engine.memory import available_bytes, cache_bytes_per_token
from llamachat.engine.source import KvType
from llamachat.weights import open_weights
from tests.cli.program import COMMAND
from tests.support.huge_files import write_huge_gguf
from tests.support.tiny_models import TinyShape, spm_vocabulary

MB = 1_000_000
N_CTX = 2048
#: TinyLlama-1.1B, but for half its layers and a vocabulary that would only take time.
SHAPE = TinyShape(n_vocab=512, n_embd=2048, n_ff=5632, n_layers=11, n_heads=32, n_kv_heads=4, n_ctx=2048, tied=False)

#: Runs a command and prints the most memory it had. A program of its own, since a process begins with the figure of
#: the one that started it, and the tests have grown large.
_MEASURE = """
import os, subprocess, sys
process = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL)
_, status, usage = os.wait4(process.pid, 0)
print(usage.ru_maxrss)
sys.exit(os.waitstatus_to_exitcode(status))
"""


@pytest.mark.parametrize("matrices", ["Q8_0", "Q4_K"])
def test_weights_are_in_memory_once(own_home: Path, tmp_path: Path, matrices: str) -> None:
    if available_bytes() < 2_000 * MB:
        pytest.skip("needs 2 GB of free memory")
    path = tmp_path / "m.gguf"
    weights = write_huge_gguf(path, matrices, shape=SHAPE, vocabulary=spm_vocabulary(SHAPE.n_vocab))
    with open_weights(path) as opened:
        cache = N_CTX * cache_bytes_per_token(opened.hyperparameters, KvType.F16)
    command = [COMMAND, "complete", "-m", path, "--n-ctx", str(N_CTX), "-n", "3", "Once upon a time"]
    started = [sys.executable, "-c", _MEASURE, *map(str, command)]
    kilobytes = int(subprocess.run(started, check=True, capture_output=True, text=True).stdout)
    assert weights > 250 * MB
    assert weights < 1024 * kilobytes < weights + cache + 150 * MB
