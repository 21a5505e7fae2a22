"""ncnn models: what is written comes back, and what the three files disagree about is refused."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import numpy as np
import pytest

from llamachat.errors import EngineError, WeightsError
from llamachat.weights import open_weights
from tests.support.blocks import dequantize
from tests.support.conversions import converted
from tests.support.greedy import logits_after
from tests.support.ncnn_files import write_ncnn
from tests.support.tiny_models import TinyShape, random_model, write_gguf, write_tokenizer_bin
from tests.support.tiny_vocabularies import spm_vocabulary


@pytest.mark.parametrize("w3_first", [False, True])
@pytest.mark.parametrize("tied", [False, True])
def test_it_comes_back_as_it_was_written(tmp_path: Path, w3_first: bool, tied: bool) -> None:
    shape = TinyShape(n_vocab=320, n_embd=64, n_ff=96, n_heads=4, n_kv_heads=4, tied=tied)
    held = write_ncnn(tmp_path, random_model(shape), w3_first=w3_first)
    write_tokenizer_bin(tmp_path / "tokenizer.bin", spm_vocabulary())
    for path in (tmp_path, tmp_path / "tiny.param"):
        with open_weights(path) as weights:
            h = weights.hyperparameters
            assert (weights.format, weights.type_name, weights.name) == ("ncnn", "Q8_0 (f32 scales)", "tiny")
            assert (h.n_vocab, h.n_embd, h.n_ff, h.n_layers, h.n_heads, h.n_kv_heads) == (320, 64, 96, 2, 4, 4)
            assert (h.n_ctx_train, h.norm_eps, h.rope_base) == (128, 1e-5, 10000.0)
            assert weights.vocabulary is not None
            assert weights.vocabulary.stop_ids == {1, 2}
            assert weights.tensors["token_embd.weight"].type.label == "F16"
            assert set(weights.tensors) == set(held)
            for name, expected in held.items():
                tensor = weights.tensors[name]
                got = b"".join(weights.read(name, i, min(3, tensor.rows - i)) for i in range(0, tensor.rows, 3))
                np.testing.assert_array_equal(dequantize(tensor.type.label, got, expected.shape), expected)


def test_groups_that_begin_in_one_row_and_end_in_another(tmp_path: Path) -> None:
    held = write_ncnn(tmp_path, random_model(TinyShape(n_vocab=304, n_embd=48, n_ff=88, n_heads=4, n_kv_heads=4)))
    with open_weights(tmp_path) as weights:
        for name in ("blk.1.ffn_down.weight", "output.weight", "blk.0.attn_q.weight"):
            rows = weights.tensors[name].rows
            assert weights.tensors[name].type.label == "F32"
            got = b"".join(weights.read(name, i, 1) for i in range(rows))
            np.testing.assert_array_equal(np.frombuffer(got, "<f4").reshape(rows, -1), held[name])


def our_own(folder: Path, n_embd: int) -> Path:
    """The .bin of a model in int8 as ``convert`` writes it; the last thing in it is the output's inverse scales."""
    write_gguf(
        folder / "m.gguf", random_model(TinyShape(n_vocab=320, n_heads=4, n_kv_heads=4, tied=False, n_embd=n_embd))
    )
    converted(folder / "m.gguf", folder / "new.ncnn", "ncnn", "q8_0")
    return folder / "new.ncnn/new.bin"


@pytest.mark.parametrize(("n_embd", "kept"), [(64, "Q8_0 (f32 scales)"), (80, "F32")])
def test_int8_over_inverse_scales(tmp_path: Path, n_embd: int, kept: str) -> None:
    """Each weight is its byte times the inverse of its scale, rounded once to float32 and once more."""
    path = our_own(tmp_path, n_embd)
    data, per_row = path.read_bytes(), -(-n_embd // 32)
    scales = np.frombuffer(data, "<f4", 320 * per_row, len(data) - 4 * 320 * per_row).reshape(320, per_row)
    q = np.frombuffer(data, np.int8, 320 * n_embd, len(data) - 4 * 320 * per_row - 320 * n_embd).reshape(320, n_embd)
    assert abs(q.astype(int)).max() == 127
    expected = q.astype(np.float32) * np.repeat(np.float32(1) / scales, 32, axis=1)[:, :n_embd]
    with open_weights(tmp_path / "new.ncnn") as weights:
        tensor = weights.tensors["output.weight"]
        assert tensor.type.label == kept
        got = b"".join(weights.read("output.weight", i, min(3, 320 - i)) for i in range(0, 320, 3))
    np.testing.assert_array_equal(dequantize(kept, got, expected.shape), expected)


@pytest.mark.parametrize("n_embd", [64, 80])
@pytest.mark.parametrize("inverse", [0.0, -0.0, float("nan"), 1e-39])
def test_inverse_scales_that_make_no_numbers(tmp_path: Path, n_embd: int, inverse: float) -> None:
    path = our_own(tmp_path, n_embd)
    data = path.read_bytes()
    path.write_bytes(data[:-4] + struct.pack("<f", inverse))
    with pytest.raises(EngineError, match="a NaN or an infinity"):
        logits_after(tmp_path / "new.ncnn", [1])
    path.write_bytes(data[:-4] + struct.pack("<f", float("inf")))  # which makes zeros
    assert np.isfinite(logits_after(tmp_path / "new.ncnn", [1])).all()


# ---- refusals ----


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_ncnn(tmp_path, random_model(TinyShape(n_heads=4, n_kv_heads=4)))
    open_weights(tmp_path).close()
    return tmp_path


def refusal(path: Path) -> str:
    with pytest.raises(WeightsError) as caught:
        open_weights(path / "tiny.param")
    assert caught.value.reason.isprintable()
    assert len(caught.value.reason) <= 200
    return str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("LinearInt8 w2_1_op", "Convolution w2_1_op", "tiny.bin: needs a layer of the type 'Convolution'"),
        ("LinearInt8 w2_1_op", "LinearInt8 w9_1_op", "has a layer 'w9_1_op"),
        ("LinearInt8 w2_1_op", "LinearInt8 w2_0_op", "too many"),
        ("LinearInt8 w2_1_op", "LinearInt8 w2_7_op", "no tensor 'blk.1.ffn_down.weight'"),
        ("0=96 1=64 2=32", "0=96 1=64 2=0", "states 0 as the size of layer"),
        ("0=96 1=64 2=32", "0=96 1=64 2=7", "states groups of 7 weights"),
        ("0=96 1=64 2=32", "0=96 1=64", "states 0 as the size"),
        ("0=96 1=64 2=32", "0=99999999999999999999 1=64 2=32", "states 0 as the size"),
        ("0=96 1=64 2=32", "0=96 1=999999999999 2=32", "is cut short"),
        ("0=96 1=64 2=32", "0=96 1=64 x=32", "describes no layer"),
        ("0=96 1=64 2=32", "0=96 1=64 2", "describes no layer"),
        ("Input in_op0 0 1 in", "Input in_op0", "describes no layer"),
        ("Input in_op0 0 1 in", "Input in_op0 0 -9 in", "describes no layer"),
        ("Input in_op0 0 1 in", "Input in_op0 9 9 in", "describes no layer"),
        ("Input in_op0 0 1 in\n", "", "is cut short or broken: it states"),
        ("0=64 1=320 2=0", "0=64 1=321 2=0", "in a way that is not supported (flag"),
    ],
)  # fmt: skip
def test_graphs(folder: Path, old: str, new: str, words: str) -> None:
    text = (folder / "tiny.param").read_text()
    assert old in text
    (folder / "tiny.param").write_text(text.replace(old, new, 1))
    assert words in refusal(folder)


@pytest.mark.parametrize(
    ("desc", "words"),
    [
        ("", "tiny.desc: is broken: four numbers must be in it"),
        ("1\n2\n3", "four numbers"),
        ("a\nb\nc\nd", "four numbers"),
        ("9" * 3000, "four numbers"),
        ("128\n2\n64\n0", "which 0 heads do not divide"),
        ("128\n999999\n64\n4", "states 999999 layers"),
        ("128\n3\n64\n4", "no tensor 'blk.2."),
        ("128\n1\n64\n4", "too many"),
        ("0\n2\n64\n4", "n_ctx_train 0"),
        ("128\n2\n32\n4", "4 heads, which 8 key-value heads do not divide"),
    ],
)
def test_descriptions(folder: Path, desc: str, words: str) -> None:
    (folder / "tiny.desc").write_text(desc)
    assert words in refusal(folder)


def test_files_that_are_missing_or_of_another_length(folder: Path) -> None:
    path = folder / "tiny.bin"
    good = path.read_bytes()
    for end in range(0, len(good), len(good) // 60):
        path.write_bytes(good[:end])
        assert "tiny.bin: is cut short" in refusal(folder)
    path.write_bytes(good + b"\0")
    assert "bytes where the layers need" in refusal(folder)
    path.write_bytes(struct.pack("<I", 0x12345678) + good[4:])
    assert "(flag 0x12345678)" in refusal(folder)
    path.unlink()
    assert "tiny.bin: no such file" in refusal(folder)
    path.symlink_to("/etc/hostname")
    assert "is a link that leads out of the model's folder" in refusal(folder)
    path.unlink()
    path.write_bytes(good)
    (folder / "tiny.desc").unlink()
    assert "needs 'tiny.desc' beside it" in refusal(folder)
    param = (folder / "tiny.param").read_bytes()
    (folder / "tiny.desc").write_text("128\n2\n64\n4")
    for end in range(8, len(param) - 1, 50):
        (folder / "tiny.param").write_bytes(param[:end])
        refusal(folder)
    os.truncate(folder / "tiny.param", 1 << 33)
    assert "at most 4194304 are allowed" in refusal(folder)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("head_dim=nan", "something else than a number"),
        ("head_dim=inf", "something else than a number"),
        ("head_dim=-2", "head_dim -2"),
        ("head_dim=1e300", "states n_kv_heads 0"),
        ("norm_eps=x", "something else than a number"),
        ("rope_base=0", "rope_base 0"),
        ("rope_scale=-1", "rope_scale -1"),
        ("rope_freqs=1,2,3", "3 factors of RoPE for heads of 16"),
        ("rope_freqs=" + ",".join(["0"] * 8), "make no sense"),
        ("rope_freqs=" + ",".join(["nan"] * 8), "something else than a number"),
    ],
)
def test_what_is_named_in_a_description(folder: Path, line: str, said: str) -> None:
    with (folder / "tiny.desc").open("a") as file:
        file.write(line + "\n")
    with pytest.raises(WeightsError, match=said):
        open_weights(folder)


@pytest.mark.parametrize("change", [("18=800", "18=433"), ("18=800", "18=1"), ("8=96 ", "8=97 "), ("9=64 ", "9=0 ")])
def test_spoilt_products_of_our_own_graph(tmp_path: Path, change: tuple[str, str]) -> None:
    write_gguf(tmp_path / "m.gguf", random_model(TinyShape(n_heads=4, n_kv_heads=4)))
    converted(tmp_path / "m.gguf", tmp_path / "new.ncnn", "ncnn", "q8_0")
    graph = tmp_path / "new.ncnn/new.param"
    assert change[0] in graph.read_text()
    graph.write_text(graph.read_text().replace(*change, 1))
    with pytest.raises(WeightsError):
        open_weights(tmp_path / "new.ncnn")
