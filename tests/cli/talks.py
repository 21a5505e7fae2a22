"""Chats line by line, in a terminal or through a pipe: what their tests share."""

from __future__ import annotations

from collections.abc import Callable

from llamachat.chat.conversation import Conversation, Role
from tests.cli.terminal import Terminal

ENTER, CTRL_C, CTRL_D, CTRL_J, CTRL_Z = "\r", "\x03", "\x04", "\x0a", "\x1a"
ALT_ENTER, TAB, UP = "\x1b\r", "\t", "\x1b[A"
WORDS = " ".join(f"word{number}" for number in range(400))

Talk = Callable[..., Terminal]
Stored = Callable[[], Conversation]


def ready(terminal: Terminal) -> Terminal:
    """Waits until it reads keys."""
    terminal.wait_for_prompt()
    return terminal


def questions(conversation: Conversation) -> list[str]:
    return [message.text for message in conversation.path if message.role is Role.USER]
