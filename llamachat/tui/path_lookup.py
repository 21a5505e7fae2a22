"""Completing paths without waiting for the disk."""

from __future__ import annotations

import threading
from contextlib import suppress

from textual.message import Message
from textual.message_pump import MessagePump

from llamachat.chat.path_completion import PathCompletions, TypedPath

_MOST_THREADS = 4


class PathLookup:
    """Reads folders for a widget, which gets :class:`Found` for what it asked last.

    They are read on threads that nothing waits for: a network folder that does not answer must hold up neither the
    screen, nor the next folder, nor the end of the program. (Textual's workers are waited for.)
    """

    class Found(Message):
        """What a path may become that was typed."""

        def __init__(self, typed: TypedPath, completions: PathCompletions) -> None:
            super().__init__()
            self.typed = typed
            self.completions = completions

    def __init__(self, asker: MessagePump) -> None:
        self._asker = asker
        self._lock = threading.Lock()
        self._asked: TypedPath | None = None  #: what no thread has taken yet
        self._n_threads = 0

    def ask(self, typed: TypedPath) -> None:
        """Begins to look what a path may become, as soon as a thread has time; what nobody has begun is forgotten."""
        with self._lock:
            self._asked = typed
            if self._n_threads < _MOST_THREADS:
                self._n_threads += 1
                threading.Thread(target=self._look, name="llamachat-paths", daemon=True).start()

    def _look(self) -> None:
        while True:
            with self._lock:
                typed, self._asked = self._asked, None
                if typed is None:
                    self._n_threads -= 1
                    return
            found = typed.completions()
            with suppress(RuntimeError):  # the screen has ended meanwhile
                self._asker.post_message(self.Found(typed, found))
