"""The text area in which a message is written."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.document._document import EditResult
from textual.document._edit import Edit
from textual.message import Message
from textual.widgets import TextArea

from llamachat.chat.command_line import leaves_message
from llamachat.chat.file_blocks import behind
from llamachat.chat.folds import Folds
from llamachat.tui.keys import key_hints
from llamachat.tui.own_keys import run_own_binding
from llamachat.tui.prompt_text import PromptHistory, safe_prompt

MAX_LINES = 10
_COMMAND_SECONDS = 5.0
"""A command takes less; then the screen has ended, or something is wrong, and keys do something at least."""
_SHORTER_HINTS = ("Ask anything. / commands", "Ask anything")


class Composer(TextArea):
    """Enter sends, a few keys make a new line, up and down on the outer rows walk the history."""

    HELP = """\
Write here. {composer.send} sends (a running answer is ended, and stays as it is); {composer.newline*} makes a new line.
What is pasted never sends, and leaves a terminal's colours behind. **Up** on the first row brings back what you sent
before, in other chats too; **Down** returns to your draft.

A line that begins with **/** is a command: {composer.complete} completes it, the path of a model or a file too.
**/read** puts a text file into your message, also as its last line.
"""
    BINDING_GROUP_TITLE = "Composer"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "send", "Send", show=False, id="composer.send"),
        Binding("ctrl+j,alt+enter,shift+enter", "newline", "New line", show=False, id="composer.newline"),
        Binding("ctrl+up,alt+up", "screen.to_messages", "Walk the messages", show=False, id="composer.messages"),
        Binding("pageup", "screen.scroll_chat(-1)", "Scroll the chat up", show=False, id="composer.page-up"),
        Binding("pagedown", "screen.scroll_chat(1)", "Scroll the chat down", show=False, id="composer.page-down"),
        Binding("tab", "complete", "Complete a command, or next pane", show=False, id="composer.complete"),
        Binding("ctrl+z", "undo", "Undo", show=False, id="composer.undo"),
        Binding("ctrl+y", "redo", "Do it again", show=False, id="composer.redo"),
        Binding(
            "ctrl+u",
            "delete_to_start_of_line",
            "Delete to the start of the line",
            show=False,
            id="composer.delete-line",
        ),
    ]
    DEFAULT_CSS = f"""
    Composer, Composer:focus {{
        height: auto;
        max-height: {MAX_LINES};
        border: none;
        padding: 0;
        background: $raised;
        color: $text;
        scrollbar-size-vertical: 1;
        scrollbar-background: $raised;
        scrollbar-background-hover: $raised;
        scrollbar-background-active: $raised;
        scrollbar-color: $faint;
        & .text-area--cursor-line {{ background: transparent; }}
        & .text-area--placeholder {{ color: $faint; }}
        & .text-area--cursor {{ color: $background; background: $text; }}
    }}
    """

    class Sent(Message):
        """A text was handed over. Who does not take it calls :meth:`give_back`; ``taken`` is set in any case."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text
            self.taken = asyncio.Event()

    def __init__(self) -> None:
        super().__init__(id="composer", soft_wrap=True, tab_behavior="focus", highlight_cursor_line=False)
        self.cursor_blink = False
        self.match_cursor_bracket = False
        self.menu: Callable[[str], bool] = lambda _key: False
        """The completion menu: takes a key (up, down, tab, enter) and says whether it was for it."""
        self.history_of_prompts = PromptHistory()
        self._folds = Folds()
        self._handed_over = ("", self._folds)
        self._sent: Composer.Sent | None = None
        self._walked_text: str | None = None

    # ---- text ---------------------------------------------------------------

    @property
    def prompt(self) -> str:
        """What is written, files and large pastes in full."""
        return self._folds.expand(self.text)

    def show_prompt(self, text: str) -> None:
        """Puts a text in, the cursor at its end; files in it, and a large one, are folded."""
        self._folds.clear()
        self.retype(self._folds.fold_message(safe_prompt(text)))

    def retype(self, text: str) -> None:
        """Puts a text in as if it was typed, the cursor at its end: labels stay labels."""
        self.load_text(text)
        self.move_cursor(self.document.end)

    def put_file(self, name: str, block: str) -> None:
        """Puts a file behind what is written, as a label unless it is short."""
        self.retype(behind(self.text, self._folds.fold_file(name, safe_prompt(block))))

    def edit(self, edit: Edit) -> EditResult:
        """Every insertion passes here: nothing that could steer a terminal gets in."""
        return super().edit(replace(edit, text=safe_prompt(edit.text)))

    async def _on_paste(self, event: events.Paste) -> None:
        event.prevent_default()
        event.stop()
        self._replace_via_keyboard(self._folds.fold(safe_prompt(event.text)), *self.selection)

    def on_resize(self) -> None:
        """The hint in the empty composer is as long as there is room."""
        keys = key_hints(self, ("composer.send", "sends"), ("composer.newline", "new line"))
        pieces = ", ".join([*(f"{key} {word}" for key, word in keys), "/ commands"])
        whole = f"Ask anything. {pieces[0].upper()}{pieces[1:]}"
        fitting = (hint for hint in (whole, *_SHORTER_HINTS) if len(hint) < self.size.width)
        self.placeholder = next(fitting, _SHORTER_HINTS[-1])

    # ---- keys ---------------------------------------------------------------

    async def _on_key(self, event: events.Key) -> None:
        if event.key.endswith("+\r"):  # Shift+Enter of terminals with xterm's modifyOtherKeys
            event.stop()
            event.prevent_default()
            key = event.key.removesuffix("\r") + "enter"
            if not await run_own_binding(self, event, key):
                await run_own_binding(self, event, "shift+enter")
        elif event.key == "enter" and self.menu("enter"):  # whatever else it does
            event.stop()
            event.prevent_default()
            await self._command_taken()
        elif not event.is_printable and not await run_own_binding(self, event) and event.key == "enter":
            event.prevent_default()  # the text area would insert a line

    async def action_send(self) -> None:
        """Sends what is written, or takes the menu's proposal."""
        if not self.menu("enter") and self.text.strip():
            self.submit(self.prompt.rstrip())
        await self._command_taken()

    async def _command_taken(self) -> None:
        """Keys behind a command that was just sent wait for the message that it leaves."""
        sent, self._sent = self._sent, None
        if sent is not None and leaves_message(sent.text):
            with suppress(TimeoutError):  # the screen has ended
                await asyncio.wait_for(sent.taken.wait(), _COMMAND_SECONDS)

    def action_delete_left(self) -> None:
        """Deletes a letter, or what is selected; a label whole."""
        row, column = self.cursor_location
        label = self._folds.label_at_end(self.document.get_line(row)[:column])
        if label and self.selection.is_empty:
            self._delete_via_keyboard((row, column - len(label)), (row, column))
        else:
            super().action_delete_left()

    def submit(self, text: str) -> None:
        """Hands a text over. What is typed from now on is the next one; a text that is refused is given back."""
        self._handed_over = (self.text, self._folds)
        self._folds = Folds()
        self.load_text("")
        assert self.parent is not None  # noqa: S101 - there are keys: it is on a screen
        self._sent = self.Sent(text)
        self.parent.post_message(self._sent)  # its own queue may hold keys that come after this one

    def take_back(self, command: str) -> None:
        """Puts in again what was handed over last, without the command that it ended with."""
        text, folds = self._handed_over
        since = self._folds.expand(self.text)
        self._folds = folds
        self.retype(text.rstrip().removesuffix(command) + folds.fold_message(since))

    def give_back(self, *, as_command: bool = False) -> None:
        """Puts the text handed over last in again, before what was typed since. A command is selected, for the next
        key to replace it; where something else was typed since, Up brings it back."""
        text, folds = self._handed_over
        since = self._folds.expand(self.text)
        if as_command and since:
            self.history_of_prompts.add(folds.expand(text))
            return
        self._folds = folds
        self.retype(text + folds.fold_message(since))
        if as_command:
            self.select_all()

    def action_newline(self) -> None:
        """Inserts a line break."""
        self._replace_via_keyboard("\n", *self.selection)

    def action_complete(self) -> None:
        """Completes a command; in any other text goes to the next pane."""
        if not self.menu("tab"):
            self.screen.focus_next()

    def action_cursor_up(self, select: bool = False) -> None:
        """Up: in the menu, in the text, or back in history from the first row, or on from what was just recalled."""
        if self.menu("up"):
            return
        if not select and (self._row == 0 or self._just_recalled):
            self._settle_history()
            if not self._walk(self.history_of_prompts.earlier(self.prompt)):
                super().action_cursor_up(select)
        else:
            super().action_cursor_up(select)

    def action_cursor_down(self, select: bool = False) -> None:
        """Down: in the menu, in the text, or forward in history from the last row."""
        if self.menu("down"):
            return
        if not select and self._row == self.wrapped_document.height - 1:
            self._settle_history()
            if not self._walk(self.history_of_prompts.later()):
                super().action_cursor_down(select)
        else:
            super().action_cursor_down(select)

    @property
    def _row(self) -> int:
        return self.wrapped_document.location_to_offset(self.selection.end).y

    @property
    def _just_recalled(self) -> bool:
        """Whether an earlier prompt stands here as it came, the cursor at its end."""
        unchanged = self.history_of_prompts.walking and self._walked_text == self.text
        return unchanged and self.cursor_location == self.document.end

    def _settle_history(self) -> None:
        """A recalled prompt that was changed since is a new draft: walking on must not throw it away."""
        if self.history_of_prompts.walking and self._walked_text != self.text:
            self.history_of_prompts.leave()

    def _walk(self, prompt: str | None) -> bool:
        if prompt is None:
            return False
        self.show_prompt(prompt)
        self._walked_text = self.text
        return True
