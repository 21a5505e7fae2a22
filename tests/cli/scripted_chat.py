"""Line mode over the scripted engine: ``python -m tests.cli.scripted_chat DATA_DIR '{"answers": ["Hi."]}'``."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from contextlib import closing
from pathlib import Path

from llamachat.chat.exchange import reading
from llamachat.chat.session import ChatSession
from llamachat.chat.store import SessionStore
from llamachat.cli import line_mode
from llamachat.cli.failures import run
from llamachat.engine.source import ModelSource
from tests.support.scripted_engine import ScriptedEngine


def talk() -> int:
    """Talks with the engine that the arguments describe, beginning with its (scripted) loading."""
    data, options = Path(sys.argv[1]), json.loads(sys.argv[2])
    if step := options.pop("hang_up_at_step", 0):
        _hang_up_at(step)
    if folder := options.pop("folder", ""):
        os.chdir(folder)
    if options.pop("slow_import", False):
        setattr(reading, "chats_in", _take_time)  # noqa: B010 - a function of a module, for the type checker
    source = None if options.pop("no_model", False) else ModelSource(Path("/models/scripted.gguf"))
    with closing(ChatSession(SessionStore(data), ScriptedEngine(**options))) as session:
        if len(sys.argv) > 3:
            session.open(session.sessions()[0].id)
        return line_mode.run(session, source, data)


def _take_time(_data: object) -> list[object]:
    print("taking its time", flush=True)
    time.sleep(60)
    return []


def _hang_up_at(number: int) -> None:
    """Has SIGHUP come between taking that step of the task that waits for more keys, counted from 1, and running it."""
    run_step = asyncio.Handle._run
    steps = 0

    def run(handle: asyncio.Handle) -> None:
        nonlocal steps
        task = getattr(handle._callback, "__self__", None)  # type: ignore[attr-defined]
        if isinstance(task, asyncio.Task) and "auto_flush_input" in repr(task):
            steps += 1
            if steps == number:
                os.kill(os.getpid(), signal.SIGHUP)
        run_step(handle)

    setattr(asyncio.Handle, "_run", run)  # noqa: B010 - a method, for the type checker


if __name__ == "__main__":
    sys.exit(run(talk))
