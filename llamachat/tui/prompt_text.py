"""What a composer remembers: the prompts sent before. No widgets."""

from __future__ import annotations

from llamachat.display import clean


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
