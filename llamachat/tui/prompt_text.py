"""What a composer remembers: large pastes behind short labels, and the prompts sent before. No widgets."""

from __future__ import annotations

from llamachat.display import clean, is_long


class PasteFolds:
    """Large texts, each standing in the composer as a label such as ``[pasted #1: 12,000 characters]``.

    A label that was deleted or changed by hand stands for itself: its text is left out.
    """

    def __init__(self) -> None:
        self._texts: dict[str, str] = {}

    def fold(self, text: str) -> str:
        """The text itself where it is short, else a new label for it."""
        if not is_long(text):
            return text
        lines = text.count("\n") + 1
        size = f"{len(text):,} characters" + (f", {lines:,} lines" if lines > 1 else "")
        label = f"[pasted #{len(self._texts) + 1}: {size}]"
        self._texts[label] = text
        return label

    def expand(self, text: str) -> str:
        """The text with every label replaced by what it stands for, once each."""
        for label, full in self._texts.items():
            text = text.replace(label, full, 1)
        return text

    def clear(self) -> None:
        """Forgets everything folded."""
        self._texts.clear()


class PromptHistory:
    """The prompts sent, walked with up and down; what was being typed comes back at the end."""

    def __init__(self) -> None:
        self._prompts: list[str] = []
        self._at = 0
        self._draft = ""

    def fill(self, prompts: list[str]) -> None:
        """Starts over with these prompts, oldest first."""
        self._prompts = []
        for prompt in prompts:
            self.add(prompt)

    def add(self, prompt: str) -> None:
        """Appends a prompt that was sent; the same one twice in a row counts once."""
        if prompt.strip() and self._prompts[-1:] != [prompt]:
            self._prompts.append(prompt)
        self.leave()

    def leave(self) -> None:
        """Stands at the end again, where typing happens."""
        self._at = len(self._prompts)
        self._draft = ""

    @property
    def walking(self) -> bool:
        """Whether an earlier prompt is shown."""
        return self._at < len(self._prompts)

    def earlier(self, current: str) -> str | None:
        """The prompt before the one shown; None at the first. ``current`` is kept on the way out of the end."""
        if self._at == 0:
            return None
        if not self.walking:
            self._draft = current
        self._at -= 1
        return self._prompts[self._at]

    def later(self) -> str | None:
        """The prompt after the one shown, or the kept draft; None at the end."""
        if not self.walking:
            return None
        self._at += 1
        return self._prompts[self._at] if self._at < len(self._prompts) else self._draft


def safe_prompt(text: str) -> str:
    """Text on its way into the composer: newlines as ``\\n``, nothing that could steer a terminal.

    Tabs stay: a Makefile or a table is another text without them.
    """
    return clean(text.replace("\r\n", "\n").replace("\r", "\n"))
