"""``llamachat bench``: how fast a model is on this machine."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from llamachat.cli.failures import note
from llamachat.cli.help import CONTEXT, HelpCommand
from llamachat.cli.invocation import Invocation
from llamachat.cli.measuring import measure
from llamachat.cli.model_files import chosen_model
from llamachat.cli.oneshot import OUTPUT
from llamachat.cli.options import TOKENS, flag, number, with_options
from llamachat.cli.status_line import StatusLine, bar, megabytes
from llamachat.display import clean_line
from llamachat.engine.settings import Parameter

if TYPE_CHECKING:
    from llamachat.engine.bench import BenchEvent, Measurement, Progress, Started

_MEASURE = "Measuring"
_MOST = 16_777_216  # the largest context there is

_PROMPT = number(Parameter("prompt_tokens", int, 512, 0, _MOST, 64, "Prompt",
                           "Tokens of the prompt; 0 leaves prompts out."), _MEASURE, "-p")  # fmt: skip
_ANSWER = number(Parameter("answer_tokens", int, 128, 0, _MOST, 16, "Answer",
                           "Tokens of the answer; 0 leaves answers out."), _MEASURE, "-n")  # fmt: skip
_ONE_DEPTH = number(Parameter("depth", int, 0, 0, _MOST, 256, "Depth", ""), _MEASURE)
_REPEAT = number(Parameter("repeat", int, 5, 1, 1000, 1, "Repeat", "Times each is measured."), _MEASURE)
_JSON = flag("json", "Write a JSON list: an object for each line of the table.", OUTPUT)


def _depths(value: object) -> tuple[int, ...]:
    return tuple(_ONE_DEPTH.read(word) for word in str(value).split(","))


_DEPTH = replace(
    _ONE_DEPTH,
    read=_depths,
    takes=f"{_ONE_DEPTH.takes}, or several such with commas between",
    help=f"Tokens in the context before; several with commas between. [{_ONE_DEPTH.takes}; default 0,2048]",
)
_OWN = (_PROMPT, _ANSWER, _DEPTH, _REPEAT, _JSON)

_EXAMPLES = """\
llamachat bench                                 the default model
llamachat bench -m model.gguf --threads 4
llamachat bench -p 0 -n 64 --depth 0,1024,4096  answers only, ever deeper
llamachat bench --json | jq '.[].tokens_per_second'
"""
_NOTE = """\
Tokens per second are the median over the repetitions, beside their standard deviation. Depth is what the context holds
already. Bandwidth is the share of the memory bandwidth that answers use: bytes of weights and KV cache read for a token
times tokens per second, over what as many threads read from a large buffer just before. A model that fits the
processor's cache may show more than 100 %. Random tokens are evaluated; nothing is drawn or printed meanwhile. Ctrl+C
ends it with what was measured so far.
"""


@with_options(_OWN, TOKENS | {"n_ctx", "threads", "kv_type", "exact"})
@click.command(cls=HelpCommand, context_settings=CONTEXT, examples=_EXAMPLES, note=_NOTE)
@click.pass_context
def bench(context: click.Context, /, **_options: object) -> None:
    """Measure how fast a model reads prompts and writes answers on this machine."""
    invocation = Invocation.of(context, _OWN)
    prompt_tokens, answer_tokens = invocation.get("prompt_tokens", 512), invocation.get("answer_tokens", 128)
    if not prompt_tokens and not answer_tokens:
        raise click.UsageError("nothing to measure: -p and -n are both 0", context)
    source = invocation.source(chosen_model(invocation.get("model"), invocation.data_dir))

    from llamachat.engine.bench import Plan
    from llamachat.engine.bench import bench as run_bench

    plan = Plan(prompt_tokens, answer_tokens, invocation.get("depth"), invocation.get("repeat", 5))
    report = _Report(source.path.name, plan.repeat, as_json=invocation.get("json", False))
    try:
        measure("bench", lambda tell, stop: run_bench(source, plan, tell, stop), report.show)
    finally:  # stopped or failed: what was measured is not lost
        report.end()


class _Report:
    """Shows what is going on, and the figures: a table as they come, or a JSON list at the end."""

    _ROW = "{:<8}{:>8}{:>9}{:>12}{:>10}{:>12}"

    def __init__(self, file_name: str, repeat: int, *, as_json: bool) -> None:
        self._file_name = file_name
        self._repeat = repeat
        self._as_json = as_json
        self._objects: list[dict[str, Any]] = []
        self._started: Started | None = None
        self._line = StatusLine()

    def show(self, event: BenchEvent) -> None:
        """Takes in what the engine tells."""
        from llamachat.engine.bench import Measurement, Progress, Started

        if isinstance(event, Progress):
            self._line.show(self._progress(event))
            return
        if not isinstance(event, Started | Measurement):
            self._line.show(f"loading {self._file_name} {bar(event.done_bytes, event.total_bytes)}")
            return
        self._line.clear()
        if isinstance(event, Started):
            self._start(event)
        elif self._started is not None:
            self._measured(event, self._started)

    def end(self) -> None:
        """Takes the progress line away; writes the JSON list, if measuring began."""
        self._line.clear()
        if self._as_json and self._started is not None:
            print(json.dumps(self._objects, ensure_ascii=False))

    def _progress(self, event: Progress) -> str:
        trial = event.trial
        what = f"{trial.phase} of {trial.n:,} at depth {trial.depth:,}"
        how = f"{event.repetition} of {self._repeat}" if event.repetition else "getting ready"
        return f"{what}: {how} {bar(event.done_tokens, event.total_tokens)}"

    def _start(self, event: Started) -> None:
        self._started = event
        for notice in (*event.info.notices, *event.notices):
            note(notice)
        if self._as_json:
            return
        info = event.info
        size = f"{info.n_params / 1e6:,.1f} M parameters, {megabytes(info.size_bytes)}"
        threads = f"{event.n_threads} thread{'s' if event.n_threads > 1 else ''}"
        print(clean_line(f"{info.name}: {info.type_name}, {size}"))
        print(f"{event.isa}, {threads}, memory read at {event.read_bandwidth / 1e9:.1f} GB/s, KV cache {event.kv_type}")
        print()
        print(self._ROW.format("phase", "tokens", "depth", "tokens/s", "stddev", "bandwidth"), flush=True)

    def _measured(self, measurement: Measurement, started: Started) -> None:
        trial, rate = measurement.trial, measurement.tokens_per_second
        share = started.bandwidth_share(measurement)
        if not self._as_json:
            shown = "-" if share is None else f"{100 * share:.0f} %"
            cells = (
                trial.phase.value,
                f"{trial.n:,}",
                f"{trial.depth:,}",
                f"{rate:,.1f}",
                f"{measurement.stddev:,.1f}",
            )
            print(self._ROW.format(*cells, shown), flush=True)
            return
        self._objects.append(
            {
                "phase": trial.phase.value,
                "n": trial.n,
                "depth": trial.depth,
                "tokens_per_second": round(rate, 3),
                "stddev": round(measurement.stddev, 3),
                "repeat": len(measurement.rates),
                "bandwidth_share": None if share is None else round(share, 4),
                "read_bandwidth": round(started.read_bandwidth),
                "weight_bytes": started.weight_bytes,
                "cache_bytes": started.cache_bytes,
                "kv_type": started.kv_type.value,
                "isa": started.isa,
                "threads": started.n_threads,
                "model": started.info.name,
                "type": started.info.type_name,
            }
        )
