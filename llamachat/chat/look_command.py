"""``/tokens``: how sure the model was of its last answer, and going on with another token."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llamachat.chat.command import Face
from llamachat.chat.conversation import Role
from llamachat.errors import LlamachatError

if TYPE_CHECKING:
    from llamachat.chat.session import ChatSession


def run(session: ChatSession, face: Face, argument: str) -> None:
    """Shows all tokens of the last answer, the alternatives at a place, or goes on with one of those."""
    words = argument.split()
    if len(words) > 2 or not all(word.isdecimal() and len(word) < 10 and int(word) for word in words):
        raise LlamachatError("/tokens takes nothing, a place, or a place and the number of an alternative there")
    numbers = [int(word) - 1 for word in words]
    answer = next(one for one in reversed(session.conversation.path) if one.role is Role.ASSISTANT)
    if len(numbers) < 2:
        face.show_tokens(answer, numbers[0] if numbers else None)
        return
    at, number = numbers
    look = session.look
    if look is None or look.message is not answer or not look.done:
        raise LlamachatError(f"look first, then choose: /tokens {at + 1} lists the alternatives there")
    session.take_alternative(at, look.alternative(at, number).id)
