"""Pickles that would run code, and archives that are not what they say: refused, with nothing run or unpacked."""

from __future__ import annotations

import ast
import io
import os
import pickle
import random
import struct
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import llamachat.weights
from llamachat.errors import WeightsError
from llamachat.weights import open_weights
from tests.support.tiny_models import TinyShape, meta_name, random_model
from tests.support.torch_files import Call, archive, checkpoint, pickled

SHAPE = TinyShape(n_vocab=300, n_embd=32, n_ff=32, n_layers=1, n_heads=2, n_kv_heads=1, tied=False)
PARAMS = '{"dim": 32, "n_layers": 1, "n_heads": 2, "n_kv_heads": 1, "norm_eps": 1e-05}'
GOOD = checkpoint({meta_name(name): v for name, v in random_model(SHAPE).weights.items()})


def refusal(folder: Path, data: bytes) -> str:
    (folder / "params.json").write_text(PARAMS)
    path = folder / "consolidated.00.pth"
    path.write_bytes(data)
    started = time.process_time()
    with pytest.raises(WeightsError) as caught:
        open_weights(path)
    assert time.process_time() - started < 10
    assert caught.value.reason.isprintable()
    assert len(caught.value.reason) <= 200
    return caught.value.reason


def test_the_good_file_opens(tmp_path: Path) -> None:
    (tmp_path / "params.json").write_text(PARAMS)
    (tmp_path / "m").write_bytes(GOOD)
    open_weights(tmp_path / "m").close()


# ---- pickles ----


class Payload:
    """Calls a function when it is unpickled by Python."""

    def __init__(self, function: Any, *args: Any) -> None:
        self.what = (function, args)

    def __reduce__(self) -> Any:
        return self.what


def payloads(marker: Path) -> dict[str, bytes]:
    """Pickles each of which makes the marker when Python loads it."""
    shell = f"touch {marker}"
    code = f"open({str(marker)!r}, 'w').close()"
    made = {f"os.system, protocol {p}": pickle.dumps(Payload(os.system, shell), p) for p in range(6)}
    made |= {f"exec, protocol {p}": pickle.dumps(Payload(exec, code), p) for p in (0, 2, 4)}
    made["inside a dictionary"] = pickle.dumps({"tok_embeddings.weight": Payload(os.system, shell)}, 2)
    made["by its instruction"] = b"(S'" + shell.encode() + b"'\nios\nsystem\n."
    made["by an object"] = b"(cos\nsystem\nS'" + shell.encode() + b"'\no."
    made["a name out of the stack"] = (
        b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c" + bytes([len(shell)]) + shell.encode() + b"\x85R."
    )
    made["called before it is refused"] = pickled({"a": Call("os system", shell)})
    return made


def test_payloads_are_live(tmp_path: Path) -> None:
    for i, data in enumerate(payloads(tmp_path / "marker").values()):
        pickle.loads(data)  # noqa: S301  (to be sure that what follows is a test)
        assert (tmp_path / "marker").exists(), i
        (tmp_path / "marker").unlink()


def test_no_payload_runs(tmp_path: Path) -> None:
    for data in payloads(tmp_path / "marker").values():
        reason = refusal(tmp_path, archive(data, {}))
        assert "has a pickle that asks for" in reason or "has a pickle with the instruction" in reason
        assert not (tmp_path / "marker").exists()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "its pickle has no end"),
        (b"\x80\x02", "its pickle has no end"),
        (b".", "its pickle makes no sense"),
        (b"\x80\x02K\x01.", "is a PyTorch checkpoint, but of no Llama model"),
        (b"\x80\x02}.", "of no Llama model"),
        (b"h\x05.", "its pickle makes no sense"),
        (b"R.", "its pickle makes no sense"),
        (b"K\x01K\x02R.", "its pickle makes no sense"),
        (b"u.", "its pickle makes no sense"),
        (b"}(K\x01u.", "its pickle makes no sense"),
        (b"}](K\x01e](K\x02es.", "its pickle makes no sense"),
        (b"\x85.", "its pickle makes no sense"),
        (b"X\xff\xff\xff\x7fabc.", "has a pickle with a text of 2147483647 bytes"),
        (b"X\x00\x00\x0f\x00abc.", "its pickle has no end"),
        (b"\x8a\xff" + bytes(255) + b".", "its pickle makes no sense"),
        (b"ccollections\nOrderedDict.", "its pickle makes no sense"),
        (b"cbuiltins\neval\n.", "asks for 'builtins.eval'"),
        (b"ctorch\nload\n.", "asks for 'torch.load'"),
        (b"ctorch\nFloatStorage\n)R.", "its pickle makes no sense"),
        (b"ctorch._tensor\n_rebuild_from_type_v2\n(ctorch\nFloatStorage\nN)tR.", "its pickle makes no sense"),
        (b"cos\x1b[31m\nsystem\n.", "asks for 'os"),
        (b"]" * 600_000 + b".", "more than 524288 instructions"),
        (b"(" * 600_000 + b".", "more than 524288 instructions"),
        (b"]" + b"h\x00q\x00a" * 100_000 + b".", "its pickle makes no sense"),
        (b"]q\x00" + b"h\x00a" * 200_000 + b".", "of no Llama model"),
        (b")" + b"\x85" * 400_000 + b".", "of no Llama model"),
        (b"N" * (9 << 20), "at most 8388608 are allowed"),
    ],
)  # fmt: skip
def test_pickles_that_make_no_sense(tmp_path: Path, data: bytes, words: str) -> None:
    assert words in refusal(tmp_path, archive(data, {}))


def test_nothing_here_imports_what_could_run_a_pickle() -> None:
    for path in Path(str(llamachat.weights.__file__)).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not {"pickle", "_pickle", "zipfile", "marshal", "shelve", "dill"} & set(names)


# ---- archives ----


def test_compressed_members(tmp_path: Path) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("a/data.pkl", bytes(64 << 20))
    assert "has a compressed member 'a/data.pkl'" in refusal(tmp_path, out.getvalue())


def test_archives_of_other_things(tmp_path: Path) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        file.writestr("word/document.xml", "<x/>")
    assert "is a zip archive, but no PyTorch checkpoint" in refusal(tmp_path, out.getvalue())
    assert "is cut short" in refusal(tmp_path, b"PK\x03\x04" + bytes(60))


def directory_of(data: bytes) -> int:
    return int.from_bytes(data[data.rindex(b"PK\x05\x06") + 16 :][:4], "little")


@pytest.mark.parametrize(
    ("place", "layout", "value", "words"),
    [
        (8, "<H", 1, "has an encrypted member"),
        (10, "<H", 8, "has a compressed member"),
        (20, "<I", 5, "has a compressed member"),
        (42, "<I", 1 << 30, "more bytes than it"),
        (42, "<I", 0xFFFFFFFE, "more bytes than it"),
        (0, "<I", 0, "directory is cut short"),
        (28, "<H", 0xFFFF, "directory is cut short"),
    ],
)
def test_entries_that_lie(tmp_path: Path, place: int, layout: str, value: int, words: str) -> None:
    data = bytearray(GOOD)
    struct.pack_into(layout, data, directory_of(GOOD) + place, value)
    assert words in refusal(tmp_path, bytes(data))


def test_sizes_that_differ(tmp_path: Path) -> None:
    data = bytearray(GOOD)
    at = directory_of(GOOD)
    (size,) = struct.unpack_from("<I", data, at + 24)
    struct.pack_into("<II", data, at + 20, size - 5, size - 5)
    assert "has two sizes" in refusal(tmp_path, bytes(data))
    struct.pack_into("<II", data, at + 20, 1 << 31, 1 << 31)
    assert "more bytes than it" in refusal(tmp_path, bytes(data)) or "overlaps" in refusal(tmp_path, bytes(data))


def test_a_pickle_that_was_changed(tmp_path: Path) -> None:
    data = bytearray(GOOD)
    data[data.index(b"tok_embeddings") + 2] ^= 1
    assert "the checksum of 'archive/data.pkl' is wrong" in refusal(tmp_path, bytes(data))


def test_members_that_overlap(tmp_path: Path) -> None:
    data = bytearray(GOOD)
    at = directory_of(GOOD)
    n_name, n_extra = struct.unpack_from("<2H", data, at + 28)
    second = at + 46 + n_name + n_extra
    struct.pack_into("<I", data, second + 42, 0)
    assert "overlaps another" in refusal(tmp_path, bytes(data))


def test_cut_short_anywhere(tmp_path: Path) -> None:
    for end in (*range(4, 400, 7), *range(400, len(GOOD), len(GOOD) // 150), *range(len(GOOD) - 60, len(GOOD))):
        assert refusal(tmp_path, GOOD[:end])


def test_any_bytes_changed(tmp_path: Path) -> None:
    """Opened or refused, and nothing else; in the pickle and the directory, where numbers are."""
    rng = random.Random(1)
    (tmp_path / "params.json").write_text(PARAMS)
    path = tmp_path / "consolidated.00.pth"
    start = directory_of(GOOD)
    n_pickle = GOOD.index(b"PK", 4)
    refused = 0
    for _ in range(400):
        data = bytearray(GOOD)
        low, high = rng.choice(((0, n_pickle), (start, len(GOOD))))
        for _ in range(rng.choice((1, 2, 8))):
            data[rng.randrange(low, high)] = rng.choice((0, 1, 127, 255, rng.randrange(256)))
        path.write_bytes(data)
        try:
            with open_weights(path) as weights:
                for name, tensor in weights.tensors.items():
                    weights.read(name, 0, tensor.rows)
        except WeightsError:
            refused += 1
    assert refused > 200


def test_pickles_with_any_bytes_changed(tmp_path: Path) -> None:
    """With the checksum right, so that the machine runs them."""
    rng = random.Random(2)
    with zipfile.ZipFile(io.BytesIO(GOOD)) as file:
        good = file.read("archive/data.pkl")
        storages = {name.rpartition("/")[2]: file.read(name) for name in file.namelist()[1:]}
    (tmp_path / "params.json").write_text(PARAMS)
    path = tmp_path / "consolidated.00.pth"
    for _ in range(400):
        data = bytearray(good)
        for _ in range(rng.choice((1, 2, 8))):
            data[rng.randrange(len(data))] = rng.choice((0, 1, 46, 82, 255, rng.randrange(256)))
        path.write_bytes(archive(bytes(data), storages))
        try:
            with open_weights(path) as weights:
                for name, tensor in weights.tensors.items():
                    assert len(weights.read(name, 0, tensor.rows)) == tensor.n_bytes
        except WeightsError:
            pass


def test_holes(tmp_path: Path) -> None:
    (tmp_path / "m").write_bytes(b"PK\x03\x04")
    os.truncate(tmp_path / "m", 1 << 40)
    with pytest.raises(WeightsError, match="is cut short"):
        open_weights(tmp_path / "m")
    assert np.dtype("<f4").itemsize == 4
