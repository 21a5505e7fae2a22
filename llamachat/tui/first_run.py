"""The screen with the ways to a model, the first one where there is none: one key fetches one."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message
from textual.screen import Screen
from textual.widgets import Static

from llamachat.display import clean_line
from llamachat.errors import Cancelled, LlamachatError
from llamachat.tui.dialogs import ModelFileScreen
from llamachat.tui.keys import key_hints
from llamachat.tui.models import ModelShelf
from llamachat.tui.words import file_size, short_path

FORMATS = "GGUF, ggml, llama2.c and more"
_BAR = 40


class FirstRunScreen(Screen[Path]):
    """Answers with the model file to open; without an answer where a person goes on without a model."""

    HELP = "{first-run.fetch} fetches a small model; {first-run.open} opens one that you have."
    BINDING_GROUP_TITLE = "First run"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "fetch", "Fetch the default model", show=False, id="first-run.fetch"),
        Binding("o", "open", "Open a model file", show=False, id="first-run.open"),
        Binding("escape,ctrl+c", "escape", "Stop fetching, or go on without a model", show=False, id="first-run.stop"),
        Binding("q", "app.quit", "Quit", show=False, id="first-run.quit"),
    ]
    DEFAULT_CSS = """
    FirstRunScreen {
        align: center middle;
        background: $background;
        & > #card { width: auto; height: auto; max-width: 96%; }
        & > #card > Static { width: auto; height: auto; }
        & > #card > #progress { height: auto; min-height: 2; margin-top: 1; min-width: 50; max-width: 96%; }
    }
    """

    class Progressed(Message):
        """So much has been fetched."""

        def __init__(self, done: int, total: int) -> None:
            super().__init__()
            self.done = done
            self.total = total

    def __init__(
        self, shelf: ModelShelf | None, problem: str = "", *, fetch: bool = False, has_model: bool = False
    ) -> None:
        """``problem`` is why the model chosen before could not be opened; ``fetch`` begins to fetch at once."""
        super().__init__()
        self._shelf = shelf
        self._problem = problem
        self._fetch_at_once = fetch
        self._has_model = has_model
        self._cancel = threading.Event()
        self._fetching = False

    def compose(self) -> ComposeResult:
        """The card."""
        back = "back to the chat" if self._has_model else "look at the chats without a model"
        ways = [
            *key_hints(self, ("first-run.open", f"open a model file ({FORMATS})")),
            ("esc", back),
            *key_hints(self, ("first-run.quit", "quit")),
        ]
        if self._shelf is not None:
            ways = [*key_hints(self, ("first-run.fetch", f"fetch {clean_line(self._shelf.offer, 80)}")), *ways]
        heading = "Another model" if self._has_model else "No model yet."
        lines = [Content.assemble(("llamachat", "bold $accent")), Content(), Content(heading), Content()]
        width = max(8, *(len(key) + 2 for key, _ in ways))
        lines += [Content.assemble((f"{key:<{width}}", "$text"), (word, "$soft")) for key, word in ways]
        if self._shelf is not None:
            lines += [Content(), Content.assemble((f"Models go to {short_path(self._shelf.folder)}", "$faint"))]
        with Vertical(id="card"):
            yield Static(Content("\n").join(lines), markup=False)
            yield Static("", id="progress", markup=False)

    def on_mount(self) -> None:
        """Says what went wrong before, or does what was asked for."""
        if self._problem:
            self._say(self._trouble(self._problem))
        if self._fetch_at_once and self._shelf is not None:
            self.action_fetch()

    @staticmethod
    def _trouble(problem: str) -> Content:
        return Content.assemble((clean_line(problem, 300), "$error"))

    def _say(self, content: Content) -> None:
        self.query_one("#progress", Static).update(content)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002
        """Fetching needs somewhere to fetch from."""
        return self._shelf is not None if action == "fetch" else True

    # ---- fetching -----------------------------------------------------------

    def action_fetch(self) -> None:
        """Begins to fetch."""
        if not self._fetching:
            self._fetching = True
            self._cancel.clear()
            self._say(Content("fetching …"))
            self._fetch()

    @work(thread=True, exclusive=True, exit_on_error=False)
    def _fetch(self) -> None:
        assert self._shelf is not None  # noqa: S101 - the action is hidden without one
        path: Path | None = None
        problem = ""
        try:
            path = self._shelf.fetch(self._tell, self._cancel.is_set)
        except Cancelled:
            problem = "stopped" + self._keys("; ", ("first-run.fetch", "fetches it again"))
        except LlamachatError as error:
            problem = f"{error}" + self._keys(
                " · ", ("first-run.fetch", "tries again"), ("first-run.open", "opens a file")
            )
        self.app.call_from_thread(self._fetched, path, problem)

    def _keys(self, before: str, *wanted: tuple[str, str]) -> str:
        words = ", ".join(f"{key} {word}" for key, word in key_hints(self, *wanted))
        return before + words if words else ""

    def _tell(self, done: int, total: int) -> None:
        self.post_message(self.Progressed(done, total))

    def _fetched(self, path: Path | None, problem: str) -> None:
        self._fetching = False
        if path is not None:
            self.dismiss(path)
        elif self.is_attached:
            self._say(self._trouble(problem))

    def on_first_run_screen_progressed(self, event: Progressed) -> None:
        """Draws the bar."""
        if not self._fetching:
            return
        share = event.done / event.total if event.total else 0.0
        filled = round(_BAR * min(share, 1.0))
        bar = Content.assemble(("━" * filled, "$accent"), ("─" * (_BAR - filled), "$faint"))
        figures = f"{file_size(event.done)} of {file_size(event.total)} · esc stops"
        self._say(Content.assemble(bar, f"\n{figures}"))

    def action_escape(self) -> None:
        """Stops fetching; else goes on to the chats, without a model."""
        if self._fetching:
            self._cancel.set()
        else:
            self.dismiss(None)

    def on_unmount(self) -> None:
        """Nothing goes on behind a closed screen."""
        self._cancel.set()

    # ---- opening ------------------------------------------------------------

    def action_open(self) -> None:
        """Asks for a file; not while one is fetched, whose end would close what is on top."""
        if self._fetching:
            return

        def opened(path: Path | None) -> None:
            if path is not None:
                self.dismiss(path)

        self.app.push_screen(ModelFileScreen(), opened)
