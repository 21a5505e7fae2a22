"""The headless chat: everything that a face can do, without a face."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from llamachat.chat.conversation import Conversation, Message
from llamachat.engine.base import Engine, ModelSource
from llamachat.engine.events import Event, ModelInfo, Timings
from llamachat.engine.settings import SamplingSettings

if TYPE_CHECKING:
    from llamachat.chat.store import SessionStore, SessionSummary


class Phase(StrEnum):
    """What the session is doing."""

    NO_MODEL = "no model"
    LOADING = "loading"  #: a model is being read; the one before, if any, waits
    READY = "ready"
    PREFILL = "reading prompt"
    DECODE = "answering"
    STOPPING = "stopping"  #: stop was asked for; the engine has not said yet that it did


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a load (bytes) or a prefill (tokens) is."""

    done: int = 0
    total: int = 0
    elapsed_ms: float = 0.0


class ChatSession:
    """Conversation, engine, settings and store, and every operation on them.

    All methods are called from one thread, the face's; what the engine tells on its own thread waits
    until that thread calls :meth:`drain`. Operations that cannot be done raise ``LlamachatError`` with
    one line for a person.

    One rule for what happens while an answer runs: ``send``, ``regenerate``, ``continue_answer``,
    ``edit``, ``new``, ``open``, ``delete`` (of the open chat) and ``open_model`` stop it first, keeping
    what it has, and go on by themselves as soon as the engine is free. Everything else (parameters,
    system prompt, renaming, drafts, looking at siblings) leaves it running.
    """

    on_wake: Callable[[], None] | None
    """Called on the engine's thread when events begin to wait (once, until the next ``drain``)."""

    def __init__(
        self,
        store: SessionStore,
        engine: Engine,
        *,
        settings: SamplingSettings | None = None,
        system: str = "",
        prompt_format: str | None = None,
    ) -> None:
        """A session with an empty conversation; ``settings`` and ``system`` are what new ones start with.

        ``prompt_format`` is a name of ``prompt_formats.FORMATS``; None detects it from each model.
        """
        raise NotImplementedError

    # ---- what faces read ----------------------------------------------------

    conversation: Conversation
    phase: Phase
    progress: Progress
    """Of the load or prefill that runs."""
    timings: Timings | None
    """Figures of the running answer, else of the last one on the path."""
    error: str | None
    """What went wrong last, in one line; cleared by the next operation that succeeds."""
    answering: Message | None
    """The answer being written."""
    queued: Message | None
    """The question that waits for a model or for the running answer to stop."""
    dropped: int
    """How many of the path's earliest messages are outside the context (0: the model sees all)."""

    @property
    def busy(self) -> bool:
        """Whether the engine loads or answers: drain on a timer meanwhile."""
        raise NotImplementedError

    @property
    def model(self) -> ModelInfo | None:
        """The model in use."""
        raise NotImplementedError

    @property
    def source(self) -> ModelSource | None:
        """The model being loaded or in use, as it was asked for."""
        raise NotImplementedError

    @property
    def settings(self) -> SamplingSettings:
        """The sampling of this chat, from the next token on."""
        raise NotImplementedError

    @property
    def prompt_format(self) -> str:
        """The name of the prompt format in use ("" without a model)."""
        raise NotImplementedError

    @property
    def draft(self) -> str:
        """The unsent text of this chat."""
        raise NotImplementedError

    @property
    def context_used(self) -> int:
        """Tokens of the context that the visible path takes, as last evaluated."""
        raise NotImplementedError

    @property
    def context_total(self) -> int:
        """Tokens the context holds; 0 without a model."""
        raise NotImplementedError

    def take_notices(self) -> list[str]:
        """What a person should know, once: each notice is handed out one time."""
        raise NotImplementedError

    # ---- events -------------------------------------------------------------

    def drain(self) -> list[Event]:
        """Applies all waiting events and returns them; cheap when there are none."""
        raise NotImplementedError

    def wait(self, timeout: float) -> bool:
        """Blocks until events wait or ``timeout`` seconds are over; for faces without an event loop."""
        raise NotImplementedError

    # ---- model --------------------------------------------------------------

    def open_model(self, source: ModelSource) -> None:
        """Begins to load a model. If that fails, the one before stays in use."""
        raise NotImplementedError

    # ---- sessions -----------------------------------------------------------

    def sessions(self, filter: str = "") -> list[SessionSummary]:  # noqa: A002
        """The stored chats, the last used first; ``filter`` keeps titles that hold all its words."""
        raise NotImplementedError

    def new(self) -> Conversation:
        """Starts an empty chat. It is stored with its first message."""
        raise NotImplementedError

    def open(self, session_id: str) -> Conversation:
        """Opens a stored chat as it was left; ``StoreError`` if it cannot be read."""
        raise NotImplementedError

    def rename(self, session_id: str, title: str) -> None:
        """Gives a chat another title."""
        raise NotImplementedError

    def delete(self, session_id: str) -> None:
        """Deletes a chat for good; the open one is replaced by an empty chat."""
        raise NotImplementedError

    def refresh(self) -> bool:
        """Takes over what other windows wrote since; True if anything changed (the list or this chat)."""
        raise NotImplementedError

    # ---- conversation -------------------------------------------------------

    def send(self, text: str) -> Message:
        """Appends a question below the leaf, stores it durably, and has it answered.

        Without a model it waits for one. ``PromptError`` ("N of M tokens") if it alone cannot fit the
        context: nothing is appended then, and the draft stays.
        """
        raise NotImplementedError

    def stop(self) -> None:
        """Stops the running answer (its text stays, marked as stopped) or the running load."""
        raise NotImplementedError

    def regenerate(self, message_id: str | None = None) -> Message:
        """Another answer beside this one (default: the last), or a first one to a question."""
        raise NotImplementedError

    def continue_answer(self, message_id: str | None = None) -> Message:
        """Goes on with an answer (default: the last) from its exact tokens, in the same message."""
        raise NotImplementedError

    def edit(self, message_id: str, text: str) -> Message:
        """A changed copy beside a message, as a new branch. An edited question is answered at once."""
        raise NotImplementedError

    def select_sibling(self, message_id: str, step: int) -> Message:
        """Shows the alternative ``step`` places away (stopping at the ends); returns it."""
        raise NotImplementedError

    def set_parameter(self, name: str, value: object) -> None:
        """Changes one sampling parameter (a string is parsed), from the next token on."""
        raise NotImplementedError

    def set_system(self, text: str) -> None:
        """Changes the chat's system prompt, from the next answer on."""
        raise NotImplementedError

    def set_prompt_format(self, name: str | None) -> None:
        """Changes the prompt format, from the next answer on; None detects it again."""
        raise NotImplementedError

    def save_draft(self, text: str) -> None:
        """Keeps unsent text; it is on disk within a second."""
        raise NotImplementedError

    def close(self) -> None:
        """Stops what runs, saves everything, closes engine and store."""
        raise NotImplementedError
