"""A look at an answer, token by token: how sure the model was, and what else it could have said."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from llamachat.chat.answer import ModelInUse
from llamachat.chat.context_use import written_prompt
from llamachat.chat.conversation import Conversation, Message, Status
from llamachat.chat.hand_over import HandOver
from llamachat.chat.prompt import encode_prompt, turns_of
from llamachat.chat.prompt_formats import PromptWriter
from llamachat.engine.events import Alternative, Looked, LookFailed, LookRequest, Place
from llamachat.errors import LlamachatError

if TYPE_CHECKING:
    from llamachat.engine.settings import SamplingSettings


@dataclass(frozen=True, slots=True)
class Branch:
    """An answer as it would begin with another token. ``ends``: that token is its end."""

    ids: tuple[int, ...]
    text: str
    ends: bool


class Look:
    """One answer being looked at, or looked at. It changes nothing.

    ``prepare`` runs on a thread of its own, as of an :class:`~llamachat.chat.answer.Answer`; everything else on the
    face's thread.
    """

    def __init__(
        self,
        conversation: Conversation,
        message: Message,
        model: ModelInUse,
        writer: PromptWriter,
        settings: SamplingSettings,
    ) -> None:
        self.message = message
        self.places: tuple[Place, ...] = ()  #: one for each token, and one behind the last, when it is done
        self.texts: tuple[str, ...] = ()  #: what each token adds to the text; nothing while a character is incomplete
        self.dropped = 0  #: how many of the path's earliest messages were outside the context
        self.error = ""  #: why there are no places
        self.over = False
        self._of = (message.text, message.ids, message.status, model, writer.name, conversation.system, settings)
        self.model = model
        self._writer = writer
        self._settings = settings
        self._system = conversation.system
        self._path = conversation.path_to(message)
        self._ids: tuple[int, ...] = ()
        self._hand_over = HandOver()

    @property
    def done(self) -> bool:
        """Whether the places are there."""
        return bool(self.places)

    def same_as(self, other: Look) -> bool:
        """Whether ``other`` would find the same."""
        return self.message is other.message and self._of == other._of

    # ---- on a thread of its own -------------------------------------------------

    def prepare(self, hand_over: Callable[[LookRequest], None]) -> bool:
        """Makes the request and gives it to ``hand_over``; False if :meth:`cancel` came first.

        ``PromptError`` where the conversation does not fit the context.
        """
        message, model, settings = self.message, self.model, self._settings
        prompt = written_prompt(self._path[:-1], model, self._writer, self._system, settings, message.dropped)
        prompt_ids, self.dropped = prompt.ids, prompt.dropped
        if message.ids and message.vocabulary == model.vocabulary:
            self._ids = message.ids
        else:  # nobody's tokens, or another model's: as this one would read the text
            turns = turns_of(self._path[prompt.dropped :], model.vocabulary)
            whole = encode_prompt(self._writer.render(self._system, turns), model.tokenizer)
            prompt_ids = whole[: _common(prompt_ids, whole)]
            self._ids = whole[len(prompt_ids) :]
        ended = message.status is Status.COMPLETE and not self._writer.stop_texts
        end_ids = model.stop_ids if ended else frozenset[int]()
        request = LookRequest(prompt_ids, self._ids, end_ids, settings)
        return self._hand_over.give(request, hand_over)

    # ---- on the face's thread -----------------------------------------------------

    def cancel(self) -> bool:
        """Keeps the request from the engine; False if the engine has it already."""
        return self._hand_over.cancel()

    def finish(self, event: Looked | LookFailed) -> None:
        """Takes over what the engine found."""
        self.over = True
        if isinstance(event, LookFailed):
            self.error = event.message
            return
        stream = self.model.tokenizer.stream()
        texts = [stream.push(token) for token in self._ids]
        if texts:
            texts[-1] += stream.flush()
        self.texts, self.places = tuple(texts), event.places

    @property
    def perplexity(self) -> float:
        """e to the mean of the tokens' negative log-probabilities: 1 for a model that was sure of each."""
        logprobs = [place.logprob for place in self.places if place.logprob is not None]
        return math.exp(-math.fsum(logprobs) / len(logprobs)) if logprobs else 1.0

    def word(self, token: int) -> str:
        """A token as a person reads it: its text in quotes, the bytes of a part of a character, or its name."""
        model = self.model
        surface, pieces = model.tokenizer.surface(token), model.tokenizer.vocabulary.pieces
        name = pieces[token] if token < len(pieces) else f"token {token}"
        if token in model.stop_ids:  # some models have several
            return f"end {name}"
        if not surface:
            return name
        try:
            text = surface.decode()
        except UnicodeDecodeError:
            return "bytes " + surface.hex(" ").upper()
        escaped = text.replace("\\", "\\\\").replace("\n", "\\n").replace("\t", "\\t").replace("\r", "\\r")
        return f'"{escaped}"'

    def place(self, at: int) -> Place:
        """The place with this number, from 0; ``LlamachatError`` where there is none."""
        if not 0 <= at < len(self.places):
            raise LlamachatError(f"a place from 1 to {len(self.places):,}, not {at + 1:,}")
        return self.places[at]

    def alternative(self, at: int, number: int) -> Alternative:
        """One of the alternatives at a place, from 0; ``LlamachatError`` where there is none."""
        top = self.place(at).top
        if not 0 <= number < len(top):
            raise LlamachatError(f"an alternative from 1 to {len(top)}, not {number + 1:,}")
        return top[number]

    def branch(self, at: int, token: int) -> Branch:
        """The answer up to place ``at`` with ``token`` there. ``LlamachatError`` where that is no beginning of one."""
        self.place(at)
        tokenizer = self.model.tokenizer
        ends = token in self.model.stop_ids
        if not ends and not tokenizer.surface(token):
            raise LlamachatError(f"{self.word(token)} is no text: an answer cannot go on with it")
        ids = self._ids[:at] if ends else (*self._ids[:at], token)
        text = tokenizer.decode(ids)
        if not text:
            raise LlamachatError(f"an answer cannot begin with {self.word(token)}")
        return Branch(ids, text, ends)


def _common(some: tuple[int, ...], others: tuple[int, ...]) -> int:
    """How many of the first ids are the same."""
    pairs = enumerate(zip(some, others, strict=False))
    return next((at for at, (one, other) in pairs if one != other), min(len(some), len(others)))
