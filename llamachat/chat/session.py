"""The headless chat: everything that a face can do, without a face."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from llamachat.chat.conversation import Conversation, Message, Role, Status
from llamachat.chat.look import Look
from llamachat.chat.prompt import check_length
from llamachat.chat.reading import TextFile, read_into
from llamachat.chat.runner import Phase, Progress
from llamachat.chat.session_work import SessionWork
from llamachat.display import clean
from llamachat.engine.base import Engine
from llamachat.engine.settings import SamplingSettings
from llamachat.engine.source import ModelSource
from llamachat.errors import LlamachatError

if TYPE_CHECKING:
    from llamachat.chat.store import SessionStore, SessionSummary

__all__ = ["ChatSession", "Phase", "Progress"]

#: How long closing waits for the figures of an answer that it stops.
_CLOSE_WAIT_S = 0.5


class ChatSession(SessionWork):
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
        super().__init__(store, engine, prompt_format, on_loaded)
        self._system = system
        self._source_of = source_of
        draft = store.adopt_draft()
        self._show(draft if draft is not None else Conversation(system=system, settings=settings))

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
            changed |= self.take_in_arrivals()
        return changed

    def take_in_arrivals(self) -> bool:
        """Takes over what was added to the store from a file, or by another window; True if it changed this chat."""
        return self.store.update(self.conversation, own=[self.answering.id] if self.answering else [])

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

    def read_file(self, path: str, *, behind: str) -> TextFile:
        """Reads a text file that is to go into a message, behind what is typed of it; a notice says how long it is.

        ``FileError`` where it is no text, or cannot be read; ``PromptError`` ("N of M tokens") where the message could
        not fit the context with it.
        """
        file, said = read_into(self, behind, path)
        self._notices.append(said)
        return file

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
        self.take_in_arrivals()  # what another window has added below would have nothing to follow
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
        doomed = [one for one in doomed if one.id in self.conversation.messages]  # one without a word is gone already
        for one in doomed:
            self.conversation.remove(one)
        self.store.forget(self.conversation, *doomed)  # all at once: the chat's choices go along

    def look_at(self, message_id: str | None = None) -> Look:
        """Begins to look at the tokens of an answer (default: the last), or returns the look there is of it.

        ``look`` is the same until the next one. Nothing is stopped for it: ``LlamachatError`` while something runs.
        """
        message = self._message(message_id)
        if message.role is not Role.ASSISTANT:
            raise LlamachatError("only answers have tokens to look at")
        if self._model is None:
            raise LlamachatError("no model is loaded to look at tokens with: /model opens one")
        if not message.text:
            raise LlamachatError("this answer has no tokens")
        look = Look(self.conversation, message, self._model, self._writer_in_use(), self.settings)
        if self.look is not None and self.look.same_as(look) and not self.look.error:
            return self.look
        if self.busy or self.queued is not None:
            raise LlamachatError("the model is at work: its tokens can be looked at when that is over, or stopped")
        self.look = look
        self._runner.start_look(look)
        return look

    def take_alternative(self, at: int, token: int) -> Message:
        """A new version of the answer looked at, with ``token`` at place ``at``; the model goes on from there.

        What is before that place is in its KV cache still. A token that ends an answer makes a shorter one.
        """
        look = self.look
        if look is None or not look.done or look.message.id not in self.conversation.messages:
            raise LlamachatError("look at an answer's tokens first: /tokens")
        branch = look.branch(at, token)
        self._let_go()
        version = self.conversation.add_version(
            look.message,
            text=branch.text,
            ids=branch.ids,
            status=Status.COMPLETE if branch.ends else Status.STOPPED,
            model=look.model.name,
            vocabulary=look.model.vocabulary,
            settings=look.message.settings,
            dropped=look.dropped,
        )
        if not branch.ends:
            return self._ask(version)
        self.store.save(self.conversation, version)
        return version

    def select_sibling(self, message_id: str, step: int) -> Message:
        """Shows the alternative ``step`` places away (stopping at the ends); returns it."""
        sibling = self.conversation.sibling(self._message(message_id), step)
        self.conversation.select(sibling)
        self._save_if_stored()
        return sibling

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
        self.look = None
        return conversation

    def _leave(self) -> None:
        self.error = None
        self._let_go()

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
