"""A terminal of our own, to use programs as a person does: type, and wait for what appears."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Mapping, Sequence
from types import TracebackType

_ESCAPE = r"\x1b(\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\)|[()][A-Z0-9]|[=>78])"
_ANY_ESCAPES = f"(?:{_ESCAPE})*"


def _as_a_login_shell_would() -> None:
    """Takes the terminal, and hears Ctrl+C, also where the tests run in the background of a shell that ignores it."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Terminal:
    """Runs a program in a pseudo-terminal. ``output`` is everything it wrote, ``screen_text`` that without escapes."""

    def __init__(
        self, command: Sequence[str], env: Mapping[str, str] | None = None, *, rows: int = 24, columns: int = 80
    ) -> None:
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        environment = {**os.environ, "TERM": "xterm-256color", **(env or {})}
        self.process = subprocess.Popen(
            command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment, start_new_session=True,
            preexec_fn=_as_a_login_shell_would,
        )  # fmt: skip
        os.close(theirs)
        self.output = ""
        self._seen = 0

    @property
    def screen_text(self) -> str:
        return re.sub(_ESCAPE, "", self.output)

    @property
    def waited_for(self) -> str:
        """The output up to the end of what was waited for last."""
        return self.output[: self._seen]

    def press(self, text: str) -> None:
        """Presses keys: ``\\r`` is Enter, ``\\x03`` Ctrl+C, ``\\x04`` Ctrl+D."""
        os.write(self._ours, text.encode())

    def wait_for(self, text: str, seconds: float = 20.0) -> None:
        """Waits until ``text`` appears, whatever its colours, after what was waited for before."""
        self._wait_for(_ANY_ESCAPES.join(map(re.escape, text)), text, seconds)

    def wait_for_prompt(self) -> None:
        """Waits until line mode reads keys: it has switched bracketed paste on."""
        self._wait_for(re.escape("\x1b[?2004h"), "a prompt", 20.0)

    def _wait_for(self, pattern: str, name: str, seconds: float) -> None:
        end = time.monotonic() + seconds
        while (found := re.compile(pattern).search(self.output, self._seen)) is None:
            left = end - time.monotonic()
            assert left > 0, f"{name!r} did not appear in {self.output[self._seen :]!r}"
            self._read(left)
        self._seen = found.end()

    def wait(self, seconds: float = 20.0) -> int:
        """Waits for the program's end; returns its exit status."""
        end = time.monotonic() + seconds
        while self.process.poll() is None:
            assert time.monotonic() < end, f"still running after {self.output[self._seen :]!r}"
            self._read(0.05)
        self._read(0.05)
        return self.process.returncode

    def signal(self, number: signal.Signals) -> None:
        """Sends the program a signal."""
        self.process.send_signal(number)

    def settings(self) -> list[int | list[bytes | int]]:
        """The terminal's mode, to see whether it was put back."""
        return termios.tcgetattr(self._ours)

    def _read(self, seconds: float) -> None:
        if not select.select([self._ours], [], [], seconds)[0]:
            return
        try:
            data = os.read(self._ours, 65536)
        except OSError:  # the other side is closed
            time.sleep(0.01)
            return
        self.output += data.decode("utf-8", "replace")
        if b"\x1b[6n" in data:  # asked where the cursor is, terminals answer
            os.write(self._ours, b"\x1b[1;1R")

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self._ours)
