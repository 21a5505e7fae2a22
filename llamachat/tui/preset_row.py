"""The row that names the preset which the values above it equal; turned by key and wheel, typed, or picked."""

from __future__ import annotations

from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.reactive import reactive

from llamachat.chat.presets import DEFAULT_PRESET, OWN, Preset
from llamachat.tui.keys import Keys, key_hints
from llamachat.tui.panel_row import LABEL_WIDTH, PanelRow


class PresetRow(PanelRow):
    """The preset in use. The screen takes presets; this row says what a person wants, and shows what came of it."""

    HELP = """\
{preset.surer} and {preset.wilder} go through the presets, from the surest to the wildest, and so does the wheel. Or
type a name, or its beginning, and press {value.commit}; {value.commit} alone lists them. {value.default} returns to the
defaults.

A preset is a small file: your own go to the folder **presets** beside **config.toml**.
"""
    BINDING_GROUP_TITLE = "Preset"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("right", "nudge(1)", "A wilder one", show=False, id="preset.wilder"),
        Binding("left", "nudge(-1)", "A surer one", show=False, id="preset.surer"),
    ]

    preset: reactive[Preset | None] = reactive(None)

    class Stepped(Message):
        """The preset so many places further is wanted."""

        def __init__(self, steps: int) -> None:
            super().__init__()
            self.steps = steps

    class Wanted(Message):
        """The preset of this name is wanted."""

        def __init__(self, name: str) -> None:
            super().__init__()
            self.name = name

    class ListWanted(Message):
        """A person wants to see them all."""

    def __init__(self) -> None:
        super().__init__("Preset", id="preset")

    @property
    def status_keys(self) -> Keys:
        """What can be done with presets, for the status line."""
        turn = ("preset.surer preset.wilder", "turn")
        return key_hints(self, turn, ("value.commit", "list"), ("value.default", "reset"))

    def action_nudge(self, steps: int) -> None:
        """Asks for a neighbour."""
        self.typed = None
        self.post_message(self.Stepped(steps))

    def action_commit(self) -> None:
        """Asks for what was typed; else for the list."""
        if self.typed is None:
            self.post_message(self.ListWanted())
        else:
            super().action_commit()

    def to_default(self) -> None:
        """Asks for the defaults."""
        self.post_message(self.Wanted(DEFAULT_PRESET))

    def take(self, typed: str) -> None:
        """Asks for the preset whose name was typed."""
        self.post_message(self.Wanted(typed))

    async def _on_click(self, event: events.Click) -> None:
        """A click on the name lists them: there is no track to click on."""
        if event.button == 1 and event.x >= LABEL_WIDTH:
            self.post_message(self.ListWanted())

    @property
    def value_text(self) -> str:
        """The preset's name."""
        return OWN if self.preset is None else self.preset.name

    @property
    def changed(self) -> bool:
        """Whether it is not the defaults."""
        return self.value_text != DEFAULT_PRESET

    @property
    def help_text(self) -> str:
        """What the preset does."""
        if self.preset is None:
            go = "".join(
                f": {keys} go to the presets, and back"
                for keys, _ in key_hints(self, ("preset.surer preset.wilder", ""))
            )
            return f"Your own values, which are no preset's{go}."
        return f"{self.preset.name}: {self.preset.words}."
