"""What an empty chat shows: the model, and where to begin."""

from __future__ import annotations

from textual.content import Content
from textual.reactive import reactive
from textual.widget import Widget

from llamachat.chat.session import ChatSession
from llamachat.display import clean_line
from llamachat.tui.keys import key_hints, key_of
from llamachat.tui.words import count, file_size

_KEYS = (
    ("chat.palette", "commands"),
    ("panes.chats", "chats"),
    ("panes.sampling", "sampling"),
    ("chat.help", "help"),
)


class Welcome(Widget):
    """A card in the middle of an empty conversation."""

    DEFAULT_CSS = """
    Welcome {
        height: 1fr;
        content-align: center middle;
        text-align: center;
        color: $soft;
        padding: 0 2;
    }
    """

    body: reactive[Content] = reactive(Content(""))

    def show_session(self, session: ChatSession) -> None:
        """Says what there is, for a session as it is now."""
        name = Content.assemble(("llamachat", "bold $accent"))
        keys = Content("   ").join(
            Content.assemble((key, "$text"), (f" {word}", "$faint")) for key, word in key_hints(self.screen, *_KEYS)
        )
        self.body = Content("\n").join([name, Content(), *self._facts(session), Content(), keys])

    def _facts(self, session: ChatSession) -> list[Content]:
        model = session.model
        if model is not None:
            figures = (
                f"{count(model.n_params)} parameters · {clean_line(model.type_name, 20)} · "
                f"{file_size(model.size_bytes)} · {model.n_ctx:,} tokens of context"
            )
            return [Content.assemble((clean_line(model.name, 60), "$text")), Content(figures)]
        if session.source is not None:
            return [Content(f"opening {clean_line(session.source.path.name, 60)}")]
        return [
            Content("No model is open."),
            Content.assemble(
                (key_of(self.screen, "chat.open-model", "/model"), "$text"),
                " chooses one, ",
                ("/pull", "$text"),
                " fetches a small one",
            ),
        ]

    def render(self) -> Content:
        """The card."""
        return self.body
