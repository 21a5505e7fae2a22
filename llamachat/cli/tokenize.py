"""``llamachat tokenize``: a text as token ids."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from llamachat.cli.help import CONTEXT, HelpCommand
from llamachat.cli.invocation import Invocation
from llamachat.cli.model_files import chosen_model
from llamachat.cli.oneshot import OUTPUT, text_or_input
from llamachat.cli.options import TOKENS, flag, with_options
from llamachat.cli.status_line import StatusLine, bar
from llamachat.display import clean
from llamachat.errors import LlamachatError, TokenizerError, WeightsError
from llamachat.files.texts import standard_input

if TYPE_CHECKING:
    from llamachat.tokenizer import Tokenizer
    from llamachat.vocabulary import Vocabulary

_BOS = flag("bos", "Put the token that begins a text in front.", OUTPUT)
_PIECES = flag("pieces", "A line for each token: its id, and what it stands for.", OUTPUT)

_EXAMPLES = """\
llamachat tokenize "Hello, world"
llamachat tokenize --pieces "Hello, world"
llamachat tokenize --bos -m model.gguf "Hello, world"
llamachat tokenize --tokenizer tokenizer.model < notes.txt | jq length
"""
_NOTE = """\
Without TEXT, or with -, standard input is read to the letter. Only the vocabulary is loaded: a tokenizer file is
enough. What looks like a control token is letters here, as in everything that a person types.
"""


@with_options([_BOS, _PIECES], TOKENS)
@click.command(cls=HelpCommand, context_settings=CONTEXT, examples=_EXAMPLES, note=_NOTE)
@click.argument("text", required=False)
@click.pass_context
def tokenize(context: click.Context, /, text: str | None, **_options: object) -> None:
    """Show the token ids of a text as a JSON list."""
    invocation = Invocation.of(context, [_BOS, _PIECES])
    given = text_or_input(text, context, lambda: standard_input(zeros=True))
    vocabulary, path = _vocabulary(invocation)

    from llamachat.tokenizer import load_tokenizer

    try:
        tokenizer = load_tokenizer(vocabulary)
    except TokenizerError as error:
        raise WeightsError(path, str(error)) from None
    opening: list[int] = []
    if invocation.get("bos"):
        if vocabulary.bos_id is None:
            raise WeightsError(path, "this vocabulary has no token that begins a text")
        opening = [vocabulary.bos_id]
    (_print_pieces if invocation.get("pieces") else _print_list)(tokenizer, _parts(tokenizer, given, opening))


def _parts(tokenizer: Tokenizer, text: str, opening: list[int]) -> Iterator[list[int]]:
    """The ids of a text behind those that open it, as they come, so that those of a large text need no room."""
    from llamachat.tokenizer.parts import encode_parts

    if opening:
        yield opening
    read = 0
    with StatusLine() as line:

        def look() -> bool:
            if not sys.stdout.isatty():  # there the ids themselves show how far it is
                line.show(f"reading the text {bar(read, len(text))}")
            return False

        for ids, end in encode_parts(tokenizer, text, look):
            read = end
            yield ids


def _print_list(_tokenizer: Tokenizer, parts: Iterator[list[int]]) -> None:
    before = "["
    for ids in parts:
        if ids:
            sys.stdout.write(before + ", ".join(map(str, ids)))
            before = ", "
    sys.stdout.write("]\n" if before == ", " else "[]\n")


def _print_pieces(tokenizer: Tokenizer, parts: Iterator[list[int]]) -> None:
    for ids in parts:
        for id_ in ids:
            text = tokenizer.piece(id_) or tokenizer.vocabulary.pieces[id_]  # a control token stands for nothing
            print(f"{id_:>7}  {clean(json.dumps(text, ensure_ascii=False))}")


def _vocabulary(invocation: Invocation) -> tuple[Vocabulary, Path]:
    """The vocabulary of ``--tokenizer``, else the model's, and its file; one of nothing else will do as model."""
    from llamachat.weights import open_weights, read_vocabulary

    if "tokenizer" in invocation.values:
        path = Path(invocation.get("tokenizer"))
        return read_vocabulary(path), path
    path = chosen_model(invocation.get("model"), invocation.data_dir)
    try:
        with open_weights(path) as weights:
            if weights.vocabulary is not None:
                return weights.vocabulary, weights.vocabulary_path
    except WeightsError as error:
        try:
            return read_vocabulary(path), path
        except LlamachatError:
            raise error from None
    raise WeightsError(path, "this file holds no vocabulary: pass --tokenizer FILE")
