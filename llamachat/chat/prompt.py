"""From pieces to token ids, and from a conversation to a prompt that fits the context."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING

from llamachat.chat.conversation import Message, Role
from llamachat.chat.prompt_formats import Ids, Piece, PromptWriter, Special, Text, Turn, joined
from llamachat.errors import PromptError
from llamachat.vocabulary import TokenKind, Vocabulary

if TYPE_CHECKING:
    from llamachat.tokenizer import Tokenizer

# A text that goes on behind exact ids must not get SentencePiece's leading space. It is encoded behind
# an anchor that merges with nothing (a newline is a byte token of its own), which is then cut off.
_ANCHOR = "\n"

#: With more characters than this for each token of room, a history is counted from its end first,
#: so that a question in a chat of megabytes costs no more than one in a full context.
_LONG = 8
#: A guess at the tokens that a format puts around a turn; a wrong one costs a little room, or another try.
_MARKERS = 8
#: Characters of a long text that are encoded at a time.
_CHUNK = 16_384
#: What a cut between two of those may add: halves of a token, letter by letter at worst, and a leading space.
_CUT = 16

#: When turns must go, so many go that the rest takes at most this share of the room: the next few
#: questions then begin like the last one, and the KV cache serves them, instead of none.
_KEPT_SHARE = 0.75


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt as the engine takes it. ``dropped`` counts the earliest messages that had no room."""

    ids: tuple[int, ...]
    dropped: int = 0


def encode_prompt(pieces: Sequence[Piece], tokenizer: Tokenizer) -> tuple[int, ...]:
    """The token ids of a prompt, with BOS in front where the vocabulary wants it and the format has none."""
    vocabulary = tokenizer.vocabulary
    guard = _Guard(pieces, tokenizer)
    ids: list[int] = []
    before: Piece | None = None
    for piece in joined(_letters_if_unknown(piece, tokenizer) for piece in pieces):
        if isinstance(piece, Special):
            ids += _special(piece.text, tokenizer)
        elif isinstance(piece, Ids):
            ids += piece.ids
        elif isinstance(before, Ids):
            ids += _encode_behind(piece.text, guard.encode, vocabulary)
        else:
            ids += guard.encode(piece.text)
        before = piece
    if vocabulary.add_bos and vocabulary.bos_id is not None and ids[:1] != [vocabulary.bos_id]:
        ids.insert(0, vocabulary.bos_id)
    return tuple(ids)


def _letters_if_unknown(piece: Piece, tokenizer: Tokenizer) -> Piece:
    return Text(piece.text) if isinstance(piece, Special) and not _special(piece.text, tokenizer) else piece


def _special(text: str, tokenizer: Tokenizer) -> list[int]:
    """The special token with this text, as a list of one; empty if the vocabulary has none."""
    found = tokenizer.special_id(text)
    if found is None:
        found = {"<s>": tokenizer.vocabulary.bos_id, "</s>": tokenizer.vocabulary.eos_id}.get(text)
    return [] if found is None else [found]


def _encode_behind(text: str, encode: Callable[[str], list[int]], vocabulary: Vocabulary) -> list[int]:
    if vocabulary.model != "spm" or not vocabulary.add_space_prefix:
        return encode(text)
    anchor, whole = encode(_ANCHOR), encode(_ANCHOR + text)
    return whole[len(anchor) :] if whole[: len(anchor)] == anchor else encode(text)


class _Guard:
    """Encodes text, and holds it to the promise that no token in it steers the model.

    A tokenizer keeps control tokens out by itself. But some files mark a format's own tokens as
    "user defined", which are matched in any text: such a match is encoded in two halves.
    """

    def __init__(self, pieces: Sequence[Piece], tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        kinds = tokenizer.vocabulary.kinds
        self._steering: dict[int, str] = {}
        for text in {piece.text for piece in pieces if isinstance(piece, Special)}:
            found = tokenizer.special_id(text)
            if found is not None and found < len(kinds) and kinds[found] is not TokenKind.CONTROL:
                self._steering[found] = text
        self._literals = re.compile("|".join(map(re.escape, self._steering.values())))

    def encode(self, text: str) -> list[int]:
        ids = self._tokenizer.encode(text)
        if not self._steering or self._steering.keys().isdisjoint(ids):
            return ids
        cuts = [(match.start() + match.end()) // 2 for match in self._literals.finditer(text)]
        if not cuts:  # the token comes from other letters than its own
            return [token for token in ids if token not in self._steering]
        ends = [*cuts, len(text)]
        return [token for start, end in zip([0, *cuts], ends, strict=True) for token in self.encode(text[start:end])]


def turns_of(path: Iterable[Message], vocabulary: str) -> list[Turn]:
    """A path as turns, which alternate: answers of the same vocabulary with their exact ids.

    Questions in a row (the first of them was never answered) become one turn.
    """
    turns: list[Turn] = []
    for message in path:
        if message.role is Role.ASSISTANT:
            ids = message.ids if message.ids and message.vocabulary == vocabulary else None
            turns.append(Turn(message.role, message.text, ids))
        elif turns and turns[-1].role is Role.USER:
            text = f"{turns[-1].text}\n\n{message.text}"
            turns[-1] = Turn(Role.USER, text, n_messages=turns[-1].n_messages + 1)
        else:
            turns.append(Turn(message.role, message.text))
    return turns


def vocabulary_key(vocabulary: Vocabulary) -> str:
    """A short name for a vocabulary: equal keys mean that token ids can be exchanged."""
    digest = hashlib.blake2b(vocabulary.model.encode(), digest_size=12)
    for piece in vocabulary.pieces:
        digest.update(piece.encode("utf-8", "surrogatepass") + b"\0")
    return digest.hexdigest()


def prompt_room(n_ctx: int, max_tokens: int) -> int:
    """Tokens that a prompt may take: the context less what is kept for the answer (at most a quarter)."""
    return n_ctx - max(1, min(max_tokens, n_ctx // 4))


def message_room(n_ctx: int, max_tokens: int) -> int:
    """Tokens that a prompt may take which cannot be made shorter: it leaves an answer at least a sixteenth."""
    return n_ctx - max(1, min(max_tokens, n_ctx // 4, max(8, n_ctx // 16)))


def check_length(text: str, tokenizer: Tokenizer, n_ctx: int, max_tokens: int, what: str = "this message") -> None:
    """Raises ``PromptError`` for a text that alone is longer than the context has room for; ``what`` it is.

    Costs no more than encoding one context's worth of text, however long the text is: a pasted
    megabyte is refused at once, with an estimate of its tokens.
    """
    room = message_room(n_ctx, max_tokens)
    if more := more_than(text, tokenizer, room):
        raise PromptError(too_long(more, room, what))


def more_than(text: str, tokenizer: Tokenizer, room: int, n_before: int = 0) -> str:
    """How many tokens a text has behind ``n_before`` others, in words, if those are more than ``room``; else nothing.

    Costs as little as ``check_length``. A text that has hardly more may pass.
    """
    if len(text) * 4 <= room:  # no token stands for less than a byte
        return ""
    counted = n_before
    for start in range(0, len(text), _CHUNK):
        counted += len(tokenizer.encode(text[start : start + _CHUNK]))
        read = min(start + _CHUNK, len(text))
        if counted > room + start // _CHUNK * _CUT:
            return f"{counted:,}" if read == len(text) <= _CHUNK else f"about {round(counted * len(text) / read):,}"
    return ""


def too_long(n_tokens: str, room: int, what: str = "this message") -> str:
    """What is said of a message that is refused."""
    return (
        f"{what} is too long: {n_tokens} of {room:,} tokens that fit the context; "
        "shorten it, or open the model with a larger --n-ctx"
    )


def _no_room_for_more(n_tokens: str, room: int) -> str:
    return (
        f"there is no room for more of this answer: with its question it has {n_tokens} tokens, of {room:,} that fit "
        "the context; open the model with a larger --n-ctx"
    )


def build_prompt(
    writer: PromptWriter,
    tokenizer: Tokenizer,
    system: str,
    turns: Sequence[Turn],
    *,
    n_ctx: int,
    max_tokens: int,
    dropped: int = 0,
) -> Prompt:
    """The prompt for answering the last turn (or for continuing it, if it is an answer), fitted to the context.

    Oldest turns are dropped whole; the system prompt stays. ``dropped`` is how many messages the answer
    before had to leave out: where the whole does not fit but that window still does, it is kept.
    ``PromptError`` where the last question with its system prompt does not fit alone.
    """
    room, last_room = prompt_room(n_ctx, max_tokens), message_room(n_ctx, max_tokens)

    def encoded(start: int) -> tuple[int, ...]:
        return encode_prompt(writer.render(system, turns[start:]), tokenizer)

    sizes = [] if sum(len(turn.text) for turn in turns) <= _LONG * room else _sizes(turns, tokenizer, room)
    if len(sizes) in (0, len(turns)):
        ids = encoded(0)
        if len(ids) <= room:
            return Prompt(ids)
        sizes = sizes or _sizes(turns, tokenizer, room)
    questions = [number for number, turn in enumerate(turns) if turn.role is Role.USER]
    last = max(questions, default=0)
    ids = encoded(last)
    spare = room - (len(ids) - sum(sizes[last - len(turns) :]))
    n_messages = list(accumulate((turn.n_messages for turn in turns), initial=0))  # of so many first turns
    before = [number for number in questions[1:] if n_messages[number] == dropped]
    for start in [*before, *_starts(sizes, questions, len(turns), spare)]:
        window = encoded(start)
        if len(window) <= room:
            return Prompt(window, n_messages[start])
    if len(ids) <= last_room:
        return Prompt(ids, n_messages[last])
    raise PromptError((_no_room_for_more if last < len(turns) - 1 else too_long)(f"{len(ids):,}", last_room))


def _sizes(turns: Sequence[Turn], tokenizer: Tokenizer, room: int) -> list[int]:
    """Tokens of the last turns, as many of them as it takes to be more than ``room``."""
    sizes: list[int] = []
    total = 0
    for turn in reversed(turns):
        sizes.append(len(turn.ids) if turn.ids is not None else len(tokenizer.encode(turn.text)))
        total += sizes[-1]
        if total > room:
            break
    return sizes[::-1]


def _starts(sizes: list[int], questions: list[int], n_turns: int, spare: int) -> list[int]:
    """The questions where the window may begin, from the first that probably leaves enough room."""
    tokens = list(accumulate(reversed(sizes), initial=0))  # of so many last turns
    return [
        start
        for start in questions
        if start >= max(n_turns - len(sizes), 1)
        and tokens[n_turns - start] + _MARKERS * (n_turns - start) <= _KEPT_SHARE * spare
    ]
