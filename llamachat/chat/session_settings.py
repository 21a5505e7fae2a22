"""What a person sets in a chat: sampling, system prompt, prompt format, and the text not sent yet."""

from __future__ import annotations

from llamachat.chat.prompt_formats import format_named
from llamachat.chat.session_state import SessionState
from llamachat.engine.settings import SamplingSettings, parameter_named


class SessionSettings(SessionState):
    """The operations that leave a running answer running."""

    def set_parameter(self, name: str, value: object) -> None:
        """Changes one sampling parameter (a string is parsed), from the next token on."""
        parameter = parameter_named(name)
        checked = parameter.parse(value) if isinstance(value, str) else parameter.check(value)
        self.set_settings(self.settings.with_value(parameter.name, checked))

    def set_settings(self, settings: SamplingSettings) -> None:
        """Changes the whole sampling, from the next token on."""
        self.conversation.settings = self._runner.engine.settings = settings
        self._save_if_stored()

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

    def _save_if_stored(self) -> None:
        if len(self.conversation) or self.conversation.draft:
            self.store.save_soon(self.conversation)
