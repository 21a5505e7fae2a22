"""A program that chats until it is killed; run by tests as ``python -m tests.support.chatting_process``.

``FOLDER stream`` streams one long answer and prints, every few milliseconds, how much of it was there to be
seen. ``FOLDER write N`` sends N messages in a chat of its own. ``FOLDER draft TEXT`` types and waits.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from llamachat.chat.session import ChatSession
from llamachat.chat.store import SessionStore
from tests.support.scripted_engine import ScriptedEngine

QUESTION = "Count, please."
ANSWER = " ".join(str(number) for number in range(100_000))


def _say(line: str) -> None:
    print(line, flush=True)


def _stream(folder: Path) -> None:
    session = ChatSession(SessionStore(folder), ScriptedEngine([ANSWER], loaded=True, tokens_per_second=400))
    session.set_parameter("max_tokens", 1_000_000)
    session.send(QUESTION)
    _say("asked")
    while True:
        session.wait(0.05)
        session.drain()
        leaf = session.conversation.leaf
        _say(f"{time.monotonic()} {len(leaf.text) if leaf else 0}")


def _write(folder: Path, n_messages: int) -> None:
    session = ChatSession(SessionStore(folder), ScriptedEngine())
    for number in range(n_messages):
        session.send(f"message {number}")
    notices = session.take_notices()
    session.close()
    _say(f"wrote {n_messages} {notices}")


def _draft(folder: Path, text: str) -> None:
    session = ChatSession(SessionStore(folder), ScriptedEngine())
    for end in range(1, len(text) + 1):
        session.save_draft(text[:end])
    _say(f"{time.monotonic()} typed")
    time.sleep(60)


def main() -> None:
    """Does what the command line says."""
    folder, what = Path(sys.argv[1]), sys.argv[2]
    if what == "stream":
        _stream(folder)
    elif what == "write":
        _write(folder, int(sys.argv[3]))
    else:
        _draft(folder, sys.argv[3])


if __name__ == "__main__":
    main()
