"""In a real terminal: it is given back as it was, however the chat ends, and gets no bytes but Textual's own."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from textual.drivers._writer_thread import WriterThread

from llamachat.chat.store import SessionStore
from llamachat.tui.gone_terminal import PatientFile

_PROGRAM = """
import logging
import signal
import sys
from pathlib import Path
from queue import Queue
from textual.drivers import _writer_thread
from llamachat.chat.session import ChatSession
from llamachat.chat.store import SessionStore
from llamachat.tui.app import ChatApp, run
from tests.support.scripted_engine import ScriptedEngine

logging.getLogger().addHandler(logging.NullHandler())  # as whoever starts the screen sends the log to a file
engine = ScriptedEngine([sys.argv[2]], loaded=True, tokens_per_second=float(sys.argv[3]))
session = ChatSession(SessionStore(Path(sys.argv[1])), engine)
if sys.argv[4:] == ["fail"]:
    session.regenerate = lambda: 1 / 0
if sys.argv[4:5] == ["early"]:
    begin = getattr(ChatApp, sys.argv[5])
    def signalled(app):
        signal.raise_signal(signal.SIGTERM)
        return begin(app)
    setattr(ChatApp, sys.argv[5], signalled)
for number in [getattr(signal, name) for name in sys.argv[4:] if name.startswith("SIG")]:
    class Interrupted(Queue):  # of the thread that writes
        told = False
        def _put(self, item):  # the lock is held
            super()._put(item)
            if not Interrupted.told and isinstance(item, str) and "word3" in item:
                Interrupted.told = True
                signal.raise_signal(number)
    _writer_thread.Queue = Interrupted
try:
    status = run(ChatApp(session))
except Exception as error:
    print("ONE LINE:", error)
    status = 1
finally:
    session.close()
print("CLOSED", session.conversation.path[-1].text if session.conversation.path else "")
sys.exit(status)
"""

GIVEN_BACK = (b"\x1b[?1049l", b"\x1b[?25h", b"\x1b[?2004l", b"\x1b[?1003l")
ROOT = Path(__file__).parents[2]


class Terminal:
    """A program in a pseudo-terminal of 100 columns and 30 rows."""

    def __init__(self, *arguments: str) -> None:
        self.output = b""
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.chdir(ROOT)
            os.environ.update(TERM="xterm-256color", COLORTERM="truecolor", PYTHONPATH=str(ROOT))
            os.execv(sys.executable, [sys.executable, "-c", _PROGRAM, *arguments])  # noqa: S606
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))

    def until(self, done: Callable[[], bool]) -> None:
        """Reads until ``done()``."""
        deadline = time.monotonic() + 20
        while not done():
            assert time.monotonic() < deadline, self.output[-3000:]
            self._read(0.05)

    def _read(self, seconds: float) -> bool:
        ready, _, _ = select.select([self.fd], [], [], seconds)
        if ready:
            try:
                chunk = os.read(self.fd, 65536)
            except OSError:
                return False
            self.output += chunk
            return bool(chunk)
        return True

    def see(self, text: str) -> None:
        """Waits until a text has been written since the last call."""
        self.until(lambda: text.encode() in self.output)

    def type(self, keys: str) -> None:
        """Sends keys as a terminal does."""
        os.write(self.fd, keys.encode())

    def end(self) -> int:
        """Reads to the end; the exit status, negative for a signal."""
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            alive = self._read(0.05)
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                while alive and select.select([self.fd], [], [], 0)[0]:
                    alive = self._read(0)
                self.pid = 0
                return os.waitstatus_to_exitcode(status)
        raise AssertionError("it does not end")

    def close(self) -> None:
        """Ends whatever still runs."""
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self.fd)


@pytest.fixture
def terminals() -> Iterator[Callable[..., Terminal]]:
    opened: list[Terminal] = []

    def start(*arguments: str) -> Terminal:
        opened.append(Terminal(*arguments))
        return opened[-1]

    yield start
    for terminal in opened:
        terminal.close()


def answering(terminal: Terminal) -> None:
    """Asks, and waits for the first words."""
    terminal.see("sk anything")
    terminal.type("go\r")
    terminal.see("answering")
    terminal.see("word1")


WORDS = " ".join(f"word{number}" for number in range(400))


@pytest.mark.parametrize(
    ("end", "status"),
    [
        (lambda terminal: terminal.type("\x11"), 0),
        (lambda terminal: os.kill(terminal.pid, signal.SIGTERM), 128 + signal.SIGTERM),
        (lambda terminal: os.kill(terminal.pid, signal.SIGHUP), 128 + signal.SIGHUP),
    ],
    ids=["ctrl+q", "SIGTERM", "SIGHUP"],
)
def test_the_terminal_is_given_back_and_the_answer_kept(
    end: Callable[[Terminal], None], status: int, terminals: Callable[..., Terminal], tmp_path: Path
) -> None:
    terminal = terminals(str(tmp_path), WORDS, "50")
    answering(terminal)
    begun = time.monotonic()
    end(terminal)
    assert terminal.end() == status, terminal.output[-1500:]
    assert time.monotonic() - begun < 5
    tail = terminal.output[-4000:]
    assert all(sequence in tail for sequence in GIVEN_BACK)
    assert b"CLOSED word0 word1" in tail
    assert b"Traceback" not in terminal.output


@pytest.mark.parametrize("moment", ["get_default_screen", "on_mount", "on_chat_app_ready"])
def test_a_signal_before_the_first_frame_ends_it_too(
    moment: str, terminals: Callable[..., Terminal], tmp_path: Path
) -> None:
    terminal = terminals(str(tmp_path), WORDS, "50", "early", moment)
    assert terminal.end() == 128 + signal.SIGTERM
    assert b"CLOSED" in terminal.output
    assert b"Traceback" not in terminal.output


def test_an_error_on_the_screen_is_one_line_and_no_traceback(
    terminals: Callable[..., Terminal], tmp_path: Path
) -> None:
    terminal = terminals(str(tmp_path), WORDS, "50", "fail")
    answering(terminal)
    terminal.type("\x12")  # Ctrl+R: another answer
    assert terminal.end() == 1
    assert b"ONE LINE: the screen failed (ZeroDivisionError: division by zero)" in terminal.output
    assert b"Traceback" not in terminal.output
    assert all(sequence in terminal.output[-4000:] for sequence in GIVEN_BACK)


def test_the_writer_outlives_a_terminal_that_is_gone() -> None:
    """Textual's own dies of the first error, and after thirty pieces more whoever writes waits for good."""
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "w") as terminal:
        writer = WriterThread(PatientFile(terminal))  # type: ignore[arg-type]
        writer.start()
        writer.write("seen")
        assert os.read(ours, 100) == b"seen"
        os.close(ours)

        def write_on() -> None:
            for _ in range(200):
                writer.write("unseen")

        writing = threading.Thread(target=write_on, daemon=True)
        writing.start()
        writing.join(10)
        assert not writing.is_alive()
        writer.stop()
        assert not writer.is_alive()
        with suppress(OSError):
            terminal.close()


def test_a_closed_terminal_ends_the_program_and_keeps_the_answer(
    terminals: Callable[..., Terminal], tmp_path: Path
) -> None:
    terminal = terminals(str(tmp_path), WORDS, "50")
    answering(terminal)
    pid, terminal.pid = terminal.pid, 0
    os.close(terminal.fd)
    terminal.fd = os.open(os.devnull, os.O_RDONLY)
    deadline = time.monotonic() + 10
    while os.waitpid(pid, os.WNOHANG)[0] == 0:
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            raise AssertionError("it goes on without a terminal")
        time.sleep(0.02)
    store = SessionStore(tmp_path)
    conversation = store.load(store.sessions()[0].id)
    store.close()
    assert conversation.path[-1].text.startswith("word0 word1")


# What Textual writes: colours and attributes, cursor, erasing, modes, and queries of its start.
_ALLOWED = re.compile(
    rb"\x1b\[[0-9;:]*m|\x1b\[[0-9;]*[HJKABCDfsu]|\x1b\[\?[0-9;]+[hl]|\x1b\[\?[0-9;]*\$p|\x1b\[[<>=?]?[0-9;]*u"
    rb"|\x1b\[6n|\x1b\[c|\x1b\[>[0-9;]*[qcm]|\x1b\[1[468]t|\x1b\[[0-9]+ q"
    rb"|\x1bP=[12]s\x1b\\|\x1b\]22;[a-z-]*\x1b\\|\x1b\]22;[a-z-]*\x07|\x1b_Gi=[^\x1b]*\x1b\\"
)


def test_hostile_text_reaches_the_terminal_as_letters_only(terminals: Callable[..., Terminal], tmp_path: Path) -> None:
    hostile = (
        "\x1b]52;c;aGFja2Vk\x07 \x1b[2J\x1b]0;owned\x07 \x9b31m \x1bPq#0\x1b\\ [/nope] [@click=app.quit]x[/] shown"
    )
    terminal = terminals(str(tmp_path), hostile, "0")
    terminal.see("sk anything")
    terminal.type("\x1b[200~" + hostile + hostile.replace("\x1b", "\x1b\x1b") + "\x03\r\x11\x1b[2J\x1b[201~")
    terminal.type("\r")
    terminal.see("shown")
    terminal.see("ready")
    terminal.type("\x11")
    terminal.end()
    written = terminal.output.split(b"CLOSED")[0]
    rest = _ALLOWED.sub(b"", written)
    assert b"\x1b" not in rest, rest[max(0, rest.index(b"\x1b") - 20) : rest.index(b"\x1b") + 60]
    assert b"\x07" not in rest
    text = rest.decode("utf-8", "replace")
    assert not re.search("[\x80-\x9f\u202e]", text)


def test_a_paste_is_text_whatever_is_in_it(terminals: Callable[..., Terminal], tmp_path: Path) -> None:
    """In reads of one byte, too: it is sent by the Enter behind it, and ended by nothing in it."""
    terminal = terminals(str(tmp_path), "word", "0")
    terminal.see("sk anything")
    for byte in "\x1b[200~one\r\x1b[31mtwo\x1b[0m\x11\x03\tthree\x1b[201~\r":
        terminal.type(byte)
        time.sleep(0.002)
    terminal.see("word")
    terminal.type("\x11")
    assert terminal.end() == 0
    store = SessionStore(tmp_path)
    assert store.load(store.sessions()[0].id).path[0].text == "one\ntwo\ufffd\ufffd\tthree"
    store.close()


@pytest.mark.parametrize("stop", [signal.SIGTSTP, signal.SIGSTOP], ids=lambda number: number.name)
def test_the_screen_is_drawn_again_when_the_program_goes_on(
    stop: signal.Signals, terminals: Callable[..., Terminal], tmp_path: Path
) -> None:
    terminal = terminals(str(tmp_path), WORDS, "50")
    for _ in range(2):  # each time as the first time
        terminal.see("sk anything")
        os.kill(terminal.pid, stop)
        _, status = os.waitpid(terminal.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status)
        while select.select([terminal.fd], [], [], 0)[0]:
            terminal._read(0)
        terminal.output = b""
        os.kill(terminal.pid, signal.SIGCONT)
    terminal.see("sk anything")
    terminal.type("typed")
    terminal.see("typed")
    terminal.type("\x11")
    assert terminal.end() == 0
    assert all(sequence in terminal.output[-4000:] for sequence in GIVEN_BACK)


@pytest.mark.parametrize("name", ["SIGCONT", "SIGTSTP"])
def test_a_signal_in_the_middle_of_a_write_waits_for_nothing(
    name: str, terminals: Callable[..., Terminal], tmp_path: Path
) -> None:
    """The system sends SIGCONT along with the SIGHUP of a terminal that is closed, while the last frame is written."""
    terminal = terminals(str(tmp_path), WORDS, "50", name)
    answering(terminal)
    if name == "SIGTSTP":
        _, status = os.waitpid(terminal.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status)
        os.kill(terminal.pid, signal.SIGCONT)
    terminal.output = b""
    terminal.type("typed")
    terminal.see("typed")
    os.kill(terminal.pid, signal.SIGHUP)
    assert terminal.end() == 128 + signal.SIGHUP


def test_what_is_typed_before_the_screen_comes_is_there_then(
    terminals: Callable[..., Terminal], tmp_path: Path
) -> None:
    terminal = terminals(str(tmp_path), WORDS, "50")
    terminal.type("typed early")
    terminal.see("\x1b[?1049h")
    terminal.output = b""
    terminal.see("typed early")
    terminal.type("\x11")
    assert terminal.end() == 0
