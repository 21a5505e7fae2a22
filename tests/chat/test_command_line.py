"""What is typed: a message, a command, or a command behind a message."""

from __future__ import annotations

import pytest

from llamachat.chat.command_line import as_message, as_typed, is_command, leaves_message, split_command
from llamachat.chat.file_blocks import file_block

FILE = file_block("a", "one\n")


@pytest.mark.parametrize(
    ("typed", "message", "command"),
    [
        ("/help", "", "/help"),
        ("/system one\ntwo", "", "/system one\ntwo"),
        ("//help", "//help", ""),
        ("a /help", "a /help", ""),
        ("a\n/help", "a\n/help", ""),
        ("a\n/read x", "a\n", "/read x"),
        ("a\n\n/read", "a\n\n", "/read"),
        ("a\n/reading", "a\n/reading", ""),
        ("a\n/read x\nb", "a\n/read x\nb", ""),
        ("a\n//read x", "a\n//read x", ""),
        (f"{FILE}\n\n/help", f"{FILE}\n\n", "/help"),
        (f"{FILE}\n\n//help", f"{FILE}\n\n//help", ""),
        (f"{FILE}\n\nWhat?\n/help", f"{FILE}\n\nWhat?\n/help", ""),
        (f"{FILE}\n/read x", f"{FILE}\n", "/read x"),
    ],
)
def test_where_a_command_begins(typed: str, message: str, command: str) -> None:
    assert split_command(typed) == (message, command)
    assert is_command(typed) == bool(command)


def test_whether_a_message_is_left_to_go_on_with() -> None:
    for typed in ("/read x", "/READ x", "a\n/read x", f"{FILE}\n/help"):
        assert leaves_message(typed)
    for typed in ("/help", "/reads x", "//read x", "plain", "a\n/help"):
        assert not leaves_message(typed)


@pytest.mark.parametrize(
    "message",
    ["plain", "/etc is a folder", "a\n/read x", "a\n//read", f"{FILE}\n\n/help", "/a\n/read x", "a\n/help", "///", "/"],
)
def test_every_message_can_be_typed(message: str) -> None:
    assert not is_command(as_typed(message))
    assert as_message(as_typed(message)) == message


def test_a_message_without_doubled_slashes_is_meant_as_it_is() -> None:
    for typed in ("plain", "a\n/help", "a\n/read x", "a // b"):
        assert as_message(typed) == typed
