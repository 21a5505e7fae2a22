"""Runs a converted model in ncnn itself, as its package on PyPI has it, a cache going out and in."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tests.support.blocks import Floats


class StockNcnn:
    """A folder with X.param, X.bin and X.desc. ``eval`` goes on from what was evaluated before."""

    def __init__(self, ncnn: Any, folder: Path, **options: Any) -> None:
        self._ncnn = ncnn
        self._net = ncnn.Net()
        self._net.opt.use_vulkan_compute = False
        self._net.opt.num_threads = 1
        for name, value in options.items():
            setattr(self._net.opt, name, value)
        stem = str(next(folder.glob("*.param")).with_suffix(""))
        assert self._net.load_param(stem + ".param") == 0
        assert self._net.load_model(stem + ".bin") == 0
        words = Path(stem + ".desc").read_text().split()
        more = dict(word.split("=", 1) for word in words[4:])
        self._n_layers, head = int(words[1]), int(more["head_dim"])
        pairs = np.arange(0, head, 2) / head
        self._frequencies = float(more["rope_base"]) ** -pairs * float(more.get("rope_scale", 1))
        if "rope_freqs" in more:
            self._frequencies /= np.array([float(factor) for factor in more["rope_freqs"].split(",")])
        self._cache: dict[str, Any] = {}
        self._past = 0

    def eval(self, ids: Sequence[int]) -> Floats:
        """The logits after each id."""
        n = len(ids)
        angles = np.outer(np.arange(self._past, self._past + n), self._frequencies)
        mask = np.zeros((n, n + self._past), np.float32)
        mask[:, :n] = np.where(np.tri(n) > 0, 0, -1e9)
        inputs = {
            "ids": np.array(ids, np.int32),
            "cos": np.cos(angles).astype(np.float32),
            "sin": np.sin(angles).astype(np.float32),
            "mask": mask,
        }
        extractor = self._net.create_extractor()
        blobs = {name: self._ncnn.Mat(values) for name, values in inputs.items()}
        blobs |= {f"past_{name}": blob for name, blob in self._cache.items()}
        for name, blob in blobs.items():
            assert extractor.input(name, blob) == 0
        logits = self._extract(extractor, "logits")
        self._cache = {
            name: self._extract(extractor, name) for i in range(self._n_layers) for name in (f"key_{i}", f"value_{i}")
        }
        self._past += n
        return np.array(logits)

    @staticmethod
    def _extract(extractor: Any, name: str) -> Any:
        status, blob = extractor.extract(name)
        assert status == 0
        return blob
