"""How much of the context a chat takes, exactly, also where nothing was evaluated yet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from llamachat.chat.answer import ModelInUse
from llamachat.chat.conversation import Message
from llamachat.chat.prompt import Prompt, build_prompt, turns_of
from llamachat.chat.prompt_formats import PromptFormat, PromptWriter
from llamachat.errors import LlamachatError, PromptError
from llamachat.tokenizer.base import encodable
from llamachat.tokenizer.parts import encode_parts

if TYPE_CHECKING:
    from llamachat.engine.settings import SamplingSettings

COUNTED_CHARS = 200_000
"""Characters that are encoded in passing, which takes up to 0.1 s; more are not counted."""
_PART = 4096  # characters of a text that is written, counted in less than a frame


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


class TextCount:
    """Counts the tokens of a text that is being written: of one that goes on like the last, only what is new."""

    def __init__(self) -> None:
        self._model: ModelInUse | None = None
        self._text = ""
        self._places = [(0, 0)]  # in it, in characters, where no token spans, and the tokens before them
        self._count = 0

    def of(self, text: str, model: ModelInUse, most: int | None = COUNTED_CHARS) -> int:
        """Tokens of a text; 0 where more than ``most`` characters of it are new."""
        text = encodable(text)
        if (text, model) == (self._text, self._model):
            return self._count
        places = self._places if model == self._model else [(0, 0)]
        known = next(n for n in range(len(places), 0, -1) if self._begins_alike(text, places[n - 1][0]))
        start, count = places[known - 1]
        if most is not None and len(text) - start > most:
            return 0
        places = places[:known]
        for ids, end in encode_parts(model.tokenizer, text, size=_PART, start=start):
            count += len(ids)
            if end < len(text):
                places.append((end, count))
        self._text, self._model, self._places, self._count = text, model, places, count
        return count

    def _begins_alike(self, text: str, end: int) -> bool:
        """Up to ``end`` and with the next letter, by which it is a place where no token spans."""
        return end == 0 or text.startswith(self._text[: end + 1])


class ContextCount:
    """Counts the tokens of a path, and remembers the last count: faces ask twice a second."""

    def __init__(self) -> None:
        self._key: tuple[object, ...] = ()
        self._count: int | None = None

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
