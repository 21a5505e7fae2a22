"""The full-screen application: themes, screens, and the way out. It wires; widgets draw, the session works."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import ClassVar

from textual.app import App
from textual.binding import Binding, BindingType
from textual.driver import Driver
from textual.events import Event, Key, Paste
from textual.message import Message
from textual.screen import Screen

from llamachat import paths
from llamachat.chat.session import ChatSession
from llamachat.display import clean_line, without_sequences
from llamachat.engine.source import ModelSource
from llamachat.errors import LlamachatError
from llamachat.signals import ENDING_SIGNALS
from llamachat.tui.chat_screen import ChatScreen
from llamachat.tui.composer_pane import ComposerPane
from llamachat.tui.gone_terminal import patient
from llamachat.tui.keys import KeysInForce, key_of
from llamachat.tui.models import ModelShelf
from llamachat.tui.prompt_text import safe_prompt
from llamachat.tui.terminal_keys import teach_alt_enter, teach_whole_pastes
from llamachat.tui.themes import ThemeShelf

_log = logging.getLogger(__name__)

_WARM_UP_SECONDS = 0.5
_SWITCH_SECONDS = 0.00002
"""For so long drawing may keep the interpreter from the engine, which wants it three times a token for some
microseconds each. Between two tokens lie 150 us on average where this is 500, and 110 where it is 20, of 4 ms for a
token of a small model. Python's own 5 ms would more than double that. It costs nothing while nobody waits."""
_GARBAGE = 20_000
"""New objects before Python looks for garbage among them: a frame makes some thousands, which are gone after it anyway.
(Python's 700 cost a twentieth of it.)"""


class ChatApp(App[int]):
    """llamachat on the full screen, over a session that somebody else made and closes."""

    TITLE = "llamachat"
    CSS_PATH = "styles.tcss"
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+q", "quit", "Quit", show=False, priority=True, id="app.quit"),
    ]

    class Ready(Message):
        """The first frame is drawn: the composer is there."""

    def __init__(
        self,
        session: ChatSession,
        *,
        source: ModelSource | None = None,
        theme: str | None = None,
        last_theme: str = "",
        on_theme: Callable[[str], object] = lambda _name: None,
        user_themes: Path | None = None,
        models: ModelShelf | None = None,
        keys: Mapping[str, str] | None = None,
    ) -> None:
        """``source`` is loaded once the screen is there. ``theme`` names one of the shipped themes or of those in the
        folder ``user_themes``; without, it is ``last_theme``, if that is still there. ``on_theme`` is told which one a
        person chooses. ``models`` is where models are found and fetched. ``keys`` are those that a person wants, by
        the bindings' ids, separated by commas; what cannot be is said on the screen.
        """
        teach_alt_enter()
        super().__init__()
        self.animation_level = "none"  # nothing glides: what changes is there at once
        self.session = session
        self.models = models
        self._on_theme = on_theme
        self._source = source
        self._early: list[Event] | None = []
        self.signals: list[int] = []  #: those that came before there was a chat to leave
        self._offered = False  #: whether the model being opened was chosen on the first screen
        self.shelf_of_themes = ThemeShelf(paths.shipped_themes(), user_themes)
        self._register_themes()
        self._first_notices = [*self.shelf_of_themes.notices, *session.presets.notices]
        self.theme = self.shelf_of_themes.default.name
        if theme is not None and theme in self.shelf_of_themes.themes:
            self.theme = theme
        elif theme is not None:
            self._first_notices.append(str(self._no_theme(theme)))
        elif last_theme in self.shelf_of_themes.themes:
            self.theme = last_theme
        self.keys = KeysInForce()
        if keys:
            self._set_keys(keys)

    # ---- keys ---------------------------------------------------------------

    def _set_keys(self, wanted: Mapping[str, str]) -> None:
        from llamachat.tui.key_table import check

        checked = check(wanted)
        self.keys = checked.keys
        self.set_keymap(self.keys.keymap)
        if checked.problems:
            self._first_notices.append(f"Keys: {checked.notice}")

    async def _check_bindings(self, key: str, priority: bool = False) -> bool:
        """Does what a key is bound to: first what a person has given it to, wherever the focus is. A text field, say,
        has more keys than it tells."""
        if not priority and self.keys.is_given(key):
            for node, _ in self.screen._modal_binding_chain:
                for binding in self.keys.given(type(node), key):
                    if await self.run_action(binding.action, node):
                        return True
        return await super()._check_bindings(key, priority)

    # ---- themes -------------------------------------------------------------

    def get_theme_variable_defaults(self) -> dict[str, str]:
        """Our variables, for themes of Textual's own that lack them."""
        return self.shelf_of_themes.default.variables() if hasattr(self, "shelf_of_themes") else {}

    def _register_themes(self) -> None:
        for theme in self.shelf_of_themes.themes.values():
            self.register_theme(theme.to_textual())

    def _no_theme(self, name: str) -> LlamachatError:
        return LlamachatError(f"no theme {name[:40]!r}: there are {', '.join(self.shelf_of_themes.names())}")

    def set_theme(self, name: str) -> None:
        """Changes the theme; files changed meanwhile are read again. ``LlamachatError`` for a name that is none."""
        self.shelf_of_themes.reload()
        self._register_themes()
        if name not in self.shelf_of_themes.themes:
            raise self._no_theme(name)
        if self.theme == name:
            self._watch_theme(name)  # the same name may have other colours now
        self.theme = name
        self._on_theme(name)
        for notice in self.shelf_of_themes.notices:
            self.chat_screen.say_notice(notice)

    # ---- screens --------------------------------------------------------------

    def get_driver_class(self) -> type[Driver]:
        """The terminal's own, but it can go away, and its pastes come whole."""
        return patient(teach_whole_pastes(super().get_driver_class()))

    def get_default_screen(self) -> Screen[None]:
        """The chat."""
        return ChatScreen(self.session)

    @property
    def chat_screen(self) -> ChatScreen:
        """The screen at the bottom of the stack."""
        screen = self.screen_stack[0]
        assert isinstance(screen, ChatScreen)  # noqa: S101
        return screen

    async def on_event(self, event: Event) -> None:
        """Keys that come before there is anything to type into wait for it. Pastes are text, wherever they go."""
        if isinstance(event, Key) and "+" in event.key and self.keys.is_given(event.key):
            event.character = None  # some terminals tell the letter of Alt+N, too: it is not typed
        if isinstance(event, Paste):
            event.text = safe_prompt(without_sequences(event.text))
            if not event.text:
                return  # it would delete what is selected
        if self._early is not None and isinstance(event, Key | Paste):
            self._early.append(event)
        else:
            await super().on_event(event)
            if isinstance(event, Key):
                self.chat_screen.key_typed()

    async def on_chat_app_ready(self) -> None:
        """Types what was typed before the first frame, but not into a screen that nobody had seen by then."""
        early, self._early = self._early or [], None
        if self.signals:
            self._end_by_signal(self.signals[0])
        if isinstance(self.screen, ChatScreen):
            for event in early:
                await super().on_event(event)

    def on_mount(self) -> None:
        """Everything that can wait begins after the first frame."""
        self.call_after_refresh(lambda: self.post_message(self.Ready()))
        if not self.is_headless:
            self.set_timer(_WARM_UP_SECONDS, self._warm_up)
            # Through the loop: a handler that writes in the middle of a write would wait for itself.
            handle = asyncio.get_running_loop().add_signal_handler
            for number in ENDING_SIGNALS:
                handle(number, self._end_by_signal, number)
            handle(signal.SIGCONT, self._continued)
            suspend = getattr(self._driver, "_sigtstp_application", None)
            if suspend is not None:
                handle(signal.SIGTSTP, suspend)
            self.app_resume_signal.subscribe(self, lambda _: self.refresh(layout=True))  # the terminal forgot all
        if self._first_notices:
            self.call_after_refresh(lambda: self.chat_screen.say_notice(" · ".join(self._first_notices)))
        if self._source is not None or self.session.model is not None or self.session.busy:
            self.call_after_refresh(self._after_first_frame)
        elif self.models is not None and self.models.files():  # several, and none that goes before the others
            self.call_after_refresh(self.chat_screen.face.pick_model)
        else:
            self.offer_model()

    def offer_model(self, problem: str = "", *, fetch: bool = False) -> None:
        """Shows the ways to a model, with what went wrong before; ``fetch`` begins to fetch at once."""
        from llamachat.tui.first_run import FirstRunScreen

        has_model = self.session.model is not None
        self.push_screen(FirstRunScreen(self.models, problem, fetch=fetch, has_model=has_model), self._first_model)

    def model_failed(self, problem: str) -> None:
        """Offers the ways to a model again where the one that was chosen there could not be opened."""
        if self._offered and self.session.model is None:
            self._offered = False
            self.offer_model(problem)

    def _after_first_frame(self) -> None:
        if self._source is not None:
            source = self._source
            self.chat_screen.try_to(lambda: self.session.open_model(source))
            self.chat_screen.call_later(self.chat_screen.after_operation)

    def _warm_up(self) -> None:
        """Imports what the first answer needs, in idle time: the first code block would cost 0.2 s of it.

        What there is then stays, and need not be looked through for garbage again and again: that took 50 ms of every
        tenth frame of an answer.
        """

        def fetch() -> None:
            from textual.highlight import highlight

            import llamachat.tui.answer_text  # noqa: F401

            highlight("x = 1", language="python")
            gc.collect()
            gc.freeze()

        self.run_worker(fetch, thread=True, exit_on_error=False)

    def _first_model(self, path: Path | None) -> None:
        self._offered = path is not None
        if path is not None:
            self.chat_screen.face.open_model(path)

    def action_help(self) -> None:
        """Shows all keys, those of the focused widget first."""
        from llamachat.tui.composer import Composer
        from llamachat.tui.help_screen import HelpScreen
        from llamachat.tui.message_view import MessageView
        from llamachat.tui.parameter_row import ParameterRow
        from llamachat.tui.preset_row import PresetRow
        from llamachat.tui.session_pane import SessionList
        from llamachat.tui.token_text import TokenText

        kinds = (Composer, ChatScreen, MessageView, TokenText, SessionList, ParameterRow, PresetRow)
        first = next((kind for kind in kinds if isinstance(self.focused, kind)), None)
        self.push_screen(HelpScreen(kinds, first))

    # ---- the way out ----------------------------------------------------------

    def action_help_quit(self) -> None:
        """Ctrl+C where it means nothing else. (Textual would cover the composer with a box.)"""
        self.chat_screen.flash(f"{key_of(self, 'app.quit', '/quit')} quits")

    def copy_text(self, text: str) -> None:
        """Puts text on the clipboard of the terminal's machine (OSC 52), lone surrogates replaced."""
        self.copy_to_clipboard(text.encode("utf-8", "replace").decode("utf-8"))

    def _end_by_signal(self, number: int) -> None:
        if self._early is not None:
            self.signals.append(number)
            return
        self.chat_screen.query_one(ComposerPane).flush_draft()
        self.exit(return_code=128 + number)

    def _continued(self) -> None:
        """Takes the terminal again after a stop. Nobody is told of a SIGSTOP, so nothing was given back before it."""
        driver = self._driver
        if driver is None or self._exit:
            return
        if not getattr(driver, "_must_signal_resume", True):
            driver.suspend_application_mode()
            driver._must_signal_resume = True  # type: ignore[attr-defined]  # as after a SIGTSTP
        driver.resume_application_mode()

    def _print_error_renderables(self) -> None:
        """Prints nothing: :func:`run` says in one line what went wrong, and the log has the rest."""
        self._exit_renderables.clear()

    @property
    def failure(self) -> Exception | None:
        """The error that ended the screen, if one did."""
        return self._exception

    async def action_quit(self) -> None:
        """Saves the draft and ends; the answer that runs is stopped and kept when the session is closed."""
        self.chat_screen.query_one(ComposerPane).flush_draft()
        self.exit(0)


def run(app: ChatApp) -> int:
    """Runs the full screen until a person quits; returns the exit status. The caller closes the session."""
    handlers = {number: signal.getsignal(number) for number in (*ENDING_SIGNALS, signal.SIGTSTP, signal.SIGCONT)}
    for number in ENDING_SIGNALS:  # an exception between two steps of the loop could leave it waiting for ever
        signal.signal(number, lambda number, _frame: app.signals.append(number))
    switch_seconds, garbage = sys.getswitchinterval(), gc.get_threshold()
    sys.setswitchinterval(_SWITCH_SECONDS)
    gc.set_threshold(_GARBAGE)
    try:
        result = app.run()
    finally:
        sys.setswitchinterval(switch_seconds)
        gc.set_threshold(*garbage)
        app.session.on_wake = None
        for number, handler in handlers.items():  # asyncio leaves the defaults behind
            signal.signal(number, handler)
    if app.failure is not None:
        _log.error("the screen failed", exc_info=app.failure)
        reason = clean_line(f"{type(app.failure).__name__}: {app.failure}", 120)
        raise LlamachatError(f"the screen failed ({reason}); your chats are saved, and --plain works without a screen")
    return result if result is not None else (app.return_code or 0)
