"""One sampling parameter on one line: its name, where it stands, its value; turned by key, wheel, drag and typing."""

from __future__ import annotations

from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.reactive import reactive

from llamachat.engine.settings import Number, Parameter
from llamachat.errors import LlamachatError
from llamachat.tui.keys import Keys, key_hints
from llamachat.tui.panel_row import LABEL_WIDTH, PanelRow, Pieces

_VALUE_WIDTH = 7
_BIG_STEP = 10

VISIBLE_RANGE: dict[str, tuple[float, float]] = {
    "temperature": (0.0, 2.0),
    "top_p": (0.0, 1.0),
    "top_k": (0, 200),
    "min_p": (0.0, 0.5),
    "repeat_penalty": (1.0, 1.5),
}
"""What the track spans: where a parameter is turned in practice. Values beyond are typed."""


class ParameterRow(PanelRow):
    """A parameter of the table, with its value."""

    HELP = """\
{value.less} and {value.more} turn the value ({value.much-less} and {value.much-more}: ten steps at once), so do the
wheel and the mouse on the track. Or type a number and press {value.commit}. {value.default} returns to the default. A
changed value is bold.

It counts from the next token on, in the middle of an answer too.
"""
    BINDING_GROUP_TITLE = "Sampling"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("right,plus", "nudge(1)", "More", show=False, id="value.more"),
        Binding("left", "nudge(-1)", "Less", show=False, id="value.less"),
        Binding("shift+right,pageup", f"nudge({_BIG_STEP})", "Much more", show=False, id="value.much-more"),
        Binding("shift+left,pagedown", f"nudge(-{_BIG_STEP})", "Much less", show=False, id="value.much-less"),
    ]

    value: reactive[Number | None] = reactive(None)

    class Turned(Message):
        """A person gave the parameter another value."""

        def __init__(self, parameter: Parameter, value: Number | None) -> None:
            super().__init__()
            self.parameter = parameter
            self.value = value

    def __init__(self, parameter: Parameter) -> None:
        super().__init__(parameter.label, id=f"parameter-{parameter.name}")
        self.parameter = parameter
        self.set_reactive(ParameterRow.value, parameter.default)
        self._span = VISIBLE_RANGE.get(parameter.name)

    @property
    def status_keys(self) -> Keys:
        """What can be done with the value, for the status line."""
        turn = key_hints(self, ("value.less value.more", "turn"))
        return (*turn, ("0-9", "type"), *key_hints(self, ("value.default", "default")))

    # ---- turning ------------------------------------------------------------

    def _turn(self, value: Number | None) -> None:
        self.typed = None
        if value != self.value:
            self.value = value
            self.post_message(self.Turned(self.parameter, value))

    def action_nudge(self, steps: int) -> None:
        """Moves by so many of the parameter's steps."""
        self._turn(self.parameter.nudge(self.value, steps))

    def to_default(self) -> None:
        """Goes back to the parameter's default."""
        self._turn(self.parameter.default)

    def take(self, typed: str) -> None:
        """Takes over a number that was typed."""
        try:
            self._turn(self.parameter.parse(typed))
        except LlamachatError as error:
            self.post_message(self.Refused(str(error)))

    # ---- mouse --------------------------------------------------------------

    async def _on_mouse_down(self, event: events.MouseDown) -> None:
        if self._span is not None and LABEL_WIDTH <= event.x <= LABEL_WIDTH + self._track_width:
            self.capture_mouse()
            self._drag(event.x)

    def _on_mouse_move(self, event: events.MouseMove) -> None:
        if self.app.mouse_captured is self:
            self._drag(event.x)

    def on_mouse_up(self) -> None:
        """Lets go of the track."""
        self.release_mouse()

    @property
    def _track_width(self) -> int:
        return max(0, self.size.width - LABEL_WIDTH - _VALUE_WIDTH)

    def _drag(self, x: int) -> None:
        if self._span is None or self._track_width < 2:
            return
        low, high = self._span
        share = min(max((x - LABEL_WIDTH) / (self._track_width - 1), 0.0), 1.0)
        # nudge(…, 0) puts the number on the parameter's own grid and into its range
        self._turn(self.parameter.nudge(low + share * (high - low), 0))

    # ---- drawing ------------------------------------------------------------

    @property
    def value_text(self) -> str:
        """The value as a person reads it."""
        return self.parameter.format(self.value)

    @property
    def changed(self) -> bool:
        """Whether it is another than the default."""
        return self.value != self.parameter.default

    @property
    def track(self) -> Pieces:
        """Where the value stands in the range that it is turned in."""
        if self._span is None or self._track_width < 2:
            return ()
        low, high = self._span
        share = min(max((float(self.value or 0) - low) / (high - low), 0.0), 1.0)
        at = round(share * (self._track_width - 1))
        return ("━" * at, "$accent"), ("●", "$accent"), ("─" * (self._track_width - 1 - at), "$faint")

    @property
    def help_text(self) -> str:
        """What the parameter does."""
        return self.parameter.help
