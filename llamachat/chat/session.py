"""The headless chat: everything that a face can do, without a face."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from llamachat import paths
from llamachat.chat.answer import Answer, ModelInUse
from llamachat.chat.conversation import Conversation, Message, Role, Status
from llamachat.chat.names import model_word
from llamachat.chat.prompt import check_length
from llamachat.chat.prompt_formats import format_named
from llamachat.chat.runner import Phase, Progress
from llamachat.chat.session_state import SessionState
from llamachat.display import clean
from llamachat.engine.base import Engine
from llamachat.engine.events import Event, Finished, Loaded, LoadFailed, LoadProgress, StopReason
from llamachat.engine.settings import SamplingSettings, parameter_named
from llamachat.engine.source import ModelSource
from llamachat.errors import LlamachatError

if TYPE_CHECKING:
    from llamachat.chat.store import SessionStore, SessionSummary

__all__ = ["ChatSession", "Phase", "Progress"]

#: How long closing waits for the figures of an answer that it stops.
_CLOSE_WAIT_S = 0.5


class ChatSession(SessionState):
    """Conversation, engine, settings and store, and every operation on them.

    All methods are called from one thread, the face's; what the engine tells on its own thread waits
    until that thread calls :meth:`drain`. Operations that cannot be done raise ``LlamachatError`` with
    one line for a person.

    One rule for what happens while an answer runs: ``send``, ``regenerate``, ``continue_answer``,
    ``edit``, ``new``, ``open``, ``delete`` (of the open chat), ``open_model`` and ``open_file`` stop it first, keeping
    what it has, and go on by themselves as soon as the engine is free. ``delete_message`` stops one that it deletes.
    Everything else (parameters, system prompt, renaming, drafts, looking at siblings) leaves it running.
    """

    def __init__(
        self,
        store: SessionStore,
        engine: Engine,
        *,
        settings: SamplingSettings | None = None,
        system: str = "",
        prompt_format: str | None = None,
        source_of: Callable[[Path], ModelSource] = ModelSource,
        on_loaded: Callable[[ModelSource], object] = lambda _source: None,
    ) -> None:
        """A session with an empty conversation; ``settings`` and ``system`` are what new ones start with.

        An unsent text that a crash left behind is taken up again. ``prompt_format`` is a name of
        ``prompt_formats.FORMATS``; None detects it from each model. ``source_of`` says how a model file is opened,
        ``on_loaded`` is called when one has been.
        """
        super().__init__(store, engine, prompt_format)
        self._system = system
        self._source_of, self._on_loaded = source_of, on_loaded
        self._tokenizers: dict[Path, Path | None] = {}  # with which model files were opened
        self._load_wanted: ModelSource | None = None
        self._absorbed: list[Event] = []  # applied, and not yet handed to the face
        draft = store.adopt_draft()
        self._show(draft if draft is not None else Conversation(system=system, settings=settings))

    # ---- events -------------------------------------------------------------

    def drain(self) -> list[Event]:
        """Applies all waiting events and returns them; cheap when there are none.

        What still comes of an answer that another operation ended is left out.
        """
        self._absorb()
        events, self._absorbed = self._absorbed, []
        self._go_on()
        return events

    def wait(self, timeout: float) -> bool:
        """Blocks until events wait or ``timeout`` seconds are over; for faces without an event loop."""
        return bool(self._absorbed) or self._runner.wait(timeout)

    # ---- model --------------------------------------------------------------

    def open_model(self, source: ModelSource) -> None:
        """Begins to load a model. If that fails, the one before stays in use."""
        self.error = self.load_stopped = None
        self._let_go()
        self._runner.stop()
        self._load_wanted = source
        self._go_on()

    def open_file(self, path: Path) -> None:
        """Begins to load a model file in the way that all are opened; but a tokenizer file belongs to one of them."""
        source = self._source_of(path)
        if self._tokenizers:
            source = replace(source, tokenizer=self._tokenizers.get(path.absolute()))
        self.open_model(source)

    # ---- sessions -----------------------------------------------------------

    def sessions(self, filter: str = "") -> list[SessionSummary]:  # noqa: A002
        """The stored chats, the last used first; of a ``filter`` those with all its words in their titles, and then
        those with all of them in one message.
        """
        return self.store.sessions(filter)

    def questions(self, most: int) -> list[str]:
        """The last questions asked, oldest first: those of the other chats, then this one's."""
        asked = [message.text for message in self.conversation.path if message.role is Role.USER]
        return [*self.store.questions(most, besides=self.conversation.id), *asked[-most:]]

    def new(self) -> Conversation:
        """Starts an empty chat with the sampling of this one. It is stored with its first message."""
        self._leave()
        return self._show(Conversation(system=self._system, settings=self.settings))

    def set_draft_aside(self) -> None:
        """Starts an empty chat. The unsent text of the one before stays in the list of chats, and a notice says so."""
        size = len(self.draft)
        self.new()
        self._notices.append(
            f"a text of {size:,} characters that was not sent waits among your chats: /open lists them"
        )

    def open(self, session_id: str) -> Conversation:
        """Opens a stored chat as it was left; ``StoreError`` if it cannot be read."""
        if session_id == self.conversation.id:
            return self.conversation
        conversation = self.store.load(session_id)  # first: if that fails, nothing is stopped
        self._leave()
        return self._show(conversation)

    def rename(self, session_id: str, title: str) -> None:
        """Gives a chat another title."""
        title = " ".join(title.split())[:200]
        if not title:
            raise LlamachatError("a chat's title needs a word")
        if session_id == self.conversation.id:
            self.conversation.title = title
            self._save_if_stored()
        else:
            self.store.rename(session_id, title)

    def delete(self, session_id: str) -> None:
        """Deletes a chat for good; the open one is replaced by an empty chat."""
        if session_id == self.conversation.id:
            self._leave()
            self._show(Conversation(system=self._system, settings=self.settings))
        self.store.delete(session_id)

    def refresh(self) -> bool:
        """Takes over what other windows wrote since; True if anything changed (the list or this chat)."""
        changed = self.store.changed()
        if changed or self.answered_elsewhere:  # a window that was killed says nothing more
            changed |= self.store.update(self.conversation, own=[self.answering.id] if self.answering else [])
        return changed

    # ---- conversation -------------------------------------------------------

    def send(self, text: str) -> Message:
        """Appends a question below the leaf, stores it durably, and has it answered.

        Without a model it waits for one. ``PromptError`` ("N of M tokens") if it alone cannot fit the
        context: nothing is appended then, and the draft stays.
        """
        self._check(text)
        self._let_go()
        question = self.conversation.add_user(text, parent=self.conversation.leaf)
        self.conversation.draft = ""
        return self._ask(question)

    def stop(self) -> None:
        """Stops the running answer (its text stays, marked as stopped) or load, and lets a waiting question be."""
        self._wanted = None
        self._load_wanted = None
        self._runner.stop()

    def regenerate(self, message_id: str | None = None) -> Message:
        """Another answer beside this one (default: the last), or a first one to a question; returns the question."""
        message = self._message(message_id)
        question = message if message.role is Role.USER else self.conversation.parent(message)
        if question is None:
            raise LlamachatError("this answer has no question before it")
        self._let_go()
        self.conversation.select(question)
        return self._ask(question)

    def continue_answer(self, message_id: str | None = None) -> Message:
        """Goes on with an answer (default: the last) from its exact tokens; returns it.

        It grows in place; where others follow it already, a copy beside it grows instead.
        """
        self._answer(message_id)
        self._let_go()
        message = self._answer(message_id)  # one without a word is gone now
        if self.conversation.children(message):
            message = self.conversation.add_copy(message)
        self.conversation.select(message)
        return self._ask(message)

    def edit(self, message_id: str, text: str) -> Message:
        """A changed copy beside a message, as a new branch; returns it, or the message itself where nothing changed.

        An edited question is answered at once, one without an answer also where nothing changed.
        """
        message = self._message(message_id)
        if clean(text) == clean(message.text):  # what a face cannot show is no change
            unanswered = message.role is Role.USER and not self.conversation.children(message)
            return self._ask(message) if unanswered else message
        if message.role is Role.USER:
            self._check(text)
        self._let_go()
        copy = self.conversation.add_copy(message, text=text)
        if message.role is Role.USER:
            return self._ask(copy)
        self.store.save(self.conversation, copy)
        return copy

    def delete_message(self, message_id: str) -> None:
        """Deletes a message for good, with all that follow it on every branch; with the last one the chat."""
        message = self._message(message_id)
        doomed = [*self.conversation.followers(message), message]
        if any(one.status is Status.STREAMING and one is not self.answering for one in doomed):
            raise LlamachatError("another window is writing an answer there")
        if len(doomed) == len(self.conversation):
            self.delete(self.conversation.id)
            return
        if self.answering in doomed:
            self._let_go()
        if self._wanted in doomed:
            self._wanted = None
        for one in doomed:
            if one.id in self.conversation.messages:  # an answer without a word is gone already
                self.conversation.remove(one)
                self.store.forget(self.conversation, one)

    def select_sibling(self, message_id: str, step: int) -> Message:
        """Shows the alternative ``step`` places away (stopping at the ends); returns it."""
        sibling = self.conversation.sibling(self._message(message_id), step)
        self.conversation.select(sibling)
        self._save_if_stored()
        return sibling

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

    def close(self) -> None:
        """Stops what runs, saves everything, closes engine and store."""
        self.stop()
        until = time.monotonic() + _CLOSE_WAIT_S
        while self.answering is not None and (left := until - time.monotonic()) > 0:
            self._runner.wait(left)
            self.drain()
        self._let_go()
        self._runner.close()
        self.store.close()

    # ---- inside -------------------------------------------------------------

    def _show(self, conversation: Conversation) -> Conversation:
        self.conversation = conversation
        self._runner.engine.settings = conversation.settings
        self._writer = None
        self._wanted = None
        return conversation

    def _leave(self) -> None:
        self.error = None
        self._let_go()

    def _absorb(self) -> None:
        """Applies all waiting events."""
        for event, answer in self._runner.events():
            if isinstance(event, Loaded):
                self._source = event.source
                self._tokenizers[event.source.path.absolute()] = event.source.tokenizer
                self._on_loaded(event.source)
                self._take_model()
                self._notices += event.info.notices
            elif isinstance(event, LoadFailed):
                self.error = None if event.cancelled else event.message
                if event.cancelled and self._load_wanted is None:
                    self.load_stopped = event.source
                    name = model_word(event.source.path, self.store.data_dir or paths.data_dir())
                    self._notices.append(f"loading was stopped: /model {name} loads it")
            elif answer is not None and isinstance(event, Finished):
                self._answer_over(answer, event)
            if answer is not None or isinstance(event, LoadProgress | Loaded | LoadFailed):
                self._absorbed.append(event)
        running = self._runner.answer
        if running is not None and not running.let_go and running.settle():
            self.store.save_soon(running.conversation, running.message)

    def _let_go(self) -> None:
        """Ends the running answer as it is; the engine is told, and is free a moment later."""
        self._absorb()  # it may be over already, and nobody has looked yet
        answer = self._runner.answer
        if answer is None or answer.let_go:
            return
        answer.abandon()
        self._runner.stop()
        self._keep(answer)

    def _check(self, text: str) -> None:
        if not text.strip():
            raise LlamachatError("there is nothing to send yet")
        if self._model is not None:
            check_length(text, self._model.tokenizer, self._model.n_ctx, self.settings.max_tokens)

    def _message(self, message_id: str | None) -> Message:
        message = self.conversation.leaf if message_id is None else self.conversation.message(message_id)
        if message is None:
            raise LlamachatError("there is nothing here yet: ask something first")
        return message

    def _answer(self, message_id: str | None) -> Message:
        message = self._message(message_id)
        if message.role is not Role.ASSISTANT:
            raise LlamachatError("there is no answer here to continue: /regenerate asks for one")
        if message.status is Status.STREAMING and message is not self.answering:
            raise LlamachatError("this answer is being written in another window")
        return message

    def _ask(self, message: Message) -> Message:
        """Wants a question answered, or an answer continued; stored first, begun when the engine is free."""
        self.error = None
        self.store.save(self.conversation, message)
        self._wanted = message
        self._go_on()
        return message

    def _go_on(self) -> None:
        """Gives an idle engine what it should do next."""
        if not self._runner.idle:
            return
        if self._load_wanted is not None:
            source, self._load_wanted = self._load_wanted, None
            self._runner.load(source)
        elif self._wanted is not None and self._model is not None:
            message, self._wanted = self._wanted, None
            self._begin(message, self._model)

    def _begin(self, message: Message, model: ModelInUse) -> None:
        conversation = self.conversation
        dropped = self.dropped
        shown = conversation.choices.get(message.id)
        if message.role is Role.USER:
            message = conversation.add_answer(message, model=model.name)
        answer = Answer(conversation, message, model, self._writer_in_use(), shown=shown)
        conversation.model_path = str(self.model.path.absolute()) if self.model else ""
        message.status = Status.STREAMING
        message.settings = self.settings.to_dict()
        self._runner.start(answer, dropped=dropped, max_tokens=self.settings.max_tokens)

    def _answer_over(self, answer: Answer, event: Finished) -> None:
        if event.reason is StopReason.FAILED and answer.conversation is self.conversation:
            self.error = event.message
        if event.reason is StopReason.END and answer.added_nothing:
            self._notices.append("the model has nothing to add to this answer")
        self._keep(answer)

    def _keep(self, answer: Answer) -> None:
        """Stores an answer that ended, or takes its empty message out."""
        if answer.came_to_nothing:
            answer.withdraw()
            self.store.forget(answer.conversation, answer.message)
        else:
            self.store.save_soon(answer.conversation, answer.message)

    def _save_if_stored(self) -> None:
        if len(self.conversation) or self.conversation.draft:
            self.store.save_soon(self.conversation)
