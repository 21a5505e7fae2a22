"""Large texts behind short labels, where a person writes and where messages are shown."""

from __future__ import annotations

import re

from llamachat.chat.file_blocks import content_of, parts_of
from llamachat.display import is_long

_FILE_CHARS, _FILE_LINES = 1_000, 10
"""A file beyond this stands as a label in a message that is being written: more lines than a composer shows."""


class Folds:
    """Large texts, each standing for itself as a label such as ``[pasted #1: 12,000 characters]``.

    A label that was deleted or changed by hand stands for itself: its text is left out.
    """

    def __init__(self) -> None:
        self._texts: dict[str, str] = {}

    def fold(self, text: str) -> str:
        """The text itself where it is short, else its label."""
        return self._label(f"pasted #{len(self._texts) + 1}", text, text) if is_long(text) else text

    def fold_file(self, name: str, block: str) -> str:
        """The same for a file as it stands in a message, the label being of the file's name and size."""
        content = content_of(block)
        is_short = len(content) <= _FILE_CHARS and content.count("\n") < _FILE_LINES
        return block if is_short else self._label(name, content, block)

    def fold_message(self, text: str) -> str:
        """A message to go on with: its files as labels, and what else in it is large."""
        parts = [self.fold_file(name, part) if name else self.fold(part) for name, part in parts_of(text)]
        folded = "".join(parts)
        return self.fold(text) if is_long(folded) else folded

    def expand(self, text: str) -> str:
        """The text with every label replaced by what it stands for."""
        if not self._texts or "[" not in text:
            return text
        return re.sub("|".join(map(re.escape, self._texts)), lambda found: self._texts[found[0]], text)

    def label_at_end(self, text: str) -> str:
        """The label that a text ends with; empty where there is none."""
        return next((label for label in self._texts if text.endswith(label)), "")

    def clear(self) -> None:
        """Forgets everything folded."""
        self._texts.clear()

    def _label(self, name: str, content: str, text: str) -> str:
        known = next((label for label, full in self._texts.items() if full == text), "")
        label, number = known or f"[{name}: {_size(content)}]", 1
        while label in self._texts and not known:  # another file of that name and size
            number += 1
            label = f"[{name} #{number}: {_size(content)}]"
        self._texts[label] = text
        return label


def with_long_files_folded(text: str) -> str:
    """A message as it is shown: instead of long files their labels."""
    if not is_long(text):
        return text
    return "".join(_shown(name, part) for name, part in parts_of(text))


def _shown(name: str, part: str) -> str:
    return f"[{name}: {_size(content_of(part))}]" if name and is_long(part) else part


def _size(text: str) -> str:
    lines = text.count("\n") + 1
    return f"{len(text):,} characters" + (f", {lines:,} lines" if lines > 1 else "")
