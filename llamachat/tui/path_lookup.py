"""Completing paths without waiting for the disk."""

from __future__ import annotations

import threading
from contextlib import suppress

from textual.message import Message
from textual.message_pump import MessagePump

from llamachat.chat.path_completion import PathCompletions, complete_path

_MOST_WAITING = 4


class PathLookup:
    """Reads folders for a widget, which gets :class:`Found`.

    Each is read on a thread of its own, which nothing waits for: a network folder that does not answer must hold up
    neither the screen, nor the next folder, nor the end of the program. (Textual's workers are waited for.) While some
    hang, no more are begun.
    """

    class Found(Message):
        """What a path may become that was typed."""

        def __init__(self, typed: str, completions: PathCompletions) -> None:
            super().__init__()
            self.typed = typed
            self.completions = completions

    def __init__(self, asker: MessagePump) -> None:
        self._asker = asker
        self._waiting = threading.Semaphore(_MOST_WAITING)

    def ask(self, typed: str) -> None:
        """Begins to look what a path may become."""
        if self._waiting.acquire(blocking=False):
            threading.Thread(target=self._look, args=(typed,), name="llamachat-paths", daemon=True).start()

    def _look(self, typed: str) -> None:
        try:
            found = complete_path(typed)
        finally:
            self._waiting.release()
        with suppress(RuntimeError):  # the screen has ended meanwhile
            self._asker.post_message(self.Found(typed, found))
