"""A stored chat as a list shows it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from llamachat.chat.conversation import UNTITLED, title_from
from llamachat.chat.model_names import model_name
from llamachat.chat.store.rows import Row

#: How much of an unsent text a list shows at most.
DRAFT_CHARS = 200


@dataclass(frozen=True, slots=True)
class SessionSummary:
    """A stored chat in a list."""

    id: str
    title: str
    updated: float  #: seconds since 1970, for display; lists are ordered by use, not by clock
    n_messages: int
    model: str = ""  #: the model file last used in it, by its name
    draft: str = ""  #: how its unsent text begins
    by_text: bool = False  #: found by what was said in it, not by its title

    @property
    def shown_title(self) -> str:
        """The title; of a chat that is nothing but an unsent text, how that begins."""
        return self.title or title_from(self.draft) or UNTITLED


def summary_from(row: Row) -> SessionSummary:
    """The summary of a session row with its number of messages."""
    model = model_name(Path(row["model_path"]))
    return SessionSummary(row["id"], row["title"], row["updated"], row["n_messages"], model, row["draft"][:DRAFT_CHARS])
