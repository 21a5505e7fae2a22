"""Keys in the order in which they were typed."""

from __future__ import annotations

from textual import events
from textual.widget import Widget


async def run_own_binding(widget: Widget, event: events.Key) -> bool:
    """Does, in the widget's own queue, what the key is bound to there; False if it is not, or declined.

    Textual hands letters to the focused widget at once, but lets a bound key climb to the application first: what
    is typed faster than the screen is drawn would overtake Enter and Backspace.
    """
    for binding in widget._bindings.key_to_bindings.get(event.key, ()):
        if await widget.app.run_action(binding.action, widget):
            event.stop()
            event.prevent_default()
            return True
    return False
