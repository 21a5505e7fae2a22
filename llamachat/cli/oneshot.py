"""``llamachat ask`` and ``llamachat complete``: one text in, one answer out."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

import click

from llamachat.cli.failures import note
from llamachat.cli.help import CONTEXT, HelpCommand
from llamachat.cli.invocation import Invocation
from llamachat.cli.model_files import chosen_model
from llamachat.cli.options import ANSWERS, Option, flag, number, read_file_name, with_options
from llamachat.display import counted
from llamachat.engine.settings import Parameter
from llamachat.errors import EngineError, LlamachatError
from llamachat.files.texts import standard_input

if TYPE_CHECKING:
    from llamachat.cli.generation import Answer, OneModel
    from llamachat.engine.events import Request
    from llamachat.engine.settings import SamplingSettings

_MakeRequest = Callable[["OneModel", int | None, "SamplingSettings"], "Request"]

INPUT, OUTPUT = "Input", "Output"
_TOP = Parameter("logprobs", int, 0, 0, 1000, 1, "Log-probabilities",
                 "With --json: so many of the likeliest tokens at every place.")  # fmt: skip

_JSON = flag("json", "Write one JSON object: text, tokens, why it ended, figures.", OUTPUT)
_LOGPROBS = number(_TOP, OUTPUT)
_NO_BOS = flag("no_bos", "Leave out the token that begins a text.", OUTPUT)
_ECHO = flag("echo", "Print the text that was given first.", OUTPUT)

_CODE = flag("code", "Print only the code: the first fenced block of the answer.", OUTPUT, "-x")
_FILE = Option("file", read_file_name, "a file", "A text file to go before the question; there may be several.",
               INPUT, "FILE", short="-f", repeats=True)  # fmt: skip

_ASK = (_FILE, _CODE, _JSON, _LOGPROBS)
_COMPLETE = (_ECHO, _NO_BOS, _JSON, _LOGPROBS)

_ASK_EXAMPLES = """\
llamachat ask "What is gravity?"
llamachat ask "What does this do?" < script.sh
llamachat ask -f main.py -f test_main.py "Why does the test fail?"
git diff | llamachat ask "A commit message in one line:"
llamachat ask -x "A shell script that counts lines" > count.sh
llamachat ask --json --logprobs 5 "Yes or no?" | jq .tokens
"""
_ASK_NOTE = """\
Files come first, each with its name. What is piped in is added to TEXT after an empty line, or is the question where
there is no TEXT. The answer goes to standard output, everything else to standard error. Nothing is stored.
"""
_COMPLETE_EXAMPLES = """\
llamachat complete "The capital of France is"
llamachat complete --temperature 0 -n 60 "Once upon a time"
llamachat complete --echo < beginning.txt
llamachat complete ""          from nothing but the token that begins a text
"""
_COMPLETE_NOTE = """\
Without TEXT, or with -, the text is read from standard input, less one newline at its end. Only the continuation is
printed.
"""


@with_options(_ASK, ANSWERS)
@click.command(cls=HelpCommand, context_settings=CONTEXT, examples=_ASK_EXAMPLES, note=_ASK_NOTE)
@click.argument("text", required=False)
@click.pass_context
def ask(context: click.Context, /, text: str | None, **_options: object) -> None:
    """Answer one question, in the model's own prompt format."""
    invocation = Invocation.of(context, _ASK)
    piped = "" if sys.stdin.isatty() else _standard_input()
    typed = "\n\n".join(part for part in ("" if text == "-" else _argument(text), piped) if part)
    if not typed.strip():
        raise click.UsageError("no question: give TEXT, or pipe it in", context)
    question = "\n\n".join([*_blocks(invocation.get("file", ())), typed])

    def request(model: OneModel, n_top: int | None, settings: SamplingSettings) -> Request:
        from llamachat.cli import requests

        return requests.question(
            model.info,
            model.tokenizer,
            question,
            system=invocation.get("system", ""),
            format_name=invocation.get("prompt_format", ""),
            max_tokens=settings.max_tokens,
            n_top=n_top,
            notify=note,
        )

    _run(context, invocation, request, says_why=True)


@with_options(_COMPLETE, ANSWERS - {"system", "prompt_format"})
@click.command(cls=HelpCommand, context_settings=CONTEXT, examples=_COMPLETE_EXAMPLES, note=_COMPLETE_NOTE)
@click.argument("text", required=False)
@click.pass_context
def complete(context: click.Context, /, text: str | None, **_options: object) -> None:
    """Continue a text as the model would, without any prompt format."""
    invocation = Invocation.of(context, _COMPLETE)
    given = text_or_input(text, context, _standard_input)

    def request(model: OneModel, n_top: int | None, settings: SamplingSettings) -> Request:  # noqa: ARG001
        from llamachat.cli.requests import continuation

        bos = not invocation.get("no_bos", False)
        return continuation(model.info, model.tokenizer, given, bos=bos, n_top=n_top)

    _run(context, invocation, request, given if invocation.get("echo") else "")


def _blocks(paths: Iterable[str]) -> Iterator[str]:
    """Text files as they stand in a message. What the shell opened, as in ``-f <(git diff)``, may be a pipe."""
    if not paths:
        return
    from llamachat.chat.reading import text_file

    for path in paths:
        file = text_file(path, pipes=path.startswith("/dev/fd/"))
        if file.oddity:
            note(f"{file.name}: {file.oddity}")
        yield file.block


def _code(answer: Answer, cut: str = "") -> str:
    """The first fenced block of an answer. ``LlamachatError`` where there is none, since words are no code; it says
    why the answer was ``cut``, before its code perhaps.
    """
    from llamachat.chat.code_blocks import code_blocks

    blocks = code_blocks(answer.text)
    if not blocks and answer.interruption is None:
        raise LlamachatError(f"there is no code in this answer ({cut or 'without --code it is shown whole'})")
    return blocks[0] if blocks else ""


def _cut(answer: Answer, invocation: Invocation) -> str:
    """Why an answer is not whole, and what helps; empty where it is, or as long as was asked for."""
    from llamachat.engine.events import StopReason

    reason = answer.finished.reason if answer.finished else None
    if reason is StopReason.LENGTH and "max_tokens" not in invocation.values:
        return f"cut after {counted(len(answer.tokens), 'token')}: -n allows more"
    if reason is StopReason.CONTEXT:
        return "cut: the context is full; --n-ctx makes it larger"
    return ""


def text_or_input(text: str | None, context: click.Context, read: Callable[[], str]) -> str:
    """TEXT, or standard input where there is none; ``click.UsageError`` where that is a terminal."""
    if text is not None and text != "-":
        return _argument(text)
    if text is None and sys.stdin.isatty():
        raise click.UsageError("no text: give TEXT, or pipe it in", context)
    return read()


def _argument(text: str | None) -> str:
    return (text or "").encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _standard_input() -> str:
    return standard_input().removesuffix("\n").removesuffix("\r")


def _run(
    context: click.Context,
    invocation: Invocation,
    make_request: _MakeRequest,
    echo: str = "",
    *,
    says_why: bool = False,
) -> None:
    """Loads the model, generates and prints. ``says_why``: an answer is cut, where nobody asked for that."""
    as_object, code_alone = invocation.get("json", False), invocation.get("code", False)
    if code_alone and as_object:
        raise click.UsageError("--code goes without --json", context)
    n_top = invocation.get("logprobs", 0)
    if n_top and not as_object:
        raise click.UsageError("--logprobs goes with --json", context)
    source = invocation.source(chosen_model(invocation.get("model"), invocation.data_dir))

    from llamachat.cli.generation import OneModel, Printer, as_json
    from llamachat.engine.settings import SamplingSettings

    settings = SamplingSettings().with_values(invocation.sampling)
    with contextlib.closing(OneModel(source)) as model:
        request = make_request(model, n_top if as_object else None, settings)
        printer = Printer()
        if not as_object:
            printer.write(echo)
        answer = model.answer(request, settings, None if as_object or code_alone else printer)
        if code_alone and not answer.error:
            printer.write(_code(answer, _cut(answer, invocation)))
        if as_object and not answer.error:
            printer.write(as_json(answer, request.prompt_ids, model.tokenizer))
        if printer.began or not answer.error:
            printer.end()
        if answer.error:
            raise EngineError(answer.error)
        if says_why and not as_object and (why := _cut(answer, invocation)):
            note(why)
        if answer.interruption is not None:
            raise answer.interruption
