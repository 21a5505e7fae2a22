"""``llamachat models``: what is in the models folder."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click

from llamachat import paths
from llamachat.chat.model_names import model_names
from llamachat.chat.names import NO_MODEL, model_files
from llamachat.cli.help import CONTEXT, HelpCommand
from llamachat.cli.invocation import Invocation
from llamachat.cli.model_files import default_model
from llamachat.cli.options import FOLDERS, PROGRAM, flag, with_options
from llamachat.cli.status_line import megabytes
from llamachat.cli.table import print_table
from llamachat.display import clean_line
from llamachat.errors import LlamachatError

_JSON = flag("json", "Write a JSON list.", PROGRAM)

_EXAMPLES = """\
llamachat models                      what there is; * marks the default
llamachat models --json | jq .        the same for programs
llamachat -m smollm2                  a name, or its beginning, opens a model
"""


@with_options([_JSON], FOLDERS)
@click.command(cls=HelpCommand, context_settings=CONTEXT, examples=_EXAMPLES)
@click.pass_context
def models(context: click.Context, /, **_options: object) -> None:
    """List the models in the models folder: name, format, weight type, size, path."""
    invocation = Invocation.of(context, [_JSON])
    folder = paths.models_dir(invocation.data_dir)
    files = model_files(folder)
    rows = [_describe(path, name) for path, name in zip(files, model_names(files), strict=True)]
    if invocation.get("json"):
        print(json.dumps(rows, ensure_ascii=False))
        return
    if not rows:
        sys.stderr.write(f"{clean_line(str(folder), 10_000)}: {NO_MODEL}\n")
        return
    start = str(default_model(invocation.data_dir))
    print_table(
        [
            "*" if row["path"] == start else "",
            row["name"],
            f"broken: {row['error']}" if "error" in row else f"{row['format']} {row['type']}",
            megabytes(row["size_bytes"]),
            row["path"],
        ]
        for row in rows
    )


def _describe(path: Path, name: str) -> dict[str, Any]:
    from llamachat.weights import open_weights
    from llamachat.weights.collection import size_of

    row: dict[str, Any] = {"name": name, "path": str(path), "size_bytes": size_of(path)}
    try:
        with open_weights(path) as weights:
            return row | {"format": weights.format, "type": weights.type_name, "parameters": weights.n_params}
    except LlamachatError as error:
        return row | {"error": getattr(error, "reason", str(error))}
