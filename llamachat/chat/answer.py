"""One answer on its way: from a path of messages to a request, and from events to text."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

from llamachat.chat.conversation import Conversation, Message, Status
from llamachat.chat.hand_over import HandOver
from llamachat.chat.prompt import build_prompt, turns_of, vocabulary_key
from llamachat.chat.prompt_formats import PromptWriter, stop_ids
from llamachat.engine.events import Finished, PrefillProgress, Request, StopReason, Timings, TokenEvent
from llamachat.engine.stop_texts import StopTexts

if TYPE_CHECKING:
    from llamachat.tokenizer import TextStream, Tokenizer

_STATUS = {
    StopReason.END: Status.COMPLETE,
    StopReason.LENGTH: Status.LENGTH,
    StopReason.CONTEXT: Status.CONTEXT,
    StopReason.STOPPED: Status.STOPPED,
    StopReason.FAILED: Status.FAILED,
}


class ModelInUse:
    """What answering needs of the loaded model, gathered once, when it is first needed."""

    def __init__(self, name: str, n_ctx: int, tokenizer: Tokenizer) -> None:
        self.name = name
        self.n_ctx = n_ctx
        self.tokenizer = tokenizer

    @cached_property
    def vocabulary(self) -> str:
        """The vocabulary's key: answers with the same one can be used again by their ids."""
        return vocabulary_key(self.tokenizer.vocabulary)

    @cached_property
    def stop_ids(self) -> frozenset[int]:
        """The tokens that end an answer."""
        return stop_ids(self.tokenizer.vocabulary)


class Answer:
    """An answer being prepared, written, or let go. Its message is the only state that others see.

    ``prepare`` runs on a thread of its own, since a long history takes a while to encode; everything
    else runs on the face's thread.
    """

    def __init__(
        self,
        conversation: Conversation,
        message: Message,
        model: ModelInUse,
        writer: PromptWriter,
        *,
        shown: str | None = None,
    ) -> None:
        """``shown`` is the sibling (its id) that was visible before, to go back to if nothing comes."""
        self.conversation = conversation
        self.message = message
        self.decoding = False
        self.let_go = False  #: another operation took over: what still comes is not for the message any more
        self._model = model
        self._writer = writer
        self._before = replace(message)
        self._system = conversation.system
        self._path = conversation.path_to(message)[: None if message.text else -1]
        self._shown = shown
        self._begun = False
        self._opening = message.text  # what the new text is put behind
        self._figures = Timings()
        self._tokens, self._answer_ms = 0, 0.0  # of the answer, beside the figures of its prompt
        self._dropped = 0
        self._ids: list[int] | None = []
        self._new_text: list[str] = []
        self._stream: TextStream | None = None
        self._stop_texts = StopTexts(())
        self._hand_over = HandOver()

    @property
    def timings(self) -> Timings:
        """The figures so far."""
        return replace(self._figures, answer_tokens=self._tokens, answer_ms=self._answer_ms)

    @property
    def continues(self) -> bool:
        """Whether the message had text already."""
        return bool(self._before.text)

    @property
    def added_nothing(self) -> bool:
        """Whether the model ended at once what it was to go on with."""
        return self.continues and self._tokens == 0 and self.message.status is Status.COMPLETE

    # ---- on a thread of its own -------------------------------------------------

    def prepare(self, dropped: int, max_tokens: int, hand_over: Callable[[Request], None]) -> bool:
        """Makes the request and gives it to ``hand_over``; False if :meth:`cancel` came first.

        ``PromptError`` where the conversation does not fit the context.
        """
        model = self._model
        turns = turns_of(self._path, model.vocabulary)
        prompt = build_prompt(
            self._writer,
            model.tokenizer,
            self._system,
            turns,
            n_ctx=model.n_ctx,
            max_tokens=max_tokens,
            dropped=dropped,
        )
        self._dropped = prompt.dropped
        request = Request(
            prompt.ids,
            stop_ids=model.stop_ids,
            stop_texts=self._writer.stop_texts,
            at_start=not self.continues,
        )
        if self.continues:
            self._take_up(turns[-1].ids)
        return self._hand_over.give(request, hand_over)

    def _take_up(self, ids: tuple[int, ...] | None) -> None:
        """Goes on decoding where the answer stopped, which may be in the middle of a character."""
        if ids is None:  # another model's answer: its text was encoded anew, where its ids end is not known
            self._ids = None
            return
        self._ids = list(ids)
        self._stop_texts = StopTexts(self._writer.stop_texts)
        self._stream = self._model.tokenizer.stream()
        text = "".join(map(self._stream.push, ids))
        if self._before.text.startswith(text):
            self._opening = text  # without the stand-in for an incomplete character
        else:
            self._stream = None

    # ---- on the face's thread -----------------------------------------------------

    def cancel(self) -> bool:
        """Keeps the request from the engine; False if the engine has it already."""
        return self._hand_over.cancel()

    def apply(self, event: PrefillProgress | TokenEvent) -> None:
        """Takes progress and tokens in. The message shows them after :meth:`settle`."""
        if not self._begun:
            self._begun = True
            self._begin()
        if isinstance(event, PrefillProgress):
            self._figures = Timings(event.done_tokens, event.reused_tokens, event.elapsed_ms)
            return
        self.decoding = True
        self._tokens += 1
        self._answer_ms = event.elapsed_ms
        if self._ids is not None:
            self._ids.append(event.id)
        self._new_text.append(
            self._stop_texts.push(self._stream.push(event.id)) if self._stream is not None else event.text
        )

    def _begin(self) -> None:
        """What is known of the answer before its first token."""
        message, model = self.message, self._model
        message.text = self._opening
        message.dropped, message.vocabulary, message.model = self._dropped, model.vocabulary, model.name

    def settle(self) -> bool:
        """Brings the message up to what was applied; False if there was nothing."""
        if not self._new_text:
            return False
        self.message.text += "".join(self._new_text)
        self._new_text.clear()
        self.message.ids = None if self._ids is None else tuple(self._ids)
        self.message.timings = self.timings
        return True

    def finish(self, event: Finished) -> None:
        """The answer is over."""
        if event.reason is not StopReason.FAILED:  # an engine that fails has no figures
            self._figures = event.timings
            self._tokens, self._answer_ms = event.timings.answer_tokens, event.timings.answer_ms
        if self._stream is not None:
            self._new_text.append(self._stop_texts.push(self._stream.flush()) + self._stop_texts.flush())
        else:
            self._new_text.append(event.tail)
        self.settle()
        self.message.seed = event.seed
        if event.reason is StopReason.END and self._writer.stop_texts:
            self._cut_ids()
        self._end(_STATUS[event.reason], event.message)

    def abandon(self) -> None:
        """Stops the answer as it is, without waiting for the engine."""
        self.let_go = True
        self.settle()
        self._end(Status.STOPPED, "")

    def _end(self, status: Status, note: str) -> None:
        message = self.message
        nothing_more = self.continues and status is Status.COMPLETE
        if self._tokens == 0 and (nothing_more or status in (Status.STOPPED, Status.FAILED)):
            message.take(self._before)  # nothing came: as if it had not been asked for
            if nothing_more or not self.continues:
                message.status = status
            return
        message.status, message.note, message.timings = status, note, self.timings

    @property
    def came_to_nothing(self) -> bool:
        """Whether the answer ended without a word, so that its message may go."""
        message = self.message
        return not message.text and message.status in (Status.STOPPED, Status.FAILED)

    def withdraw(self) -> None:
        """Takes the message of an answer that came to nothing out of its conversation."""
        message, conversation = self.message, self.conversation
        conversation.remove(message)
        if self._shown is not None:
            conversation.choose({message.parent_id: self._shown})

    def _cut_ids(self) -> None:
        """Takes the tokens of a stop text off; a text that ends inside a token has no exact ids."""
        tokenizer, message = self._model.tokenizer, self.message
        ids = list(message.ids or ())
        while ids and len(tokenizer.decode(ids)) > len(message.text):
            ids.pop()
        message.ids = tuple(ids) if ids and tokenizer.decode(ids) == message.text else None
