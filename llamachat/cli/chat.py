"""``llamachat`` itself: puts engine, store and session together and hands them to a face."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from llamachat import paths
from llamachat.chat.names import find_model, find_session
from llamachat.cli import log
from llamachat.cli.failures import FAILED, OK, note
from llamachat.cli.invocation import Invocation
from llamachat.cli.last_used import note_theme, theme_used_last
from llamachat.cli.model_files import default_model, is_there, model_used_last, remember_model
from llamachat.cli.shelf import Shelf
from llamachat.cli.status_line import is_terminal
from llamachat.display import is_long
from llamachat.engine.settings import SamplingSettings
from llamachat.errors import LlamachatError

if TYPE_CHECKING:
    from llamachat.chat.session import ChatSession
    from llamachat.engine.source import ModelSource


def chat(invocation: Invocation, wanted: str | None) -> int:
    """Opens the chat, the stored one that ``wanted`` names or a new one; returns the exit status."""
    from llamachat.chat.session import ChatSession
    from llamachat.chat.store import SessionStore
    from llamachat.engine.worker import LocalEngine

    log.start()
    named_model = _named_model(invocation)
    session = ChatSession(
        SessionStore(invocation.data_dir),
        LocalEngine(),
        settings=SamplingSettings().with_values(invocation.sampling),
        system=invocation.get("system", ""),
        prompt_format=invocation.get("prompt_format"),
        source_of=invocation.source_as_before,
        on_loaded=lambda source: remember_model(invocation.data_dir, source.path, source.tokenizer),
    )
    with _closing(session):
        session.store.keep_backups()
        if wanted is not None:
            _open(session, wanted)
        elif session.draft and not _someone_types():  # the text that waits is a person's, not this pipe's
            session.new()
            session.set_settings(SamplingSettings())
        elif is_long(session.draft):  # it would go along with the first question that is typed
            session.set_draft_aside()
            session.set_settings(SamplingSettings())
        _apply(session, invocation.without_file if len(session.conversation) else invocation)
        model = named_model or _model_of(session) or _usual_model(invocation.data_dir)
        source = invocation.source_as_before(model) if model else None
        status = _talk(session, source, invocation)
    return status or (FAILED if session.store.lost_changes else OK)


def _talk(session: ChatSession, source: ModelSource | None, invocation: Invocation) -> int:
    """Hands the session to a face until the chat ends; returns that face's exit status."""
    if _someone_types() and is_terminal(sys.stderr) and not invocation.get("plain"):  # the screen is drawn there
        return _full_screen(session, source, invocation)
    from llamachat.cli.line_mode import run

    return run(session, source, invocation.data_dir)


@contextmanager
def _closing(session: ChatSession) -> Iterator[None]:
    """Closes the session at the end, and says what could not be saved: no face is there to say it any more."""
    try:
        with closing(session):
            yield
    finally:
        for notice in session.store.take_notices():
            note(notice)


def _someone_types() -> bool:
    return is_terminal(sys.stdin) and is_terminal(sys.stdout)


def _named_model(invocation: Invocation) -> Path | None:
    """The model that was asked for, after a look at whether there is such a file: that error is due at once."""
    wanted = invocation.get("model")
    if wanted is None:
        return None
    from llamachat.weights.files import open_regular
    from llamachat.weights.folders import weight_file_in

    path = find_model(wanted, invocation.data_dir)
    open_regular(weight_file_in(path) or path).close()
    return path


def _model_of(session: ChatSession) -> Path | None:
    """The model that the opened chat was last led with, if its file is still there."""
    path = Path(session.conversation.model_path)
    return path if session.conversation.model_path and is_there(path) else None


def _usual_model(data_dir: Path) -> Path | None:
    """What a new chat opens: the model used last if a person is there, who sees which it is; else the default one."""
    used_last = model_used_last(data_dir) if _someone_types() else None
    return used_last or default_model(data_dir)


def _open(session: ChatSession, wanted: str) -> None:
    try:
        session.open(find_session(session.sessions(), wanted).id)
    except LlamachatError as error:  # which may be a command that was spelt wrong
        raise LlamachatError(f"{error} (llamachat --help lists the commands)") from error


def _apply(session: ChatSession, invocation: Invocation) -> None:
    """What was said wins over what is there: for a stored chat what was said for this run. The configuration file says
    how chats begin, and would change for good what was set in it.
    """
    for name, value in invocation.sampling.items():
        session.set_parameter(name, value)
    if "preset" in invocation.values:
        session.presets.took(invocation.get("preset"))
    if "system" in invocation.values:
        session.set_system(invocation.get("system"))
    if "prompt_format" in invocation.values:
        session.set_prompt_format(invocation.get("prompt_format"))


def _full_screen(session: ChatSession, source: ModelSource | None, invocation: Invocation) -> int:
    from llamachat.tui.app import ChatApp, run

    app = ChatApp(
        session,
        source=source,
        theme=invocation.get("theme"),
        last_theme=theme_used_last(invocation.data_dir),
        on_theme=lambda name: note_theme(invocation.data_dir, name),
        user_themes=paths.config_dir() / "themes",
        models=Shelf(invocation.data_dir),
        keys=invocation.get("keymap"),
    )
    return run(app)
