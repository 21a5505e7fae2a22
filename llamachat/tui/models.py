"""What the screen needs to know about models on disk. Whoever starts the screen says where they are and come from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol


class ModelShelf(Protocol):
    """The models folder, and the one model that can be fetched."""

    @property
    def folder(self) -> Path:
        """Where models go."""

    @property
    def offer(self) -> str:
        """The model that :meth:`fetch` brings, for a person: ``"SmolLM2-135M-Instruct (93 MB, Apache-2.0)"``."""

    def files(self) -> Sequence[Path]:
        """The models there are, files and folders."""

    def fetch(self, progress: Callable[[int, int], None], cancelled: Callable[[], bool]) -> Path:
        """Fetches the offered model; blocks, so it is called on a thread.

        ``progress(done_bytes, total_bytes)``. Raises ``Cancelled`` soon after ``cancelled()`` is true,
        ``LlamachatError`` for what goes wrong.
        """
