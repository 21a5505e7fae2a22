"""Draws the README's pictures: the program itself, the default model answering (``make pictures``)."""

from __future__ import annotations

import asyncio
import re
import tempfile
from pathlib import Path

from textual.pilot import Pilot

from llamachat import paths
from llamachat.chat.session import ChatSession
from llamachat.chat.store import SessionStore
from llamachat.engine.settings import SamplingSettings
from llamachat.engine.source import ModelSource
from llamachat.engine.worker import LocalEngine
from llamachat.tui.app import ChatApp
from llamachat.tui.token_text import TokenText

HERE = Path(__file__).resolve().parent
MODEL = paths.models_dir(paths.data_dir()) / "SmolLM2-135M-Instruct.Q4_1.gguf"
#: One chat each but for the last, which follows the one before and is being answered in the picture.
QUESTIONS = (
    "Help me to write an article about autumn.",
    "Give me five short tips for a good night's sleep.",
    "What is gravity? Answer in two sentences.",
    "Write a Python function that reverses a string, in a code block, and explain it.",
)
PICTURES = {"chat": (120, 40), "narrow": (60, 15), "tokens": (120, 24)}
# Enough of the last answer to see it grow.
ENOUGH_TOKENS = 70


async def draw(name: str, size: tuple[int, int]) -> None:
    """One picture: all questions answered but the last; or the tokens of a short answer."""
    questions = QUESTIONS[2:3] if name == "tokens" else QUESTIONS
    with tempfile.TemporaryDirectory() as folder:
        settings = SamplingSettings(temperature=0.6, seed=4)
        session = ChatSession(SessionStore(Path(folder)), LocalEngine(), settings=settings)
        app = ChatApp(session, source=ModelSource(MODEL))
        async with app.run_test(size=size) as pilot:
            while session.model is None:
                await pilot.pause(0.05)
            for question in questions:
                if question != QUESTIONS[-1]:
                    session.new()
                session.send(question)
                app.chat_screen.call_later(app.chat_screen.after_operation)
                await pilot.pause(0.05)
                while session.busy and (question != QUESTIONS[-1] or answered(session) < ENOUGH_TOKENS):
                    await pilot.pause(0.02)
            if name == "tokens":
                await show_tokens(app, session, pilot)
            else:
                app.chat_screen.refresh_figures()  # those of the answer are shown twice a second
            await pilot.pause(0.01)
            (HERE / f"{name}.svg").write_text(made_portable(app.export_screenshot()), encoding="utf-8")
            session.stop()
        session.close()


async def show_tokens(app: ChatApp, session: ChatSession, pilot: Pilot[int]) -> None:
    """The tokens of the last answer, the cursor on the first doubtful one."""
    await pilot.press("ctrl+up", "t")
    while not (session.look and session.look.done and app.screen.query(TokenText)):
        await pilot.pause(0.05)
    await pilot.press("tab")


def answered(session: ChatSession) -> int:
    """Tokens of the running answer."""
    return session.timings.answer_tokens if session.timings else 0


def made_portable(svg: str) -> str:
    """The picture without fonts from elsewhere, and with all its spaces, wherever it is opened."""
    svg = re.sub(r"@font-face\s*{[^}]*}", "", svg)
    svg = svg.replace("<svg ", '<svg xml:space="preserve" ', 1)  # some viewers drop the spaces at a text's ends
    return svg.replace("font-family: Fira Code, monospace", "font-family: ui-monospace, Menlo, monospace")


if __name__ == "__main__":
    for picture, picture_size in PICTURES.items():
        asyncio.run(draw(picture, picture_size))
