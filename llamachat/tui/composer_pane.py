"""The composer with what belongs to it: command proposals above, what it is about, and trouble below."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Static, TextArea

from llamachat.chat.command_line import split_command
from llamachat.chat.path_completion import TypedPath
from llamachat.display import clean_line
from llamachat.tui.composer import Composer
from llamachat.tui.keys import key_of
from llamachat.tui.path_lookup import PathLookup
from llamachat.tui.row_list import Row, RowList

_DRAFT_SECONDS = 0.6
"""A draft is handed over this long after the last save; the store writes it within the rest of the second."""
_COMMAND_CHARS = 2000
_MOST_PATHS = 50


@dataclass(frozen=True, slots=True)
class Proposal:
    """A line that the typed one may become."""

    line: str
    help: str = ""
    takes_more: bool = False  #: something may follow
    needs_more: bool = False  #: something must follow
    label: str = ""  #: how it is shown, if not as the line
    is_folder: bool = False  #: a path that goes on behind it


Propose = Callable[[str], list[Proposal]]
PathTyped = Callable[[str], TypedPath | None]
"""The end of a line that may be a path; None where no path belongs."""


class ComposerPane(Vertical):
    """Menu, composer, one line for an error or for what is being edited."""

    DEFAULT_CSS = """
    ComposerPane {
        height: auto;
        padding: 0 1;
        margin-bottom: 1;
        align-horizontal: center;
        & > #proposals {
            height: auto; max-height: 8; background: $raised; display: none; padding: 0 1;
            scrollbar-background: $raised; scrollbar-color: $faint;
        }
        & > #proposals.-open { display: block; }
        & > #proposals > .rows--cursor { background: $pane; }
        & > #box { height: auto; background: $raised; padding: 1 2 1 1; border-left: blank; }
        & > #box:focus-within { border-left: outer $accent; }
        & > #trouble { height: auto; max-height: 3; padding: 0 2; color: $error; display: none; }
        & > #trouble.-shown { display: block; }
        & > #trouble.-notice { color: $warning; }
        & > #proposals, & > #box, & > #trouble { max-width: 100; }
    }
    """

    def __init__(self, propose: Propose, path_typed: PathTyped, keep_draft: Callable[[str], object]) -> None:
        super().__init__()
        self._propose = propose
        self._path_typed = path_typed
        self._keep_draft = keep_draft
        self._proposals: dict[str, Proposal] = {}
        self._draft_timer_runs = False
        self._saved_draft = ""
        self._kept_draft: str | None = None  #: what was in the composer before a message came in to be edited
        self._edit_began = ("", "")  #: that message: its text, and how it came in
        self._edit_label = ""
        self._gives_up = False  #: what was changed in it: the next Escape does
        self._trouble_text = ""
        self._refused: str | None = None  #: the text that the trouble below is about
        self._looked_at = ""
        self._paths = PathLookup(self)
        self._path: TypedPath | None = None  #: the end of the line, as long as it is looked up what path it may become
        self._tab_waits = False  #: for that
        self._menu_closed = False  #: by Escape

    def compose(self) -> ComposeResult:
        """Proposals, box, trouble."""
        menu = RowList(id="proposals", label_width=18)
        menu.can_focus = False
        menu.always_lit = True
        yield menu
        with Vertical(id="box"):
            composer = Composer()
            composer.menu = self._menu_key
            yield composer
        yield Static("", id="trouble", markup=False)

    @property
    def composer(self) -> Composer:
        """The text area."""
        return self.query_one(Composer)

    @property
    def send_key(self) -> str:
        """The key that hands over what is written."""
        return key_of(self.composer, "composer.send", "(no key)")

    # ---- drafts -------------------------------------------------------------

    def on_text_area_changed(self, event: TextArea.Changed) -> None:
        """Keeps the draft, and looks for commands."""
        event.stop()
        if self._gives_up:
            self._gives_up = False
            self.show_trouble(self._edit_label, notice=True)
        if self._refused is not None and self.composer.prompt != self._refused:
            self.show_trouble("")
        self._look_for_commands()
        if not self._draft_timer_runs:
            self._draft_timer_runs = True
            self.set_timer(_DRAFT_SECONDS, self._save_draft)

    def _save_draft(self) -> None:
        self._draft_timer_runs = False
        self.flush_draft()

    @property
    def draft(self) -> str:
        """The unsent text; while a message is being edited in its place, with what it was changed to: nothing that was
        typed is lost when the program ends."""
        text = self.composer.prompt
        if self._kept_draft is None:
            return text
        changed = text if text != self._edit_began[1] else ""
        return "\n\n".join(filter(None, (self._kept_draft, changed)))

    def flush_draft(self) -> None:
        """Hands the draft over now, if it changed."""
        text = self.draft
        if text != self._saved_draft:
            self._saved_draft = text
            self._keep_draft(text)

    def show_draft(self, text: str) -> None:
        """Puts a chat's draft in."""
        if self.editing or self._refused is not None:
            self.show_trouble("")
        self._kept_draft, self._gives_up = None, False
        self._saved_draft = text
        self.composer.remove_class("-editing")
        self.composer.show_prompt(text)
        self.composer.history_of_prompts.leave()

    # ---- editing a message --------------------------------------------------

    @property
    def editing(self) -> bool:
        """Whether the text is a message's, not a draft."""
        return self._kept_draft is not None

    def begin_edit(self, text: str, label: str) -> None:
        """Takes a text in to be edited; the draft waits."""
        if self._kept_draft is None:
            self._kept_draft = self.composer.prompt
        self.composer.show_prompt(text)
        self._edit_began = (text, self.composer.prompt)
        self._edit_label, self._gives_up = label, False
        self.show_trouble(label, notice=True)
        self.composer.focus()

    def leave_edit(self) -> bool:
        """Leaves a message as it was; one that was changed only the second time. False if editing goes on."""
        if not self.editing:
            return True
        if self._gives_up or self.composer.prompt == self._edit_began[1]:
            self.end_edit()
            return True
        self._gives_up = True
        self.show_trouble(f"Changed: {self.send_key} saves it, the same key drops it", notice=True)
        return False

    def true_text(self, sent: str) -> str:
        """What was sent, or the message as it was where nothing was changed: some of it does not show as it is."""
        text, shown = self._edit_began
        return text if sent == shown.rstrip() else sent

    def end_edit(self) -> None:
        """Brings the draft back."""
        draft, self._kept_draft, self._gives_up = self._kept_draft or "", None, False
        self.composer.show_prompt(draft)
        self.show_trouble("")

    # ---- the line below -----------------------------------------------------

    def show_trouble(self, text: str, *, notice: bool = False) -> None:
        """Says in one sentence what is wrong, or what is going on; empty takes it away."""
        line = self.query_one("#trouble", Static)
        self._refused = None
        self._trouble_text = clean_line(text, 400)
        line.update(Content(self._trouble_text))
        line.set_class(bool(text), "-shown")
        line.set_class(notice, "-notice")

    @property
    def trouble(self) -> str:
        """What the line says."""
        return self._trouble_text

    def give_back(self, sent: str, command: str = "") -> None:
        """Puts a text in again that was refused: a message, or the command that it is or ends with, behind which the
        message is already. What is wrong with it is said until it is changed.
        """
        if command in ("", sent):
            self.composer.give_back(as_command=bool(command))
        else:
            self.composer.retype(self.composer.text + command)
        text = self.composer.prompt
        if text.rstrip() == sent.rstrip():  # else something was typed since
            self._refused = text

    # ---- commands -----------------------------------------------------------

    def _look_for_commands(self) -> None:
        text = self.composer.text
        if text == self._looked_at:
            return
        self._looked_at = text
        line = "" if self.editing else self._command
        is_command = line and "\n" not in line and len(line) < _COMMAND_CHARS
        before = text[: len(text) - len(line)]
        proposed = self._propose(line) if is_command else []
        found = [replace(one, line=before + one.line, label=one.label or one.line) for one in proposed]
        self._tab_waits = self._menu_closed = False
        self._show_proposals(found)
        self._path = self._path_typed(line) if is_command else None
        if self._path is not None and not self._path.text and found:
            self._path = None  # where nothing is typed, the models folder goes first
        if self._path is not None:
            self._paths.ask(self._path)

    def _show_proposals(self, found: list[Proposal], *, keep: str = "", as_it_stands: bool = False) -> None:
        """Fills the menu. ``as_it_stands``: the line has a meaning of its own, so Enter takes none of them."""
        self._proposals = {proposal.line: proposal for proposal in found}
        menu = self.query_one("#proposals", RowList)
        menu.set_rows([Row(one.line, one.label or one.line, one.help) for one in found], keep=keep)
        if not keep:
            menu.cursor = 0 if found and not as_it_stands else -1
        is_news = bool(found) and [proposal.line for proposal in found] != [self._looked_at]
        menu.set_class(is_news and not self._menu_closed, "-open")

    def on_path_lookup_found(self, event: PathLookup.Found) -> None:
        """Proposes paths, if the line is still the one that they were looked up for."""
        line = self.composer.text
        if event.typed != self._path or line != self._looked_at:
            return
        self._path = None
        typed = event.typed.text
        before = line[: len(line) - len(typed)]
        shown = len("".join(typed.rpartition("/")[:2]))  # of a path its name is enough, and fits
        paths = [
            Proposal(before + path, label=path[shown:], is_folder=path.endswith("/"))
            for path in event.completions.paths[:_MOST_PATHS]
        ]
        if paths:
            current = self.query_one("#proposals", RowList).current
            found = [*self._proposals.values(), *paths]
            self._show_proposals(found, keep=current.key if current else "", as_it_stands=event.completions.is_whole)
        if self._tab_waits:
            self._tab_waits = False
            self._menu_key("tab")

    @property
    def _command(self) -> str:
        """The command that is typed, labels as they stand in it."""
        _, command = split_command(self.composer.prompt)
        return command if self.composer.text.endswith(command) else self.composer.text

    def close_menu(self) -> bool:
        """Closes the proposals until the text changes; False if none were open."""
        menu = self.query_one("#proposals", RowList)
        was_open = menu.has_class("-open")
        menu.remove_class("-open")
        self._menu_closed = True
        return was_open

    def _menu_key(self, key: str) -> bool:
        """Moves in the menu, or takes its proposal; False if the key is not for it. Tab opens it again."""
        self._look_for_commands()  # the composer may be ahead of its messages
        menu = self.query_one("#proposals", RowList)
        if key == "tab":
            self._tab(menu)
            return self.composer.text.startswith("/") or bool(self._command)
        if not menu.has_class("-open") or (menu.current is None and key == "enter"):
            return False
        if key in ("up", "down"):
            menu.action_move(-1 if key == "up" else 1)
        elif menu.current is not None:
            self._take(menu.current.key, run=True)
        return True

    def _tab(self, menu: RowList) -> None:
        """Takes the proposal under the cursor, else the first; waits for it where it is still being looked for."""
        if not self._proposals:
            self._tab_waits = self._path is not None
        elif menu.has_class("-open") or len(self._proposals) == 1:
            self._take(menu.current.key if menu.current is not None else next(iter(self._proposals)), run=False)
        else:
            menu.add_class("-open")

    def on_row_list_chosen(self, event: RowList.Chosen) -> None:
        """A click takes a proposal."""
        event.stop()
        self._take(event.key, run=True)
        self.composer.focus()

    def _take(self, line: str, *, run: bool) -> None:
        """Enter runs the line, if nothing is missing; Tab leaves room for what may follow."""
        proposal = self._proposals.get(line, Proposal(line))
        waits = proposal.needs_more or (proposal.takes_more and not run)
        self.composer.retype(line + " " if waits else line)
        if run and not waits and not proposal.is_folder:
            self.close_menu()
            self.composer.submit(self.composer.prompt)
