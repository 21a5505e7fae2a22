"""Where the side panes are: beside the chat where there is room, over it on a narrow screen."""

from __future__ import annotations

from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.screen import Screen

WIDE = 110
TALL = 20

_FIRST = {"chats": "SessionList", "sampling": "ParameterRow"}
_PANE = {"chats": "SessionPane", "sampling": "SamplingPanel"}


class Panes(Screen[None]):
    """A screen with a pane at either side of ``#middle``, each shown and hidden by its key."""

    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (WIDE, "-wide")]  # noqa: RUF012 - declared so by Textual
    VERTICAL_BREAKPOINTS = [(0, "-short"), (TALL, "-tall")]  # noqa: RUF012
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+b", "pane('chats')", "Chats: go there, or hide them", show=False, id="panes.chats"),
        Binding("ctrl+t", "pane('sampling')", "Sampling: go there, or hide it", show=False, id="panes.sampling"),
    ]
    DEFAULT_CSS = """
    Panes {
        background: $background;
        & > #panes {
            layers: base over;
            height: 1fr;
            & > #middle {
                width: 1fr;
                height: 1fr;
                align-horizontal: center;
                & > Welcome { display: none; }
                &.-empty > Welcome { display: block; }
                &.-empty > Transcript { display: none; }
                & > Transcript { height: 1fr; }
            }
            & > SessionPane { width: 26; }
            & > SamplingPanel { width: 36; }
        }
        &.-wide.-no-chats > #panes > SessionPane { display: none; }
        &.-wide.-no-sampling > #panes > SamplingPanel { display: none; }
        &.-narrow > #panes > SessionPane { display: none; layer: over; dock: left; width: 34; max-width: 92%; }
        &.-narrow > #panes > SamplingPanel { display: none; layer: over; dock: right; width: 40; max-width: 92%; }
        &.-narrow.-chats > #panes > SessionPane { display: block; }
        &.-narrow.-sampling > #panes > SamplingPanel { display: block; }
    }
    """

    @property
    def wide(self) -> bool:
        """Whether the panes stand beside the chat."""
        return self.size.width >= WIDE

    def pane_shown(self, name: str) -> bool:
        """Whether a pane can be seen."""
        return not self.has_class(f"-no-{name}") if self.wide else self.has_class(f"-{name}")

    def action_pane(self, name: str) -> None:
        """Goes to a pane; from inside it, hides it."""
        if self._is_inside(name) and self.pane_shown(name):
            self._show_pane(name, False)
            self.focus_composer()
            return
        if not self.wide:
            self.close_overlays()
        was_shown = self.pane_shown(name)
        self._show_pane(name, True)
        if was_shown:  # at once, so that the very next key is the pane's
            self._focus_pane(name)
        else:
            self.call_after_refresh(self._focus_pane, name)

    def _is_inside(self, name: str) -> bool:
        return self.focused is not None and any(type(node).__name__ == _PANE[name] for node in self.focused.ancestors)

    def on_resize(self) -> None:
        """No key goes to a pane that the narrower screen has no room for."""
        if any(self._is_inside(name) and not self.pane_shown(name) for name in _PANE):
            self.focus_composer()

    def _focus_pane(self, name: str) -> None:
        self.set_focus(self.query(_FIRST[name]).first())

    def _show_pane(self, name: str, shown: bool) -> None:
        if self.wide:
            self.set_class(not shown, f"-no-{name}")
        else:
            self.set_class(shown, f"-{name}")

    def close_overlays(self) -> bool:
        """Closes the panes that lie over the chat; False if none did."""
        was_open = not self.wide and (self.has_class("-chats") or self.has_class("-sampling"))
        self.remove_class("-chats", "-sampling")
        return was_open

    def action_leave_pane(self) -> None:
        """Back to the composer, from a pane."""
        self.close_overlays()
        self.focus_composer()

    def focus_composer(self) -> None:
        """Back to where one writes."""
        self.set_focus(self.query_one("#composer"))
