"""What a person sets in a chat: sampling, system prompt, prompt format, and the text not sent yet."""

from __future__ import annotations

from typing import NamedTuple

from llamachat.chat.presets import Preset
from llamachat.chat.prompt_formats import format_named
from llamachat.chat.session_state import SessionState
from llamachat.engine.settings import SamplingSettings, parameter_named


class _Given(NamedTuple):
    """What presets change, and of which chat."""

    chat: str
    settings: SamplingSettings
    system: str


class _Taken(NamedTuple):
    """What a preset was taken over, and what came of it."""

    before: _Given
    after: _Given


class SessionSettings(SessionState):
    """The operations that leave a running answer running."""

    _taken: _Taken | None = None

    def set_parameter(self, name: str, value: object) -> None:
        """Changes one sampling parameter (a string is parsed), from the next token on."""
        parameter = parameter_named(name)
        checked = parameter.parse(value) if isinstance(value, str) else parameter.check(value)
        self.set_settings(self.settings.with_value(parameter.name, checked))

    def set_settings(self, settings: SamplingSettings) -> None:
        """Changes the whole sampling, from the next token on."""
        self.conversation.settings = self._runner.engine.settings = settings
        self._save_if_stored()

    def use_preset(self, name: str, *, instead: bool = False) -> Preset:
        """Takes a preset's sampling, from the next token on, and its system prompt if it has one, from the next answer
        on; returns it. ``FileError`` if its file is broken, ``LlamachatError`` if there is none.

        System prompt, seed and reply length stay where it names none. With ``instead`` those go that the preset taken
        just before brought along: they are as they were before that one.
        """
        preset = self.presets.find(name)
        self._take_preset(preset, self._before(instead=instead))
        return preset

    def step_preset(self, step: int) -> Preset | None:
        """Takes the preset ``step`` places wilder (below 0: surer) than what is set now, instead of that; returns it.

        What was set before the first of several steps has a place among the presets, if it is none of them, so that
        one can step back to it: None then.
        """
        self.presets.reload()
        before = self._given() if self.preset is None else self._before(instead=True)
        places = self.presets.places(before.settings, before.system)
        at = min(max(places.index(self.preset) + step, 0), len(places) - 1)
        self._take_preset(places[at], before)
        return places[at]

    def set_system(self, text: str) -> None:
        """Changes the chat's system prompt, from the next answer on."""
        self.conversation.system = text
        self._save_if_stored()

    def set_prompt_format(self, name: str | None) -> None:
        """Changes the prompt format, from the next answer on; None detects it again."""
        self.conversation.prompt_format = format_named(name).name if name else ""
        self._writer = None
        self._save_if_stored()

    def save_draft(self, text: str) -> None:
        """Keeps unsent text; it is on disk within a second."""
        conversation = self.conversation
        if text == conversation.draft:
            return
        conversation.draft = text
        if text or len(conversation):
            self.store.save_soon(conversation)
        else:
            self.store.delete_soon(conversation.id)  # it was nothing but this text

    # ---- inside -------------------------------------------------------------

    def _given(self) -> _Given:
        return _Given(self.conversation.id, self.settings, self.conversation.system)

    def _before(self, *, instead: bool) -> _Given:
        """What the next preset is taken over: what is there, or was there before the last one."""
        now, last = self._given(), self._taken
        return last.before if instead and last is not None and last.after == now else now

    def _take_preset(self, preset: Preset | None, before: _Given) -> None:
        self.set_system(before.system if preset is None or preset.system is None else preset.system)
        self.set_settings(before.settings if preset is None else preset.applied_to(before.settings))
        self.presets.took(preset)
        self._taken = _Taken(before, self._given())

    def _save_if_stored(self) -> None:
        if len(self.conversation) or self.conversation.draft:
            self.store.save_soon(self.conversation)
