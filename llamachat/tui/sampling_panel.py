"""The panel at the right: how the next token is chosen, and how full the context is."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.events import DescendantFocus
from textual.widgets import Static

from llamachat.chat.presets import Preset
from llamachat.engine.settings import PARAMETER, SamplingSettings
from llamachat.tui.context_meter import ContextMeter
from llamachat.tui.panel_row import PanelRow
from llamachat.tui.parameter_row import ParameterRow
from llamachat.tui.preset_row import PresetRow

SHOWN = ("temperature", "top_p", "top_k", "min_p", "repeat_penalty", "seed", "max_tokens")
"""The parameters with a row of their own; ``/set`` reaches them all."""


class SamplingPanel(VerticalScroll, can_focus=False):
    """A row for each parameter and one for the preset, what the focused one does, and the context meter."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "screen.leave_pane", "Back", show=False, id="sampling.leave"),
    ]
    DEFAULT_CSS = """
    SamplingPanel {
        background: $pane;
        padding: 1 2 1 1;
        scrollbar-size-vertical: 1;
        & > .title { color: $faint; margin-bottom: 1; padding-left: 1; }
        & > PresetRow { margin-top: 1; }
        & > #context-title { margin-top: 2; }
        & > ContextMeter { margin-left: 1; }
        & > #parameter-help { color: $faint; height: auto; margin-top: 1; padding-left: 1; }
    }
    """

    def compose(self) -> ComposeResult:
        """Rows from the one table of parameters."""
        yield Static("Sampling", classes="title", markup=False)
        for name in SHOWN:
            yield ParameterRow(PARAMETER[name])
        yield PresetRow()
        yield Static("Context", id="context-title", classes="title", markup=False)
        yield ContextMeter()
        yield Static("", id="parameter-help", markup=False)

    def on_descendant_focus(self, event: DescendantFocus) -> None:
        """Says what the focused row does."""
        if isinstance(event.widget, PanelRow):
            self._explain(event.widget.help_text)

    def on_descendant_blur(self) -> None:
        """Nothing to explain."""
        self._explain("")

    def _explain(self, text: str) -> None:
        self.query_one("#parameter-help", Static).update(text)

    def show_settings(self, settings: SamplingSettings, preset: Preset | None) -> None:
        """Shows these values, and which preset they are."""
        for row in self.query(ParameterRow):
            row.value = settings.to_dict()[row.parameter.name]
        presets = self.query_one(PresetRow)
        if presets.preset != preset:
            presets.preset = preset
            if presets.has_focus:
                self._explain(presets.help_text)
