"""One line of the sampling panel: a label at the left, a value at the right that is turned or typed."""

from __future__ import annotations

from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.message import Message
from textual.reactive import reactive
from textual.widget import Widget

from llamachat.tui.own_keys import run_own_binding

LABEL_WIDTH = 16  #: with the mark of the row in focus before it
_TYPED_CHARS = 40
Pieces = tuple[tuple[str, str], ...]  #: words, each with its style


class PanelRow(Widget, can_focus=True):
    """What all rows have in common. What its value is, and how it is turned, each kind says itself."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("backspace,delete", "erase", "Back to the default", show=False, id="value.default"),
        Binding("enter", "commit", "Take what was typed", show=False, id="value.commit"),
        Binding("up", "app.focus_previous", "Previous", show=False, id="value.previous"),
        Binding("down", "app.focus_next", "Next", show=False, id="value.next"),
    ]
    DEFAULT_CSS = """
    PanelRow {
        height: 1;
        color: $soft;
        &:hover { color: $text; }
        &:focus { background: $raised; color: $text; }
    }
    """

    typed: reactive[str | None] = reactive(None)  #: what is being typed, until Enter

    class Refused(Message):
        """What was typed is no value here."""

        def __init__(self, reason: str) -> None:
            super().__init__()
            self.reason = reason

    def __init__(self, label: str, *, id: str) -> None:  # noqa: A002 - Textual's word
        super().__init__(id=id)
        self._label = label

    # ---- what each kind says --------------------------------------------------

    def take(self, typed: str) -> None:
        """Takes over what was typed, or posts :class:`Refused`."""
        raise NotImplementedError

    def to_default(self) -> None:
        """Goes back to the default."""
        raise NotImplementedError

    def action_nudge(self, steps: int) -> None:
        """Turns the value by so many steps."""
        raise NotImplementedError

    @property
    def value_text(self) -> str:
        """The value as a person reads it."""
        raise NotImplementedError

    @property
    def changed(self) -> bool:
        """Whether it is another than the default."""
        raise NotImplementedError

    @property
    def help_text(self) -> str:
        """What it is, or does."""
        raise NotImplementedError

    @property
    def track(self) -> Pieces:
        """What stands between label and value."""
        return ()

    # ---- turning ------------------------------------------------------------

    def action_erase(self) -> None:
        """Takes back the last character typed; else returns to the default."""
        if self.typed:
            self.typed = self.typed[:-1] or None
        else:
            self.to_default()

    def action_commit(self) -> None:
        """Takes over what was typed, or says why not."""
        typed, self.typed = self.typed, None
        if typed is not None:
            self.take(typed)

    async def _on_key(self, event: events.Key) -> None:
        letter = event.character and (event.character.isalnum() or event.character in ".-")
        if event.key == "escape" and self.typed is not None:
            self.typed = None
        elif letter and len(self.typed or "") < _TYPED_CHARS:
            self.typed = (self.typed or "") + (event.character or "")
        else:
            await run_own_binding(self, event)
            return
        event.stop()
        event.prevent_default()

    def on_blur(self) -> None:
        """Leaving takes over what was typed."""
        if self.typed is not None:
            self.action_commit()

    def _on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        event.stop()
        event.prevent_default()
        self.action_nudge(1)

    def _on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        event.stop()
        event.prevent_default()
        self.action_nudge(-1)

    # ---- drawing ------------------------------------------------------------

    def render(self) -> Content:
        """The line: label, track, value; a value without a track ends at the same place."""
        track = self.track
        width = max(1, self.size.width - LABEL_WIDTH - sum(len(piece) for piece, _ in track))
        if self.typed is not None:
            text, style = f"{self.typed}▏"[-width:], "$accent"
        else:
            text, style = self.value_text, "bold $text" if self.changed else "$text"
            text = text if len(text) <= width else text[: width - 1] + "…"
        mark = "›" if self.has_focus else " "  # the background alone is not seen where colours are few
        label = self._label[: LABEL_WIDTH - 2].ljust(LABEL_WIDTH - 1)
        return Content.assemble((mark, "$accent"), label, *track, (text.rjust(width), style))
