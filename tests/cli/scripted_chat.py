"""Line mode over the scripted engine: ``python -m tests.cli.scripted_chat DATA_DIR '{"answers": ["Hi."]}'``."""

from __future__ import annotations

import json
import sys
from contextlib import closing
from pathlib import Path

from llamachat.chat.session import ChatSession
from llamachat.chat.store import SessionStore
from llamachat.cli import line_mode
from llamachat.cli.failures import run
from llamachat.engine.base import ModelSource
from tests.support.scripted_engine import ScriptedEngine


def talk() -> int:
    """Talks with the engine that the arguments describe, beginning with its (scripted) loading."""
    data, options = Path(sys.argv[1]), json.loads(sys.argv[2])
    source = None if options.pop("no_model", False) else ModelSource(Path("/models/scripted.gguf"))
    with closing(ChatSession(SessionStore(data), ScriptedEngine(**options))) as session:
        if len(sys.argv) > 3:
            session.open(session.sessions()[0].id)
        return line_mode.run(session, source, data)


if __name__ == "__main__":
    sys.exit(run(talk))
