"""The one table of parameters: panel, command-line flags, ``/set``, checks, sessions and help read it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from llamachat.errors import LlamachatError

Number = int | float


@dataclass(frozen=True, slots=True)
class Parameter:
    """One number that a person may turn.

    ``step`` is what an arrow key adds. ``none_label`` is the word for "no value" (a random seed);
    a parameter without it always has a number.
    """

    name: str
    kind: type[int] | type[float]
    default: Number | None
    minimum: Number
    maximum: Number
    step: Number
    label: str
    help: str
    none_label: str = ""

    @property
    def flag(self) -> str:
        """The command-line flag: ``--top-p``."""
        return "--" + self.key

    @property
    def key(self) -> str:
        """The name as a person types and reads it: ``top-p``."""
        return self.name.replace("_", "-")

    @property
    def range_text(self) -> str:
        """The range as a person reads it: ``0 to 2``."""
        text = f"{self.format(self.minimum)} to {self.format(self.maximum)}"
        return f"{text}, or {self.none_label}" if self.none_label else text

    def format(self, value: Number | None) -> str:
        """The value as a person reads it."""
        if value is None:
            return self.none_label
        return f"{value:.2f}" if self.kind is float else f"{value:d}"

    def check(self, value: object) -> Number | None:
        """The value in this parameter's type.

        Raises ``LlamachatError`` naming the range where it is no number or lies outside.
        """
        if value is None and self.none_label:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self._refusal(value)
        if not self.minimum <= value <= self.maximum:  # nor are infinities and NaN, or integers beyond any float
            raise self._refusal(value)
        if self.kind is int and value != int(value):
            raise self._refusal(value)
        return self.kind(value)

    def parse(self, text: str) -> Number | None:
        """The value that a person typed; errors as in :meth:`check`."""
        word = text.strip()
        if self.none_label and word.lower() in (self.none_label, "none", ""):
            return None
        try:
            return self.check(int(word) if self.kind is int else float(word))
        except ValueError:
            raise self._refusal(text) from None

    def nudge(self, value: Number | None, steps: int) -> Number | None:
        """The value ``steps`` steps away, kept in range and on the grid of steps."""
        if value is None:
            return self.minimum if steps > 0 else None
        moved = round(value / self.step + steps) * self.step
        return self.kind(round(min(max(moved, self.minimum), self.maximum), 6))

    def _refusal(self, value: object) -> LlamachatError:
        try:
            shown = repr(str(value)[:40])
        except ValueError:  # Python writes no integer of thousands of digits
            shown = "a number of thousands of digits"
        return LlamachatError(f"{self.key} takes {self.range_text}, not {shown}")


PARAMETERS: tuple[Parameter, ...] = (
    Parameter("temperature", float, 0.8, 0.0, 5.0, 0.05, "Temperature",
              "How freely words are chosen: 0 always takes the likeliest, 1 follows the model, more is wilder."),
    Parameter("top_p", float, 0.95, 0.0, 1.0, 0.01, "Top-p",
              "Keeps the likeliest tokens that together have this probability; 1 keeps all."),
    Parameter("top_k", int, 40, 0, 1_000_000, 1, "Top-k",
              "Keeps this many of the likeliest tokens; 0 keeps all."),
    Parameter("min_p", float, 0.05, 0.0, 1.0, 0.01, "Min-p",
              "Drops tokens less likely than this share of the likeliest one; 0 keeps all."),
    Parameter("repeat_penalty", float, 1.0, 0.1, 5.0, 0.01, "Repeat penalty",
              "Makes the last tokens less likely to come again; 1 is off."),
    Parameter("repeat_window", int, 64, 0, 1_000_000, 8, "Repeat window",
              "How many of the last tokens the repeat penalty looks at."),
    Parameter("seed", int, None, 0, 2**63 - 1, 1, "Seed",
              "The same seed, settings and model give the same text.", none_label="random"),
    Parameter("max_tokens", int, 512, 1, 1_000_000, 16, "Reply length",
              "The most tokens of one answer (max tokens)."),
)  # fmt: skip

PARAMETER: dict[str, Parameter] = {parameter.name: parameter for parameter in PARAMETERS}


def parameter_named(name: str) -> Parameter:
    """The parameter with this name (``top-p`` and ``top_p`` alike); ``LlamachatError`` lists them all."""
    found = PARAMETER.get(name.strip().lower().replace("-", "_"))
    if found is None:
        raise LlamachatError(f"no parameter {name[:40]!r}: there are {', '.join(p.key for p in PARAMETERS)}")
    return found


@dataclass(frozen=True, slots=True)
class SamplingSettings:
    """How the next token is chosen. Immutable: a change swaps the whole object, between two tokens."""

    temperature: float = 0.8
    top_p: float = 0.95
    top_k: int = 40
    min_p: float = 0.05
    repeat_penalty: float = 1.0
    repeat_window: int = 64
    seed: int | None = None
    max_tokens: int = 512

    def with_value(self, name: str, value: object) -> SamplingSettings:
        """A copy with one checked value; ``LlamachatError`` names the range or the known names."""
        return self.with_values({name: value})

    def with_values(self, values: Mapping[str, object]) -> SamplingSettings:
        """The same of several, by name."""
        change: dict[str, Any] = {}
        for name, value in values.items():
            parameter = parameter_named(name)
            change[parameter.name] = parameter.check(value)
        return replace(self, **change)

    def to_dict(self) -> dict[str, Number | None]:
        """Plain values by name, for sessions and JSON."""
        return asdict(self)


def _check_defaults() -> None:
    defaults = SamplingSettings().to_dict()
    assert defaults == {p.name: p.default for p in PARAMETERS}, "PARAMETERS and SamplingSettings disagree"


_check_defaults()
