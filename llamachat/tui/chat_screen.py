"""The chat as it is used: what a person does becomes an operation of the session."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar

from textual import events
from textual.binding import Binding, BindingType

from llamachat.chat import commands
from llamachat.chat.conversation import Message, Role
from llamachat.chat.session import ChatSession, Phase
from llamachat.display import counted
from llamachat.errors import LlamachatError
from llamachat.tui.chat_view import ChatView
from llamachat.tui.composer import Composer
from llamachat.tui.composer_pane import ComposerPane, Proposal
from llamachat.tui.dialogs import ConfirmScreen
from llamachat.tui.keys import key_of
from llamachat.tui.message_view import MessageView
from llamachat.tui.panel_row import PanelRow
from llamachat.tui.parameter_row import ParameterRow
from llamachat.tui.preset_row import PresetRow
from llamachat.tui.screen_face import ScreenFace
from llamachat.tui.session_pane import SessionPane
from llamachat.tui.transcript import Transcript

if TYPE_CHECKING:
    from llamachat.tui.answer_text import AnswerText

STOPPED_THERE = "esc stops it in its own window"


class ChatScreen(ChatView):
    """Handlers of messages and keys."""

    BINDING_GROUP_TITLE = "Everywhere"
    AUTO_FOCUS = "#composer"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "escape", "Stop, close, or back to the composer", show=False, id="chat.escape"),
        Binding("ctrl+c", "interrupt", "Copy what is selected, or stop the answer", show=False, id="chat.interrupt"),
        Binding("ctrl+p", "palette", "Commands, presets, themes, chats", show=False, id="chat.palette"),
        Binding("ctrl+n", "new", "New chat", show=False, id="chat.new"),
        Binding("ctrl+r", "again", "Answer again", show=False, id="chat.again"),
        Binding("ctrl+g", "go_on", "Go on with the answer", show=False, id="chat.go-on"),
        Binding("ctrl+o", "open_model", "Open a model", show=False, id="chat.open-model"),
        Binding("ctrl+end", "follow", "To the end of the chat", show=False, id="chat.end"),
        Binding("f1", "help", "Help", show=False, id="chat.help"),
    ]

    def __init__(self, session: ChatSession) -> None:
        super().__init__(session)
        self.face = ScreenFace(self)
        self._refusal = ""  #: why a parameter's value was not taken, as long as that is said
        self._copied: dict[str, int] = {}  #: which code block of a message was copied last

    # ---- composer -------------------------------------------------------------

    async def on_composer_sent(self, event: Composer.Sent) -> None:
        """Runs a command, saves an edited message, or sends; a text that is refused goes back to the composer."""
        try:
            done = self._take(event.text)
        finally:
            event.taken.set()
        if not done:
            return
        await self.after_operation()
        if self.session.queued is not None and self.session.phase is Phase.NO_MODEL:
            self.say_notice(self.waits_for_model)

    def _take(self, text: str) -> bool:
        pane = self.query_one(ComposerPane)
        pane.show_trouble("")
        before, line = ("", "") if pane.editing else commands.split_command(text)
        if before and line:
            pane.composer.take_back(line)
        pane.flush_draft()  # of this chat: the command may open another
        is_prompt = True
        if pane.editing:
            edited = self.try_to(lambda: self.session.edit(self.edited, pane.true_text(text)))
            done = edited is not None
            if edited is not None:
                is_prompt = edited.role is Role.USER
                pane.end_edit()
                if edited.id == self.edited and not self.session.busy:
                    self.flash("nothing was changed")
        elif line:
            pane.close_menu()
            done = self._run_line(line)
        else:
            done = self.try_to(lambda: self.session.send(commands.as_message(text))) is not None
            self.query_one(Transcript).follow()
        if done and is_prompt:  # no answer that was corrected
            pane.composer.history_of_prompts.add(line or text)
        elif not done:
            pane.give_back(text, line)
        return done

    def _run_line(self, line: str) -> bool:
        try:
            commands.run_line(self.session, self.face, line)
        except LlamachatError as error:
            self.say_error(str(error))
            return False
        return True

    def propose(self, text: str) -> list[Proposal]:
        """The commands, or their arguments, that a line may become."""
        proposals = []
        for line in (self.try_to(lambda: commands.complete_line(self.session, self.face, text)) or [])[:50]:
            name, _, argument = line.removeprefix("/").partition(" ")
            command = commands.find_command(name)
            if command.available(self.session):
                takes = bool(command.argument) and not argument
                needs = takes and command.needs_argument
                proposals.append(Proposal(line, "" if argument else command.help, takes, needs))
        return proposals

    # ---- messages -------------------------------------------------------------

    async def on_message_view_asked(self, event: MessageView.Asked) -> None:
        """What is asked for on a message."""
        if not self.is_active:  # a key that was held has opened what is over the chat already
            return
        message = event.view.message
        if event.what == "walk":
            if not await self.query_one(Transcript).walk(event.view, event.step):  # down, out of the last message
                await self.action_follow()
                self.focus_composer()
        elif event.what == "leave":
            self.focus_composer()
        elif event.what == "copy":
            self.face.copy(message.text)
        elif event.what == "copy_code":
            self._copy_code(event.view)
        elif event.what == "edit":
            self.begin_edit(message)
        elif event.what == "tokens":
            self.try_to(lambda: self.face.show_tokens(message, None))
        elif event.what == "delete":
            self._ask_to_delete(message)
        else:
            operations: dict[str, Callable[[], object]] = {
                "again": lambda: self.session.regenerate(message.id),
                "go_on": lambda: self.session.continue_answer(message.id),
                "sibling": lambda: self.session.select_sibling(message.id, event.step),
            }
            if self.try_to(operations[event.what]) is not None:
                await self.after_operation()

    def _ask_to_delete(self, message: Message) -> None:
        async def answered(agreed: bool | None) -> None:
            if agreed:
                self.try_to(lambda: self.session.delete_message(message.id))
                pane = self.query_one(ComposerPane)
                if pane.editing and self.edited not in self.session.conversation.messages:
                    pane.end_edit()
                await self.after_operation()

        whose = "your message" if message.role is Role.USER else "this answer"
        after = len(self.session.conversation.followers(message))
        body = f"It is gone for good, with the {counted(after, 'message')} after it." if after else ""
        self.app.push_screen(ConfirmScreen(f"Delete {whose}?", body or "It is gone for good."), answered)

    def _copy_code(self, view: MessageView) -> None:
        from llamachat.chat.code_blocks import code_blocks

        blocks = code_blocks(view.message.text)
        if blocks:
            at = self._copied.get(view.message.id, -1) + 1
            self._copied = {view.message.id: at}
            self.program.copy_text(blocks[at % len(blocks)])
            self.flash(f"copied code block {at % len(blocks) + 1} of {len(blocks)}")
        else:
            self.flash("there is no code block in this message")

    def on_answer_text_link_clicked(self, event: AnswerText.LinkClicked) -> None:
        """Opens a link after asking; only what a browser or a mail program opens."""
        event.stop()
        self.face.open_link(event.href)

    # ---- chats and parameters ---------------------------------------------------

    async def on_session_pane_opened(self, event: SessionPane.Opened) -> None:
        """Opens a chat."""
        if not self.query_one(ComposerPane).leave_edit():
            return
        self.query_one(ComposerPane).flush_draft()
        if event.session_id != self.session.conversation.id:
            self.try_to(lambda: self.session.open(event.session_id))
            await self.after_operation()
        self.action_leave_pane()

    def on_session_list_filtered(self) -> None:
        """Another filter."""
        self.refresh_sessions()

    def on_session_pane_renamed(self, event: SessionPane.Renamed) -> None:
        """Gives a chat another title."""
        self.try_to(lambda: self.session.rename(event.session_id, event.title))
        self.refresh_sessions()

    def on_session_pane_delete_asked(self, event: SessionPane.DeleteAsked) -> None:
        """Deletes a chat after asking."""
        if not self.is_active:  # likewise
            return

        async def answered(agreed: bool | None) -> None:
            if agreed:
                self.try_to(lambda: self.session.delete(event.session_id))
                await self.after_operation()

        question = f"Delete “{event.title}”?"
        self.app.push_screen(ConfirmScreen(question, "It is gone for good, with all its versions."), answered)

    def on_parameter_row_turned(self, event: ParameterRow.Turned) -> None:
        """Changes a parameter, from the next token on."""
        self._end_refusal()
        self.try_to(lambda: self.session.set_parameter(event.parameter.name, event.value))
        self.show_sampling()

    def on_panel_row_refused(self, event: PanelRow.Refused) -> None:
        """Says why a value was not taken."""
        self.say_error(event.reason)
        self._refusal = self.query_one(ComposerPane).trouble

    def on_preset_row_stepped(self, event: PresetRow.Stepped) -> None:
        """Takes the next preset."""
        self._end_refusal()
        self.try_to(lambda: self.session.step_preset(event.steps))
        self.refresh_figures()

    def on_preset_row_wanted(self, event: PresetRow.Wanted) -> None:
        """Takes a preset, or says why not."""
        self._end_refusal()
        try:
            self.session.use_preset(event.name, instead=True)
        except LlamachatError as error:
            self.on_panel_row_refused(PanelRow.Refused(str(error)))
        self.refresh_figures()

    def on_preset_row_list_wanted(self) -> None:
        """Lists the presets to choose from."""
        if self.is_active:
            self._end_refusal()
            self.face.pick_preset()

    def on_descendant_focus(self) -> None:
        """Who leaves a parameter leaves its value as it was."""
        super().on_descendant_focus()
        if not isinstance(self.focused, PanelRow):
            self._end_refusal()

    def _end_refusal(self) -> None:
        if self._refusal and self.query_one(ComposerPane).trouble == self._refusal:
            self.say_error("")
        self._refusal = ""

    # ---- keys -----------------------------------------------------------------

    async def _on_key(self, event: events.Key) -> None:
        """Does what a key is bound to here, where :class:`Composer.Sent` comes by too, in the order of typing.

        Textual lets a key climb one step further, to the application: a question sent right after Ctrl+C or Ctrl+N
        was there before them, and was stopped, or stood in the chat before.
        """
        if await self.app._check_bindings(event.key):
            event.stop()
            event.prevent_default()

    def action_escape(self) -> None:
        """Closes what is open; else stops what runs; else goes back to the composer."""
        pane = self.query_one(ComposerPane)
        if pane.close_menu():
            return
        if self.close_overlays():
            self.focus_composer()
        elif self.session.busy:
            self.session.stop()
            self.refresh_figures()
        elif pane.editing:
            pane.leave_edit()
            self.focus_composer()
        elif self.focused is not pane.composer:
            self.focus_composer()
        else:
            pane.show_trouble("")
            if self.session.answered_elsewhere:
                self.flash(STOPPED_THERE)

    def action_interrupt(self) -> None:
        """Ctrl+C copies what the mouse selected; else it stops, and never quits."""
        selected = self.get_selected_text()
        if selected:
            self.program.copy_text(selected)
            self.clear_selection()
            self.flash("copied")
        elif self.session.busy:
            self.session.stop()
            self.refresh_figures()
        else:
            quits = f"{key_of(self.app, 'app.quit', '/quit')} quits"
            self.flash(STOPPED_THERE if self.session.answered_elsewhere else quits)

    def action_palette(self) -> None:
        """Opens the palette."""
        self.face.open_palette()

    async def action_new(self) -> None:
        """Begins another chat."""
        if not self.query_one(ComposerPane).leave_edit():
            return
        self.query_one(ComposerPane).flush_draft()
        self.try_to(self.session.new)
        await self.after_operation()
        self.close_overlays()
        self.focus_composer()

    async def action_again(self) -> None:
        """Asks for another answer to the last question."""
        if self.try_to(self.session.regenerate) is not None:
            self.query_one(Transcript).follow()
            await self.after_operation()

    async def action_go_on(self) -> None:
        """Goes on with the last answer."""
        if self.try_to(self.session.continue_answer) is not None:
            self.query_one(Transcript).follow()
            await self.after_operation()

    def action_open_model(self) -> None:
        """Asks which model to open."""
        self.face.pick_model()

    async def action_follow(self) -> None:
        """Goes to the end and stays there."""
        await self.query_one(Transcript).to_end()

    def action_to_messages(self) -> None:
        """Puts the cursor on the last message."""
        self.query_one(Transcript).focus_last()

    def action_scroll_chat(self, pages: int) -> None:
        """Scrolls the transcript by so many pages, from the composer too."""
        transcript = self.query_one(Transcript)
        transcript.scroll_relative(y=pages * max(1, transcript.size.height - 2), animate=False)

    def action_help(self) -> None:
        """Shows the keys."""
        self.face.show_help()
