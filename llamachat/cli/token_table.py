"""The tokens of an answer as line mode shows them."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from typing import TextIO

from llamachat.chat.look import Look
from llamachat.cli.status_line import is_terminal
from llamachat.display import clean, clean_line
from llamachat.engine.events import Place

_COLOURS = ((0.05, "\x1b[4;31m"), (0.2, "\x1b[4;33m"), (0.5, "\x1b[33m"))
"""Below which probability a token has which colour."""
_RESET = "\x1b[0m"
_DOUBTFUL = 10  # places that are listed
_OTHERS = 3  # alternatives beside each
_BEFORE_CHARS = 40


def overview(look: Look, stream: TextIO) -> str:
    """The places where the model was least sure; before them, on a terminal, the whole answer in colours."""
    lines = []
    if is_terminal(stream) and not os.environ.get("NO_COLOR"):
        legend = "  ".join(f"{colour}below {100 * below:.0f} %{_RESET}" for below, colour in reversed(_COLOURS))
        lines += ["".join(_coloured_tokens(look)), "", legend]
    lines.append(f"{len(look.texts):,} tokens, perplexity {look.perplexity:.2f}; the model was least sure of:")
    lines += _least_sure(look)
    return "\n".join([*lines, "/tokens PLACE shows one of them, /tokens PLACE NUMBER goes on with another token there"])


def at_place(look: Look, at: int) -> str:
    """The alternatives at a place, with their numbers. ``LlamachatError`` where there is no such place."""
    place = look.place(at)
    before = clean_line("".join(look.texts[:at])[-_BEFORE_CHARS:], _BEFORE_CHARS)
    here = "the answer was cut here" if place.id is None else _word(look, place.id)
    lines = [f"place {at + 1:,} of {len(look.places):,}, after “{before}”: {here}"]
    rows = [(str(number), one.id, one.logprob, one.share) for number, one in enumerate(place.top, 1)]
    if place.id is not None and place.logprob is not None and all(one.id != place.id for one in place.top):
        rows.append(("", place.id, place.logprob, place.share))
    words = [_word(look, token) for _, token, _, _ in rows]
    width = max(map(len, words), default=0)
    lines.append(f"    {'':<{width}}    model   as set")
    for (number, token, logprob, share), word in zip(rows, words, strict=True):
        mark = "*" if token == place.id else " "
        lines.append(f"{number:>2} {mark}{word:<{width}}  {_percent(math.exp(logprob))}  {_percent(share)}")
    return "\n".join(lines)


def _coloured_tokens(look: Look) -> Iterator[str]:
    for text, place in zip(look.texts, look.places, strict=False):
        probability = 1.0 if place.logprob is None else math.exp(place.logprob)
        colour = next((colour for below, colour in _COLOURS if probability < below), "")
        yield f"{colour}{clean(text)}{_RESET}" if colour and text.strip() else clean(text)


def _least_sure(look: Look) -> list[str]:
    known = [(place.logprob, at) for at, place in enumerate(look.places) if place.logprob is not None]
    places = sorted(at for _, at in sorted(known)[:_DOUBTFUL])
    words = [_word(look, look.places[at].id) for at in places]
    width = max(map(len, words), default=0)
    return [
        f"{at + 1:>5,}  {word:<{width}}  {_percent(math.exp(look.places[at].logprob or 0.0))}"
        f"  {_others(look, look.places[at])}".rstrip()
        for at, word in zip(places, words, strict=True)
    ]


def _others(look: Look, place: Place) -> str:
    others = [one for one in place.top if one.id != place.id][:_OTHERS]
    return ", ".join(f"{_word(look, one.id)} {_percent(math.exp(one.logprob)).strip()}" for one in others)


def _word(look: Look, token: int | None) -> str:
    return "" if token is None else clean_line(look.word(token), 30)


def _percent(share: float | None) -> str:
    """A share in seven cells."""
    return f"{100 * share:5.1f} %" if share is not None else " " * 7
