"""The full-screen chat on a screen of any size, with an engine that follows a script."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

from textual.events import Key, Paste
from textual.keys import _character_to_key
from textual.pilot import Pilot
from textual.widget import Widget

from llamachat.chat.conversation import Message
from llamachat.chat.session import ChatSession
from llamachat.chat.store import SessionStore
from llamachat.engine.events import Request
from llamachat.engine.source import ModelSource
from llamachat.tui.app import ChatApp
from llamachat.tui.composer import Composer
from llamachat.tui.composer_pane import ComposerPane
from llamachat.tui.message_view import MessageView
from llamachat.tui.transcript import Transcript
from tests.support.scripted_engine import ScriptedEngine

MODEL = ModelSource(Path("/models/scripted.gguf"))
PATIENCE = 10.0
_CHARACTERS = {"space": " ", "slash": "/", "full_stop": ".", "question_mark": "?", "enter": "\r", "tab": "\t"}

Some = TypeVar("Some", bound=Widget)


class Chat:
    """One running application and the hands on it."""

    def __init__(self, app: ChatApp, pilot: Pilot[int], engine: ScriptedEngine, session: ChatSession) -> None:
        self.app, self.pilot, self.engine, self.session = app, pilot, engine, session

    # ---- looking ------------------------------------------------------------

    @property
    def lines(self) -> list[str]:
        """Every line of the screen as it is drawn now."""
        return [strip.text for strip in self.app.screen._compositor.render_strips()]

    @property
    def text(self) -> str:
        """The whole screen."""
        return "\n".join(self.lines)

    @property
    def status(self) -> str:
        """The status line."""
        return self.lines[-1]

    @property
    def path(self) -> list[Message]:
        """The visible messages."""
        return self.session.conversation.path

    @property
    def composer(self) -> Composer:
        """The text area."""
        return self.app.chat_screen.query_one(Composer)

    @property
    def trouble(self) -> str:
        """The line under the composer."""
        return self.app.chat_screen.query_one(ComposerPane).trouble

    @property
    def transcript(self) -> Transcript:
        """The messages."""
        return self.app.chat_screen.query_one(Transcript)

    @property
    def focused_message(self) -> Message | None:
        """The message with the cursor."""
        focused = self.app.focused
        return focused.message if isinstance(focused, MessageView) else None

    def one(self, kind: type[Some]) -> Some:
        """The only widget of a kind."""
        return self.app.screen.query_one(kind)

    # ---- acting -------------------------------------------------------------

    async def until(self, predicate: Callable[[], Any], what: str = "") -> None:
        """Waits for something to be true; shows the screen if it never is."""
        deadline = time.monotonic() + PATIENCE
        while not predicate():
            if time.monotonic() > deadline:
                raise AssertionError(f"still waiting for {what or 'a predicate'}:\n{self.text}")
            await asyncio.sleep(0.01)

    async def settle(self) -> None:
        """Waits until the session and the screen have nothing more to do."""
        await self.until(lambda: self.app.chat_screen.at_rest, "rest")
        await self.pilot.pause()

    async def press(self, *keys: str) -> None:
        """Presses keys, one after the other, each taken up before the next: ``Pilot.press`` sleeps 40 ms a key."""
        driver = self.app._driver
        assert driver is not None
        for key in keys:
            name = key if len(key) > 1 or key.isalnum() else _character_to_key(key)
            driver.send_message(Key(name, _CHARACTERS.get(name, name if len(name) == 1 else None)))
            for _ in range(5):  # to the application, to the widget with the focus, and what that tells others
                await self.pilot._wait_for_screen()
        await self.pilot.pause()

    def hold(self, key: str, times: int) -> None:
        """A key that comes again before it was taken up."""
        driver = self.app._driver
        assert driver is not None
        for _ in range(times):
            driver.send_message(Key(key, key if len(key) == 1 else None))

    async def type(self, text: str) -> None:
        """Types into the composer, by one paste, which is no way to send."""
        self.composer.focus()
        await self.pilot.pause()
        await self.paste(text)

    async def paste(self, text: str) -> None:
        """Pastes where the focus is."""
        driver = self.app._driver
        assert driver is not None
        driver.send_message(Paste(text))
        for _ in range(5):
            await self.pilot._wait_for_screen()
        await self.pilot.pause()

    async def send(self, text: str) -> None:
        """Types and presses Enter."""
        await self.type(text)
        await self.press("enter")

    async def ask(self, text: str) -> Message:
        """Sends a question and waits for its whole answer."""
        await self.send(text)
        await self.until(lambda: self.path and any(message.text == text for message in self.path), "the question")
        await self.settle()
        return self.path[-1]


@asynccontextmanager
async def open_chat(
    answers: Sequence[str] | Callable[[Request], str] = ("Hello there.",),
    *,
    size: tuple[int, int] = (120, 40),
    source: ModelSource | None = MODEL,
    data: Path | None = None,
    loaded: bool = True,
    source_of: Callable[[Path], ModelSource] = ModelSource,
    prepare: Callable[[ChatSession], object] | None = None,
    app_options: dict[str, Any] | None = None,
    **engine_options: Any,
) -> AsyncIterator[Chat]:
    """The application, started; the model is loaded unless ``loaded`` is False (then ``source`` is being loaded)."""
    with TemporaryDirectory() as folder:
        engine = ScriptedEngine(answers, loaded=loaded, **engine_options)
        session = ChatSession(SessionStore(data or Path(folder)), engine, source_of=source_of)
        if prepare is not None:
            prepare(session)
        app = ChatApp(session, source=None if loaded else source, **(app_options or {}))
        try:
            async with app.run_test(size=size) as pilot:
                await pilot.pause()
                yield Chat(app, pilot, engine, session)
                engine.release(10_000)
        finally:
            session.close()
            await asyncio.sleep(0)
