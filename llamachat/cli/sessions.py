"""``llamachat sessions``: the stored chats, without the chat."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from llamachat.chat.names import find_session, short_id
from llamachat.cli.failures import FAILED, OK, error_line, note, tell
from llamachat.cli.help import CONTEXT, HelpCommand, HelpMixin
from llamachat.cli.invocation import Invocation
from llamachat.cli.options import FOLDERS, PROGRAM, Option, flag, read_file_name, with_options
from llamachat.cli.status_line import StatusLine
from llamachat.cli.table import print_table
from llamachat.display import clean_line, counted
from llamachat.errors import FileError
from llamachat.files.texts import STANDARD_INPUT, read_text

if TYPE_CHECKING:
    from llamachat.chat.exchange.reading import Imported
    from llamachat.chat.store import SessionStore

_FILE = "File"
_STANDARD = "-"

#: Told here, so that help imports no writer; a test holds them to the enumeration.
FORMS = ("json", "markdown", "text")


def _form(value: object) -> str:
    name = str(value).strip().lower()
    if name not in FORMS:
        raise ValueError
    return name


_JSON = flag("json", "Write JSON.", PROGRAM)
_YES = flag("yes", "Do not ask.", PROGRAM)
_OUTPUT = Option("output", read_file_name, "a file", "The file to write; - is standard output.", _FILE, "FILE", "-o")
_FORMAT = Option("format", _form, "one of " + ", ".join(FORMS),
                 "Without it FILE's ending tells: .json, .md or .txt; else it is json.",
                 _FILE, "|".join(FORMS))  # fmt: skip
_FORCE = flag("force", "Replace a file that is there.", _FILE)

_EXAMPLES = """\
llamachat sessions list                   all chats, the last used first
llamachat sessions show "Autumn article"  what was said
llamachat sessions export last -o it.md   a chat as a file
llamachat sessions import it.json         chats out of a file
llamachat sessions delete 3f2a9c1e        one chat less, by its id
"""
_LIST_EXAMPLES = """\
llamachat sessions list                all of them
llamachat sessions list gravity apple  where both words are
llamachat sessions list --json | jq .
"""
_EXPORT_EXAMPLES = """\
llamachat sessions export last --format text | less
llamachat sessions export "Autumn article" -o article.md
llamachat sessions export 3f2a9c1e -o article.json  # whole: import takes it
"""
_EXPORT_NOTE = """\
JSON holds the whole chat with all its branches, and import reads it. Markdown and text hold what is visible of it, for
people. A file is there whole or not at all; one that is there already is replaced only with --force.
"""
_IMPORT_EXAMPLES = """\
llamachat sessions import article.json
llamachat sessions import conversations.json  # out of ChatGPT's export
ssh desk llamachat sessions export last | llamachat sessions import -
"""
_IMPORT_NOTE = """\
A file holds chats as "sessions export" writes them, or those of ChatGPT's export: its content tells. All its chats are
added, or none. A chat that is there already, by its messages' ids, gets those that it lacks; nothing that is there is
changed, and a message that differs becomes another version of it. So a file may be imported as often as you like.
"""
_DELETE_EXAMPLES = """\
llamachat sessions delete 3f2a9c1e
llamachat sessions delete --yes last
"""
_NOTE = """\
SESSION is the id or title of a chat, or the beginning of one; "last" is the one used last.
"""


class _Sessions(HelpMixin, click.Group):
    """The commands on stored chats."""


@with_options(common=FOLDERS)
@click.group(cls=_Sessions, context_settings=CONTEXT, examples=_EXAMPLES, note=_NOTE, no_args_is_help=False)
def sessions(**_options: object) -> None:
    """List, show, export, import or delete stored chats."""


@with_options([_JSON], FOLDERS)
@sessions.command("list", cls=HelpCommand, context_settings=CONTEXT, examples=_LIST_EXAMPLES)
@click.argument("words", nargs=-1)
@click.pass_context
def list_(context: click.Context, /, words: tuple[str, ...], **_options: object) -> None:
    """List chats, the last used first: id, title, messages, day, model.

    With WORDS those that hold all of them: in the title, and then in one message.
    """
    invocation = Invocation.of(context, [_JSON])
    with _store(invocation) as store:
        summaries = store.sessions(" ".join(words))
    if invocation.get("json"):
        rows = [
            {"id": one.id, "title": one.title, "updated": one.updated, "messages": one.n_messages, "model": one.model}
            for one in summaries
        ]
        print(json.dumps(rows, ensure_ascii=False))
    else:
        print_table(
            [short_id(one.id), clean_line(one.shown_title, 60), str(one.n_messages), _day(one.updated), one.model]
            for one in summaries
        )


@with_options([_JSON], FOLDERS)
@sessions.command(cls=HelpCommand, context_settings=CONTEXT, examples="llamachat sessions show last\n", note=_NOTE)
@click.argument("session")
@click.pass_context
def show(context: click.Context, /, session: str, **_options: object) -> None:
    """Show a chat: the messages that were last seen, as text."""
    invocation = Invocation.of(context, [_JSON])
    with _store(invocation) as store:
        conversation = store.load(find_session(store.sessions(), session).id)
    if invocation.get("json"):
        from llamachat.chat.exchange.portable import dumps

        sys.stdout.write(dumps(conversation))
        return
    from llamachat.chat.exchange.readable import as_text

    sys.stdout.write(as_text(conversation))


@with_options([_OUTPUT, _FORMAT, _FORCE], FOLDERS)
@sessions.command(cls=HelpCommand, context_settings=CONTEXT, examples=_EXPORT_EXAMPLES, note=f"{_NOTE}\n{_EXPORT_NOTE}")
@click.argument("session")
@click.pass_context
def export(context: click.Context, /, session: str, **_options: object) -> None:
    """Write a chat to a file, or to standard output."""
    invocation = Invocation.of(context, [_OUTPUT, _FORMAT, _FORCE])

    from llamachat.chat.exchange.writing import Form, as_written, target_of, write_file

    output = invocation.get("output", _STANDARD)
    target = None if output == _STANDARD else target_of(output)
    form = Form(invocation.get("format")) if "format" in invocation.values else None
    with _store(invocation) as store:
        conversation = store.load(find_session(store.sessions(), session).id)
    if target is None:
        sys.stdout.write(as_written(conversation, form or Form.JSON))
    else:
        write_file(conversation, target, form, replace=invocation.get("force", False))


@with_options([], FOLDERS)
@sessions.command("import", cls=HelpCommand, context_settings=CONTEXT, examples=_IMPORT_EXAMPLES, note=_IMPORT_NOTE)
@click.argument("file", nargs=-1, required=True)
@click.pass_context
def import_(context: click.Context, /, file: tuple[str, ...], **_options: object) -> None:
    """Add the chats in each FILE to yours, and list them: id and title. A FILE named - is standard input."""
    invocation = Invocation.of(context)

    from llamachat.chat.exchange.reading import import_file, import_text

    status = OK
    with _store(invocation, to_change="added") as store:
        for name in file:
            shown = STANDARD_INPUT if name == _STANDARD else name
            try:
                with StatusLine(after_s=0.0) as line:
                    line.show(f"importing {shown} …")
                    if name == _STANDARD:
                        imported = import_text(store, read_text(sys.stdin.buffer), shown)
                    else:
                        imported = import_file(store, name, pipes=True)
            except FileError as error:  # the other files may be good
                tell(error_line(error))
                status = FAILED
                continue
            _tell_imported(imported, shown)
    context.exit(status)


def _tell_imported(imported: Imported, shown: str) -> None:
    from llamachat.chat.conversation import UNTITLED

    print_table(
        [
            short_id(one.session_id),
            clean_line(one.title or UNTITLED, 60),
            "" if one.is_new else counted(one.n_added, "more message"),
        ]
        for one in imported.arrivals
        if one.n_added
    )
    sys.stdout.flush()
    there = sum(not arrival.n_added for arrival in imported.arrivals)
    if there:
        note(f"{shown}: {counted(there, 'chat')} {'was' if there == 1 else 'were'} there already")
    if imported.n_empty:
        were = "was" if imported.n_empty == 1 else "were"
        note(f"{shown}: {counted(imported.n_empty, 'chat')} without a message {were} left out")


@with_options([_YES], FOLDERS)
@sessions.command(cls=HelpCommand, context_settings=CONTEXT, examples=_DELETE_EXAMPLES, note=_NOTE)
@click.argument("session")
@click.pass_context
def delete(context: click.Context, /, session: str, **_options: object) -> None:
    """Delete a chat for good, after asking."""
    invocation = Invocation.of(context, [_YES])
    with _store(invocation, to_change="deleted") as store:
        found = find_session(store.sessions(), session)
        if not invocation.get("yes") and not _agreed(
            context, f"Delete {found.shown_title!r} ({counted(found.n_messages, 'message')})?"
        ):
            return
        store.delete_now(found.id)


@contextmanager
def _store(invocation: Invocation, *, to_change: str = "") -> Iterator[SessionStore]:
    """The session store; what it has to say, at the end too, goes to stderr.

    ``to_change``: what is to be done with chats on disk; ``StoreError`` where that cannot be.
    """
    from llamachat.chat.store import SessionStore
    from llamachat.cli import log

    log.start()  # or what the store logs would be a line on stderr
    store = SessionStore(invocation.data_dir)
    try:
        notices = store.take_notices()
        if to_change:
            store.check_changeable(to_change)  # whose error is all there is to know then
        for notice in notices:
            note(notice)
        yield store
    finally:
        store.close()
        for notice in store.take_notices():
            note(notice)


def _agreed(context: click.Context, question: str) -> bool:
    if not sys.stdin.isatty():
        raise click.UsageError("nobody here to ask: add --yes", context)
    sys.stderr.write(f"{clean_line(question)} [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _day(seconds: float) -> str:
    if not seconds:  # nothing was said yet
        return ""
    try:
        return time.strftime("%Y-%m-%d", time.localtime(seconds))
    except (OverflowError, ValueError, OSError):  # a clock that was far off when it was stored
        return ""
