"""What a command was asked to do: command line over environment over configuration file.

A preset stands where it is named, below the single options given there.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from llamachat.cli.options import COMMON, SAMPLING_OPTIONS, Option

if TYPE_CHECKING:
    from llamachat.engine.source import ModelSource


CONFIG_NAME = "config.toml"


@dataclass(frozen=True, slots=True)
class Invocation:
    """The options that were given, wherever; what was not given is absent from ``values``.

    ``origins`` says where each value stands, as a person would look for it.
    """

    values: dict[str, Any]
    origins: dict[str, str] = field(default_factory=dict)
    given_now: frozenset[str] = frozenset()  #: what the command line or a variable gives, or a preset named there

    @classmethod
    def of(cls, context: click.Context, own: Iterable[Option] = ()) -> Invocation:
        """Reads and checks every option of the running command.

        Raises ``click.UsageError`` for the command line and the environment, ``FileError`` for the configuration
        file; each says where the value stands and what would be taken.
        """
        line: dict[str, Any] = {}
        environment: dict[str, Any] = {}
        variables: dict[str, str] = {}
        for option in (*COMMON, *own):
            given = _from_command_line(context, option)
            line.update(given)
            environment.update({} if given else _from_environment(option))
            variables[option.name] = option.variable
        file = _from_config(line.get("config") or environment.get("config"))
        values: dict[str, Any] = {}
        origins: dict[str, str] = {}
        for place, called in ((file, CONFIG_NAME), (environment, ""), (line, "command line")):
            for name, value in _spread(place).items():
                values[name] = value
                origins[name] = (called or variables[name]) if name in place else f"preset {place['preset'].name}"
        return cls(values, origins, frozenset(_spread(line) | _spread(environment)))

    @property
    def without_file(self) -> Invocation:
        """What was given for this run, without what the configuration file says of all."""
        return replace(self, values={name: value for name, value in self.values.items() if name in self.given_now})

    def get(self, name: str, default: Any = None) -> Any:
        """An option's value, or ``default`` where it was not given."""
        return self.values.get(name, default)

    @property
    def data_dir(self) -> Path:
        """The folder of sessions and models."""
        from llamachat import paths

        folder: Path = self.get("data_dir") or paths.data_dir()
        return folder.absolute()

    @property
    def sampling(self) -> dict[str, int | float | None]:
        """The sampling parameters that were given, by name."""
        return {option.name: self.values[option.name] for option in SAMPLING_OPTIONS if option.name in self.values}

    def source(self, path: Path) -> ModelSource:
        """How to load the model at ``path``: as the options say, and nothing else."""
        from llamachat.engine.source import KvType, ModelSource, Rounding

        return ModelSource(
            path,
            self.get("tokenizer"),
            self.get("n_ctx"),
            self.get("threads"),
            self.get("kv_type", KvType.F16),
            rounding=Rounding.EXACT if self.get("exact") else Rounding.FAST,
        )

    def source_as_before(self, path: Path) -> ModelSource:
        """Likewise for a chat: the tokenizer file that a chat used with it last need not be named again."""
        from llamachat.cli.model_files import usual_tokenizer

        source = self.source(path)
        return source if source.tokenizer else replace(source, tokenizer=usual_tokenizer(self.data_dir, path))


def _spread(place: dict[str, Any]) -> dict[str, Any]:
    """What was given at one place, with what the preset named there gives where nothing else is given there.

    So a preset wins over all that was given farther off: ``--preset`` does something whatever the file says.
    """
    return {**(place["preset"].values if "preset" in place else {}), **place}


def _from_command_line(context: click.Context, option: Option) -> dict[str, Any]:
    place: click.Context | None = context
    while place is not None:  # the command's own options first, then those before its name
        if place.get_parameter_source(option.name) is ParameterSource.COMMANDLINE:
            return {option.name: _read(option, place.params[option.name], option.flag)}
        place = place.parent
    return {}


def _from_environment(option: Option) -> dict[str, Any]:
    text = os.environ.get(option.variable, "")
    return {option.name: _read(option, text, option.variable)} if text else {}


def config_file(named: Path | None) -> Path:
    """The configuration file: the one that was named, or the usual one, which need not be there."""
    from llamachat import paths

    return named or paths.config_dir() / CONFIG_NAME


def _from_config(named: Path | None) -> dict[str, Any]:
    path = config_file(named)
    if named is None and not os.path.lexists(path):
        return {}
    from llamachat.cli.config import read_config

    return read_config(path)


def _read(option: Option, value: object, where: str) -> Any:
    try:
        return option.check(value, where)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
