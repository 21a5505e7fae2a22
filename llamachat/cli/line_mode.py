"""Line mode: the chat without a full screen, in a terminal or through a pipe."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from llamachat import paths
from llamachat.chat.commands import as_message, complete_line, run_line, split_command
from llamachat.chat.conversation import Message, Role, Status
from llamachat.chat.folds import with_long_files_folded
from llamachat.chat.model_names import model_names
from llamachat.chat.names import NO_MODEL_HERE, model_files
from llamachat.chat.session import ChatSession, Phase
from llamachat.cli.failures import FAILED, OK, PREFIX, ended_by, error_line, soft_signals, tell
from llamachat.cli.generation import Printer, load_error
from llamachat.cli.line_face import LineFace, wrapped
from llamachat.cli.line_reader import PlainReader, Reader
from llamachat.cli.model_files import no_choice
from llamachat.cli.status_line import StatusLine, bar, is_terminal
from llamachat.display import clean, counted, left_out
from llamachat.engine.events import Event, Finished, LoadFailed, Looked, LookFailed, StopReason
from llamachat.errors import LlamachatError

if TYPE_CHECKING:
    from llamachat.engine.source import ModelSource

_POLL_SECONDS = 0.1
_HINT = "Ctrl+D quits; /help lists the commands."
_AFTER = {
    Status.STOPPED: "stopped; /continue goes on",
    Status.LENGTH: "cut at the reply length; /continue goes on",
    Status.CONTEXT: "the context is full",
}


def run(session: ChatSession, source: ModelSource | None, data_dir: Path) -> int:
    """Talks until the input ends; returns the exit status."""
    return LineMode(session, data_dir).run(source)


class LineMode:
    """A face that reads messages and prints answers."""

    def __init__(self, session: ChatSession, data_dir: Path) -> None:
        self._session = session
        self._on_terminal = sys.stdin.isatty() and sys.stdout.isatty()
        self._line = StatusLine()
        self._status = OK
        self._data_dir = data_dir
        self._reader = self._make_reader(data_dir)
        self._face = LineFace(session, self._reader, data_dir)

    def run(self, source: ModelSource | None) -> int:
        """Opens the model, if there is one to open, and talks."""
        if source is not None:
            self._session.open_model(source)
        elif not self._on_terminal:
            raise LlamachatError(no_choice(self._data_dir))
        else:
            self._note(self._no_model())
        self._tell_news()
        if self._on_terminal:
            if self._session.conversation.path:
                self._show_path()
        elif not self._follow():  # a program that writes to us is better told at once than after its first line
            return self._status
        with self._reader.hold():
            while not self._face.ended and self._turn():
                pass
        return self._status

    # ---- one turn -----------------------------------------------------------

    def _turn(self) -> bool:
        """Reads one message and sees to it; False when there is no more."""
        try:
            text = self._reader.message(self._session.draft)
        except KeyboardInterrupt:
            if not self._on_terminal:
                raise
            self._session.save_draft("")
            self._face.take_waiting()  # which is dropped, as a draft is
            self._note(_HINT)
            return True
        if text is None:
            return False
        self._session.save_draft("")  # it is no draft any more, whatever becomes of it
        if not text.strip():
            return True
        before, line = split_command(text)
        try:
            if line:
                return self._run_command(line, before)
            self._session.send(self._face.take_waiting() + as_message(text))
            return self._follow()
        except LlamachatError as error:
            self._fail(error)
            if before and line and self._reader.offers_drafts:  # the command can be mended there
                self._face.begin_message(text)
        return True

    def _run_command(self, line: str, before: str) -> bool:
        session = self._session
        if before:
            self._face.begin_message(self._face.take_waiting() + before)
        chat, leaf = session.conversation, session.conversation.leaf
        run_line(session, self._face, line)
        answers = session.answering is not None or session.queued is not None
        goes_on = self._follow(whole=chat.leaf is not leaf)
        if session.conversation is not chat:
            self._show_path()
        elif not answers and (now := chat.leaf) is not None and now is not leaf:  # an alternative was chosen
            place, count = chat.siblings(now)
            self._note(f"{place + 1} of {count}")
            _print(_quoted(now))
        return goes_on

    def _follow(self, *, whole: bool = False) -> bool:
        """Prints what comes until the session is at rest; False if nothing can come any more.

        ``whole``: an answer that goes on is printed from its beginning, since it is another one than before.
        """
        session = self._session
        view = AnswerView(session.answering, whole=whole)
        self._line = StatusLine()  # which shows nothing for as long as a person waits without wondering
        signals: list[int] = []
        with soft_signals(signals.append, insistent=not self._on_terminal):
            while self._waits():
                session.wait(_POLL_SECONDS)
                if signals:
                    session.stop()
                events = session.drain()
                view.print_new(self._line.clear)
                goes_on = [self._take(event, view) for event in events]
                if not all(goes_on):
                    return False
                if session.answering not in (None, view.message):
                    view = AnswerView(session.answering)
                self._show_progress()
        self._line.clear()
        for number in signals:
            if number != signal.SIGINT or not self._on_terminal:
                raise ended_by(number)
        if session.queued is not None:
            self._note(self._no_model())
        self._tell_news()
        return True

    def _waits(self) -> bool:
        """Whether something is to be waited for. A model that loads is not, unless a question waits for it."""
        session = self._session
        if session.phase is Phase.LOADING:
            return session.queued is not None or not self._on_terminal
        return session.busy or (session.queued is not None and session.phase is not Phase.NO_MODEL)

    def _take(self, event: Event, view: AnswerView) -> bool:
        """Shows what an event means; False where it ends the program."""
        if isinstance(event, Finished):
            view.end()
            if event.message:
                self._fail(event.message)
            ending = self._ending(event, view.message) if sys.stderr.isatty() else _beyond(view.message)
            if ending:
                self._note(ending)
        elif isinstance(event, LoadFailed) and not event.cancelled:  # who stopped it is told by a notice
            self._fail(load_error(event))
            return self._on_terminal or self._session.model is not None
        elif isinstance(event, Looked):
            self._line.clear()
            self._face.print_tokens()
        elif isinstance(event, LookFailed):
            self._note(event.message) if event.cancelled else self._fail(event.message)
        return True

    def _show_progress(self) -> None:
        session = self._session
        done, total = session.progress.done, session.progress.total
        if session.phase is Phase.LOADING:
            self._line.show(f"loading the model {bar(done, total)}")
        elif session.phase is Phase.PREFILL:
            self._line.show(f"reading the prompt {bar(done, total)}")
        elif session.phase is Phase.LOOKING:
            self._line.show(f"looking at the tokens {bar(done, total)}")
        else:
            self._line.clear()

    def _ending(self, event: Finished, answer: Message | None) -> str:
        """What is said under an answer; nothing under one whose error was told, and that has no word."""
        timings, session = event.timings, self._session
        if not timings.answer_tokens and event.reason is StopReason.FAILED:
            return ""
        if not timings.answer_tokens and event.reason is StopReason.END:
            return "there is nothing more to say" if answer and answer.text else "the model said nothing"
        if not timings.answer_tokens and event.reason is StopReason.STOPPED:
            way = "/continue goes on" if answer and answer.text else "/regenerate asks again"
            return f"stopped before it began; {way}"
        figures = (
            f"{timings.answer_rate:,.0f} t/s, {timings.answer_tokens:,} tokens, "
            f"context {session.context_used:,} of {session.context_total:,}"
        )
        return "; ".join(filter(None, (figures, _cut(answer))))

    # ---- what else is shown -------------------------------------------------

    def _make_reader(self, data_dir: Path) -> Reader:
        if not (is_terminal(sys.stdin) and is_terminal(sys.stdout)):
            return PlainReader()
        from llamachat.cli.terminal_reader import TerminalReader

        reader = TerminalReader(
            data_dir / "history",
            lambda line: complete_line(self._session, self._face, line),
            self._status_text,
            self._news_while_reading,
            self._session.save_draft,
        )
        self._session.on_wake = reader.notify
        return reader

    def _status_text(self) -> str:
        session = self._session
        name = session.model.name if session.model else "no model"
        if session.phase is Phase.LOADING:
            share = 100 * session.progress.done // max(session.progress.total, 1)
            return f"loading {share} %; what you send waits for it"
        if session.model is None:
            return f"{name}; /help lists the commands"
        return f"{name} · context {session.context_used:,} of {session.context_total:,} · /help"

    def _news_while_reading(self) -> str:
        """Takes in what the engine told while the prompt is there; returns what a person should know."""
        failures = [event for event in self._session.drain() if isinstance(event, LoadFailed) and not event.cancelled]
        lines = [PREFIX + error_line(load_error(failure)) for failure in failures]
        return "\n".join([*lines, *map(clean, self._session.take_notices())])

    def _show_path(self) -> None:
        """Shows which chat this is and where it was left: its last question and answer."""
        path = self._session.conversation.path
        self._note(f"{self._session.conversation.shown_title} ({counted(len(path), 'message')})")
        for message in path[-2:]:
            _print(_quoted(message))

    def _no_model(self) -> str:
        """What to do where no model is there, or none was chosen."""
        names = model_names(model_files(paths.models_dir(self._data_dir)))
        return f"which model? /model NAME opens one: {', '.join(names)}" if names else NO_MODEL_HERE

    def _tell_news(self) -> None:
        for notice in self._session.take_notices():
            self._note(notice)

    def _note(self, text: str) -> None:
        """A quiet line on stderr."""
        line = wrapped(clean(text), sys.stderr)
        with contextlib.suppress(OSError):
            dim = is_terminal(sys.stderr) and not os.environ.get("NO_COLOR")
            sys.stderr.write(f"\x1b[2m{line}\x1b[0m\n" if dim else f"{line}\n")
            sys.stderr.flush()

    def _fail(self, error: LlamachatError | str) -> None:
        self._line.clear()
        if not self._on_terminal:
            self._status = FAILED
        tell(wrapped(error_line(error), sys.stderr, len(PREFIX)))


class AnswerView:
    """Prints an answer as it grows; what it has when the view is made was printed before, if not the ``whole`` is
    to be printed.
    """

    def __init__(self, message: Message | None, *, whole: bool = False) -> None:
        self.message = message
        self._shown = len(message.text) if message and not whole else 0
        self._printer = Printer()

    def print_new(self, before: Callable[[], None]) -> None:
        """Prints what came since, after calling ``before``."""
        text = self.message.text if self.message else ""
        self._shown = min(self._shown, len(text))  # the stand-in for an incomplete character was taken back
        if len(text) > self._shown:
            before()
            self._printer.write(text[self._shown :])
            self._shown = len(text)

    def end(self) -> None:
        """Ends the last line."""
        self._printer.end()


def _cut(answer: Message | None) -> str:
    """What is missing of an answer, and of what the model read before it."""
    return "; ".join(filter(None, (left_out(answer.dropped), _AFTER.get(answer.status)))) if answer else ""


def _beyond(answer: Message | None) -> str:
    """What the context had no room for: said in a pipe, too, where nobody asked for it."""
    full = answer is not None and answer.status is Status.CONTEXT
    return _cut(answer) if full else left_out(answer.dropped) if answer else ""


def _print(text: str) -> None:
    printer = Printer()
    printer.write(text)
    printer.end()


def _quoted(message: Message) -> str:
    return f"> {with_long_files_folded(message.text)}" if message.role is Role.USER else message.text
