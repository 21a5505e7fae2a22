"""The screen starts light: what is not needed for the first frame is not imported before it."""

from __future__ import annotations

import json
import subprocess
import sys

_SCRIPT = """
import asyncio, json, sys, tempfile
from pathlib import Path
from llamachat.tui.app import ChatApp
from llamachat.chat.session import ChatSession
from llamachat.chat.store import SessionStore

class Silent:
    settings = None
    info = None
    tokenizer = None
    def subscribe(self, listener): pass
    def close(self, timeout=2.0): pass

async def main():
    session = ChatSession(SessionStore(Path(tempfile.mkdtemp())), Silent())
    app = ChatApp(session)
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.pause()
        print(json.dumps(sorted(sys.modules)))
    session.close()

asyncio.run(main())
"""


def test_the_first_frame_needs_no_engine_no_markdown_and_no_command_line() -> None:
    found = subprocess.run([sys.executable, "-c", _SCRIPT], capture_output=True, text=True, check=True, timeout=60)
    modules = set(json.loads(found.stdout.splitlines()[-1]))
    assert "textual" in modules
    heavy = {
        "numpy", "markdown_it", "pygments", "tokenizers", "sentencepiece", "jinja2", "prompt_toolkit", "click",
        "llamachat._native", "llamachat.cli", "llamachat.engine.worker", "tree_sitter", "multiprocessing",
        "llamachat.tui.key_table", "llamachat.tui.key_names",
    }  # fmt: skip
    assert not heavy & modules
