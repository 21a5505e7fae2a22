"""What can go wrong, as one line for a person: what failed, where, and what to do next."""

from __future__ import annotations

from pathlib import Path


class LlamachatError(Exception):
    """The base of every error this program raises on purpose.

    ``str(error)`` is one plain sentence; a face prints it and shows no traceback.
    """


class FileError(LlamachatError):
    """A file that cannot be used. ``str()`` is ``PATH: reason``."""

    def __init__(self, path: str | Path, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = Path(path)
        self.reason = reason


class WeightsError(FileError):
    """A weight file or vocabulary file that is broken, foreign, or not supported."""


class TokenizerError(LlamachatError):
    """A vocabulary from which no tokenizer can be built."""


class EngineError(LlamachatError):
    """The engine cannot do what was asked: out of memory, context full, bad numbers."""


class PromptError(LlamachatError):
    """A conversation that cannot be put into the model's prompt format, or does not fit its context."""


class StoreError(LlamachatError):
    """The session database cannot be read or written."""


class Cancelled(LlamachatError):  # noqa: N818  (nothing went wrong)
    """The person asked to stop; nothing is wrong."""

    def __init__(self, what: str = "cancelled") -> None:
        super().__init__(what)
