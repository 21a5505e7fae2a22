"""One message of the transcript: a quiet header, the text, and a line saying why it is not whole."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.geometry import Region
from textual.message import Message as TextualMessage
from textual.reactive import reactive
from textual.strip import Strip
from textual.style import Style
from textual.widget import Widget
from textual.widgets import Static

from llamachat.chat.conversation import Message, Role, Status
from llamachat.chat.folds import with_long_files_folded
from llamachat.display import clean, clean_line, left_out
from llamachat.tui.keys import Keys, key_of
from llamachat.tui.laid_out_once import LaidOutOnce
from llamachat.tui.own_keys import run_own_binding
from llamachat.tui.plain_text import plain_content
from llamachat.tui.words import ELSEWHERE, ending, rate

if TYPE_CHECKING:
    from llamachat.tui.answer_text import AnswerText

_ACTIONS = (
    ("message.edit", "edit", "edit"),
    ("message.copy", "copy", "copy"),
    ("message.again", "again", "again"),
    ("message.tokens", "tokens", "tokens"),
    ("message.go-on", "go on", "go_on"),
)
"""Id, word and action of what a message's header offers."""


class MessageHeader(Widget):
    """Who speaks; at the right the place among its alternatives and, with the cursor on it, what can be done."""

    DEFAULT_CSS = """
    MessageHeader { height: 1; color: $soft; }
    MessageHeader.-you { color: $accent; }
    """

    lit: reactive[bool] = reactive(False)
    place: reactive[tuple[int, int]] = reactive((0, 1))

    class Clicked(TextualMessage):
        """A word of the header was clicked: the name of the action it stands for."""

        def __init__(self, action: str) -> None:
            super().__init__()
            self.action = action

    def __init__(self, who: str, *, you: bool) -> None:
        super().__init__(classes="-you" if you else "")
        self.who = clean_line(who, 60)
        self.actions: tuple[tuple[str, str, str], ...] = ()  #: key, word, action
        self.figures = ""

    def render(self) -> Content:
        """The line; what does not fit at the right is left out, the least needed first."""
        at, count = self.place
        pieces: list[Content] = []
        if self.lit:
            pieces += [Content.assemble((self.figures, "$faint"))] if self.figures else []
            pieces += [self._button(key, word, action) for key, word, action in self.actions]
        if count > 1:
            counter = Content.assemble(self._arrow("‹ ", -1), (f"{at + 1}/{count}", "$soft"), self._arrow(" ›", 1))
            pieces.append(counter)
        who = Content(self.who)
        while pieces:
            right = Content("  ").join(pieces)
            space = self.size.width - who.cell_length - right.cell_length
            if space >= 2:
                return Content.assemble(who, " " * space, right)
            pieces.pop(0)
        return who.truncate(max(1, self.size.width), ellipsis=True)

    @staticmethod
    def _button(key: str, word: str, action: str) -> Content:
        do = Style.from_meta({"do": action})
        return Content.assemble((f"{key} " if key else "", "$soft"), (word, "$faint")).stylize(do)

    @staticmethod
    def _arrow(text: str, step: int) -> Content:
        return Content.assemble((text, "$faint")).stylize(Style.from_meta({"do": f"sibling({step})"}))

    def on_click(self, event: events.Click) -> None:
        """Tells which word was clicked."""
        action = event.style.meta.get("do")
        if action:
            event.stop()
            self.post_message(self.Clicked(action))


class MessageView(LaidOutOnce, Widget, can_focus=True):
    """A message that the cursor can stand on."""

    HELP = """\
The cursor walks the messages with {message.up} and {message.down}. A message with several versions shows **‹ 2/3 ›**:
{message.previous-version} and {message.next-version} look at the others. Editing a message or asking **again** makes a
new version; nothing is lost.
"""
    BINDING_GROUP_TITLE = "Message"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "walk(-1)", "Message before", show=False, id="message.up"),
        Binding("down,j", "walk(1)", "Message after", show=False, id="message.down"),
        Binding("home", "walk(-1000000)", "First message", show=False, id="message.first"),
        Binding("end", "walk(1000000)", "Last message", show=False, id="message.last"),
        Binding("left,h", "sibling(-1)", "Version before", show=False, id="message.previous-version"),
        Binding("right,l", "sibling(1)", "Version after", show=False, id="message.next-version"),
        Binding("c,y", "copy", "Copy the message", show=False, id="message.copy"),
        Binding("x", "copy_code", "Copy its code, block after block", show=False, id="message.copy-code"),
        Binding("e", "edit", "Edit as a new version", show=False, id="message.edit"),
        Binding("r", "again", "Answer again", show=False, id="message.again"),
        Binding("g", "go_on", "Go on with the answer", show=False, id="message.go-on"),
        Binding(
            "t",
            "tokens",
            "Its tokens: how sure the model was, what else it could have said",
            show=False,
            id="message.tokens",
        ),
        Binding("delete", "delete", "Delete, after asking", show=False, id="message.delete"),
        Binding("escape,enter", "leave", "Back to the composer", show=False, id="message.leave"),
    ]
    DEFAULT_CSS = """
    MessageView {
        height: auto;
        max-width: 100;
        padding: 0 2 0 1;
        margin: 0 0 1 0;
        border-left: blank;  /* as wide as the cursor's bar: moving that lays out nothing anew */
        &:focus { border-left: outer $accent; }
        & > .question { height: auto; color: $text; }
        & > .note { height: auto; color: $faint; display: none; }
        & > .note.-shown { display: block; }
    }
    """

    class Asked(TextualMessage):
        """A person wants something done with this message."""

        def __init__(self, view: MessageView, what: str, step: int = 0) -> None:
            super().__init__()
            self.view = view
            self.what = what  #: copy, copy_code, edit, again, go_on, tokens, delete, sibling, walk or leave
            self.step = step

    def __init__(self, message: Message, place: tuple[int, int]) -> None:
        super().__init__()
        self.message = message
        self._you = message.role is Role.USER
        who = "You" if self._you else message.model or "Answer"
        self._header = MessageHeader(who, you=self._you)
        self._header.set_reactive(MessageHeader.place, place)
        self._note = Static("", classes="note", markup=False)
        self._note_words = ""
        self._answer: AnswerText | None = None
        self._drawn = (message.status, len(message.text))

    def compose(self) -> ComposeResult:
        """Header, text, note."""
        yield self._header
        if self._you:
            shown = plain_content(clean(with_long_files_folded(self.message.text)))
            yield Static(shown, classes="question", markup=False)
        else:
            from llamachat.tui.answer_text import AnswerText  # Markdown: only once there is an answer to draw

            self._drawn = (self.message.status, len(self.message.text))
            self._answer = AnswerText(self.message.text)
            yield self._answer
        yield self._note

    def on_mount(self) -> None:
        """Says how it ended. What a running answer waits for is said by who looks after it, maybe already."""
        if self.message.status is not Status.STREAMING:
            self._show_ending()

    def render_lines(self, crop: Region) -> list[Strip]:
        """All rows are alike, the bar at the left and nothing: one is drawn. Textual draws each, with every frame."""
        return super().render_lines(Region(crop.x, crop.y, crop.width, 1)) * crop.height

    # ---- changes ------------------------------------------------------------

    def show_place(self, place: tuple[int, int]) -> None:
        """Shows its place among the alternatives."""
        self._header.place = place

    def show_short(self, short: bool) -> None:
        """Whether the screen has few rows."""
        if self._answer is not None:
            self._answer.show_short(short)

    @property
    def drawn(self) -> bool:
        """Whether the answer is drawn as it is now, and will not change."""
        return self._answer is None or self._drawn == (self.message.status, len(self.message.text))

    def grow(self) -> None:
        """Draws what the answer has more than before; all of it anew when it has ended."""
        state = (self.message.status, len(self.message.text))
        if self._answer is None or (state == self._drawn and state[0] is not Status.STREAMING):
            return
        begins = self._drawn[0] is not state[0]
        self._drawn = state
        if begins:
            self._show_ending()
            if self.has_focus:  # more can be done with a whole answer
                self.on_focus()
        if state[0] is Status.STREAMING:
            self._answer.grow(self.message.text)
        else:
            self._answer.finish(self.message.text)

    def show_wait(self, words: str | None) -> None:
        """Says in the note what an answer without text waits for; None: another window writes it."""
        if self.message.status is Status.STREAMING:
            if words is None:
                words = f"{ELSEWHERE}, where it can be stopped"
            elif self.message.text:
                words = ""
            self._set_note(words)

    def show_unanswered(self, unanswered: bool) -> None:
        """Says under a question that no answer follows, and how to ask for one."""
        again = key_of(self.screen, "chat.again", "/regenerate") if unanswered else ""
        self._set_note(f"no answer yet · {again} asks for one" if unanswered else "")

    def _show_ending(self) -> None:
        note = ending(self.message)
        can_go_on = note and self.message.status is not Status.CONTEXT
        goes_on = f"{key_of(self.screen, 'chat.go-on', '/continue')} goes on" if can_go_on else ""
        self._set_note(" · ".join(filter(None, (left_out(self.message.dropped), note, goes_on))))

    def _set_note(self, words: str) -> None:
        if words == self._note_words:  # called with every look: an update lays the whole screen out
            return
        self._note_words = words
        self._note.update(clean_line(words, 300))
        self._note.set_class(bool(words), "-shown")

    # ---- focus and keys -----------------------------------------------------

    @property
    def status_keys(self) -> Keys:
        """What can be done with this message, for the status line: its header may be out of sight."""
        return tuple((key, word) for key, word, _ in self._actions if key)

    @property
    def _actions(self) -> tuple[tuple[str, str, str], ...]:
        return tuple((key_of(self, ident), word, action) for ident, word, action in _ACTIONS if self._offers(action))

    def _offers(self, action: str) -> bool:
        """Whether the key is named: an answer that ended by itself can go on, but that is seldom wanted."""
        whole = action == "go_on" and not self.message.status.unfinished
        return bool(self.check_action(action, ())) and not whole

    def on_focus(self) -> None:
        """Shows what can be done."""
        self._header.actions = self._actions
        timings = self.message.timings
        if timings and timings.answer_tokens:
            self._header.figures = f"{timings.answer_tokens:,} tokens, {rate(timings.answer_rate)}"
        self._header.lit = True
        self._header.refresh()  # it may have been lit before

    def on_blur(self) -> None:
        """Quiet again."""
        self._header.lit = False

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002
        """Only what can be done with this message now."""
        if action == "sibling":
            return self._header.place[1] > 1
        if action == "again":
            return not self._you
        if action in ("go_on", "tokens"):
            return not self._you and self.message.status is not Status.STREAMING
        if action == "copy_code":
            return any(fence in self.message.text for fence in ("```", "~~~"))  # what else may be none is told
        if action == "edit":
            return self.message.status is not Status.STREAMING
        return True

    async def _on_key(self, event: events.Key) -> None:
        await run_own_binding(self, event)

    def action_walk(self, step: int) -> None:
        """Asks for the cursor to move."""
        self.post_message(self.Asked(self, "walk", step))

    def action_sibling(self, step: int) -> None:
        """Asks for another version."""
        self.post_message(self.Asked(self, "sibling", step))

    def action_copy(self) -> None:
        """Asks for the text on the clipboard."""
        self.post_message(self.Asked(self, "copy"))

    def action_copy_code(self) -> None:
        """Asks for the next code block on the clipboard."""
        self.post_message(self.Asked(self, "copy_code"))

    def action_edit(self) -> None:
        """Asks for the text in the composer."""
        self.post_message(self.Asked(self, "edit"))

    def action_again(self) -> None:
        """Asks for another answer."""
        self.post_message(self.Asked(self, "again"))

    def action_go_on(self) -> None:
        """Asks for more of the answer."""
        self.post_message(self.Asked(self, "go_on"))

    def action_tokens(self) -> None:
        """Asks for the tokens."""
        self.post_message(self.Asked(self, "tokens"))

    def action_delete(self) -> None:
        """Asks to delete the message."""
        self.post_message(self.Asked(self, "delete"))

    def action_leave(self) -> None:
        """Asks for the composer."""
        self.post_message(self.Asked(self, "leave"))

    async def on_message_header_clicked(self, event: MessageHeader.Clicked) -> None:
        """A click on a word of the header does what its key does."""
        event.stop()
        await self.run_action(event.action)
