"""Every option: its flag, environment variable, configuration key, check and help, in one table.

The command line, ``LLAMACHAT_*`` variables and ``config.toml`` are three ways to write the same value, so one
reader per option checks all three, and refusals say where the value stands and what would be taken.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from llamachat.engine.settings import PARAMETERS, Parameter
from llamachat.engine.source import KvType
from llamachat.errors import FileError, LlamachatError

if TYPE_CHECKING:
    from llamachat.chat.presets import Preset

AnyCommand = TypeVar("AnyCommand", bound=click.Command)

MODEL, SAMPLING, PROGRAM = "Model", "Sampling", "Program"


@dataclass(frozen=True, slots=True)
class Option:
    """One option. ``read`` turns text, or a TOML value, into the option's value and raises ``ValueError``.

    ``takes`` says what is accepted, for refusals, unless the ``ValueError`` does. An option without ``metavar`` is a
    flag.
    """

    name: str
    read: Callable[[object], Any]
    takes: str
    help: str
    section: str
    metavar: str = ""
    short: str = ""
    repeats: bool = False  #: whether it may be given several times; its value is a tuple then
    shows_negation: bool = False  #: whether the help names the flag that takes a switch back

    def check(self, value: object, where: str) -> Any:
        """The option's value; ``ValueError`` says in one line what ``where`` takes."""
        if self.repeats:
            return tuple(self._check(one, where) for one in (value if isinstance(value, tuple) else (value,)))
        return self._check(value, where)

    def _check(self, value: object, where: str) -> Any:
        try:
            return self.read(value)
        except ValueError as error:
            taken = str(error) or self.takes
            raise ValueError(f"{where} takes {taken}, not {repr(value)[:40]}") from None

    @property
    def flag(self) -> str:
        """The command-line flag: ``--top-p``."""
        return "--" + self.key

    @property
    def negation(self) -> str:
        """The flag that takes a switch back, which a variable or the file has set: ``--no-exact``; ``--bos``."""
        return "--" + self.key.removeprefix("no-") if self.key.startswith("no-") else "--no-" + self.key

    @property
    def variable(self) -> str:
        """The environment variable: ``LLAMACHAT_TOP_P``."""
        return "LLAMACHAT_" + self.name.upper()

    @property
    def key(self) -> str:
        """The key in ``config.toml``: ``top-p``."""
        return self.name.replace("_", "-")


class ClickOption(click.Option):
    """A ``click`` option that remembers which section of the help it belongs to. Values arrive unchecked."""

    def __init__(self, option: Option) -> None:
        flags = option.flag if option.metavar else f"{option.flag}/{option.negation}"
        names = [name for name in (option.short, flags, option.name) if name]
        if option.metavar:
            super().__init__(
                names, type=str, metavar=option.metavar, help=option.help, multiple=option.repeats, default=None
            )
        else:
            super().__init__(names, is_flag=True, help=option.help, default=None)
        self.section = option.section
        shown = f"{option.short}, {option.flag}" if option.short else option.flag
        self._shown_flag = "" if option.metavar or option.shows_negation else shown

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        """The flags and the help; a command's own switch without its negation, which few have a use for."""
        record = super().get_help_record(ctx)
        return (self._shown_flag, record[1]) if record and self._shown_flag else record


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError  # noqa: TRY004 - all readers refuse alike
    # What was no UTF-8 on the command line came as lone surrogates, which no tokenizer takes.
    return value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _name(value: object) -> str:
    text = _text(value).strip()
    if not text:
        raise ValueError
    return text


def _format_name(value: object) -> str:
    from llamachat.chat.prompt_formats import FORMATS

    name = _name(value).lower()
    if name not in FORMATS:
        raise ValueError("one of " + ", ".join(FORMATS))
    return name


def _kv_type(value: object) -> KvType:
    name = _name(value).lower()
    if name not in set(KvType):
        raise ValueError
    return KvType(name)


def _theme_name(value: object) -> str:
    from llamachat import paths
    from llamachat.tui.themes import ThemeShelf

    name = _name(value)
    own = paths.config_dir() / "themes"
    shelf = ThemeShelf(paths.shipped_themes(), own)
    if name not in shelf.themes and f"{name}.toml" not in {path.name for path in own.glob("*.toml")}:
        raise ValueError("one of " + ", ".join(shelf.names()))
    return name  # a file of the person's own that is broken is told of on the screen


def _preset(value: object) -> Preset:
    from llamachat.chat.presets import all_presets

    shelf = all_presets()
    try:
        return shelf.find(_name(value))
    except FileError:  # a file of the person's own that is broken: it says what is wrong with it
        raise
    except LlamachatError:
        raise ValueError("one of " + ", ".join(shelf.presets)) from None


def _path(value: object) -> Path:
    if not isinstance(value, str) or not value or "\0" in value:
        raise ValueError
    return Path(os.path.expanduser(value))  # noqa: PTH111 - pathlib fails where there is no such user


def read_file_name(value: object) -> str:
    """A file as it was named."""
    _path(value)
    return str(value)


def read_model(value: object) -> str:
    """A model as it was named: a file, whose ``~`` is resolved, or a name."""
    _path(value)
    return os.path.expanduser(str(value))  # noqa: PTH111 - pathlib would make a name of the file ./name


_YES, _NO = ("1", "true", "yes", "on"), ("0", "false", "no", "off")


def _switch(value: object) -> bool:
    if isinstance(value, bool):
        return value
    word = value.strip().lower() if isinstance(value, str) else ""
    if word not in _YES + _NO:
        raise ValueError
    return word in _YES


def flag(name: str, text: str, section: str, short: str = "", *, shows_negation: bool = False) -> Option:
    """A switch: on or off on the command line (``--exact``, ``--no-exact``), a yes or no elsewhere."""
    return Option(name, _switch, "true or false", text, section, short=short, shows_negation=shows_negation)


def number(parameter: Parameter, section: str, short: str = "") -> Option:
    """An option for a number of a range."""

    def read(value: object) -> int | float | None:
        try:
            return parameter.parse(value) if isinstance(value, str) else parameter.check(value)
        except LlamachatError as error:
            raise ValueError from error

    default = parameter.format(parameter.default)
    return Option(
        parameter.name,
        read,
        parameter.range_text,
        f"{parameter.help} [{parameter.range_text}; default {default}]",
        section,
        metavar="F" if parameter.kind is float else "N",
        short=short,
    )


N_CTX = Parameter(
    "n_ctx", int, None, 1, 16_777_216, 256, "Context length",
    "Tokens of context; less takes less memory.", none_label="auto",
)  # fmt: skip
THREADS = Parameter(
    "threads", int, None, 1, 256, 1, "Threads",
    "Threads that compute.", none_label="auto",
)  # fmt: skip

SAMPLING_OPTIONS = tuple(number(p, SAMPLING, "-n" if p.name == "max_tokens" else "") for p in PARAMETERS)

COMMON: tuple[Option, ...] = (
    Option("model", read_model, "a file or a name",
           "The model: a file or folder, or the name of one in the models folder.", MODEL, "FILE|NAME", "-m"),
    Option("tokenizer", _path, "a file", "The vocabulary, for model files that hold none.", MODEL, "FILE"),
    Option("system", _text, "a text", "The system prompt: who the model is to be.", MODEL, "TEXT"),
    Option("prompt_format", _format_name, "a name", "The prompt format, where the one found in the file is not wanted.",
           MODEL, "NAME"),
    number(N_CTX, MODEL),
    number(THREADS, MODEL),
    Option("kv_type", _kv_type, "one of " + ", ".join(KvType),
           "The KV cache's numbers. q8_0 takes half the memory, and reads long contexts nearly as well. [default f16]",
           MODEL, "f16|q8_0"),
    flag("exact", "Prompts at full precision: activations of 15 bits, where 8 are nearly as good and faster.", MODEL,
         shows_negation=True),
    Option("preset", _preset, "a name",
           "Sampling from a preset: greedy, precise, balanced, creative, or your own. Options given beside it win.",
           SAMPLING, "NAME"),
    *SAMPLING_OPTIONS,
    Option("data_dir", _path, "a folder", "Where sessions and models are kept.", PROGRAM, "DIR"),
    Option("config", _path, "a file", "The configuration file.", PROGRAM, "FILE"),
    flag("plain", "Line by line instead of the full screen.", PROGRAM, shows_negation=True),
    Option("theme", _theme_name, "a name", "The colours of the full screen.", PROGRAM, "NAME"),
)  # fmt: skip

FOLDERS = frozenset({"data_dir", "config"})  #: what every command uses
TOKENS = FOLDERS | {"model", "tokenizer"}
CHAT = frozenset(option.name for option in COMMON)
ANSWERS = CHAT - {"plain", "theme"}


def with_options(own: Iterable[Option] = (), common: Collection[str] = ()) -> Callable[[AnyCommand], AnyCommand]:
    """Gives a command its own options and, of the common ones, those named: all that it has a use for.

    It refuses the others behind its name. Before it, where they are the program's, as in a variable or in the file, all
    are taken: what is set once, in an alias say, is for every command to take from it what it uses.
    """
    options = [*own, *(option for option in COMMON if option.name in common)]

    def decorate(command: AnyCommand) -> AnyCommand:
        command.params += map(ClickOption, options)
        return command

    return decorate
