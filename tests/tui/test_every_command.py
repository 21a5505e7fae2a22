"""Every command as it is typed, in a chat with messages: it does something or says why not, and the program stands."""

from __future__ import annotations

import pytest

from llamachat.chat.command_table import COMMANDS
from tests.support.chat_app import Chat, open_chat


def seen(chat: Chat) -> tuple[object, ...]:
    """What a command can have an effect on, the line that it is typed in aside."""
    return (
        chat.app.is_running,
        chat.app.screen,
        chat.app.focused,
        chat.trouble,
        chat.app.clipboard,
        chat.session.conversation.id,
        [message.id for message in chat.path],
        [message.text for message in chat.path],
    )


@pytest.mark.parametrize("name", [command.name for command in COMMANDS])
async def test_a_command_without_arguments(name: str) -> None:
    async with open_chat(["one two three", "four"]) as chat:
        await chat.ask("Hello")
        before = seen(chat)
        await chat.send(f"/{name}")
        await chat.until(lambda: seen(chat) != before, f"anything that /{name} does")
        await chat.press("escape", "escape")  # out of what it opened
        assert chat.app._exception is None
        assert chat.app.is_running == (name != "quit")
        assert chat.app.return_code == (0 if name == "quit" else None)
