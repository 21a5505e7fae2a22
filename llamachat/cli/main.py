"""The ``llamachat`` command: a bare call is the chat, a first word may name another command.

Start-up is felt at every call, so this module and those it imports bring in ``click`` and nothing heavier; a
command's own module is imported when it is called.
"""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Sequence
from typing import NamedTuple

import click

from llamachat import __version__
from llamachat.cli.failures import run
from llamachat.cli.help import CONTEXT, HelpCommand, HelpMixin
from llamachat.cli.options import CHAT, with_options


class _Place(NamedTuple):
    module: str
    attribute: str
    summary: str  # told here, so that the list of commands imports none of them


_COMMANDS = {
    "ask": _Place("oneshot", "ask", "Answer one question."),
    "complete": _Place("oneshot", "complete", "Continue a text, without any prompt format."),
    "tokenize": _Place("tokenize", "tokenize", "Show the token ids of a text."),
    "pull": _Place("pull_command", "pull", "Fetch a model."),
    "models": _Place("models", "models", "List the models there are."),
    "inspect": _Place("inspect", "inspect", "Show what a model file holds."),
    "bench": _Place("bench", "bench", "Measure the speed of a model."),
    "perplexity": _Place("perplexity", "perplexity", "Measure how well a model foresees a text."),
    "convert": _Place("convert", "convert", "Write a model in another format or type."),
    "quantize": _Place("convert", "quantize", "The same, by its better-known name."),
    "config": _Place("config_command", "config", "Show every option, and where it is set."),
    "sessions": _Place("sessions", "sessions", "List, show, export, import or delete stored chats."),
}


class _Llamachat(HelpMixin, click.Group):
    """The commands, and the chat for every other first word."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        place = _COMMANDS.get(cmd_name)
        if place is None:
            return None
        module = importlib.import_module(f"llamachat.cli.{place.module}")
        command: click.Command = getattr(module, place.attribute)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] in _COMMANDS:
            return super().resolve_command(ctx, args)
        return "", _open_session, args  # not None: that would be a bare call

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return ["[OPTIONS] [SESSION]"]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl([(name, place.summary) for name, place in _COMMANDS.items()])


class _OpenSession(HelpCommand):
    """``llamachat SESSION``: the chat again, so its help is the program's."""

    def get_help(self, ctx: click.Context) -> str:
        return ctx.parent.get_help() if ctx.parent else super().get_help(ctx)


_EXAMPLES = """\
llamachat                                  talk with the model used last
llamachat -m model.gguf --temperature 0.5  talk with this one
llamachat "Autumn article"                 go on with a stored chat
llamachat ask "What is gravity?"           one answer on standard output
llamachat ask "Sum this up" < notes.txt    a question about a file
llamachat pull                             fetch the default model
"""

_NOTE = """\
Every option can also be set by an environment variable (--top-p: LLAMACHAT_TOP_P) or by a key of the configuration
file (top-p = 0.9); the command line wins over the environment, and that over the file. A preset is given in the
same ways, and options given in the same place as it win over it. Commands have a --help of their own. Each takes,
behind its name, the options it has a use for; before it, all may stand.
"""


@with_options(common=CHAT)
@click.command(
    cls=_Llamachat,
    invoke_without_command=True,
    context_settings=CONTEXT,
    examples=_EXAMPLES,
    note=_NOTE,
)
@click.version_option(__version__, message="llamachat %(version)s")
@click.pass_context
def llamachat(context: click.Context, /, **_options: object) -> None:
    """Talk with a Llama-family model in the terminal. The model runs inside this program.

    SESSION is the title or id of a stored chat; "last" is the one used last. Without a terminal, or with --plain,
    the chat goes line by line.

    Without -m, a new chat opens the model that the last one used. Commands, and chats through a pipe, do not look back:
    theirs is the one named by --model, LLAMACHAT_MODEL or the configuration file, else the default model.
    """
    if context.invoked_subcommand is None:
        _chat(context, None)


@with_options(common=CHAT)
@click.command("llamachat", cls=_OpenSession, context_settings=CONTEXT)
@click.argument("session")
@click.argument("more", nargs=-1)
@click.pass_context
def _open_session(context: click.Context, /, session: str, more: tuple[str, ...], **_options: object) -> None:
    if more:
        commands = ", ".join(_COMMANDS)
        raise click.UsageError(f"no command {session!r}: there are {commands}; a title goes in quotes")
    _chat(context, session)


def _chat(context: click.Context, session: str | None) -> None:
    from llamachat.cli.chat import chat
    from llamachat.cli.invocation import Invocation

    context.exit(chat(Invocation.of(context), session))


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line and ends the process: 0 if all went well, 2 for usage, 1 for anything else."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    if not sys.warnoptions:
        warnings.simplefilter("ignore")  # a library's doubts are no line for a person, and would tear the screen
    sys.exit(run(lambda: _invoke(words)))


def _invoke(arguments: list[str]) -> int:
    """Parses and runs. Not through ``click``'s own ``main``, which has ideas of its own about signals and pipes."""
    try:
        with llamachat.make_context("llamachat", arguments) as context:
            llamachat.invoke(context)
    except click.exceptions.Exit as end:
        return end.exit_code
    return 0
