"""The line at the bottom: which model, what it is doing, how fast, how full the context is."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from textual.content import Content
from textual.timer import Timer
from textual.widget import Widget

from llamachat.chat.conversation import Message
from llamachat.chat.session import ChatSession, Phase, Progress
from llamachat.display import clean_line
from llamachat.engine.events import Timings
from llamachat.tui.keys import Keys, key_hints
from llamachat.tui.words import phase_words, rate, sparkline

_SAMPLE_MS = 400.0
_SAMPLES = 8
_FLASH_SECONDS = 2.5
_BASE_CELLS = 4  # a shorter name than this tells nothing

_KEYS_EVERYWHERE: Keys = (("chat.help", "help"), ("chat.palette", "commands"))
"""Ids with a word each."""


@dataclass(frozen=True, slots=True)
class StatusFacts:
    """What the line says, piece by piece; an empty piece is left out."""

    model: str = ""
    phase: str = ""
    prompt_rate: str = ""
    answer_rate: str = ""
    spark: str = ""
    context: str = ""
    hints: Keys = ()
    unsaved: str = ""


def fit(facts: StatusFacts, width: int) -> Content:
    """The line in ``width`` cells: what matters least goes first when there is not room for all."""
    model_short = facts.model.split()[0] if facts.model else ""
    model_base = _base_name(model_short)
    short_context = facts.context.replace(" of ", "/").replace(" tokens", "")
    attempts = (
        (facts.model, facts.prompt_rate, facts.spark, facts.context, facts.hints),
        (facts.model, "", facts.spark, short_context, facts.hints),
        (model_short, "", "", short_context, facts.hints),
        (model_base, "", "", short_context, facts.hints),
        (model_base, "", "", short_context, facts.hints[:1]),
        ("", "", "", short_context, facts.hints[:1]),
        ("", "", "", "", facts.hints[:1]),
        ("", "", "", "", ()),
    )
    line = Content()
    for model, prompt_rate, spark, context, hints in attempts:
        answer = f"{facts.answer_rate} {spark}".strip()
        pieces = [
            (model, "$soft"),
            (facts.phase, "$text"),
            (facts.unsaved, "$warning"),
            (prompt_rate, "$soft"),
            (answer, "$soft"),
            (context, "$soft"),
        ]
        left = Content(" · ").join(Content.assemble(piece) for piece in pieces if piece[0]).stylize_before("$faint")
        right = Content("   ").join(Content.assemble((key, "$soft"), (f" {word}", "$faint")) for key, word in hints)
        space = width - left.cell_length - right.cell_length
        line = Content.assemble(left, " " * max(1, space), right)
        if space >= 2 or not hints:
            break
    return line.truncate(width, ellipsis=True)


def _base_name(name: str) -> str:
    """The first words of a model's file name that tell it: ``SmolLM2``, ``a-very``."""
    words = name.split("-")
    n = next((n for n in range(1, len(words)) if len("-".join(words[:n])) >= _BASE_CELLS), len(words))
    return "-".join(words[:n])[:10]


class StatusLine(Widget):
    """Draws the facts; keeps the answer's recent speeds for the sparkline."""

    DEFAULT_CSS = """
    StatusLine {
        dock: bottom;
        height: 1;
        padding: 0 1;
        background: $background;
        color: $faint;
    }
    """

    def __init__(self) -> None:
        super().__init__()
        self._facts = StatusFacts()
        self._flash = ""
        self._flash_timer: Timer | None = None
        self._rates: deque[float] = deque(maxlen=_SAMPLES)
        self._sampled = Timings()
        self._phase = Phase.NO_MODEL
        self._start = Progress()

    def show_session(self, session: ChatSession, last: Message | None, keys: Keys) -> None:
        """Takes over what the session says now; redraws only if a word of it changed.

        ``keys`` are those of the widget with the focus.
        """
        if session.phase is not self._phase:
            self._phase, self._start = session.phase, session.progress
            if session.phase is Phase.PREFILL:
                self._rates.clear()
                self._sampled = Timings()
        timings = session.timings or Timings()
        if not session.busy and session.model and last is not None and last.model not in ("", session.model.name):
            timings = Timings()  # another model's
        if session.phase is Phase.DECODE:
            self._sample(timings)
        stopped = session.phase is Phase.NO_MODEL and session.load_stopped is not None
        first: Keys = (("esc", "stop"),) if session.busy else ()
        if stopped and not session.busy:
            first = key_hints(self.screen, ("chat.open-model", "load a model"))
        facts = StatusFacts(
            model=clean_line(f"{session.model.name} {session.model.type_name}", 60) if session.model else "",
            phase="loading stopped" if stopped else phase_words(session.phase, session.progress, self._start, last),
            unsaved="not saved" if session.store.in_memory and session.store.data_dir else "",
            prompt_rate=f"prompt {rate(timings.prompt_rate)}" if timings.prompt_rate else "",
            answer_rate=rate(timings.answer_rate) if timings.answer_rate else "",
            spark=sparkline(self._rates) if session.phase is Phase.DECODE else "",
            context=f"{session.context_used:,} of {session.context_total:,} tokens" if session.context_total else "",
            hints=first + (keys or key_hints(self.screen, *_KEYS_EVERYWHERE[: 1 if first else 2])),
        )
        if facts != self._facts:
            self._facts = facts
            self.refresh()

    def _sample(self, timings: Timings) -> None:
        milliseconds = timings.answer_ms - self._sampled.answer_ms
        tokens = timings.answer_tokens - self._sampled.answer_tokens
        if milliseconds < 0 or tokens < 0:
            self._sampled = timings  # another answer
        elif milliseconds >= _SAMPLE_MS:
            self._rates.append(1000 * tokens / milliseconds)
            self._sampled = timings

    def flash(self, text: str) -> None:
        """Says something for a moment, in place of the keys."""
        self._flash = clean_line(text)
        self.refresh()
        if self._flash_timer is not None:
            self._flash_timer.stop()
        self._flash_timer = self.set_timer(_FLASH_SECONDS, self._end_flash)

    def _end_flash(self) -> None:
        self._flash = ""
        self.refresh()

    def render(self) -> Content:
        """The line at the width there is."""
        width = self.size.width
        if not self._flash:
            return fit(self._facts, width)
        left = fit(StatusFacts(model=self._facts.model, phase=self._facts.phase), max(0, width - len(self._flash) - 2))
        space = width - left.cell_length - Content(self._flash).cell_length
        return Content.assemble(left, " " * max(1, space), (self._flash, "$accent")).truncate(width, ellipsis=True)
