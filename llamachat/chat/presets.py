"""Presets as data: sampling values, and a system prompt if one wants, read from TOML and checked whole.

Whoever writes one gets every mistake told at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources.abc import Traversable
from pathlib import Path

from llamachat import paths
from llamachat.chat.toml_files import parse_toml, read_folder, wrong_name
from llamachat.display import clean_line
from llamachat.engine.settings import PARAMETER, PARAMETERS, Number, Parameter, SamplingSettings
from llamachat.errors import FileError, LlamachatError

DEFAULT_PRESET = "balanced"
OWN = "own"  #: what values are called that are no preset's
THE_DEFAULTS = "the defaults"

_SYSTEM = "system"
_KEPT = frozenset({"seed", "max_tokens"})  # stay as they are where a preset does not name them
_MOST_NAMED = 3  # keys nobody knows, in an error
_SYSTEM_CHARS = 60


@dataclass(frozen=True, slots=True)
class Preset:
    """One preset as its file says it."""

    name: str
    named: Mapping[str, Number | None]  #: the parameters that it names
    system: str | None = None  #: the system prompt; None leaves a chat's as it is

    @property
    def sampling(self) -> dict[str, Number | None]:
        """The values that it gives: those it names, and the defaults of the others but of seed and reply length."""
        return {
            one.name: self.named.get(one.name, one.default)
            for one in PARAMETERS
            if one.name in self.named or one.name not in _KEPT
        }

    @property
    def values(self) -> dict[str, Number | str | None]:
        """The same with the system prompt, if it has one, as options are named."""
        return {**self.sampling, **({} if self.system is None else {_SYSTEM: self.system})}

    @property
    def temperature(self) -> float:
        """That of its values, by which presets are ordered."""
        return float(self.named.get("temperature", SamplingSettings().temperature) or 0.0)

    @property
    def words(self) -> str:
        """What it does, in a few words: what differs from the defaults."""
        words = values_in_words(self.sampling)
        if self.system is not None:
            said = clean_line(self.system, _SYSTEM_CHARS)
            words.append(f"system prompt “{said}”" if said else "the model's own system prompt")
        return ", ".join(words) or THE_DEFAULTS

    def applied_to(self, settings: SamplingSettings) -> SamplingSettings:
        """``settings`` with its values."""
        return settings.with_values(self.sampling)

    def equals(self, settings: SamplingSettings, system: str) -> bool:
        """Whether applying it would change nothing."""
        return self.system in (None, system) and self.applied_to(settings) == settings


def values_in_words(values: Mapping[str, Number | None]) -> list[str]:
    """Those of the values that differ from the defaults, as one types them."""
    return [
        _in_words(one, values[one.name]) for one in PARAMETERS if one.name in values and values[one.name] != one.default
    ]


def _in_words(parameter: Parameter, value: Number | None) -> str:
    if parameter.name == "temperature" and value == 0:
        return "always the likeliest token"
    return f"{parameter.key} {parameter.format(value)}"


def parse_preset(name: str, text: str, path: str | Path) -> Preset:
    """The preset in ``text``; ``FileError`` lists everything that is wrong with it."""
    table = parse_toml(text, path)
    wrong = wrong_name(name)
    unknown: list[str] = []
    named: dict[str, Number | None] = {}
    seen: set[str] = set()
    for key, value in table.items():
        parameter = PARAMETER.get(key.replace("-", "_"))
        if parameter is None:
            unknown += [key] if key != _SYSTEM else []
        elif parameter.name in seen:
            wrong.append(f"{parameter.key} stands there twice")
        else:
            seen.add(parameter.name)
            try:
                named[parameter.name] = _checked(parameter, value)
            except LlamachatError as error:
                wrong.append(clean_line(str(error), 120))
    system = table.get(_SYSTEM)
    if system is not None and not isinstance(system, str):
        wrong.append(f"{_SYSTEM} takes a text")
    if unknown:
        wrong.append(_unknown(unknown))
    if wrong:
        raise FileError(path, "preset not used: " + "; ".join(wrong))
    return Preset(name, named, None if system is None else system.strip())


def _checked(parameter: Parameter, value: object) -> Number | None:
    return parameter.parse(value) if isinstance(value, str) else parameter.check(value)


def _unknown(keys: list[str]) -> str:
    shown = ", ".join(repr(clean_line(key, 30)) for key in keys[:_MOST_NAMED])
    more = f" and {len(keys) - _MOST_NAMED:,} more" if len(keys) > _MOST_NAMED else ""
    known = ", ".join([*(one.key for one in PARAMETERS), _SYSTEM])
    return f"unknown {'key' if len(keys) == 1 else 'keys'} {shown}{more}: there are {known}"


class PresetShelf:
    """The shipped presets, and the user's own, which come first where the names are equal, also one that is broken.

    Read when first asked for; again by :meth:`reload`, so that an edited file counts at once.
    """

    def __init__(self, shipped: Traversable | Path, own: Path | None) -> None:
        self._shipped = shipped
        self._own = own
        self._read: tuple[dict[str, Preset], dict[str, FileError]] | None = None
        self._taken = ""
        self._matched: tuple[SamplingSettings, str, Preset | None] | None = None

    @property
    def presets(self) -> Mapping[str, Preset]:
        """All that can be used, by name, from the surest to the wildest: in the order of their temperatures."""
        return self._all()[0]

    @property
    def broken(self) -> Mapping[str, FileError]:
        """Why those files are not used that are not, by the name they would have."""
        return self._all()[1]

    @property
    def notices(self) -> list[str]:
        """The same, one sentence for each."""
        return [clean_line(str(error), 300) for error in self.broken.values()]

    def reload(self) -> None:
        """Reads both folders again, when next asked for anything."""
        self._read = self._matched = None

    def find(self, name: str) -> Preset:
        """The preset called so, or whose name begins so, as its file is now.

        ``FileError`` if the file that it means is broken, ``LlamachatError`` lists the names if it means none.
        """
        self.reload()
        word = name.strip().lower()
        if word in self.presets:
            return self.presets[word]
        for broken in (name.strip(), word):
            if broken in self.broken:
                raise self.broken[broken]
        begun = [known for known in self.presets if word and known.startswith(word)]
        if len(begun) == 1:
            return self.presets[begun[0]]
        if begun:
            raise LlamachatError(f"which preset: {', '.join(begun)}?")
        raise LlamachatError(f"no preset {name[:40]!r}: there are {', '.join(self.presets)}")

    def took(self, preset: Preset | None) -> None:
        """Notes which preset a person took, so that of several equal ones it is this that is shown."""
        self._taken, self._matched = preset.name if preset else "", None

    def equal_to(self, settings: SamplingSettings, system: str) -> Preset | None:
        """The preset that sampling and system prompt equal now, the one that says most where several are equal."""
        if self._matched is None or self._matched[:2] != (settings, system):
            equal = [preset for preset in self.presets.values() if preset.equals(settings, system)]
            best = max(equal, key=lambda preset: (preset.name == self._taken, len(preset.values)), default=None)
            self._matched = (settings, system, best)
        return self._matched[2]

    def places(self, settings: SamplingSettings, system: str) -> list[Preset | None]:
        """All presets from the surest to the wildest, and None among them for these values if they are no preset's."""
        places: list[Preset | None] = list(self.presets.values())
        if self.equal_to(settings, system) is None:
            places.insert(sum(preset.temperature <= settings.temperature for preset in self.presets.values()), None)
        return places

    def _all(self) -> tuple[dict[str, Preset], dict[str, FileError]]:
        if self._read is None:
            presets, broken = read_folder(self._shipped, parse_preset)
            own, own_broken = read_folder(self._own, parse_preset) if self._own is not None else ({}, {})
            presets = {name: one for name, one in (presets | own).items() if name not in own_broken}
            by_warmth = sorted(presets.values(), key=lambda one: (one.temperature, one.name))
            self._read = {one.name: one for one in by_warmth}, broken | own_broken
        return self._read


def all_presets() -> PresetShelf:
    """Those that come with the program, and those in the folder ``presets`` beside the user's ``config.toml``."""
    return PresetShelf(paths.shipped_presets(), paths.config_dir() / "presets")
