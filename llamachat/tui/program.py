"""What the chat's screen asks of the application around it."""

from __future__ import annotations

from typing import Protocol

from llamachat.tui.keys import KeysInForce
from llamachat.tui.models import ModelShelf
from llamachat.tui.themes import ThemeShelf


class Program(Protocol):
    """The application, as those see it who stand below it."""

    models: ModelShelf | None
    """Where models are found and fetched; None where nobody said."""
    shelf_of_themes: ThemeShelf
    keys: KeysInForce
    """Which key stands for which binding."""

    def model_failed(self, problem: str) -> None:
        """A model could not be opened: offers the ways to one again where it was chosen there."""

    def offer_model(self, problem: str = "", *, fetch: bool = False) -> None:
        """Shows the ways to a model; ``fetch`` begins to fetch at once."""

    def set_theme(self, name: str) -> None:
        """Changes the theme; ``LlamachatError`` for a name that is none."""

    def copy_text(self, text: str) -> None:
        """Puts text on the clipboard."""

    def action_help(self) -> None:
        """Shows all keys."""
