"""Texts that end an answer, found in a stream where they may be cut anywhere."""

from __future__ import annotations


class StopTexts:
    """Lets text through up to the first stop text; holds back an end that could become one."""

    def __init__(self, texts: tuple[str, ...]) -> None:
        self._texts = tuple(text for text in texts if text)
        self._held = ""
        self.found = False

    def push(self, text: str) -> str:
        """The text that may be shown now that ``text`` has come."""
        if self.found or not self._texts:
            return "" if self.found else text
        self._held += text
        starts = [start for stop in self._texts if (start := self._held.find(stop)) >= 0]
        if starts:
            self.found = True
            shown, self._held = self._held[: min(starts)], ""
            return shown
        safe = len(self._held) - self._possible_beginning()
        shown, self._held = self._held[:safe], self._held[safe:]
        return shown

    def flush(self) -> str:
        """What was held back, once nothing more comes."""
        shown, self._held = self._held, ""
        return shown

    def _possible_beginning(self) -> int:
        """Length of the longest end of the held text that begins a stop text."""
        longest = max(map(len, self._texts)) - 1
        for length in range(min(longest, len(self._held)), 0, -1):
            end = self._held[-length:]
            if any(stop.startswith(end) for stop in self._texts):
                return length
        return 0
