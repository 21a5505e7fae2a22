"""Line mode's reader for a real terminal: history, several lines, completion of commands, a line of status."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import termios
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

from prompt_toolkit import PromptSession
from prompt_toolkit.application import get_app_or_none, run_in_terminal
from prompt_toolkit.completion import CompleteEvent, Completer, Completion, merge_completers
from prompt_toolkit.document import Document
from prompt_toolkit.filters import Condition
from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.key_binding import KeyBindings
from prompt_toolkit.key_binding.key_processor import KeyPressEvent
from prompt_toolkit.output.color_depth import ColorDepth
from prompt_toolkit.styles import Style

from llamachat.chat.commands import complete_path_line, path_typed, split_command
from llamachat.chat.file_blocks import without_files
from llamachat.chat.folds import Folds
from llamachat.cli.failures import ended_by
from llamachat.cli.line_reader import is_open, without_quotes
from llamachat.display import clean_line
from llamachat.signals import ENDING_SIGNALS, signal_handlers

_STYLE = Style.from_dict(
    {
        "prompt": "bold",
        "bottom-toolbar": "noreverse fg:ansibrightblack",
        "bottom-toolbar.text": "noreverse fg:ansibrightblack",
    }
)

_MOST_THREADS = 4  # that wait for folders
_LOOK_SECONDS = 0.1  # between looks whether the line is still the one that is completed

# Plain colours, wrapped lines, the cursor to be seen, pasted text like typed text, a line of its own for the shell.
_TIDY = "\x1b[0m\x1b[?7h\x1b[?25h\x1b[?2004l\r\n"


class TerminalReader:
    """Reads from a terminal through ``prompt_toolkit``.

    ``complete`` gives whole lines for a command line typed so far, ``status`` the line under the prompt. ``wake`` is
    called on the reading thread after :meth:`notify`; what it returns is printed above the prompt. ``save_draft`` is
    told of every change to what is being typed. In a message files, and what else is large, stand as labels.
    """

    asks = True
    offers_drafts = True

    def __init__(
        self,
        history: Path,
        complete: Callable[[str], list[str]],
        status: Callable[[], str],
        wake: Callable[[], str],
        save_draft: Callable[[str], None],
    ) -> None:
        self._status = status
        self._wake = wake
        self._printing: Awaitable[None] | None = None
        self._quiet: list[Any] | None = None  #: the terminal's settings while it is held
        self._folds = Folds()  # for good: what was sent may be recalled
        depth = ColorDepth.DEPTH_1_BIT if os.environ.get("NO_COLOR") else None
        self._prompt: PromptSession[str] = PromptSession(
            history=_history(history, self._folds),
            completer=merge_completers(
                [
                    _CommandCompleter(complete, self._command_typed, str),
                    _PathCompleter(complete_path_line, self._command_typed, _path_begun),
                ]
            ),
            complete_while_typing=Condition(_types_command),
            multiline=True,
            prompt_continuation=_continuation,
            key_bindings=_keys(),
            bottom_toolbar=self._toolbar,
            style=_STYLE,
            color_depth=depth,
            enable_open_in_editor=True,
            enable_suspend=True,
            reserve_space_for_menu=6,
        )
        self._prompt.default_buffer.on_text_changed += lambda buffer: save_draft(self._folds.expand(buffer.text))
        self._question: PromptSession[str] = PromptSession(style=_STYLE, color_depth=depth)

    def message(self, draft: str = "") -> str | None:
        """The next message, ``draft`` being what was typed before; Ctrl+D on an empty prompt ends."""
        try:
            with _ended_by_signals(self._prompt):
                shown = self._folds.fold_message(draft)
                text = self._prompt.prompt([("class:prompt", "> ")], default=shown, pre_run=self._react)
            return without_quotes(self._folds.expand(text))
        except EOFError:
            return None
        finally:
            self._hush()  # a prompt that was suspended, with keys waiting for it, may leave Ctrl+C off

    def answer(self, question: str, text: str = "") -> str | None:
        """The answer to a question; Ctrl+C and Ctrl+D give none."""
        try:
            with _ended_by_signals(self._question):
                shown = self._folds.fold_message(text)
                typed = self._question.prompt(clean_line(question) + " ", default=shown, multiline="\n" in shown)
            return self._folds.expand(typed)
        except (EOFError, KeyboardInterrupt):
            return None

    @contextlib.contextmanager
    def hold(self) -> Iterator[None]:
        """Turns echo and line editing off, but not Ctrl+C: keys must not mix with an answer, and Enter stays Enter."""
        terminal = sys.stdin.fileno()
        before = termios.tcgetattr(terminal)
        quiet = termios.tcgetattr(terminal)
        quiet[0] &= ~termios.ICRNL
        quiet[3] &= ~(termios.ECHO | termios.ICANON)
        self._quiet = quiet
        handler = signal.signal(signal.SIGCONT, lambda _number, _frame: self._hush())
        try:
            self._hush()
            yield
        except BaseException:  # a signal may have hit the prompt in the middle of its own tidying
            sys.stdout.write(_TIDY)
            sys.stdout.flush()
            raise
        finally:
            self._quiet = None
            signal.signal(signal.SIGCONT, handler)
            with contextlib.suppress(termios.error):  # the terminal is gone
                termios.tcsetattr(terminal, termios.TCSADRAIN, before)

    def _hush(self) -> None:
        """Sets the held terminal again: after Ctrl+Z the shell had it, and set it as it likes."""
        terminal = sys.stdin.fileno()
        if self._quiet and os.tcgetpgrp(terminal) == os.getpgrp():  # in the background that would be one more stop
            termios.tcsetattr(terminal, termios.TCSADRAIN, self._quiet)

    def notify(self) -> None:
        """Has ``wake`` called soon, if the prompt is there; it always is when the prompt appears. From any thread."""
        loop = self._prompt.app.loop
        if loop is not None and self._prompt.app.is_running:
            with contextlib.suppress(RuntimeError):  # the loop ended in this very moment
                loop.call_soon_threadsafe(self._react)

    def _command_typed(self, typed: str) -> str:
        """The command line at the end of what is typed; empty where there is none."""
        return split_command(self._folds.expand(typed))[1]

    def _react(self) -> None:
        text = self._wake()
        if text:
            self._printing = run_in_terminal(lambda: print(text))
        self._prompt.app.invalidate()

    def _toolbar(self) -> StyleAndTextTuples:
        return [("", " " + clean_line(self._status()))]


@contextlib.contextmanager
def _ended_by_signals(prompt: PromptSession[str]) -> Iterator[None]:
    """A signal that ends the program ends the prompt first, through its event loop, and is raised then.

    An exception out of nowhere can hit the loop between taking a step of a task and running it: that step never comes,
    and whoever waits for the task waits for ever.
    """
    signals: list[int] = []

    def end_prompt() -> None:
        if prompt.app.is_running and not prompt.app.is_done:
            prompt.app.exit(exception=EOFError())

    def end(number: int, _frame: FrameType | None) -> None:
        signals.append(number)
        loop = prompt.app.loop
        if loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop ended in this very moment
                loop.call_soon_threadsafe(end_prompt)

    def begin() -> None:
        if signals:  # before there was a loop
            end_prompt()

    prompt.app.pre_run_callables.append(begin)
    try:
        with signal_handlers(ENDING_SIGNALS, end):
            yield
    finally:
        if signals:
            raise ended_by(signals[-1])


def _history(path: Path, folds: Folds) -> History:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
    except OSError:
        return InMemoryHistory()
    return _QuietHistory(str(path), folds)


class _QuietHistory(FileHistory):
    """History in a file; a full disk costs the history, not the chat.

    Files in messages are left out of it, and so is the message before a command: it comes with the next prompt.
    """

    def __init__(self, path: str, folds: Folds) -> None:
        super().__init__(path)
        self._folds = folds

    def append_string(self, string: str) -> None:
        _, command = split_command(self._folds.expand(string))
        super().append_string(command or string)

    def store_string(self, string: str) -> None:
        with contextlib.suppress(OSError):
            if kept := without_files(self._folds.expand(string)):
                super().store_string(kept)


def _types_command() -> bool:
    app = get_app_or_none()
    return app is not None and app.current_buffer.text.rpartition("\n")[2].startswith("/")


class _CommandCompleter(Completer):
    """``command`` gives the command line in what is typed so far, empty where there is none; ``begun`` the end of it
    from which on whole lines are shown.
    """

    def __init__(
        self, complete: Callable[[str], list[str]], command: Callable[[str], str], begun: Callable[[str], str]
    ) -> None:
        self._complete = complete
        self._command = command
        self._begun = begun

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:  # noqa: ARG002
        line = self._command(document.text_before_cursor)
        if not line or "\n" in line:
            return
        shown = len(line) - len(self._begun(line))
        for whole in self._complete(line):
            yield Completion(whole, start_position=-len(line), display=clean_line(whole[shown:]))


def _path_begun(line: str) -> str:
    """The last part of the path that is typed: its name is enough, and fits."""
    typed = path_typed(line)
    return typed.text.rpartition("/")[2] if typed is not None else line


class _PathCompleter(_CommandCompleter):
    """Completes on threads that nothing waits for: a network folder that does not answer must hold up neither the
    prompt, nor what is typed instead, nor the end of the program. (``ThreadedCompleter``'s is waited for.)
    """

    def __init__(
        self, complete: Callable[[str], list[str]], command: Callable[[str], str], begun: Callable[[str], str]
    ) -> None:
        super().__init__(complete, command, begun)
        self._read: set[str] = set()  # beginnings of lines up to a folder's name, by a thread each

    async def get_completions_async(
        self, document: Document, complete_event: CompleteEvent
    ) -> AsyncGenerator[Completion, None]:
        folder = document.text_before_cursor.rpartition("/")[0]
        while folder in self._read and _still_there(document):
            await asyncio.sleep(_LOOK_SECONDS)
        if folder in self._read or len(self._read) >= _MOST_THREADS:
            return
        self._read.add(folder)
        loop = asyncio.get_running_loop()
        found: asyncio.Future[list[Completion]] = loop.create_future()

        def look() -> None:
            try:
                completions = list(self.get_completions(document, complete_event))
            finally:
                self._read.remove(folder)
            with contextlib.suppress(RuntimeError):  # the prompt has ended meanwhile, and its loop
                loop.call_soon_threadsafe(found.set_result, completions)

        threading.Thread(target=look, name="llamachat-paths", daemon=True).start()
        while not found.done() and _still_there(document):
            await asyncio.wait([found], timeout=_LOOK_SECONDS)
        for completion in found.result() if found.done() else ():
            yield completion


def _still_there(document: Document) -> bool:
    app = get_app_or_none()
    return app is not None and app.current_buffer.document == document


def _continuation(width: int, line_number: int, is_soft_wrap: int) -> str:  # noqa: ARG001
    return " " * width


def _keys() -> KeyBindings:
    """Enter sends; Alt+Enter and Ctrl+J make a new line, and so does Enter within triple quotes."""
    keys = KeyBindings()

    @keys.add("enter")
    def _(event: KeyPressEvent) -> None:
        buffer = event.current_buffer
        if is_open(buffer.text):
            buffer.insert_text("\n")
        else:
            buffer.validate_and_handle()

    @keys.add("c-j")
    @keys.add("escape", "enter")
    def _(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    return keys
