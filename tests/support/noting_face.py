"""A face for commands that shows nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llamachat.chat.conversation import Message
from llamachat.chat.file_blocks import behind
from llamachat.errors import LlamachatError


class NotingFace:
    """Notes what commands ask of it."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.done: list[str] = []
        self.copied: list[str] = []
        self.edits: list[tuple[str, str]] = []
        self.agrees = True
        self.asks = True
        self.typed: str | None = None
        self.message = ""

    def say(self, text: str) -> None:
        self.said.append(text)

    def show_help(self) -> None:
        self.done.append("help")

    def quit(self) -> None:
        self.done.append("quit")

    def themes(self) -> list[str]:
        return ["paper", "night"]

    def set_theme(self, name: str) -> None:
        if name not in self.themes():
            raise LlamachatError(f"no theme {name!r}")
        self.done.append(f"theme {name}")

    def copy(self, text: str) -> None:
        self.copied.append(text)

    def confirm(self, question: str, action: Callable[[], None]) -> None:
        self.done.append(question)
        if self.agrees:
            action()

    def written(self) -> str:
        return self.message

    def write(self, name: str, block: str) -> None:
        self.message = behind(self.message, block)

    def edit_line(self, label: str, text: str, action: Callable[[str], object]) -> None:
        self.edit_text(label, text, action)

    def edit_text(self, label: str, text: str, action: Callable[[str], object]) -> None:
        self.edits.append((label, text))
        if self.typed is not None:
            action(self.typed)

    def edit_message(self, message: Message) -> None:
        self.edits.append((message.role.value, message.text))

    def show_tokens(self, message: Message, at: int | None) -> None:
        self.done.append(f"tokens of {message.text!r}" + ("" if at is None else f" at {at}"))

    def pick_session(self) -> None:
        self.done.append("pick session")

    def pick_model(self) -> None:
        self.done.append("pick model")

    def take_time(self, label: str, work: Callable[[], Any], then: Callable[[Any], object]) -> None:
        self.done.append(label)
        then(work())

    def fetch_model(self) -> None:
        self.done.append("fetch model")
