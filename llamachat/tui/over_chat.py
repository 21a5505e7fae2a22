"""What every screen over the chat is."""

from __future__ import annotations

from typing import TypeVar

from textual.await_complete import AwaitComplete
from textual.screen import ModalScreen

Result = TypeVar("Result")


class OverChat(ModalScreen[Result]):
    """A screen that closes once. A key that is held comes again before the first was taken up, also to a screen that is
    closed by then, or not there yet.
    """

    def dismiss(self, result: Result | None = None) -> AwaitComplete:
        """Closes it, if it is on top: Textual takes off whatever is, the chat too. Not before it has its widgets, which
        its handlers look for.
        """
        if not self.is_mounted:
            self.call_later(self._dismiss_now, result)
        elif self.is_active:
            return super().dismiss(result)
        return AwaitComplete()

    def _dismiss_now(self, result: Result | None) -> None:
        """What is called later is awaited, and a screen cannot await its own end."""
        self.dismiss(result)
