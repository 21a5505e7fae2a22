"""How the program ends: exit statuses, and errors as one line on stderr."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import signal
import sys
import unicodedata
from collections.abc import Callable, Iterator
from types import FrameType
from typing import IO, Any, NoReturn

import click

from llamachat.display import clean_line
from llamachat.errors import FileError, LlamachatError
from llamachat.files.reasons import reason_of
from llamachat.signals import ENDING_SIGNALS, signal_handlers

OK, FAILED, USAGE = 0, 1, 2
_COLUMNS = 200
_PATH_COLUMNS = 24  # of a path are shown whatever the reason
PREFIX = "llamachat: error: "


class Terminated(SystemExit):
    """SIGTERM or SIGHUP came. A ``SystemExit``, since event loops let no other exception but that end them."""

    def __init__(self, signal_number: int) -> None:
        super().__init__(status_of_signal(signal_number))
        self.signal_number = signal_number


def status_of_signal(number: int) -> int:
    """The exit status that tells of a signal."""
    return 128 + number


def run(command: Callable[[], int | None]) -> int:
    """Runs a command and returns its exit status; whatever goes wrong becomes one line on stderr."""
    _mend_streams()
    try:
        with _signals():
            status = command() or OK
            sys.stdout.flush()
    except KeyboardInterrupt:
        status = status_of_signal(signal.SIGINT)
    except Terminated as ended:
        status = status_of_signal(ended.signal_number)
    except BrokenPipeError:
        status = status_of_signal(signal.SIGPIPE)  # what a program that does not handle it shows
    except Exception as error:  # the border: no traceback ever reaches a person
        status = USAGE if isinstance(error, click.UsageError) else FAILED
        tell(_message(error))
    _settle()
    return status


def tell(message: str) -> None:
    """Writes an error as one line on stderr, at once."""
    with contextlib.suppress(OSError, ValueError):  # a terminal that is gone cannot be told
        sys.stderr.write(PREFIX + message + "\n")
        sys.stderr.flush()


def note(message: str) -> None:
    """Writes something to know, which is no error, as one line on stderr."""
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.write(f"llamachat: {clean_line(message)}\n")
        sys.stderr.flush()


def error_line(error: LlamachatError | str, columns: int = _COLUMNS - len(PREFIX)) -> str:
    """An error in at most ``columns`` terminal columns, safe to show. A long path gives way, not the reason."""
    line = clean_line(str(error), 10_000)
    if _width(line) > columns and isinstance(error, FileError):
        path = clean_line(str(error.path), 10_000)
        reason = _fit(clean_line(error.reason, 10_000), columns - 2 - min(_width(path), _PATH_COLUMNS))
        line = f"{_fit(path, columns - 2 - _width(reason), keep_end=True)}: {reason}"
    return _fit(line, columns)


def _message(error: Exception) -> str:
    if isinstance(error, LlamachatError):
        return error_line(error)
    if isinstance(error, click.UsageError):
        path = error.ctx.command_path.strip() if error.ctx else "llamachat"
        text = error.format_message().rstrip(".")
        if text[1:2].islower():  # click's sentences begin with a capital; LLAMACHAT_TOP_P stays
            text = text[:1].lower() + text[1:]
        return error_line(f"{text} ({path} --help)")
    if isinstance(error, click.ClickException):
        return error_line(error.format_message())
    from llamachat.cli import log

    where = log.exception()
    if isinstance(error, OSError) and error.strerror:
        return error_line(FileError(error.filename or "output", reason_of(error)))
    return error_line(f"an unexpected {type(error).__name__}: {error}; {where}")


def _width(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text)


def _fit(text: str, columns: int, *, keep_end: bool = False) -> str:
    if _width(text) <= columns:
        return text
    while text and _width(text) > columns - 1:
        text = text[1:] if keep_end else text[:-1]
    return f"…{text}" if keep_end else f"{text}…"


def _mend_streams() -> None:
    """Makes the standard streams fit to write any text to, also where they were closed or know few letters."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        stream = getattr(sys, name)
        if stream is None:  # closed by the caller
            null = open(os.devnull, mode, encoding="utf-8")  # noqa: SIM115, PTH123 - also keeps the number taken
            setattr(sys, name, _Closed(null) if name == "stdout" else null)
        elif mode == "w":
            stream.reconfigure(errors="replace")


class _Closed(io.TextIOBase):
    """Standard output where the caller closed it: what should be written there is lost, and that is an error."""

    def __init__(self, place: IO[Any]) -> None:
        self._place = place  # kept open, or the next file opened would be standard output

    def write(self, text: str) -> int:
        if text:
            raise OSError(errno.EBADF, "is closed", "standard output")
        return 0


def _settle() -> None:
    """Writes out what is left, or throws it away: the interpreter's own flush would complain on stderr."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextlib.contextmanager
def soft_signals(react: Callable[[int], None], *, insistent: bool = True) -> Iterator[None]:
    """While it lasts, the first signal that would end the program calls ``react`` with its number instead.

    An exception that comes out of nowhere could cut a text between being printed and being counted; so the work goes
    on to a place where it can end. A second signal ends it there and then; Ctrl+C only if it is ``insistent``.
    """
    came: list[int] = []

    def soften(number: int, _frame: FrameType | None) -> None:
        came.append(number)
        if len(came) > 1 and (insistent or number != signal.SIGINT):
            raise ended_by(number)
        react(number)

    with signal_handlers((signal.SIGINT, *ENDING_SIGNALS), soften):
        yield


def ended_by(number: int) -> BaseException:
    """What a signal raises."""
    return KeyboardInterrupt() if number == signal.SIGINT else Terminated(number)


@contextlib.contextmanager
def _signals() -> Iterator[None]:
    """SIGTERM and SIGHUP unwind the program like Ctrl+C does."""

    def end(number: int, _frame: FrameType | None) -> NoReturn:
        raise ended_by(number)

    with signal_handlers(ENDING_SIGNALS, end):
        yield
