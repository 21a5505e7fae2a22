"""Runs one chat template and ends. A program of its own: nothing of llamachat is imported here.

It reads ``{"template", "variables", "path"}`` as JSON from standard input and writes ``{"text"}`` or
``{"error"}`` to standard output. The template is hostile code: jinja2's immutable sandbox bounds what it
can reach, the limits set here bound its time and memory, and the output is cut off as it grows.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from typing import Any, NoReturn

CPU_SECONDS = 2
MEMORY_BYTES = 512 << 20
OUTPUT_CHARACTERS = 1 << 20


def limit() -> None:
    """Bounds this process before it has seen anything hostile."""
    limits = (
        (resource.RLIMIT_CPU, CPU_SECONDS),
        (resource.RLIMIT_AS, MEMORY_BYTES),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),  # pipes are no files
    )
    for what, most in limits:
        try:
            resource.setrlimit(what, (most, most))
        except (OSError, ValueError):
            continue  # not every system knows every limit; the parent's clock still holds


def render(template: str, variables: dict[str, Any]) -> str:
    """The template's text. Anything may be raised."""
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    def refuse(message: object = "") -> NoReturn:
        raise ValueError(str(message))

    # As the templates' authors run them: block lines leave no white space behind.
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
    )
    environment.policies["json.dumps_kwargs"] = {"ensure_ascii": False}
    environment.globals["raise_exception"] = refuse
    environment.globals["strftime_now"] = time.strftime
    parts: list[str] = []
    room = OUTPUT_CHARACTERS
    for part in environment.from_string(template).generate(**variables):
        room -= len(part)
        if room < 0:
            raise ValueError("it writes too much")
        parts.append(part)
    return "".join(parts)


def main() -> None:
    """One request in, one reply out."""
    limit()
    request = json.load(sys.stdin)
    sys.path[:] = request["path"]
    try:
        reply = {"text": render(request["template"], request["variables"])}
    except MemoryError:
        reply = {"error": "it needs too much memory"}
    except Exception as error:
        reply = {"error": str(error)[:200] or type(error).__name__}
    json.dump(reply, sys.stdout)


if __name__ == "__main__":
    main()
