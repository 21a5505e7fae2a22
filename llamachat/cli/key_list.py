"""What ``llamachat config --keys`` says. Imports Textual: only the screen knows its keys."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from llamachat.cli.failures import note
from llamachat.cli.invocation import CONFIG_NAME
from llamachat.cli.table import print_table
from llamachat.tui.key_table import BINDINGS, check, keys_of_all


def print_keys(file: Path, wanted: Mapping[str, str], *, as_json: bool) -> None:
    """Prints every id with its keys now, where they stand, and what they do; below, what is not as it is wanted."""
    checked = check(wanted)
    own, now = keys_of_all(), keys_of_all(checked.keys)
    origin = {ident: "default" if now[ident] == own[ident] else CONFIG_NAME for ident in BINDINGS}
    if as_json:
        keys = {
            ident: {"keys": now[ident], "from": origin[ident], "default": own[ident], "does": binding.description}
            for ident, binding in BINDINGS.items()
        }
        told = {"file": str(file), "exists": file.exists(), "keys": keys, "problems": checked.problems}
        print(json.dumps(told, ensure_ascii=False))
        return
    print_table(
        (ident, ",".join(now[ident]) or "(none)", origin[ident], binding.description)
        for ident, binding in BINDINGS.items()
    )
    for problem in checked.problems:
        note(problem)
