"""``llamachat perplexity``: how well a model foresees a text, and how far it is from another one."""

from __future__ import annotations

import json
import math
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from llamachat.cli.failures import note
from llamachat.cli.help import CONTEXT, HelpCommand
from llamachat.cli.invocation import Invocation
from llamachat.cli.measuring import measure
from llamachat.cli.model_files import chosen_model
from llamachat.cli.oneshot import OUTPUT
from llamachat.cli.options import TOKENS, Option, flag, number, read_model, with_options
from llamachat.cli.status_line import StatusLine, bar, is_terminal
from llamachat.display import clean_line
from llamachat.engine.settings import Parameter
from llamachat.engine.source import Rounding
from llamachat.errors import FileError
from llamachat.files.texts import STANDARD_INPUT, read_file, read_text

if TYPE_CHECKING:
    from llamachat.engine.perplexity import Estimate, Measured, PerplexityEvent, Started, WindowDone
    from llamachat.engine.source import ModelSource

_MEASURE = "Measuring"

_STRIDE = Parameter(
    "stride", int, None, 1, 16_777_216, 64, "Stride",
    "Windows overlap and begin so many tokens apart; without, they follow each other.", none_label="none",
)  # fmt: skip


def _text_name(value: object) -> str:
    if not isinstance(value, str) or not value or "\0" in value:
        raise ValueError
    return value


def _rounding_name(value: object) -> Rounding:
    if not isinstance(value, str) or value.strip().lower() not in set(Rounding):
        raise ValueError
    return Rounding(value.strip().lower())


_TEXT = Option("text", _text_name, "a file, or - for standard input",
               "The text to be foreseen: a UTF-8 file, or - for standard input.", _MEASURE, "FILE")  # fmt: skip
_KL_FROM = Option("kl_from", read_model, "a file or a name",
                  "Compare with this model: mean Kullback-Leibler divergence, share of equal likeliest tokens.",
                  _MEASURE, "FILE|NAME")  # fmt: skip
_ROUNDING = Option("rounding", _rounding_name, "one of " + ", ".join(Rounding),
                   "How activations are rounded before they meet quantised weights; --exact is --rounding exact. "
                   "[default llama.cpp]",
                   _MEASURE, "llama.cpp|exact|fast")  # fmt: skip
_OWN = (
    _TEXT,
    number(_STRIDE, _MEASURE),
    _KL_FROM,
    _ROUNDING,
    flag("json", "Write one JSON object.", OUTPUT),
)

_EXAMPLES = """\
llamachat perplexity -m model.gguf --text book.txt
llamachat perplexity -m q4_0.gguf --text book.txt --kl-from f16.gguf
llamachat perplexity --text book.txt --n-ctx 2048 --rounding exact
cat *.md | llamachat perplexity --text - --json | jq .perplexity
"""
_NOTE = """\
The text is cut into windows of --n-ctx tokens (512 unless given), and the second half of each is predicted token by
token, as llama.cpp's llama-perplexity does it, with activations rounded as its usual build rounds them on a processor:
figures of both compare, to some 0.1 % by chance on a long text. That rounding alone can cost one percent: --rounding
exact is the model without it, as answers are computed, and fast is how long prompts are read here. Perplexity is e to
the mean of the negative log-probabilities, beside its standard error; less is better, and only models of one vocabulary
compare. Ctrl+C ends it with what was measured so far.
"""


@with_options(_OWN, TOKENS | {"n_ctx", "threads", "kv_type", "exact"})
@click.command(cls=HelpCommand, context_settings=CONTEXT, examples=_EXAMPLES, note=_NOTE)
@click.pass_context
def perplexity(context: click.Context, /, **_options: object) -> None:
    """Measure how well a model foresees a text."""
    from llamachat.engine.perplexity import DEFAULT_N_CTX, LEAST_N_CTX, Plan
    from llamachat.engine.perplexity import perplexity as run_perplexity

    invocation = Invocation.of(context, _OWN)
    n_ctx = invocation.get("n_ctx") or DEFAULT_N_CTX
    stride = invocation.get("stride")
    if "text" not in invocation.values:
        raise click.UsageError("no text: give --text FILE", context)
    if _typed(context, "exact") and _typed(context, "rounding"):
        raise click.UsageError("--exact is --rounding exact: give one of them", context)
    if n_ctx < LEAST_N_CTX:
        raise click.UsageError(f"--n-ctx takes {LEAST_N_CTX} or more here, not {n_ctx}", context)
    if stride is not None and stride > n_ctx:
        raise click.UsageError(f"--stride takes at most --n-ctx ({n_ctx:,}), not {stride:,}", context)
    rounding = invocation.get("rounding") or (Rounding.EXACT if invocation.get("exact") else Rounding.LLAMA_CPP)

    def chosen(name: Any) -> ModelSource:
        return replace(invocation.source(chosen_model(name, invocation.data_dir)), rounding=rounding)

    source = chosen(invocation.get("model"))
    compared = chosen(reference) if (reference := invocation.get("kl_from")) else None
    text = _read_text(invocation.get("text"))
    plan = Plan(n_ctx, stride, compared)
    report = _Report(as_json=invocation.get("json", False))
    try:
        measure("perplexity", lambda tell, stop: run_perplexity(source, text, plan, tell, stop), report.show)
    finally:  # stopped or failed: what was measured is not lost
        report.end()


def _typed(context: click.Context, name: str) -> bool:
    return context.get_parameter_source(name) is ParameterSource.COMMANDLINE


def _read_text(name: str) -> str:
    """The whole text; ``FileError`` where it cannot be one."""
    shown = STANDARD_INPUT if name == "-" else name
    data = read_text(sys.stdin.buffer) if name == "-" else read_file(name, pipes=True)
    if not data:
        raise FileError(shown, "empty: give a text of some thousand words")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise FileError(shown, f"not UTF-8 text: byte {error.start:,} begins no character") from None


class _Report:
    """Shows what is going on, and at the end the figures."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._line = StatusLine(after_s=0.3)
        self._lines = not is_terminal(sys.stderr)  # a log gets a line for every window
        self._started: Started | None = None
        self._measured: Measured | None = None

    def show(self, event: PerplexityEvent) -> None:
        """Takes in what the engine tells."""
        from llamachat.engine.perplexity import Encoding, Loading, Measured, Started

        if isinstance(event, Loading):
            name, progress = event.source.path.name, event.progress
            self._line.show(f"loading {name} {bar(progress.done_bytes, progress.total_bytes)}")
        elif isinstance(event, Encoding):
            self._line.show(f"reading the text {bar(event.done, event.total)}")
        elif isinstance(event, Started):
            self._line.clear()
            self._started = event
            for notice in event.notices:
                note(notice)
        elif isinstance(event, Measured):
            self._measured = event
        elif self._lines:
            note(_window(event))
        else:
            self._line.show(f"{_window(event)} {bar(event.number, event.total)}")

    def end(self) -> None:
        """Takes the progress line away and writes the figures, if there are any."""
        self._line.clear()
        if self._started is None or self._measured is None:
            return
        if self._as_json:
            print(json.dumps(_as_object(self._started, self._measured), ensure_ascii=False), flush=True)
        else:
            _print(self._started, self._measured)


def _window(event: WindowDone) -> str:
    divergence = "" if event.mean_divergence is None else f", KL divergence {event.mean_divergence:.5f}"
    left = round(event.seconds_left)
    clock = f"{left // 3600}:{left // 60 % 60:02}:{left % 60:02}" if left >= 3600 else f"{left // 60}:{left % 60:02}"
    return f"window {event.number:,} of {event.total:,}: perplexity {_figure(event.estimate)}{divergence}, {clock} left"


def _figure(estimate: Estimate) -> str:
    return f"{estimate.perplexity:.4f} +/- {estimate.error:.5f}"


def _print(started: Started, measured: Measured) -> None:
    info, divergence = started.info, measured.divergence
    part = "" if measured.n_windows == measured.total else f" (stopped after {measured.n_windows} of {measured.total})"
    print(clean_line(f"{info.name}: {info.type_name}, rounding {started.rounding}"))
    print(f"{started.n_tokens:,} tokens, {measured.total:,} windows, {measured.estimate.n:,} tokens predicted{part}")
    print(f"perplexity     {_figure(measured.estimate)}")
    if divergence is not None:
        print(f"KL divergence  {divergence.mean:.6f} +/- {divergence.error:.6f}", end="")
        print(f", 99 % below {divergence.percentile_99:.6f}, highest {divergence.maximum:.6f}")
        print(f"same likeliest {100 * divergence.same_top:.3f} +/- {100 * divergence.same_top_error:.3f} %")
    sys.stdout.flush()


def _as_object(started: Started, measured: Measured) -> dict[str, Any]:
    estimate, divergence = measured.estimate, measured.divergence
    found: dict[str, Any] = {
        "model": started.info.name,
        "type": started.info.type_name,
        "rounding": started.rounding,
        "tokens": started.n_tokens,
        "windows": measured.n_windows,
        "windows_planned": measured.total,
        "predicted": estimate.n,
        "perplexity": estimate.perplexity,
        "stderr": estimate.error,
        "mean_nll": estimate.mean_nll,
        "seconds": round(measured.seconds, 3),
    }
    if divergence is not None:
        found |= {
            "kl_divergence": divergence.mean,
            "kl_stderr": divergence.error,
            "kl_percentile_99": divergence.percentile_99,
            "kl_max": divergence.maximum,
            "same_top": divergence.same_top,
            "same_top_stderr": divergence.same_top_error,
        }
    endless = [key for key, value in found.items() if isinstance(value, float) and not math.isfinite(value)]
    return found | dict.fromkeys(endless)  # JSON has no infinity
