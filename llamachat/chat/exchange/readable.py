"""A chat for people to read, as plain text and as Markdown: what is visible of it, from the first message to the last.

Nothing in it can steer a terminal. (JSON keeps every character.)
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from llamachat.chat.conversation import Conversation, Message, Role, Status
from llamachat.display import clean, clean_line

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.token import Token

_SYSTEM = "System"
_MOST_TITLE = 1_000
_MARKS = re.compile(r"[\\`*\[\]<&~]|(?<!\w)_|_(?!\w)|#(?=#*$)")  # what a title could be taken for markup by
_OPENERS = re.compile("```|~~~|<")
_NAMED_HTML = re.compile(r"<(script|pre|style|textarea)\b", re.IGNORECASE)
_OTHER_HTML = {"<!--": "-->", "<![CDATA[": "]]>", "<!": ">", "<?": "?>"}


def as_text(conversation: Conversation) -> str:
    """System prompt and messages, each under a line that says whose it is; ends in a newline."""
    parts = [f"{_SYSTEM}\n{clean(conversation.system)}"] if conversation.system else []
    for message in conversation.path:
        ending = f"\n({_ending(message)})" if message.status.unfinished else ""
        parts.append(f"{_who(message)}\n{clean(message.text)}{ending}")
    return "\n\n".join(parts) + "\n"


def as_titled_text(conversation: Conversation) -> str:
    """The same under its title."""
    title = clean_line(conversation.shown_title, _MOST_TITLE)
    return f"{title}\n{'=' * len(title)}\n\n{as_text(conversation)}"


def as_markdown(conversation: Conversation) -> str:
    """The title, and under headings that say whose they are system prompt and messages; ends in a newline.

    They stay as they are. Only what a message leaves open and would swallow the next heading is closed: a code block
    of an answer that was cut, say.
    """
    parts = [f"# {_literal(clean_line(conversation.shown_title, _MOST_TITLE))}"]
    if conversation.system:
        parts += [f"## {_SYSTEM}", _closed(clean(conversation.system))]
    for message in conversation.path:
        parts += [f"## {_literal(_who(message))}", _closed(clean(message.text))]
        if message.status.unfinished:
            parts.append(f"*({_literal(_ending(message))})*")
    return "\n\n".join(filter(None, parts)) + "\n"


def _who(message: Message) -> str:
    return "You" if message.role is Role.USER else clean_line(message.model) or "Answer"


def _ending(message: Message) -> str:
    why = clean_line(message.note) if message.status is Status.FAILED else ""
    return f"{message.status.value}: {why}" if why else message.status.value


def _literal(line: str) -> str:
    return _MARKS.sub(r"\\\g<0>", line)


def _closed(text: str) -> str:
    """The text, and an end to the code or HTML block that it leaves open, if it does."""
    text = text.strip("\n")
    if not _OPENERS.search(text):
        return text
    from markdown_it import MarkdownIt

    parser = MarkdownIt("commonmark", {"maxNesting": 12})
    parser.core.ruler.enableOnly(["normalize", "block"])
    left_open = _left_open(parser, text)
    return f"{text}\n{_end_of(left_open)}" if left_open else text


def _left_open(parser: MarkdownIt, text: str) -> Token | None:
    """The block that a heading after the text would be taken for a part of."""
    try:
        last = parser.parse(f"{text}\n\n# heading")[-1]
    except (RecursionError, IndexError, ValueError):  # a parser's slip: then nobody knows
        return None
    return None if last.type == "heading_close" else last


def _end_of(block: Token) -> str:
    if block.type == "fence":
        return block.markup
    opening = block.content.lstrip()
    if named := _NAMED_HTML.match(opening):
        return f"</{named[1]}>"
    return next((end for begin, end in _OTHER_HTML.items() if opening.startswith(begin)), "")
