"""One sampling parameter on one line: its name, where it stands, its value; turned by key, wheel, drag and typing."""

from __future__ import annotations

from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.message import Message
from textual.reactive import reactive
from textual.widget import Widget

from llamachat.engine.settings import Number, Parameter
from llamachat.errors import LlamachatError
from llamachat.tui.own_keys import run_own_binding
from llamachat.tui.status_line import Keys

_LABEL_WIDTH = 16  # with the mark of the row in focus before it
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


class ParameterRow(Widget, can_focus=True):
    """A parameter of the table, with its value."""

    HELP = """\
**Left** and **Right** turn the value (with **Shift** ten steps at once), so do the wheel and the mouse on the track.
Or type a number and press **Enter**. **Backspace** returns to the default. A changed value is bold.

It counts from the next token on, in the middle of an answer too.
"""
    BINDING_GROUP_TITLE = "Sampling"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("right,plus", "nudge(1)", "More", show=False, id="value.more"),
        Binding("left", "nudge(-1)", "Less", show=False, id="value.less"),
        Binding("shift+right,pageup", f"nudge({_BIG_STEP})", "Much more", show=False, id="value.much-more"),
        Binding("shift+left,pagedown", f"nudge(-{_BIG_STEP})", "Much less", show=False, id="value.much-less"),
        Binding("backspace,delete", "erase", "Back to the default", show=False, id="value.default"),
        Binding("enter", "commit", "Take what was typed", show=False, id="value.commit"),
        Binding("up", "app.focus_previous", "Previous", show=False, id="value.previous"),
        Binding("down", "app.focus_next", "Next", show=False, id="value.next"),
    ]
    DEFAULT_CSS = """
    ParameterRow {
        height: 1;
        color: $soft;
        &:hover { color: $text; }
        &:focus { background: $raised; color: $text; }
    }
    """

    status_keys: ClassVar[Keys] = (("← →", "turn"), ("0-9", "type"), ("⌫", "default"))

    value: reactive[Number | None] = reactive(None)
    typed: reactive[str | None] = reactive(None)  #: what is being typed, until Enter

    class Turned(Message):
        """A person gave the parameter another value."""

        def __init__(self, parameter: Parameter, value: Number | None) -> None:
            super().__init__()
            self.parameter = parameter
            self.value = value

    class Refused(Message):
        """What was typed is no value of the parameter."""

        def __init__(self, reason: str) -> None:
            super().__init__()
            self.reason = reason

    def __init__(self, parameter: Parameter) -> None:
        super().__init__(id=f"parameter-{parameter.name}")
        self.parameter = parameter
        self.set_reactive(ParameterRow.value, parameter.default)
        self._span = VISIBLE_RANGE.get(parameter.name)

    # ---- turning ------------------------------------------------------------

    def _turn(self, value: Number | None) -> None:
        self.typed = None
        if value != self.value:
            self.value = value
            self.post_message(self.Turned(self.parameter, value))

    def action_nudge(self, steps: int) -> None:
        """Moves by so many of the parameter's steps."""
        self._turn(self.parameter.nudge(self.value, steps))

    def action_erase(self) -> None:
        """Takes back the last character typed; else returns to the default."""
        if self.typed:
            self.typed = self.typed[:-1] or None
        else:
            self._turn(self.parameter.default)

    def action_commit(self) -> None:
        """Takes over what was typed, or says why not."""
        if self.typed is None:
            return
        try:
            self._turn(self.parameter.parse(self.typed))
        except LlamachatError as error:
            self.typed = None
            self.post_message(self.Refused(str(error)))

    async def _on_key(self, event: events.Key) -> None:
        if event.key == "escape" and self.typed is not None:
            self.typed = None
        elif event.character and (event.character.isalnum() or event.character in ".-") and len(self.typed or "") < 20:
            self.typed = (self.typed or "") + event.character
        else:
            await run_own_binding(self, event)
            return
        event.stop()
        event.prevent_default()

    def on_blur(self) -> None:
        """Leaving takes over what was typed."""
        self.action_commit()

    # ---- mouse --------------------------------------------------------------

    def _on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        event.stop()
        event.prevent_default()
        self.action_nudge(1)

    def _on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        event.stop()
        event.prevent_default()
        self.action_nudge(-1)

    async def _on_mouse_down(self, event: events.MouseDown) -> None:
        if self._span is not None and _LABEL_WIDTH <= event.x <= _LABEL_WIDTH + self._track_width:
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
        return max(0, self.size.width - _LABEL_WIDTH - _VALUE_WIDTH)

    def _drag(self, x: int) -> None:
        if self._span is None or self._track_width < 2:
            return
        low, high = self._span
        share = min(max((x - _LABEL_WIDTH) / (self._track_width - 1), 0.0), 1.0)
        # nudge(…, 0) puts the number on the parameter's own grid and into its range
        self._turn(self.parameter.nudge(low + share * (high - low), 0))

    # ---- drawing ------------------------------------------------------------

    def render(self) -> Content:
        """The line: label, track, value; a parameter without a track has its value at the same place."""
        typed = self.typed is not None
        text = f"{self.typed}▏" if typed else self.parameter.format(self.value)
        changed = self.value != self.parameter.default
        style = "$accent" if typed else "bold $text" if changed else "$text"
        track, width = ((), self.size.width - _LABEL_WIDTH) if self._span is None else (self._track(), _VALUE_WIDTH)
        mark = "›" if self.has_focus else " "  # the background alone is not seen where colours are few
        label = self.parameter.label[: _LABEL_WIDTH - 2].ljust(_LABEL_WIDTH - 1)
        return Content.assemble((mark, "$accent"), label, *track, (text[-max(width, 1) :].rjust(width), style))

    def _track(self) -> tuple[tuple[str, str], ...]:
        if self._span is None or self._track_width < 2:
            return ()
        low, high = self._span
        share = min(max((float(self.value or 0) - low) / (high - low), 0.0), 1.0)
        at = round(share * (self._track_width - 1))
        return ("━" * at, "$accent"), ("●", "$accent"), ("─" * (self._track_width - 1 - at), "$faint")
