"""What the full screen offers to commands: the ``Face`` of the command table, and the palette made from it."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit

from llamachat.chat import commands, preset_command
from llamachat.chat.model_names import model_names
from llamachat.chat.session import Progress
from llamachat.display import clean_line
from llamachat.errors import LlamachatError
from llamachat.tui.composer_pane import ComposerPane
from llamachat.tui.row_list import Row
from llamachat.tui.words import day_group, file_size, local_day, phase_words

if TYPE_CHECKING:
    from llamachat.chat.conversation import Message
    from llamachat.tui.chat_view import ChatView
    from llamachat.tui.dialogs import Dialog
    from llamachat.tui.palette import Entry

Result = TypeVar("Result")

_OTHER_FILE = "\0other"
_OPENABLE = ("http", "https", "mailto")


class ScreenFace:
    """Every method shows something on the screen; what a person answers comes back through a callback."""

    asks = True

    def __init__(self, screen: ChatView) -> None:
        self._screen = screen

    # ---- Face ---------------------------------------------------------------

    def say(self, text: str) -> None:
        """A short line under the composer; a longer text over the chat."""
        if "\n" not in text.strip() and len(text) <= 200:
            self._screen.say_notice(text.strip())
            return
        from llamachat.tui.dialogs import ReadScreen

        self._screen.app.push_screen(ReadScreen(text))

    def show_help(self) -> None:
        """Keys and commands."""
        self._screen.program.action_help()

    def quit(self) -> None:
        """Ends the program."""
        self._screen.app.exit()

    def themes(self) -> list[str]:
        """The names of the themes."""
        return self._screen.program.shelf_of_themes.names()

    def set_theme(self, name: str) -> None:
        """Changes the theme now."""
        self._screen.program.set_theme(name)

    def copy(self, text: str) -> None:
        """Puts text on the clipboard."""
        self._screen.program.copy_text(text)
        self._screen.flash("copied")

    def confirm(self, question: str, action: Callable[[], None]) -> None:
        """Asks, and acts on a yes."""
        from llamachat.tui.dialogs import ConfirmScreen

        async def answered(agreed: bool | None) -> None:
            if agreed:
                self._screen.try_to(action)
                await self._screen.after_operation()

        self._screen.app.push_screen(ConfirmScreen(question), answered)

    def written(self) -> str:
        """What is in the composer."""
        return self._screen.query_one(ComposerPane).composer.prompt

    def write(self, name: str, block: str) -> None:
        """Puts a file behind that."""
        pane = self._screen.query_one(ComposerPane)
        pane.composer.put_file(name, block)
        pane.flush_draft()

    def edit_line(self, label: str, text: str, action: Callable[[str], object]) -> None:
        """Lets a person edit a line."""
        from llamachat.tui.dialogs import LineScreen

        self._edit(LineScreen(label, text), action)

    def edit_text(self, label: str, text: str, action: Callable[[str], object]) -> None:
        """Lets a person edit a text."""
        from llamachat.tui.dialogs import EditScreen

        self._edit(EditScreen(label, text), action)

    def _edit(self, dialog: Dialog[str], action: Callable[[str], object]) -> None:
        async def answered(edited: str | None) -> None:
            if edited is not None:
                self._screen.try_to(lambda: action(edited))
                await self._screen.after_operation()

        self._screen.app.push_screen(dialog, answered)

    def edit_message(self, message: Message) -> None:
        """Takes a message into the composer."""
        self._screen.begin_edit(message)

    def show_tokens(self, message: Message, at: int | None) -> None:
        """Shows an answer's tokens over the chat, and goes on with the one that is chosen."""
        from llamachat.tui.token_screen import Choice, TokenScreen

        session = self._screen.session
        look = session.look_at(message.id)

        def progress() -> str:
            return phase_words(session.phase, session.progress, Progress(), None)

        async def answered(choice: Choice | None) -> None:
            if choice is not None:
                self._screen.try_to(lambda: session.take_alternative(*choice))
            elif not look.over:
                session.stop()
            elif look.error:
                self._screen.say_error(look.error)
            await self._screen.after_operation()

        self._screen.app.push_screen(TokenScreen(look, progress, at), answered)
        self._screen.call_later(self._screen.after_operation)

    def pick_session(self) -> None:
        """Goes to the list of chats."""
        self._screen.action_pane("chats")

    def pick_model(self) -> None:
        """Lists the models there are, and asks for a path where none is the right one."""
        from llamachat.tui.dialogs import PickScreen

        shelf = self._screen.program.models
        files = list(self._screen.try_to(shelf.files) or ()) if shelf is not None else []
        session = self._screen.session
        now = session.load_stopped or session.model
        if session.load_stopped is not None and session.load_stopped.path not in files:
            files.insert(0, session.load_stopped.path)
        if not files:
            self._ask_for_model()
            return
        rows = [
            Row(str(path), name, _size(path), marked=now is not None and now.path == path)
            for path, name in zip(files, model_names(files), strict=True)
        ]

        def picked(choice: str | None) -> None:
            if choice == _OTHER_FILE:
                self._ask_for_model()
            elif choice:
                self.open_model(Path(choice))

        self._screen.app.push_screen(PickScreen("Open a model", [*rows, Row(_OTHER_FILE, "another file …")]), picked)

    def fetch_model(self) -> None:
        """Fetches the default model over the chat, and opens it."""
        if self._screen.program.models is None:
            raise LlamachatError("there is no models folder here to fetch into")
        self._screen.program.offer_model(fetch=True)

    def take_time(self, label: str, work: Callable[[], Result], then: Callable[[Result], object]) -> None:
        """Says what is going on, and does the work on a thread that nothing waits for."""
        screen = self._screen

        async def done(result: Result) -> None:
            screen.say_notice("")
            screen.query_one(ComposerPane).flush_draft()  # of this chat: another may be opened
            screen.try_to(lambda: then(result))
            await screen.after_operation()

        async def fail(error: Exception) -> None:
            if not isinstance(error, LlamachatError):
                raise error
            screen.say_error(str(error))

        def run() -> None:
            answer: Callable[[], Awaitable[None]]
            try:
                answer = partial(done, work())
            except Exception as error:  # on the screen's thread it ends the program, as others do
                answer = partial(fail, error)
            with suppress(RuntimeError):  # the screen has ended meanwhile
                screen.call_later(answer)

        screen.say_notice(f"{label} …")
        threading.Thread(target=run, name="llamachat-work", daemon=True).start()

    # ---- beyond the Face ------------------------------------------------------

    def pick_preset(self) -> None:
        """Lists the presets with what each does, and takes the one that is chosen."""
        from llamachat.tui.dialogs import PickScreen

        session = self._screen.session
        session.presets.reload()
        now = session.preset
        rows = [Row(one.name, one.name, one.words, marked=one is now) for one in session.presets.presets.values()]

        async def picked(choice: str | None) -> None:
            if choice is not None:
                self._screen.try_to(lambda: session.use_preset(choice, instead=True))
                await self._screen.after_operation()

        self._screen.app.push_screen(PickScreen("Take a preset", rows, label_width=12), picked)

    def _ask_for_model(self) -> None:
        from llamachat.tui.dialogs import ModelFileScreen

        def typed(path: Path | None) -> None:
            if path is not None:
                self.open_model(path)

        self._screen.app.push_screen(ModelFileScreen(), typed)

    def open_model(self, path: Path) -> None:
        """Begins to load a model file."""
        self._screen.try_to(lambda: self._screen.session.open_file(path))
        self._screen.call_later(self._screen.after_operation)

    def open_link(self, url: str) -> None:
        """Opens a link after showing where it really leads; anything but web and mail is not opened."""
        from llamachat.tui.dialogs import ConfirmScreen

        shown = clean_line(url, 300)
        try:
            scheme = urlsplit(url).scheme.lower()
        except ValueError:
            scheme = ""
        if scheme not in _OPENABLE or shown != url:
            self._screen.say_notice(f"Not opened, it is no web or mail address: {shown}")
            return

        def answered(agreed: bool | None) -> None:
            if agreed:
                self._screen.app.open_url(url)

        self._screen.app.push_screen(ConfirmScreen("Open this link?", shown), answered)

    # ---- palette --------------------------------------------------------------

    def open_palette(self) -> None:
        """Commands, presets, themes and chats in one list."""
        from llamachat.tui.palette import PaletteScreen

        entries = [
            *self._command_entries(),
            *self._preset_entries(),
            *self._theme_entries(),
            *self._session_entries(),
        ]

        async def chosen(index: int | None) -> None:
            if index is not None:
                self._screen.try_to(entries[index].run)
                await self._screen.after_operation()

        self._screen.app.push_screen(PaletteScreen(entries), chosen)

    def _command_entries(self) -> list[Entry]:
        from llamachat.tui.palette import Entry

        session = self._screen.session
        return [
            Entry(command.usage, command.help, self._command(command), " ".join(command.aliases))
            for command in commands.COMMANDS
            if command.available(session)
        ]

    def _command(self, command: commands.Command) -> Callable[[], None]:
        def run() -> None:
            if command.needs_argument:  # the rest is typed in the composer
                self._screen.begin_line(f"/{command.name} ")
            else:
                command.run(self._screen.session, self, "")

        return run

    def _preset_entries(self) -> list[Entry]:
        from llamachat.tui.palette import Entry

        session = self._screen.session
        session.presets.reload()
        return [
            Entry(
                f"preset {name}",
                words,
                lambda name=name: preset_command.run(session, self, name),  # type: ignore[misc]
                "sampling",
            )
            for name, words in preset_command.described(session)
        ]

    def _theme_entries(self) -> list[Entry]:
        from llamachat.tui.palette import Entry

        now = self._screen.app.theme
        return [
            Entry(f"theme {name}", "in use" if name == now else "", lambda name=name: self.set_theme(name), "colours")  # type: ignore[misc]
            for name in self.themes()
        ]

    def _session_entries(self) -> list[Entry]:
        from datetime import date

        from llamachat.tui.palette import Entry

        session = self._screen.session
        found = self._screen.try_to(session.sessions) or []
        today = date.today()
        return [
            Entry(
                clean_line(stored.shown_title, 60),
                f"chat, {day_group(local_day(stored.updated), today).lower()}",
                lambda key=stored.id: self._open(key),  # type: ignore[misc]
            )
            for stored in found[:500]
        ]

    def _open(self, session_id: str) -> None:
        if session_id != self._screen.session.conversation.id:
            self._screen.session.open(session_id)


def _size(path: Path) -> str:
    from llamachat.weights.collection import size_of

    size = size_of(path)
    return file_size(size) if size else ""
