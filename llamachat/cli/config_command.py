"""``llamachat config``: every option, what it is set to, and where; or every key of the full screen."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import click

from llamachat.chat.presets import Preset
from llamachat.cli.help import CONTEXT, HelpCommand
from llamachat.cli.invocation import CONFIG_NAME, Invocation, config_file
from llamachat.cli.options import CHAT, COMMON, PROGRAM, Option, flag, with_options
from llamachat.cli.table import print_table
from llamachat.display import clean_line
from llamachat.engine.settings import PARAMETER

_OWN = [
    flag("keys", "The keys of the full screen, what they do, and the ids to set them by.", PROGRAM),
    flag("json", "Write one JSON object.", PROGRAM),
]

_EXAMPLES = """\
llamachat config                          what is set, and where
llamachat config --json | jq .options
llamachat config --keys                   what each key does
llamachat --temperature 0.2 config        what a command line would do
"""
_NOTE = """\
The command line wins over the environment, and that over the file; what a preset gives counts where it is named. What
is not set is found out when it is needed.
"""
_VALUE_CHARS = 60


@with_options(_OWN, CHAT)
@click.command(cls=HelpCommand, context_settings=CONTEXT, examples=_EXAMPLES, note=_NOTE)
@click.pass_context
def config(context: click.Context, /, **_options: object) -> None:
    """Show every option, or every key: its value, and where that stands."""
    invocation = Invocation.of(context, _OWN)
    path = config_file(invocation.get("config"))
    as_json = invocation.get("json", False)
    keymap: dict[str, str] = invocation.get("keymap", {})
    if not as_json:
        print(clean_line(str(path), 10_000) + ("" if os.path.lexists(path) else "  (not there)"))
    if invocation.get("keys"):
        from llamachat.cli.key_list import print_keys

        print_keys(path, keymap, as_json=as_json)
        return
    rows = [
        (option.key, value := _value(option, invocation), invocation.origins.get(option.name, _unset(option, value)))
        for option in COMMON
        if option.name != "config"
    ]
    if as_json:
        options = {key: {"value": value, "from": origin} for key, value, origin in rows}
        told = {"file": str(path), "exists": path.exists(), "options": options, "keys": keymap}
        print(json.dumps(told, ensure_ascii=False))
        return
    rows += [(f"keys.{ident}", keys or "(none)", CONFIG_NAME) for ident, keys in keymap.items()]
    print_table([key, _shown(key, value), origin] for key, value, origin in rows)


def _value(option: Option, invocation: Invocation) -> Any:
    """The value as JSON has it; None where nothing is set, and nothing stands in for it."""
    if option.name == "data_dir":
        return str(invocation.data_dir)
    default = PARAMETER[option.name].default if option.name in PARAMETER else None if option.metavar else False
    value = invocation.get(option.name, default)
    if isinstance(value, Preset):
        return value.name
    return str(value) if isinstance(value, Path) else value


def _unset(option: Option, value: Any) -> str:
    """Where a value stands that nobody gave."""
    return "not set" if value is None and option.name not in PARAMETER else "default"


def _shown(key: str, value: Any) -> str:
    parameter = PARAMETER.get(key.replace("-", "_"))
    if parameter is not None:
        return parameter.format(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else clean_line(str(value), 10_000 if key == "data-dir" else _VALUE_CHARS)
