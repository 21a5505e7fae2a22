"""The formats that can be written, and which one a name asks for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from llamachat.errors import FileError
from llamachat.weights.huggingface_tokenizer import SETTINGS as HUGGINGFACE_SETTINGS
from llamachat.weights.model_files import TOKENIZER_NAMES
from llamachat.weights.tensors import TensorType
from llamachat.weights.write.ggjt import ggjt_layout
from llamachat.weights.write.gguf import gguf_layout
from llamachat.weights.write.llama2c import version_0_layout, version_1_layout, version_2_layout
from llamachat.weights.write.ncnn import ncnn_layout
from llamachat.weights.write.parts import Layout, Model
from llamachat.weights.write.safetensors import safetensors_layout
from llamachat.weights.write.types import CHOICES


@dataclass(frozen=True)
class OutputFormat:
    """A format to write."""

    key: str  #: what ``--to`` takes
    label: str  #: what people call it
    layout: Callable[[Model, TensorType | None, str], Layout]  #: of a model, a type or None, and the main file's name
    types: tuple[str, ...] = tuple(CHOICES)  #: what ``--type`` may be
    suffixes: tuple[str, ...] = ()
    inside: str = ""  #: for folders: the name of the main file in it, ``{}`` being the folder's without its ending
    read_beside: tuple[str, ...] = ()  #: what is taken up beside the main file by whoever opens it, best first
    holds_template: bool = False  #: whether there is a place for a chat template


FORMATS: Mapping[str, OutputFormat] = {
    known.key: known
    for known in (
        OutputFormat("gguf", "GGUF", gguf_layout, suffixes=(".gguf",), holds_template=True),
        OutputFormat("llama2c-v0", "llama2.c v0", version_0_layout, ("f32",), read_beside=TOKENIZER_NAMES),
        OutputFormat("llama2c-v1", "llama2.c v1", version_1_layout, ("f32",), read_beside=TOKENIZER_NAMES),
        OutputFormat("llama2c-v2", "llama2.c v2", version_2_layout, ("q8_0",), read_beside=TOKENIZER_NAMES),
        OutputFormat(
            "ggjt", "ggjt v3", ggjt_layout, tuple(name for name in CHOICES if name != "bf16"), (".ggjt", ".ggml")
        ),
        OutputFormat(
            "safetensors",
            "Hugging Face",
            safetensors_layout,
            ("f32", "f16", "bf16"),
            (".safetensors",),
            inside="model.safetensors",
            read_beside=HUGGINGFACE_SETTINGS,
            holds_template=True,
        ),
        OutputFormat(
            "ncnn",
            "ncnn",
            ncnn_layout,
            ("f32", "f16", "q8_0"),
            (".ncnn", ".param"),
            inside="{}.param",
            read_beside=TOKENIZER_NAMES,
        ),
    )
}


#: Other names under which people look for a format.
_ALIASES = {"llama2c": "llama2c-v0", "ggjt-v3": "ggjt", "hf": "safetensors", "huggingface": "safetensors"}


def format_key(text: str) -> str:
    """The key of the format that a text means; ``ValueError`` lists those there are."""
    word = text.strip().lower().replace("llama2.c", "llama2c")
    key = _ALIASES.get(word, word)
    if key not in FORMATS:
        raise ValueError("one of " + ", ".join(FORMATS))
    return key


def format_for(path: Path, key: str | None, wanted: str | None) -> OutputFormat:
    """The format of this key, or the one that the name asks for; ``FileError`` says how to ask.

    Two families of files are called ``.bin``: llama2.c's, whose version 2 is the one of bytes, and ggml's, which say so
    in their names.
    """
    if key is not None:
        return FORMATS[key]
    name = path.name.lower()
    for known in FORMATS.values():
        if name.endswith(known.suffixes):
            return known
    if name.endswith(".bin"):
        if "ggml" in name or "ggjt" in name:
            return FORMATS["ggjt"]
        return FORMATS["llama2c-v2" if wanted == "q8_0" else "llama2c-v0"]
    raise FileError(path, f"no format is known by this name; give --to: {', '.join(FORMATS)}")


def type_for(path: Path, known: OutputFormat, wanted: str | None) -> TensorType | None:
    """The type of this name for the new file at ``path``; ``FileError`` if its format has none such."""
    if wanted is None:
        return None
    if wanted not in known.types:
        raise FileError(path, f"{known.label} holds no {wanted.upper()}: --type can be {', '.join(known.types)}")
    return CHOICES[wanted]
