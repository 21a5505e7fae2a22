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
from llamachat.cli.failures import note
from llamachat.cli.help import CONTEXT, HelpCommand, HelpMixin
from llamachat.cli.invocation import Invocation
from llamachat.cli.options import FOLDERS, PROGRAM, flag, with_options
from llamachat.cli.table import print_table
from llamachat.display import clean, clean_line, counted

if TYPE_CHECKING:
    from llamachat.chat.conversation import Message
    from llamachat.chat.store import SessionStore

_JSON = flag("json", "Write JSON.", PROGRAM)
_YES = flag("yes", "Do not ask.", PROGRAM)

_EXAMPLES = """\
llamachat sessions list                   all chats, the last used first
llamachat sessions show "Autumn article"  what was said
llamachat sessions delete 3f2a9c1e        one chat less, by its id
"""
_LIST_EXAMPLES = """\
llamachat sessions list                all of them
llamachat sessions list gravity apple  where both words are
llamachat sessions list --json | jq .
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
    """List, show or delete stored chats."""


@with_options([_JSON], FOLDERS)
@sessions.command("list", cls=HelpCommand, context_settings=CONTEXT, examples=_LIST_EXAMPLES)
@click.argument("words", nargs=-1)
@click.pass_context
def list_(context: click.Context, /, words: tuple[str, ...], **_options: object) -> None:
    """List the chats, the last used first: id, title, messages, day, model.

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
        from llamachat.chat.portable import dumps

        sys.stdout.write(dumps(conversation))
        return
    if conversation.system:
        print(f"System\n{clean(conversation.system)}\n")
    print("\n\n".join(map(_written, conversation.path)))


@with_options([_YES], FOLDERS)
@sessions.command(cls=HelpCommand, context_settings=CONTEXT, examples=_DELETE_EXAMPLES, note=_NOTE)
@click.argument("session")
@click.pass_context
def delete(context: click.Context, /, session: str, **_options: object) -> None:
    """Delete a chat for good, after asking."""
    invocation = Invocation.of(context, [_YES])
    with _store(invocation, to_delete=True) as store:
        found = find_session(store.sessions(), session)
        if not invocation.get("yes") and not _agreed(
            context, f"Delete {found.shown_title!r} ({counted(found.n_messages, 'message')})?"
        ):
            return
        store.delete_now(found.id)


@contextmanager
def _store(invocation: Invocation, *, to_delete: bool = False) -> Iterator[SessionStore]:
    """The session store; what it has to say, at the end too, goes to stderr."""
    from llamachat.chat.store import SessionStore
    from llamachat.cli import log

    log.start()  # or what the store logs would be a line on stderr
    store = SessionStore(invocation.data_dir)
    try:
        notices = store.take_notices()
        if to_delete:
            store.check_deletable()  # whose error is all there is to know then
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


def _written(message: Message) -> str:
    from llamachat.chat.conversation import Role

    who = "You" if message.role is Role.USER else message.model or "Answer"
    ending = f"\n({message.status.value})" if message.status.unfinished else ""
    return f"{clean_line(who)}\n{clean(message.text)}{ending}"
