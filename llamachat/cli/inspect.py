"""``llamachat inspect``: what a model file holds, out of its header alone."""

from __future__ import annotations

import contextlib
import json
import math
import shutil
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import click

from llamachat.cli.help import CONTEXT, HelpCommand
from llamachat.cli.invocation import Invocation
from llamachat.cli.model_files import chosen_model
from llamachat.cli.oneshot import OUTPUT
from llamachat.cli.options import FOLDERS, flag, with_options
from llamachat.cli.status_line import megabytes
from llamachat.cli.table import print_table
from llamachat.display import clean, clean_line
from llamachat.errors import TokenizerError, WeightsError

if TYPE_CHECKING:
    from pathlib import Path

    from llamachat.engine.footprint import Footprint
    from llamachat.vocabulary import Vocabulary
    from llamachat.weights.inspection import Inspection

_TENSORS = flag("tensors", "List the tensors: name, type, rows x columns, size.", OUTPUT)
_JSON = flag("json", "Write one JSON object.", OUTPUT)
_OWN = (_TENSORS, _JSON)

_EXAMPLES = """\
llamachat inspect model.gguf                  format, sizes, memory, oddities
llamachat inspect llama-2-7b/ --tensors       and every tensor
llamachat inspect model.gguf --n-ctx 32768    the memory this context takes
llamachat inspect --json smollm2 | jq .types  the same for programs
"""
_NOTE = """\
Only the header is read, however large the file is. A model that cannot be run is shown too, with the reason why not.
MODEL is a file, a folder, or the name of a model in the models folder; without it, the default model. Memory is that of
weights, KV cache and scratch; the program itself takes some 60 MB beside.
"""
_HOW = {
    "recognised": "recognised from the chat template in the file",
    "template": "the file's own chat template, of no known family: it runs in a sandbox",
    "guessed": "guessed from special tokens or name: the file has no chat template",
    "none": "nothing in the file tells of one",
}
_NAME_COLUMNS = 12


@with_options(_OWN, FOLDERS | {"model", "tokenizer", "n_ctx"})
@click.command(cls=HelpCommand, context_settings=CONTEXT, examples=_EXAMPLES, note=_NOTE)
@click.argument("model_file", metavar="[MODEL]", required=False)
@click.pass_context
def inspect(context: click.Context, /, model_file: str | None, **_options: object) -> None:
    """Show what a model file holds: format, numbers, vocabulary, tensors, memory, and anything odd."""
    invocation = Invocation.of(context, _OWN)
    path = chosen_model(invocation.get("model") if model_file is None else model_file, invocation.data_dir)
    as_json = invocation.get("json", False)

    from llamachat.weights.inspection import inspect_weights

    try:
        found = inspect_weights(path, tokenizer=invocation.get("tokenizer"))
    except WeightsError as error:
        if as_json:
            print(json.dumps(_refused_json(path, error)), flush=True)
        raise
    found = _with_tokenizer(found)
    memory = _memory(found, invocation)
    if as_json:
        print(json.dumps(_as_json(found, memory, with_tensors=invocation.get("tensors", False)), allow_nan=False))
        return
    _print_facts(_facts(found, memory))
    if found.notes:
        print()
        _print_facts(("to know" if i == 0 else "", note) for i, note in enumerate(found.notes))
    if invocation.get("tensors"):
        print()
        print_table(_rows(found))


def _with_tokenizer(found: Inspection) -> Inspection:
    """What was found, and whether the library makes a tokenizer of the vocabulary (asked where that takes no time)."""
    if found.problem or found.vocabulary is None or found.vocabulary.model != "spm":
        return found
    from llamachat.tokenizer import load_tokenizer

    try:
        load_tokenizer(found.vocabulary)
    except TokenizerError as error:
        path = found.vocabulary_path
        if path and path != found.path:
            return replace(found, problem=str(error), culprit=path.name)
        return replace(found, problem=f"has a vocabulary that makes no tokenizer: {error}")
    return found


def _memory(found: Inspection, invocation: Invocation) -> Footprint | None:
    h = found.hyperparameters
    if h is None:
        return None
    from llamachat.engine.core import default_threads
    from llamachat.engine.footprint import footprint
    from llamachat.engine.memory import cache_bytes_per_token, choose_n_ctx
    from llamachat.engine.source import KvType

    n_ctx = choose_n_ctx(invocation.get("n_ctx"), h.n_ctx_train, cache_bytes_per_token(h, KvType.F16))
    return footprint(h, found.weight_bytes, max(n_ctx, 1), invocation.get("threads") or default_threads())


def _prompt_format(found: Inspection) -> tuple[str, str] | None:
    if found.vocabulary is None:
        return None
    from llamachat.chat.detect import explain_choice

    path = found.path.resolve() if found.path.is_dir() else found.path
    return explain_choice(found.chat_template, found.vocabulary, path.stem, path.name)


# ---- as text ------------------------------------------------------------------


def _blaming(culprit: str, words: str, otherwise: str = "") -> str:
    """What is wrong with the file at fault, or with the model itself."""
    return f"{culprit}: {words}" if culprit else otherwise + words


def _facts(found: Inspection, memory: Footprint | None) -> Iterator[tuple[str, str]]:
    h = found.hyperparameters
    files = f" in {found.n_files} files" if found.n_files > 1 else ""
    yield "file", str(found.path)
    yield "name", found.name
    yield "format", f"{found.format}, {megabytes(found.size_bytes)}{files}"
    yield "runs", f"no: {_blaming(found.culprit, found.problem, 'it ')}" if found.problem else "yes"
    yield "parameters", f"{found.n_params:,}"
    if h is not None:
        yield "layers", f"{h.n_layers}, embedding {h.n_embd:,}, feed-forward {h.n_ff:,}"
        yield "heads", f"{h.n_heads} of {h.head_dim}, {h.n_kv_heads} for keys and values"
        yield "numbers", f"norm epsilon {h.norm_eps:g}, RoPE base {h.rope_base:,.15g}, RoPE scale {h.rope_scale:g}"
        yield "context", f"{h.n_ctx_train:,} tokens"
    yield from _about_vocabulary(found.vocabulary)
    choice = _prompt_format(found)
    if choice is not None:
        yield "prompt", f"{choice[0]}: {_HOW[choice[1]]}"
    whole = max(sum(n_bytes for _, _, n_bytes in found.types), 1)
    columns = max([8, *(len(label) for label, _, _ in found.types)])
    for i, (label, count, n_bytes) in enumerate(found.types):
        share, size = f"{100 * n_bytes / whole:5.1f} %", megabytes(n_bytes)
        line = f"{label:<{columns}} {share}  {size:>9}  {count:,} tensor{'s' * (count != 1)}"
        yield "types" if i == 0 else "", line
    if memory is not None:
        total = megabytes(memory.total_bytes)
        yield "memory", f"{total} for {memory.n_ctx:,} tokens of context, {_parts(memory)}"


def _parts(memory: Footprint) -> str:
    cache = f"{megabytes(memory.kv_f16_bytes)} cache (as q8_0 {megabytes(memory.kv_q8_0_bytes)})"
    return f"of it {megabytes(memory.weight_bytes)} weights, {cache}, {megabytes(memory.scratch_bytes)} scratch"


def _about_vocabulary(vocabulary: Vocabulary | None) -> Iterator[tuple[str, str]]:
    if vocabulary is None:
        yield "vocabulary", "none"
        return
    kind = "SentencePiece" if vocabulary.model == "spm" else f"byte-level BPE ({vocabulary.pre or 'unnamed'})"
    merges = f", {len(vocabulary.merges):,} merges" if vocabulary.merges else ""
    yield "vocabulary", f"{kind}, {len(vocabulary):,} tokens{merges}"
    special = [f"{name} {_token(vocabulary, token)}" for name, token in _specials(vocabulary) if token is not None]
    stops = ", ".join(_token(vocabulary, token) for token in sorted(vocabulary.stop_ids)[:8])
    yield "special", "; ".join([*special, f"answers end at {stops}" if stops else "no token ends an answer"])


def _specials(vocabulary: Vocabulary) -> tuple[tuple[str, int | None], ...]:
    return ("BOS", vocabulary.bos_id), ("EOS", vocabulary.eos_id), ("unknown", vocabulary.unk_id)


def _token(vocabulary: Vocabulary, token: int) -> str:
    return f"{token} {clean_line(vocabulary.pieces[token], 30)}"


def _rows(found: Inspection) -> Iterator[tuple[str, ...]]:
    for tensor in found.tensors:
        kept = tensor.tensor.type.label
        yield (
            tensor.name,
            tensor.label if tensor.label in (kept, "computed") else f"{tensor.label} as {kept}",
            f"{tensor.rows:,} x {tensor.cols:,}",
            megabytes(tensor.n_bytes),
            "" if tensor.name in found.used or not found.used else "not used",
        )


def _print_facts(facts: Iterator[tuple[str, str]]) -> None:
    columns = max(shutil.get_terminal_size().columns - 1, 40) if sys.stdout.isatty() else 10_000
    for name, fact in facts:
        head = f"{name:<{_NAME_COLUMNS}}"
        text = clean(fact).replace("\n", " ")
        print(textwrap.fill(text, columns, initial_indent=head, subsequent_indent=" " * _NAME_COLUMNS,
                            break_on_hyphens=False, replace_whitespace=False) or head)  # fmt: skip


# ---- as JSON ------------------------------------------------------------------


def _as_json(found: Inspection, memory: Footprint | None, *, with_tensors: bool) -> dict[str, Any]:
    """The object that the README describes; texts are the file's own, escaped by JSON."""
    whole = max(sum(n_bytes for _, _, n_bytes in found.types), 1)
    choice = _prompt_format(found)
    return {
        "path": str(found.path),
        "name": found.name,
        "format": found.format,
        "files": found.n_files,
        "size_bytes": found.size_bytes,
        "runs": not found.problem,
        "problem": _blaming(found.culprit, found.problem) or None,
        "error": None,
        "parameters": found.n_params,
        "hyperparameters": asdict(found.hyperparameters) if found.hyperparameters else None,
        "vocabulary": _vocabulary_json(found.vocabulary) if found.vocabulary else None,
        "prompt_format": {"name": choice[0], "how": choice[1]} if choice else None,
        "types": [
            {"type": label, "tensors": count, "bytes": n_bytes, "share": round(n_bytes / whole, 6)}
            for label, count, n_bytes in found.types
        ],
        "memory": asdict(memory) | {"total_bytes": memory.total_bytes} if memory else None,
        "notes": list(found.notes),
        "metadata": {key: _finite(value) for key, value in found.metadata.items()},
    } | ({"tensors": [_tensor_json(found, i) for i in range(len(found.tensors))]} if with_tensors else {})


def _refused_json(path: Path, error: WeightsError) -> dict[str, Any]:
    """The object of a file of which nothing can be told but why: the same keys, without values."""
    size = None
    with contextlib.suppress(OSError):
        size = path.stat().st_size if path.is_file() else None
    culprit = "" if error.path == path else error.path.name
    reason = _blaming(culprit, error.reason)
    nothing = dict.fromkeys(("parameters", "hyperparameters", "vocabulary", "prompt_format"))
    return {
        "path": str(path),
        "name": None,
        "format": None,
        "files": None,
        "size_bytes": size,
        "runs": False,
        "problem": reason,
        "error": reason,
        **nothing,
        "types": [],
        "memory": None,
        "notes": [],
        "metadata": {},
    }


def _vocabulary_json(vocabulary: Vocabulary) -> dict[str, Any]:
    def token(token_id: int | None) -> dict[str, Any] | None:
        return None if token_id is None else {"id": token_id, "text": vocabulary.pieces[token_id]}

    return {
        "kind": vocabulary.model,
        "pre_tokenizer": vocabulary.pre or None,
        "tokens": len(vocabulary),
        "merges": len(vocabulary.merges),
        "bos": token(vocabulary.bos_id),
        "eos": token(vocabulary.eos_id),
        "unknown": token(vocabulary.unk_id),
        "stops": [token(token_id) for token_id in sorted(vocabulary.stop_ids)],
        "add_bos": vocabulary.add_bos,
        "add_eos": vocabulary.add_eos,
    }


def _tensor_json(found: Inspection, index: int) -> dict[str, Any]:
    tensor = found.tensors[index]
    return {
        "name": tensor.name,
        "type": tensor.label,
        "kept_as": tensor.tensor.type.label,
        "rows": tensor.rows,
        "columns": tensor.cols,
        "bytes": tensor.n_bytes,
        "used": tensor.name in found.used,
    }


def _finite(value: Any) -> Any:
    """JSON has no word for what is no number."""
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
