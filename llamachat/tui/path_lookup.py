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
        self._read: set[str] = set()  #: folders, by a thread each: all for one that does not answer would leave none

    def ask(self, typed: TypedPath) -> None:
        """Begins to look what a path may become, as soon as a thread has time; what nobody has begun is forgotten."""
        with self._lock:
            self._asked = typed
            if len(self._read) < _MOST_THREADS and (taken := self._take()) is not None:
                threading.Thread(target=self._look, args=(taken,), name="llamachat-paths", daemon=True).start()

    def _take(self) -> TypedPath | None:
        """What is asked, unless its folder is being read: then whoever does that takes it next."""
        typed = self._asked
        if typed is None or _folder(typed) in self._read:
            return None
        self._asked = None
        self._read.add(_folder(typed))
        return typed

    def _look(self, typed: TypedPath) -> None:
        taken: TypedPath | None = typed
        while taken is not None:
            found = taken.completions()
            with suppress(RuntimeError):  # the screen has ended meanwhile
                self._asker.post_message(self.Found(taken, found))
            with self._lock:
                self._read.remove(_folder(taken))
                taken = self._take()


def _folder(typed: TypedPath) -> str:
    return typed.text.rpartition("/")[0]
