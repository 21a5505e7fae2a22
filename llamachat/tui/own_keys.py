"""Keys in the order in which they were typed."""

from __future__ import annotations

from textual import events
from textual.widget import Widget

from llamachat.tui.keys import keys_in_force


async def run_own_binding(widget: Widget, event: events.Key, key: str = "") -> bool:
    """Does, in the widget's own queue, what the key is bound to there; False if it is not, or declined.

    Textual hands letters to the focused widget at once, but lets a bound key climb to the application first: what
    is typed faster than the screen is drawn would overtake Enter and Backspace.

    A key that a person has given to something around the widget is left to that, unless it was given to the widget as
    well. ``key`` is looked up in place of the event's own.
    """
    key = key or event.key
    keys = keys_in_force(widget)
    bindings = keys.bindings(type(widget)).get(key, ())
    if bindings and keys.is_given(key):
        own = keys.given(type(widget), key)
        if own or any(keys.given(type(outer), key) for outer in widget.ancestors):
            bindings = own
    for binding in bindings:
        if await widget.app.run_action(binding.action, widget):
            event.stop()
            event.prevent_default()
            return True
    return False
