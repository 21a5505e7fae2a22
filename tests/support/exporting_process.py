"""A program that writes one chat after another into the same file until it is killed, saying which is there."""

from __future__ import annotations

import sys
from itertools import count
from pathlib import Path

from llamachat.chat.conversation import Conversation
from llamachat.chat.exchange.writing import write_file

TEXT = "A question that takes some time to be written. " * 20_000  # a megabyte


def numbered(number: int) -> Conversation:
    """The chat of this number; its last message has the number, too."""
    chat = Conversation(title=f"chat {number}")
    chat.add_user(TEXT, parent=None)
    chat.add_user(f"the end of {number}", parent=chat.leaf)
    return chat


if __name__ == "__main__":
    for number in count(1):
        write_file(numbered(number), Path(sys.argv[1]), replace=True)
        print(number, flush=True)
