"""GGUF as it was at first, in the other byte order, and in several files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from llamachat.errors import WeightsError
from llamachat.weights import open_weights
from tests.support.blocks import _LAYOUTS, GGUF_IDS, IDS, Floats, dequantize, quantize
from tests.support.containers import RawTensor, gguf_plain
from tests.support.super_blocks import SUPER, SUPER_BLOCKS
from tests.support.tiny_models import (
    TinyShape,
    gguf_metadata,
    gguf_parts,
    random_model,
    spm_vocabulary,
    write_gguf,
)

SHAPE = TinyShape(n_vocab=300, n_layers=1)


def turned(label: str, data: bytes) -> bytes:
    """The same values, big-endian."""
    if label in SUPER_BLOCKS:
        size, halves = SUPER_BLOCKS[label]
        blocks = np.frombuffer(data, np.uint8).reshape(-1, size).copy()
        for at in (*halves, 2) if label == "IQ4_XS" else halves:  # which has two bytes of scales' high bits
            blocks[:, at : at + 2] = blocks[:, [at + 1, at]]
        return blocks.tobytes()
    layout = _LAYOUTS.get(label) or np.dtype({"F32": "<f4", "F16": "<f2", "BF16": "<u2"}[label])
    return np.frombuffer(data, layout).astype(layout.newbyteorder(">")).tobytes()


def written(path: Path, label: str, *, version: int, order: str = "<", nul: bool = False) -> dict[str, Floats]:
    raw, held = [], {}
    shape = replace(SHAPE, n_embd=SUPER, n_ff=SUPER) if label in SUPER_BLOCKS else SHAPE
    records = gguf_metadata(shape, spm_vocabulary(300))
    for name, values in random_model(shape).weights.items():
        kind = label if values.ndim == 2 else "F32"
        data = quantize(kind, values)
        held[name] = dequantize(kind, data, values.shape)
        data = turned(kind, data) if order == ">" else data
        raw.append(RawTensor(name, tuple(reversed(values.shape)), IDS[kind], data))
    path.write_bytes(gguf_plain(records, raw, version=version, order=order, nul=nul))
    return held


def check(path: Path, format_name: str, label: str, held: dict[str, Floats]) -> None:
    with open_weights(path) as weights:
        assert (weights.format, weights.type_name) == (format_name, label)
        assert weights.hyperparameters.n_ff == len(held["blk.0.ffn_gate.weight"])
        assert weights.hyperparameters.norm_eps == pytest.approx(1e-5)
        assert weights.vocabulary == spm_vocabulary(300)
        assert set(weights.tensors) == set(held)
        for name, expected in held.items():
            tensor = weights.tensors[name]
            got = b"".join(weights.read(name, i, min(5, tensor.rows - i)) for i in range(0, tensor.rows, 5))
            np.testing.assert_array_equal(dequantize(tensor.type.label, got, expected.shape), expected)


@pytest.mark.parametrize("nul", [False, True])
def test_version_1(tmp_path: Path, nul: bool) -> None:
    held = written(tmp_path / "m", "Q4_0", version=1, nul=nul)
    check(tmp_path / "m", "GGUF v1", "Q4_0", held)


@pytest.mark.parametrize("label", GGUF_IDS)
@pytest.mark.parametrize("version", [2, 3])
def test_big_endian(tmp_path: Path, label: str, version: int) -> None:
    held = written(tmp_path / "m", label, version=version, order=">")
    check(tmp_path / "m", f"GGUF v{version} (big-endian)", label, held)


@pytest.mark.parametrize(("version", "order"), [(1, "<"), (3, ">")])
def test_cut_short_anywhere(tmp_path: Path, version: int, order: str) -> None:
    written(tmp_path / "m", "Q8_0", version=version, order=order)
    data = (tmp_path / "m").read_bytes().rstrip(b"\0")
    for end in (*range(0, 900, 3), *range(900, len(data), len(data) // 100)):
        (tmp_path / "m").write_bytes(data[:end])
        with pytest.raises(WeightsError):
            open_weights(tmp_path / "m")


# ---- split files ----


def write_parts(folder: Path, count: int, **records: Any) -> Path:
    for i, data in enumerate(gguf_parts(random_model(SHAPE), count, **records)):
        (folder / f"tiny-{i + 1:05d}-of-{count:05d}.gguf").write_bytes(data)
    return folder / f"tiny-00001-of-{count:05d}.gguf"


@pytest.mark.parametrize("count", [2, 3, 20])
def test_a_split_file(tmp_path: Path, count: int) -> None:
    held = write_gguf(tmp_path / "whole", random_model(SHAPE), vocabulary=spm_vocabulary(300))
    (tmp_path / "parts").mkdir()
    first = write_parts(tmp_path / "parts", count)
    check(first, "GGUF v3", "F32", held)
    check(tmp_path / "parts", "GGUF v3", "F32", held)
    with open_weights(first) as weights:
        assert weights.size_bytes == sum(path.stat().st_size for path in first.parent.iterdir())


def test_what_is_refused_of_a_split_file(tmp_path: Path) -> None:
    first = write_parts(tmp_path, 3)
    second, third = (tmp_path / f"tiny-0000{i}-of-00003.gguf" for i in (2, 3))
    good = second.read_bytes()

    def refusal(path: Path = first) -> str:
        with pytest.raises(WeightsError) as caught:
            open_weights(path)
        return str(caught.value)

    assert "is part 2 of 3 of a split GGUF; name the first part" in refusal(second)
    second.write_bytes(third.read_bytes())
    assert refusal() == f"{second}: does not say that it is part 2 of 3"
    second.write_bytes(b"GGML")
    assert refusal() == f"{second}: is no GGUF file"
    second.write_bytes(good[:100])
    assert f"{second}: is cut short" in refusal()
    second.unlink()
    assert refusal() == f"{second}: no such file"
    second.symlink_to("/etc/hostname")
    assert "is a link that leads out of the model's folder" in refusal()
    second.unlink()
    second.write_bytes(good)
    open_weights(first).close()
    first.rename(tmp_path / "m.gguf")
    assert "its name must end in -00001-of-00003.gguf" in refusal(tmp_path / "m.gguf")
    other = write_parts(tmp_path, 2, **{"split.tensors.count": 99})
    assert "states 99 tensors in all its parts, which have 11" in refusal(other)
