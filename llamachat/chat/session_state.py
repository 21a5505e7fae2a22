"""What a session is at this moment, for faces to look at."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from llamachat.chat.answer import ModelInUse
from llamachat.chat.command_line import as_message, split_command
from llamachat.chat.context_use import ContextCount, TextCount, written_prompt
from llamachat.chat.conversation import Conversation, Message, Status
from llamachat.chat.detect import choose_writer
from llamachat.chat.look import Look
from llamachat.chat.presets import Preset, all_presets
from llamachat.chat.prompt_formats import FORMATS, PromptWriter, format_named
from llamachat.chat.runner import Phase, Progress, Runner
from llamachat.display import clean_line
from llamachat.engine.base import Engine
from llamachat.engine.events import ModelInfo, Timings
from llamachat.engine.settings import SamplingSettings
from llamachat.engine.source import ModelSource
from llamachat.errors import LlamachatError

if TYPE_CHECKING:
    from llamachat.chat.prompt import Prompt
    from llamachat.chat.store import SessionStore
    from llamachat.tokenizer import Tokenizer


class SessionState:
    """The open chat, the engine's work on it, and the model in use."""

    conversation: Conversation
    """The open chat."""
    error: str | None
    """What went wrong last, in one line; the next operation clears it."""
    look: Look | None
    """The last look at an answer's tokens, done or not."""
    load_stopped: ModelSource | None
    """The model whose loading a person stopped, until another is opened."""

    def __init__(self, store: SessionStore, engine: Engine, prompt_format: str | None) -> None:
        self.store = store
        self.presets = all_presets()
        self.error = None
        self.look = None
        self.load_stopped = None
        self._runner = Runner(engine)
        self._prompt_format = format_named(prompt_format).name if prompt_format else ""
        self._count = ContextCount()
        self._text_count = TextCount()
        self._notices: deque[str] = deque()  # the thread that writes prompts adds to it
        self._wanted: Message | None = None  # a question to answer or an answer to continue, when the engine is free
        self._source: ModelSource | None = None
        self._model: ModelInUse | None = None
        self._writer: PromptWriter | None = None
        self._take_model()

    @property
    def on_wake(self) -> Callable[[], None] | None:
        """Called on the engine's thread when events begin to wait (once, until the next ``drain``)."""
        return self._runner.on_wake

    @on_wake.setter
    def on_wake(self, wake: Callable[[], None] | None) -> None:
        self._runner.on_wake = wake

    @property
    def phase(self) -> Phase:
        """What the session is doing."""
        return self._runner.phase

    @property
    def busy(self) -> bool:
        """Whether the engine loads or answers: drain on a timer meanwhile."""
        return not self._runner.idle

    @property
    def progress(self) -> Progress:
        """Of the load or prefill that runs."""
        return self._runner.progress

    @property
    def answering(self) -> Message | None:
        """The answer being written, on whatever branch it is."""
        answer = self._runner.answer
        return None if answer is None or answer.let_go else answer.message

    @property
    def answered_elsewhere(self) -> bool:
        """Whether another window is writing the last visible answer."""
        leaf = self.conversation.leaf
        return leaf is not None and leaf.status is Status.STREAMING and leaf is not self.answering

    @property
    def queued(self) -> Message | None:
        """The question (or answer to continue) that waits for a model or for the engine to be free."""
        return self._wanted

    @property
    def timings(self) -> Timings | None:
        """Figures of the running answer, else of the last one on the path."""
        if self.answering is not None and self._runner.answer is not None:
            return self._runner.answer.timings
        answer = self._last_answer()
        return answer.timings if answer else None

    @property
    def model(self) -> ModelInfo | None:
        """The model in use."""
        return self._runner.engine.info

    @property
    def source(self) -> ModelSource | None:
        """The model being loaded, else the one in use, as it was asked for."""
        return self._runner.loading or self._source

    @property
    def settings(self) -> SamplingSettings:
        """The sampling of this chat, from the next token on."""
        return self.conversation.settings

    @property
    def preset(self) -> Preset | None:
        """The preset that sampling and system prompt equal now."""
        return self.presets.equal_to(self.settings, self.conversation.system)

    @property
    def prompt_format(self) -> str:
        """The name of the prompt format in use ("" without a model)."""
        return self._writer_in_use().name if self.model else ""

    @property
    def system_in_use(self) -> str:
        """The chat's system prompt, or the one that the prompt format puts in its place. Empty where there is none, or
        none is known: a template of a model's file may have one of its own.
        """
        return self.conversation.system or (self._writer_in_use().default_system if self.model else "")

    @property
    def counts(self) -> bool:
        """Whether a model is in use whose tokens can be counted: one that has just been loaded is, once it was told."""
        return self._model is not None and self.model is not None

    @property
    def tokenizer(self) -> Tokenizer:
        """That of the model in use; ``LlamachatError`` without one."""
        if self._model is None:
            raise LlamachatError("no model is loaded yet")
        return self._model.tokenizer

    def written_prompt(self) -> Prompt:
        """What the model would read for the visible path: to answer its last question, or go on with its last answer.

        ``LlamachatError`` without a model or a message, ``PromptError`` where it does not fit the context.
        """
        path = self.conversation.path
        if not path:
            raise LlamachatError("there is nothing here yet: ask something first")
        if self._model is None:
            raise LlamachatError("no model is loaded yet")
        writer = self._writer_in_use()
        return written_prompt(path, self._model, writer, self.conversation.system, self.settings, self.dropped)

    @property
    def draft(self) -> str:
        """The unsent text of this chat."""
        return self.conversation.draft

    @property
    def context_used(self) -> int:
        """Tokens of the context that the visible path takes: as evaluated, or as counted where its last message was
        not, or by another model.
        """
        timings, leaf, model = self.timings, self.conversation.leaf, self._model
        running = self.answering is not None or self.queued is not None
        if leaf is not None and model is not None and not running and not self._evaluated(leaf, model):
            path, writer = self.conversation.path, self._writer_in_use()
            counted = self._count.of(path, model, writer, self.conversation.system, self.settings)
            if counted is not None:
                return counted
        return timings.prompt_tokens + timings.answer_tokens if timings else 0

    @staticmethod
    def _evaluated(leaf: Message, model: ModelInUse) -> bool:
        timings = leaf.timings
        return timings is not None and timings.prompt_tokens > 0 and leaf.model == model.name

    @property
    def draft_tokens(self) -> int:
        """Tokens of the unsent text without a command; 0 where it is very long, or no model is there to count."""
        message, _ = split_command(self.draft)
        return 0 if self._model is None else self._text_count.of(as_message(message.strip()), self._model)

    def tokens_of(self, text: str) -> int:
        """Tokens of a text to be sent, however long it is: 200,000 characters take 0.1 s, and the draft that begins so
        is counted without them then. ``LlamachatError`` without a model.
        """
        if self._model is None:
            raise LlamachatError("no model is loaded yet")
        return self._text_count.of(text, self._model, most=None)

    @property
    def context_total(self) -> int:
        """Tokens the context holds; 0 without a model."""
        return self.model.n_ctx if self.model else 0

    @property
    def dropped(self) -> int:
        """How many of the path's earliest messages are outside the context (0: the model sees all)."""
        answer = self.answering or self._last_answer()
        return answer.dropped if answer else 0

    def take_notices(self) -> list[str]:
        """What a person should know, once: each notice is handed out one time."""
        notices = [self._notices.popleft() for _ in range(len(self._notices))]
        return notices + self.store.take_notices()

    # ---- inside -------------------------------------------------------------

    def _take_model(self) -> None:
        """Gets ready to answer with the model that the engine has."""
        engine, self._writer = self._runner.engine, None
        info, tokenizer = engine.info, engine.tokenizer
        self._model = ModelInUse(info.name, info.n_ctx, tokenizer) if info and tokenizer else None

    def _writer_in_use(self) -> PromptWriter:
        """The prompt format: what the chat or the command line names, or what the model wants."""
        if self._writer is None:
            info, model = self.model, self._model
            if info is None or model is None:
                raise LlamachatError("no model is loaded yet")
            name = self.conversation.prompt_format
            if name and name not in FORMATS:  # a newer version stored it, or a person wrote it
                self._notices.append(f"this chat's prompt format {clean_line(name, 40)!r} is not known here")
                name = ""
            name = name or self._prompt_format
            self._writer = choose_writer(info, model.tokenizer.vocabulary, name, self._notices.append)
        return self._writer

    def _last_answer(self) -> Message | None:
        return next((m for m in reversed(self.conversation.path) if m.timings is not None), None)
