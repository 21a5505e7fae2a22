"""The exact prompt, as a person can read it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from llamachat.display import counted, left_out

if TYPE_CHECKING:
    from llamachat.chat.session import ChatSession
    from llamachat.tokenizer import Tokenizer

_OPEN, _CLOSE = "⟦", "⟧"


def shown_prompt(session: ChatSession) -> str:
    """What the model reads before it answers the last question, or goes on with the last answer: token for token.

    ``LlamachatError`` where there is no model, no message, or no room.
    """
    prompt = session.written_prompt()
    tokens = f"{counted(len(prompt.ids), 'token')}; in {_OPEN} {_CLOSE} stands one control token, the rest is text"
    head = "; ".join(filter(None, (tokens, left_out(prompt.dropped))))
    return f"{head}\n\n{marked(prompt.ids, session.tokenizer)}"


def marked(ids: Sequence[int], tokenizer: Tokenizer) -> str:
    """The text of ids in which control tokens stand in brackets, so that nobody takes typed letters for one."""
    parts = []
    for control, group in groupby(ids, lambda id_: _is_control(id_, tokenizer)):
        if control:
            parts += [f"{_OPEN}{tokenizer.vocabulary.pieces[id_]}{_CLOSE}" for id_ in group]
        else:
            parts.append(b"".join(map(tokenizer.surface, group)).decode(errors="replace"))
    return "".join(parts)


def _is_control(id_: int, tokenizer: Tokenizer) -> bool:
    """Whether it is a control token, or one that is "user defined" and that only a prompt format makes."""
    pieces = tokenizer.vocabulary.pieces
    return id_ < len(pieces) and (not tokenizer.surface(id_) or tokenizer.special_id(pieces[id_]) == id_)
