"""How much of the context a chat takes, exactly, also where nothing was evaluated yet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from llamachat.chat.answer import ModelInUse
from llamachat.chat.conversation import Message
from llamachat.chat.prompt import Prompt, build_prompt, turns_of
from llamachat.chat.prompt_formats import PromptFormat, PromptWriter
from llamachat.errors import LlamachatError, PromptError

if TYPE_CHECKING:
    from llamachat.engine.settings import SamplingSettings

COUNTED_CHARS = 200_000
"""Characters that are encoded in passing, which takes up to 0.1 s; more are not counted."""


def written_prompt(
    path: Sequence[Message],
    model: ModelInUse,
    writer: PromptWriter,
    system: str,
    settings: SamplingSettings,
    dropped: int = 0,
) -> Prompt:
    """The prompt that the model would read to answer the last message, or to go on with it.

    ``dropped`` is the window as it was, as in :func:`~llamachat.chat.prompt.build_prompt`, whose errors it has.
    """
    return build_prompt(
        writer,
        model.tokenizer,
        system,
        turns_of(path, model.vocabulary),
        n_ctx=model.n_ctx,
        max_tokens=settings.max_tokens,
        dropped=dropped,
    )


class ContextCount:
    """Counts the tokens of a path and of a text, and remembers the last counts: faces ask twice a second."""

    def __init__(self) -> None:
        self._key: tuple[object, ...] = ()
        self._count: int | None = None
        self._text: tuple[str, ModelInUse | None] = ("", None)
        self._text_count = 0

    def of_text(self, text: str, model: ModelInUse) -> int:
        """Tokens of a text; 0 where it is very long."""
        if len(text) > COUNTED_CHARS:
            return 0
        if (text, model) != self._text:
            self._text, self._text_count = (text, model), len(model.tokenizer.encode(text))
        return self._text_count

    def of(
        self, path: Sequence[Message], model: ModelInUse, writer: PromptWriter, system: str, settings: SamplingSettings
    ) -> int | None:
        """Tokens that the model would read for this path; None where that takes long: a template of a file's own runs
        in another process, and a long text is encoded for as long as it is.
        """
        if not isinstance(writer, PromptFormat) or sum(len(message.text) for message in path) > COUNTED_CHARS:
            return None
        key = (path[-1].id, path[-1].text, model, writer, system, settings.max_tokens)
        if key != self._key:
            self._key, self._count = key, self._counted(path, model, writer, system, settings)
        return self._count

    @staticmethod
    def _counted(
        path: Sequence[Message], model: ModelInUse, writer: PromptWriter, system: str, settings: SamplingSettings
    ) -> int:
        try:
            return len(written_prompt(path, model, writer, system, settings).ids)
        except PromptError:
            return model.n_ctx  # it does not fit
        except LlamachatError:
            return 0
