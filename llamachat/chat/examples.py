"""The example chats that come with the program."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llamachat import paths
from llamachat.chat.conversation import Conversation
from llamachat.chat.exchange.portable import loads
from llamachat.errors import LlamachatError

if TYPE_CHECKING:
    from llamachat.chat.session import ChatSession

_SUFFIX = ".json"


def example_names() -> list[str]:
    """The names of the examples, in order."""
    names = (entry.name for entry in paths.shipped_sessions().iterdir())
    return sorted(name.removesuffix(_SUFFIX) for name in names if name.endswith(_SUFFIX))


def load_example(name: str) -> Conversation:
    """One example, under fresh ids; ``LlamachatError`` lists the names."""
    if name not in example_names():
        raise LlamachatError(f"no example {name[:40]!r}: there are {', '.join(example_names())}")
    return loads((paths.shipped_sessions() / f"{name}{_SUFFIX}").read_bytes())


def add_examples(session: ChatSession, name: str = "") -> list[str]:
    """Puts one example, or all of them, among the stored chats and opens the first; returns their titles.

    One that is there already, by its title, is opened as it is.
    """
    stored = {summary.title: summary.id for summary in session.sessions()}
    titles: list[str] = []
    first = ""
    for one in [name] if name else example_names():
        conversation = load_example(one)
        if conversation.title not in stored:
            session.store.save(conversation, *conversation.messages.values())
            stored[conversation.title] = conversation.id
        titles.append(conversation.title)
        first = first or stored[conversation.title]
    if first:
        session.open(first)
    return titles
