"""A terminal that is closed while the screen is drawn."""

from __future__ import annotations

from typing import IO, Any

from textual.driver import Driver


class PatientFile:
    """A terminal's file that takes no offence when the terminal is gone.

    Textual's writing thread dies of the first error, and its queue holds 30 pieces: whoever writes the next one waits
    for good, and so does the end of the program.
    """

    def __init__(self, file: IO[str]) -> None:
        self._file = file
        self._gone = False

    def write(self, text: str) -> int:
        """Writes, if anyone is there to read."""
        if not self._gone:
            try:
                return self._file.write(text)
            except OSError:
                self._gone = True
        return len(text)

    def flush(self) -> None:
        """As :meth:`write`."""
        if not self._gone:
            try:
                self._file.flush()
            except OSError:
                self._gone = True

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def patient(driver: type[Driver]) -> type[Driver]:
    """A driver like ``driver`` that outlives its terminal."""

    class PatientDriver(driver):  # type: ignore[misc, valid-type]
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            if hasattr(self, "_file"):
                self._file: Any = PatientFile(self._file)

    return PatientDriver
