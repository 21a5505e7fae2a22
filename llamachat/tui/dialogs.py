"""Small screens over the chat: a question, a text to read, a text to edit, a line to type, a list to choose from."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, TypeVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Input, Static, TextArea

from llamachat.chat.path_completion import TypedPath
from llamachat.display import clean, clean_line
from llamachat.tui.keys import key_hints
from llamachat.tui.over_chat import OverChat
from llamachat.tui.path_lookup import PathLookup
from llamachat.tui.row_list import Row, RowList

Result = TypeVar("Result")
_LINE_CHARS = 200
_MOST_CANDIDATES = 200


class Dialog(OverChat[Result]):
    """A quiet box in the middle; Escape closes it without an answer."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "cancel", "Close", show=False, id="dialog.cancel"),
    ]
    DEFAULT_CSS = """
    Dialog {
        align: center middle;
        background: $background 70%;
        & > #dialog {
            width: 72;
            max-width: 96%;
            height: auto;
            max-height: 92%;
            background: $pane;
            padding: 1 2;
            & > .heading { color: $text; text-style: bold; height: auto; }
            & > .body { color: $soft; height: auto; margin-top: 1; }
            & > .trouble { color: $warning; height: auto; }
            & > .keys { color: $faint; height: 1; margin-top: 1; }
            & > VerticalScroll { height: auto; max-height: 65vh; scrollbar-size-vertical: 1; }
            & > RowList { height: auto; max-height: 16; margin-top: 1; scrollbar-background: $pane; }
            & > #candidates { max-height: 6; display: none; }
            & > #candidates.-open { display: block; }
            & > Input, & > Input:focus, & > TextArea, & > TextArea:focus {
                border: none; background: $raised; margin-top: 1; padding: 0 1; color: $text;
            }
            & > Input, & > Input:focus { height: 1; }
            & > TextArea, & > TextArea:focus { height: 10; max-height: 60%; }
        }
    }
    """

    def action_cancel(self) -> None:
        """Closes without an answer."""
        self.dismiss(None)

    @staticmethod
    def keys_line(*keys: tuple[str, str]) -> Static:
        """The line that says which keys do what."""
        line = Content("   ").join(Content.assemble((key, "$soft"), f" {word}") for key, word in keys)
        return Static(line, classes="keys", markup=False)


class ConfirmScreen(Dialog[bool]):
    """A question with yes and no. Enter is neither: what is asked about may be gone for good."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "agree", "Yes", show=False, id="confirm.yes"),
        Binding("n", "cancel", "No", show=False, id="confirm.no"),
    ]

    def __init__(self, question: str, body: str = "") -> None:
        super().__init__()
        self._question, self._body = clean_line(question), clean(body)

    def compose(self) -> ComposeResult:
        """Question, keys."""
        with Vertical(id="dialog"):
            yield Static(self._question, classes="heading", markup=False)
            if self._body:
                yield Static(self._body, classes="body", markup=False)
            yield self.keys_line(*key_hints(self, ("confirm.yes", "yes"), ("confirm.no", "no")))

    def action_agree(self) -> None:
        """Answers yes."""
        self.dismiss(True)


class ReadScreen(Dialog[None]):
    """A text to read."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter,q", "cancel", "Close", show=False, id="read.close"),
    ]

    def __init__(self, text: str) -> None:
        super().__init__()
        self._text = clean(text)

    def compose(self) -> ComposeResult:
        """The text, scrolled if need be."""
        with Vertical(id="dialog"):
            with VerticalScroll():
                yield Static(self._text[:60_000], markup=False)
            yield self.keys_line(("esc", "close"))

    def on_mount(self) -> None:
        """The arrow keys scroll at once."""
        self.query_one(VerticalScroll).focus()


class EditScreen(Dialog[str]):
    """A longer text to edit."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+s", "save", "Save", show=False, id="edit.save"),
    ]

    def __init__(self, label: str, text: str) -> None:
        super().__init__()
        self._label, self._text = clean_line(label), clean(text)
        self._gives_up = False  # what was changed: the next Escape does

    def compose(self) -> ComposeResult:
        """Label, text area, keys."""
        with Vertical(id="dialog"):
            yield Static(self._label, classes="heading", markup=False)
            area = TextArea(self._text, soft_wrap=True, tab_behavior="focus", highlight_cursor_line=False)
            area.cursor_blink = False
            yield area
            yield Static("", classes="trouble", markup=False)
            yield self.keys_line(*key_hints(self, ("edit.save", "save")), ("esc", "cancel"))

    def action_cancel(self) -> None:
        """Leaves the text as it was; where it was changed, only the second time."""
        if self._gives_up or clean(self.query_one(TextArea).text) == self._text:
            self.dismiss(None)
        else:
            self._gives_up = True
            self.query_one(".trouble", Static).update("esc again gives the change up")

    def on_mount(self) -> None:
        """Typing goes on where the text ends."""
        area = self.query_one(TextArea)
        area.move_cursor(area.document.end)

    def on_text_area_changed(self) -> None:
        """Goes on, so nothing is given up."""
        self._gives_up = False
        self.query_one(".trouble", Static).update("")

    def action_save(self) -> None:
        """Hands the text over."""
        self.dismiss(clean(self.query_one(TextArea).text))


class LineScreen(Dialog[str]):
    """A line to edit."""

    def __init__(self, label: str, text: str) -> None:
        super().__init__()
        self._label, self._text = clean_line(label), clean_line(text, _LINE_CHARS)

    def compose(self) -> ComposeResult:
        """Label, field, keys."""
        with Vertical(id="dialog"):
            yield Static(self._label, classes="heading", markup=False)
            yield Input(self._text, select_on_focus=False)
            yield self.keys_line(("enter", "save"), ("esc", "cancel"))

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Enter hands the line over."""
        event.stop()
        self.dismiss(event.value)


class ModelFileScreen(Dialog[Path]):
    """The path of a model file to type. Tab completes it, and lists what it may become.

    One that is not there stays to be mended.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("tab", "complete", "Complete the path", show=False, id="file.complete", priority=True),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._paths = PathLookup(self)

    def compose(self) -> ComposeResult:
        """Label, field, what is wrong with it, keys."""
        with Vertical(id="dialog"):
            yield Static("Open a model file", classes="heading", markup=False)
            yield Input(placeholder="~/models/model.gguf")
            candidates = RowList(id="candidates")
            candidates.can_focus = False  # typing goes on; a click takes one
            yield candidates
            yield Static("", classes="trouble", markup=False)
            yield self.keys_line(("enter", "open"), *key_hints(self, ("file.complete", "complete")), ("esc", "cancel"))

    def action_complete(self) -> None:
        """Looks up what the typed path may become."""
        self._paths.ask(TypedPath(self.query_one(Input).value))

    def on_path_lookup_found(self, event: PathLookup.Found) -> None:
        """Writes what all of them have in common, and shows them if there are several."""
        typed = event.typed.text
        if typed != self.query_one(Input).value:
            return
        self._write(event.completions.common)
        paths = event.completions.paths
        folder = len("".join(typed.rpartition("/")[:2]))
        candidates = self.query_one("#candidates", RowList)
        candidates.set_rows([Row(path, path[folder:]) for path in paths[:_MOST_CANDIDATES]])
        candidates.set_class(len(paths) > 1, "-open")
        self.query_one(".trouble", Static).update("" if paths else "no folder and no model file begins like this")

    def _write(self, path: str) -> None:
        field = self.query_one(Input)
        with self.prevent(Input.Changed):
            field.value = path
        field.cursor_position = len(path)

    def on_input_changed(self) -> None:
        """Typing goes on: what was said of the path before is not true of it any more."""
        self.query_one("#candidates").remove_class("-open")
        self.query_one(".trouble", Static).update("")

    def on_row_list_chosen(self, event: RowList.Chosen) -> None:
        """A click takes a candidate."""
        event.stop()
        self._write(event.key)
        self.query_one("#candidates").remove_class("-open")
        if event.key.endswith("/"):
            self.action_complete()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Enter takes what is there, if it is there."""
        event.stop()
        typed = event.value.strip()
        if typed:
            path = Path(os.path.expanduser(typed))  # noqa: PTH111 - pathlib fails at an unknown user
            if os.path.lexists(path):
                self.dismiss(path)
            else:
                self.query_one(".trouble", Static).update(Content(f"{clean_line(typed)}: no such file"))


class PickScreen(Dialog[str]):
    """A list to choose from."""

    def __init__(self, label: str, rows: Sequence[Row], *, label_width: int = 34) -> None:
        super().__init__()
        self._label, self._rows, self._label_width = clean_line(label), rows, label_width

    def compose(self) -> ComposeResult:
        """Label, list, keys."""
        with Vertical(id="dialog"):
            yield Static(self._label, classes="heading", markup=False)
            yield RowList(label_width=self._label_width)
            yield self.keys_line(("enter", "choose"), ("esc", "cancel"))

    def on_mount(self) -> None:
        """Fills the list."""
        rows = self.query_one(RowList)
        marked = next((row.key for row in self._rows if row.marked), "")
        rows.set_rows(self._rows, keep=marked)
        rows.focus()

    def on_row_list_chosen(self, event: RowList.Chosen) -> None:
        """Hands the choice over."""
        event.stop()
        self.dismiss(event.key)
