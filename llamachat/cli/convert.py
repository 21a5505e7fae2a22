"""``llamachat convert`` and ``llamachat quantize``: a model in another format, or in another type."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from llamachat.cli.failures import ended_by, note, soft_signals
from llamachat.cli.help import CONTEXT, HelpCommand
from llamachat.cli.invocation import Invocation
from llamachat.cli.options import FOLDERS, Option, flag, with_options
from llamachat.cli.status_line import StatusLine, bar, megabytes
from llamachat.display import clean_line
from llamachat.errors import Cancelled, LlamachatError

if TYPE_CHECKING:
    from llamachat.weights import WeightFile
    from llamachat.weights.write import Model, Output

_OUTPUT = "New file"
_STEADY_SECONDS = 1.0  # before which no rest is told: the first pieces say nothing of the others

#: Told here, so that help imports no writer; a test holds them to the tables.
FORMAT_KEYS = ("gguf", "llama2c-v0", "llama2c-v1", "llama2c-v2", "ggjt", "safetensors", "ncnn")
TYPE_NAMES = ("f32", "f16", "bf16", "q8_0", "q4_0", "q4_1", "q5_0", "q5_1", "q4_k", "q5_k", "q6_k")


def _format(value: object) -> str:
    from llamachat.weights.write import format_key

    return format_key(str(value))


def _type(value: object) -> str:
    name = str(value).strip().lower().removesuffix("_m")  # the mixed kinds are what is made: Q4_K_M
    if name not in TYPE_NAMES:
        raise ValueError("one of " + ", ".join(TYPE_NAMES))
    return name


_TYPE = Option("type", _type, "a type", f"The type of the matrices: {', '.join(TYPE_NAMES)}. Without it each keeps "
               "its own, or becomes F32 where the format does not hold that.", _OUTPUT, "T")  # fmt: skip
_TO = Option("to", _format, "a format", f"The format: {', '.join(FORMAT_KEYS)}. Without it the name of OUT tells.",
             _OUTPUT, "FORMAT")  # fmt: skip
_FORCE = flag("force", "Replace files that are there.", _OUTPUT)
_OWN = (_TYPE, _TO, _FORCE)
_COMMON = FOLDERS | {"tokenizer", "threads"}

_EXAMPLES = """\
llamachat convert llama-2-7b/ llama2-7b.gguf --type q4_0
llamachat convert llama-2-7b-chat.ggmlv3.q4_0.bin chat.gguf
llamachat convert stories15M.bin stories.ncnn
llamachat convert model.gguf folder --to safetensors --type f16
llamachat quantize model-f16.gguf model-q4_k.gguf --type q4_k
"""
_NOTE = """\
IN is a file, a folder, or the name of a model in the models folder. OUT ends in .gguf, .ggjt, .safetensors, .ncnn or
.bin (ggjt where "ggml" or "ggjt" is in the name, llama2.c version 0 otherwise; version 2 with --type q8_0). Formats of
several files are written into a folder called OUT. The vocabulary goes along where the format has room for it, as
tokenizer.bin beside OUT for llama2.c; so does the prompt format, as a chat template where only the name told it. A new
file appears when it is whole; Ctrl+C leaves nothing of it. What is read from, and what a model beside OUT may need, is
not replaced, whatever the options.
"""


@with_options(_OWN, _COMMON)
@click.command(cls=HelpCommand, context_settings=CONTEXT, examples=_EXAMPLES, note=_NOTE)
@click.argument("in", type=click.UNPROCESSED)
@click.argument("out", type=click.UNPROCESSED)
@click.pass_context
def convert(context: click.Context, /, **_options: object) -> None:
    """Write the model IN as OUT, in another format or with weights of another type."""
    _run(context)


@with_options(_OWN, _COMMON)
@click.command(cls=HelpCommand, context_settings=CONTEXT, examples=_EXAMPLES, note=_NOTE)
@click.argument("in", type=click.UNPROCESSED)
@click.argument("out", type=click.UNPROCESSED)
@click.pass_context
def quantize(context: click.Context, /, **_options: object) -> None:
    """Write the model IN as OUT with weights of another type: "llamachat convert" by another name."""
    invocation = Invocation.of(context, _OWN)
    if "type" not in invocation.values:
        raise click.UsageError("as what? Give --type, such as q4_0, q8_0 or q4_k", context)
    _run(context)


def _run(context: click.Context) -> None:
    invocation = Invocation.of(context, _OWN)
    source, target = context.params["in"], Path(os.path.expanduser(context.params["out"]))  # noqa: PTH111

    if not context.params["out"]:  # which would be the current folder
        raise LlamachatError("'': name a file or a folder to write")

    from llamachat.cli.model_files import chosen_model
    from llamachat.weights import open_weights
    from llamachat.weights.write import Output, format_for, type_for

    known = format_for(target, invocation.get("to"), invocation.get("type"))
    output = Output(target, known, type_for(target, known, invocation.get("type")), invocation.get("force", False))
    path = chosen_model(source, invocation.data_dir)
    with open_weights(path, tokenizer=invocation.get("tokenizer")) as weights:
        template, remark = _prompt_format(weights, output)
        _write(replace(_model(weights), chat_template=template), output, invocation)
    if remark:
        note(remark)


def _prompt_format(weights: WeightFile, output: Output) -> tuple[str | None, str]:
    """The chat template of the new file, and what a person should know of it.

    A prompt format that only the model's name tells would be lost with the name, so it becomes a template.
    """
    from llamachat.chat.detect import explain_choice, format_by_name
    from llamachat.chat.template_source import template_source

    vocabulary, template = weights.vocabulary, weights.chat_template
    if vocabulary is None:
        return template, ""
    path = weights.path.resolve() if weights.path.is_dir() else weights.path
    names = path.stem, path.name
    if output.format.holds_template:
        named = None if template else format_by_name(vocabulary, *names)
        if named is None:
            return template, ""
        return template_source(named), (
            f"its prompt format, {named.name}, is known by its name alone: the new file holds it as a chat template"
        )
    name, _ = explain_choice(template, vocabulary, *names)
    if name in ("plain", explain_choice(None, vocabulary, output.path.stem, output.path.name)[0]):
        return None, ""
    lost = f"{output.format.label} has no place for a chat template"
    if name == "template":
        return None, f"{lost}: the model's own does not go along"
    return None, f"{lost}, and the new name tells no prompt format: --prompt-format {name} is that of this model"


def _model(weights: WeightFile) -> Model:
    from llamachat.tokenizer.model_proto import build_model_proto
    from llamachat.weights.write import model_of

    vocabulary, proto = weights.vocabulary, None
    if vocabulary is not None and vocabulary.model == "spm":
        proto = vocabulary.model_proto or build_model_proto(vocabulary)
    return model_of(weights, proto)


def _write(model: Model, output: Output, invocation: Invocation) -> None:
    from llamachat.engine.core import default_threads
    from llamachat.weights.write import convert as write

    started = time.monotonic()
    came: list[int] = []
    with StatusLine(after_s=0.5) as line, soft_signals(came.append):

        def progress(done: int, total: int) -> None:
            seconds = time.monotonic() - started
            left = f", {_duration(seconds / done * (total - done))} left" if done and seconds > _STEADY_SECONDS else ""
            line.show(f"{output.path.name} {bar(done, total)}  {megabytes(done)} of {megabytes(total)}{left}")

        try:
            written = write(model, output, invocation.get("threads") or default_threads(), progress, lambda: bool(came))
        except Cancelled:
            raise ended_by(came[0]) from None
    for text in written.notes:
        note(text)
    took = _duration(time.monotonic() - started)
    sys.stderr.write(clean_line(f"{output.path}: {output.format.label}, {megabytes(written.n_bytes)} in {took}") + "\n")


def _duration(seconds: float) -> str:
    """A time as a person reads it: ``0.3 s``, ``12 s``, ``2 min 05 s``."""
    if seconds < 1.0:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    return f"{whole} s" if whole < 60 else f"{whole // 60} min {whole % 60:02d} s"
