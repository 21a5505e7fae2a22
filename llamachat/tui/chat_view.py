"""The chat as it is drawn: the panes, and everything the session says put into them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar, cast

from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.message import Message as TextualMessage
from textual.timer import Timer

from llamachat.chat.commands import as_typed, path_typed, split_command
from llamachat.chat.conversation import Message, Role
from llamachat.chat.session import ChatSession, Phase
from llamachat.display import is_long
from llamachat.engine.events import LoadFailed, Timings
from llamachat.errors import LlamachatError
from llamachat.tui.composer_pane import ComposerPane, Proposal
from llamachat.tui.context_meter import ContextMeter
from llamachat.tui.keys import Keys, key_hints, key_of
from llamachat.tui.panes import Panes
from llamachat.tui.sampling_panel import SamplingPanel
from llamachat.tui.seen_only import SeenOnly
from llamachat.tui.session_pane import SessionPane
from llamachat.tui.status_line import StatusLine
from llamachat.tui.transcript import Transcript
from llamachat.tui.welcome import Welcome
from llamachat.tui.words import phase_words

if TYPE_CHECKING:
    from llamachat.tui.program import Program

Result = TypeVar("Result")

CADENCE = 0.06
"""Seconds between two looks at what the engine said."""
_SHORTEST_PAUSE = 0.105
"""Between two frames of an answer: more than nine a second look fluent, and all waiting tokens are drawn at once, so
that the cost of drawing does not grow with tokens a second."""
_SHARE = 28
"""Drawing may take a 28th of the time while an answer is written: the model needs all cores, and loses somewhat more
than what is counted here. The pace follows what the last frame cost, from the look at the events to the screen: 3 ms,
and twice that if it scrolls."""
_LONGEST_PAUSE = 1.0
FIGURES_CADENCE = 0.5
"""The figures of an answer change twice a second: a person reads no faster, and a frame with them costs half as much
again (status line and context, 1.5 ms)."""
_TYPING = 0.15
"""For so long after a key no frame of an answer begins, but for the one that follows the key: a key that meets a frame
waits for it, and right after a key the next one is the furthest away."""
_AFTER_KEY = 0.025
"""A key's letter is drawn by then (7 ms in the median)."""
_LOOK_AROUND = 2.0
_RECALLED = 200  # questions of this chat, and of all others, that Up brings back


class ChatView(Panes):
    """Chats, transcript, composer, sampling, status, kept as the session is."""

    class Woken(TextualMessage):
        """The engine has something to tell."""

    def __init__(self, session: ChatSession) -> None:
        super().__init__()
        self._compositor = SeenOnly()
        self.session = session
        self._ticker: Timer | None = None
        self.edited = ""  #: the message whose text is in the composer
        self._shown_tree: tuple[object, ...] = ()
        self._last: Message | None = None
        self._said_error = ""
        self._next_key = ""  #: what to press after the error that is about to be said
        self._figures_drawn = 0.0
        self._not_before = 0.0  #: when the next frame of a running answer is due
        self._last_key = 0.0
        self._after_key: Timer | None = None  #: the look at the engine's news that follows a key
        self._looking = False

    @property
    def program(self) -> Program:
        """The application, as the chat sees it."""
        return cast("Program", self.app)

    @property
    def at_rest(self) -> bool:
        """Whether everything the session said is drawn."""
        views = self.query_one(Transcript).views
        return not self.session.busy and all(view.drawn for view in views)

    def compose(self) -> ComposeResult:
        """The panes."""
        with Horizontal(id="panes"):
            yield SessionPane()
            with Vertical(id="middle", classes="-empty"):
                yield Welcome()
                yield Transcript()
                yield ComposerPane(self.propose, path_typed, self._keep_draft)
            yield SamplingPanel()
        yield StatusLine()

    async def on_mount(self) -> None:
        """Shows the session; from now on the engine's news come as a message."""
        self.session.on_wake = self._wake
        self._ticker = self.set_interval(CADENCE, self._tick, pause=True)
        self.set_interval(_LOOK_AROUND, self._look_around)
        await self.show_conversation()
        if self.session.busy:
            self._ticker.resume()

    def on_resize(self) -> None:
        """Tells the answers whether there are few rows now."""
        short = self.has_class("-short")
        for view in self.query_one(Transcript).views:
            view.show_short(short)

    def _compositor_refresh(self) -> None:
        """Draws the transcript's scrollbar along with what moved it: Textual would make a second frame of it."""
        self._compositor.update_widgets({transcript.vertical_scrollbar for transcript in self.query(Transcript)})
        super()._compositor_refresh()

    # ---- from the engine ------------------------------------------------------

    def _wake(self) -> None:
        """Called on the engine's thread, once until the next drain."""
        self.post_message(self.Woken())

    def on_chat_view_woken(self) -> None:
        """Begins to look regularly."""
        if self._ticker is not None:
            self._ticker.resume()

    def key_typed(self) -> None:
        """Moves the next frame of a running answer behind the key's own."""
        if self.session.phase is Phase.DECODE:
            self._last_key = time.monotonic()
            if self._after_key is None:
                self._after_key = self.set_timer(_AFTER_KEY, self._look_after_key)

    async def _look_after_key(self) -> None:
        self._after_key = None
        await self._look()

    async def _tick(self) -> None:
        if self.session.phase is not Phase.DECODE or time.monotonic() - self._last_key >= _TYPING:
            await self._look()

    async def _look(self) -> None:
        now = time.monotonic()
        # Several timers lead here, some of them too early, and one may when the program has begun to end.
        if now < self._not_before or self._looking or self.app._exit:
            return
        self._looking = True
        try:
            await self._draw_news(now)
        finally:
            self._looking = False

    async def _draw_news(self, now: float) -> None:
        started = time.thread_time()
        phase = self.session.phase
        failures = [e.message for e in self.session.drain() if isinstance(e, LoadFailed) and not e.cancelled]
        if failures:
            self._next_key = f" · {key_of(self, 'chat.open-model', '/model')} opens another model"
            self.program.model_failed(failures[-1])
        answering = phase is self.session.phase is Phase.DECODE
        await self.refresh_chat(figures=not answering or now - self._figures_drawn >= FIGURES_CADENCE)
        if self.session.phase is Phase.DECODE:
            self._not_before = now + _LONGEST_PAUSE  # until the cost is known
            self.call_after_refresh(self._pace, now, started)
        if not self.session.busy and self._ticker is not None:
            self._ticker.pause()

    def _pace(self, begun: float, started: float) -> None:
        pause = min(max(_SHARE * (time.thread_time() - started), _SHORTEST_PAUSE), _LONGEST_PAUSE)
        self._not_before = begun + pause
        # Looking more often instead, to be on time, would cost as much as the frames that it is for.
        wait = max(0.0, self._not_before - time.monotonic())
        asyncio.get_running_loop().call_later(wait, self.call_next, self._tick)

    async def _look_around(self) -> None:
        """Another window may have written."""
        if not self.session.busy and self.try_to(self.session.refresh):
            self.refresh_sessions()
            await self.refresh_chat()

    async def refresh_chat(self, *, figures: bool = True) -> None:
        """Draws what changed: messages, text, figures, trouble."""
        session = self.session
        tree = (session.conversation.id, len(session.conversation), session.answering, session.queued)
        if tree != self._shown_tree:
            new_messages = (
                bool(self._shown_tree) and tree[:1] == self._shown_tree[:1] and tree[1] != self._shown_tree[1]
            )
            self._shown_tree = tree
            await self.sync(follow=new_messages)
            self.refresh_sessions()
        self._grow()
        if figures:
            self._figures_drawn = time.monotonic()
            self.refresh_figures()

    def _grow(self) -> None:
        """Every mounted answer is looked at: one may have begun and ended between two looks."""
        wait = phase_words(self.session.phase, self.session.progress, self.session.progress, None)
        for view in self.query_one(Transcript).views:
            view.grow()
            if view.message.role is Role.USER:
                view.show_unanswered(view.message is self._last and not self.session.busy and not self.session.queued)
            else:
                view.show_wait(wait if view.message is self.session.answering else None)

    async def sync(self, *, follow: bool = False) -> None:
        """Shows the visible path."""
        conversation = self.session.conversation
        path = conversation.path
        self._last = path[-1] if path else None
        self.query_one("#middle").set_class(not path, "-empty")
        await self.query_one(Transcript).sync(conversation, follow=follow)

    async def show_conversation(self) -> None:
        """Shows the session's conversation, which may be another one now: draft, history, parameters."""
        self._shown_tree = ()
        await self.refresh_chat()
        pane = self.query_one(ComposerPane)
        pane.show_draft(self.session.draft)
        if is_long(self.session.draft):
            self.say_notice(f"{len(self.session.draft):,} characters that were not sent{self._draft_keys()}")
        asked = self.try_to(lambda: self.session.questions(_RECALLED)) or []
        pane.composer.history_of_prompts.fill([as_typed(question) for question in asked])

    def refresh_sessions(self) -> None:
        """Shows the list of chats."""
        pane = self.query_one(SessionPane)
        sessions = self.try_to(lambda: self.session.sessions(pane.filter_text)) or []
        pane.show_sessions(sessions, self.session.conversation.id)

    def refresh_figures(self) -> None:
        """Shows status, context, parameters, and what went wrong."""
        session = self.session
        self.refresh_status()
        self.show_sampling()
        meter = self.query_one(ContextMeter)
        meter.used, meter.total, meter.dropped = session.context_used, session.context_total, session.dropped
        meter.draft = session.draft_tokens
        timings = session.timings or Timings()
        meter.reused, meter.prompt = timings.reused_tokens, timings.prompt_tokens
        if not len(session.conversation):
            self.query_one(Welcome).show_session(session)
        if session.queued is None and self.query_one(ComposerPane).trouble == self.waits_for_model:
            self.say_notice("")  # it waits no longer
        notices = session.take_notices()
        if notices:
            self.say_notice(" · ".join(notices))
        if (session.error or "") != self._said_error:
            self._said_error = session.error or ""
            self.say_error(self._said_error + self._next_key if self._said_error else "")
            self._next_key = ""

    def show_sampling(self) -> None:
        """Shows the parameters, and which preset they are."""
        self.query_one(SamplingPanel).show_settings(self.session.settings, self.session.preset)

    def refresh_status(self) -> None:
        """Shows the status line, with the keys of what has the focus."""
        keys: Keys = getattr(self.focused, "status_keys", ())
        self.query_one(StatusLine).show_session(self.session, self._last, keys)

    def on_descendant_focus(self) -> None:
        """Other keys now."""
        self.refresh_status()

    # ---- saying ---------------------------------------------------------------

    @property
    def waits_for_model(self) -> str:
        """What is said of a message that cannot be answered yet."""
        key = key_of(self, "chat.open-model", "/model")
        return f"Your message waits for a model: /pull fetches a small one, {key} opens a file."

    def _draft_keys(self) -> str:
        composer = self.query_one(ComposerPane).composer
        keys = key_hints(composer, ("composer.delete-line", "takes them out"), ("composer.undo", "back in"))
        return ": " + ", ".join(f"{key} {word}" for key, word in keys) if keys else ""

    def say_error(self, text: str) -> None:
        """Says under the composer what went wrong; empty takes it away."""
        self.query_one(ComposerPane).show_trouble(text)

    def say_notice(self, text: str) -> None:
        """Says under the composer what a person should know."""
        self.query_one(ComposerPane).show_trouble(text, notice=True)

    def flash(self, text: str) -> None:
        """Says something in the status line for a moment."""
        self.query_one(StatusLine).flash(text)

    def try_to(self, operation: Callable[[], Result]) -> Result | None:
        """Does an operation of the session; an error is said under the composer, and None returned."""
        try:
            return operation()
        except LlamachatError as error:
            self.say_error(str(error))
            return None

    async def after_operation(self) -> None:
        """Shows what an operation changed, whatever it was. (When the program has begun to end, no widget is added.)"""
        if self.app._exit:
            return
        if self._shown_tree[:1] != (self.session.conversation.id,):
            await self.show_conversation()
        else:
            await self.sync()
            await self.refresh_chat()
        self.refresh_sessions()
        if self.session.busy and self._ticker is not None:
            self._ticker.resume()

    def begin_line(self, text: str) -> None:
        """Puts the beginning of a command line into the composer, behind what is there if it may stand there."""
        composer = self.query_one(ComposerPane).composer
        both = f"{composer.text.rstrip()}\n{text}"
        before, line = split_command(both)
        composer.retype(both if before.strip() and line else text)
        composer.focus()

    def begin_edit(self, message: Message) -> None:
        """Takes a message into the composer; a change that waits there is asked about first."""
        if not self.query_one(ComposerPane).leave_edit():
            return
        self.edited = message.id
        pane = self.query_one(ComposerPane)
        whose, does = (
            ("your message", "sends it as a new version") if message.role is Role.USER else ("the answer", "saves it")
        )
        pane.begin_edit(message.text, f"Editing {whose}: {pane.send_key} {does}, esc leaves it as it is")

    def propose(self, text: str) -> list[Proposal]:  # noqa: ARG002
        """What a line that is typed may become. Here nothing: who knows commands says more."""
        return []

    def _keep_draft(self, text: str) -> None:
        self.try_to(lambda: self.session.save_draft(text))
        self.query_one(ContextMeter).draft = self.session.draft_tokens
