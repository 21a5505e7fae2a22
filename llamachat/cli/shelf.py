"""The models folder as the full screen sees it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from llamachat import paths
from llamachat.chat.names import model_files
from llamachat.cli import pull


class Shelf:
    """The models there are, and the one that can be fetched; ``llamachat.tui.models.ModelShelf`` says for whom."""

    def __init__(self, data_dir: Path) -> None:
        self.folder = paths.models_dir(data_dir)
        self.offer = pull.DEFAULT.description

    def files(self) -> Sequence[Path]:
        """The models there are, files and folders, by name."""
        return model_files(self.folder)

    def fetch(self, progress: Callable[[int, int], None], cancelled: Callable[[], bool]) -> Path:
        """Fetches the default model; blocks. ``Cancelled`` if stopped, ``LlamachatError`` if it fails."""
        return pull.fetch(pull.DEFAULT, self.folder, progress, cancelled)
