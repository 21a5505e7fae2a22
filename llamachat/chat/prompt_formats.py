"""How a conversation is written down for a model: the known formats as data, and one small renderer.

A rendered prompt is a list of pieces, so that what a person typed stays text for good: only a
:class:`Special` piece, which comes from a format's own table, ever becomes a control token.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

from llamachat.chat.conversation import Role
from llamachat.errors import LlamachatError
from llamachat.vocabulary import TokenKind, Vocabulary

if TYPE_CHECKING:
    from llamachat.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True)
class Text:
    """Letters, whatever they spell."""

    text: str


@dataclass(frozen=True, slots=True)
class Special:
    """A special token by its text. A vocabulary that has no such token gets the letters.

    ``<s>`` and ``</s>`` stand for the vocabulary's own begin and end tokens where it calls them otherwise.
    """

    text: str


@dataclass(frozen=True, slots=True)
class Ids:
    """Exact token ids: an answer as the model gave it, which its text need not encode to."""

    ids: tuple[int, ...]


Piece = Text | Special | Ids


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn on its way into a prompt. ``ids``, where known for this vocabulary, win over ``text``."""

    role: Role
    text: str
    ids: tuple[int, ...] | None = None
    n_messages: int = 1  #: how many messages of the conversation it is made of


class PromptWriter(Protocol):
    """What a session needs of a prompt format, whether it is one of the table or a file's own template."""

    @property
    def name(self) -> str:
        """What to call it."""

    @property
    def stop_texts(self) -> tuple[str, ...]:
        """Texts that end an answer, for formats that end it with no token."""

    @property
    def default_system(self) -> str:
        """What stands in where a conversation has no system prompt, as far as that is known."""

    def render(self, system: str, turns: Sequence[Turn]) -> list[Piece]:
        """The prompt, ready for the answer; an answer as the last turn is left open, to be continued."""


@dataclass(frozen=True)
class PromptFormat:
    """A format of the table. In its strings ``{}`` is the content, and ``specials`` become special tokens.

    A ``user`` that holds ``{system}`` takes the system prompt, as ``system`` writes it, into the first
    question; otherwise it stands before all turns.
    """

    name: str
    user: str
    answer: str = ""  #: what opens an answer
    close: str = ""  #: what ends it
    system: str = ""
    begin: str = ""  #: what opens the prompt (BOS comes by itself where the vocabulary asks for it)
    lead: str = ""  #: between ``answer`` and a text; an answer given as ids has it in its first token
    specials: tuple[str, ...] = ()
    strip: bool = False  #: whether contents lose their outer white space
    stop_texts: tuple[str, ...] = ()
    default_system: str = ""  #: stands in where a conversation has no system prompt

    def render(self, system: str, turns: Sequence[Turn]) -> list[Piece]:
        """The pieces of a prompt; see :class:`PromptWriter`."""
        system = self._content(system) or self.default_system
        head = self._fill(self.system, Text(system)) if system else []
        pieces = self._fill(self.begin)
        if "{system}" not in self.user:
            pieces, head = pieces + head, []
        for turn in turns:
            if turn.role is Role.USER:
                pieces += self._fill(self.user, Text(self._content(turn.text)), head)
                head = []
            else:
                pieces += [*self._fill(self.answer), *self._answer(turn), *self._fill(self.close)]
        if turns and turns[-1].role is Role.ASSISTANT:
            pieces = pieces[: len(pieces) - len(self._fill(self.close))]
        else:
            pieces += self._fill(self.answer)
        return joined(pieces)

    def _answer(self, turn: Turn) -> list[Piece]:
        if turn.ids is not None:
            return [Ids(turn.ids)]
        content = self._content(turn.text)
        return [Text(self.lead + content)] if content else []

    def _content(self, text: str) -> str:
        return text.strip() if self.strip else text

    def _fill(self, pattern: str, content: Piece | None = None, head: Sequence[Piece] = ()) -> list[Piece]:
        pieces: list[Piece] = []
        for part in self._parts.split(pattern):
            if part == "{}" and content is not None:
                pieces.append(content)
            elif part == "{system}":
                pieces += head
            elif part in self.specials:
                pieces.append(Special(part))
            elif part:
                pieces.append(Text(part))
        return pieces

    @cached_property
    def _parts(self) -> re.Pattern[str]:
        words = sorted(("{}", "{system}", *self.specials), key=len, reverse=True)
        return re.compile("(" + "|".join(map(re.escape, words)) + ")")


_ALPACA_TASK = (
    "Below is an instruction that describes a task. Write a response that appropriately completes the request."
)

_CHATML = PromptFormat(
    name="chatml",
    system="<|im_start|>system\n{}<|im_end|>\n",
    user="<|im_start|>user\n{}<|im_end|>\n",
    answer="<|im_start|>assistant\n",
    close="<|im_end|>\n",
    specials=("<|im_start|>", "<|im_end|>"),
)

FORMATS: dict[str, PromptFormat] = {
    known.name: known
    for known in (
        # Meta's own procedure: BOS before every question, EOS after every answer, the system prompt
        # inside the first question, contents stripped, an answer between single spaces.
        PromptFormat(
            name="llama2",
            system="<<SYS>>\n{}\n<</SYS>>\n\n",
            user="<s>[INST] {system}{} [/INST]",
            lead=" ",
            close=" </s>",
            specials=("<s>", "</s>"),
            strip=True,
        ),
        PromptFormat(
            name="llama3",
            begin="<|begin_of_text|>",
            system="<|start_header_id|>system<|end_header_id|>\n\n{}<|eot_id|>",
            user="<|start_header_id|>user<|end_header_id|>\n\n{}<|eot_id|>",
            answer="<|start_header_id|>assistant<|end_header_id|>\n\n",
            close="<|eot_id|>",
            specials=("<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
            strip=True,
        ),
        _CHATML,
        replace(
            _CHATML,
            name="smollm2",
            default_system="You are a helpful AI assistant named SmolLM, trained by Hugging Face",
        ),
        # Also TinyLlama-Chat's. The role words are ordinary text; only </s> is a token.
        PromptFormat(
            name="zephyr",
            system="<|system|>\n{}</s>\n",
            user="<|user|>\n{}</s>\n",
            answer="<|assistant|>\n",
            close="</s>\n",
            specials=("</s>",),
        ),
        PromptFormat(
            name="mistral-v1",
            begin="<s>",
            system="{}\n\n",
            user=" [INST] {system}{} [/INST]",
            lead=" ",
            close="</s>",
            specials=("<s>", "</s>"),
        ),
        # From version 3 of its tokenizer on, [INST] and [/INST] are control tokens.
        PromptFormat(
            name="mistral-v3",
            begin="<s>",
            system="{}\n\n",
            user="[INST] {system}{}[/INST]",
            lead=" ",
            close="</s>",
            specials=("<s>", "</s>", "[INST]", "[/INST]"),
        ),
        PromptFormat(
            name="vicuna",
            system="{} ",
            user="USER: {} ",
            answer="ASSISTANT:",
            lead=" ",
            close="</s>",
            specials=("</s>",),
        ),
        PromptFormat(
            name="alpaca",
            system="{}\n\n",
            user="### Instruction:\n{}\n\n",
            answer="### Response:\n",
            close="\n\n",
            stop_texts=("\n### ",),
            default_system=_ALPACA_TASK,
        ),
        # For base models, which know no turns: one text, which the model carries on.
        PromptFormat(name="plain", system="{}\n\n", user="{}", close="\n"),
    )
}


def format_named(name: str) -> PromptFormat:
    """The format with this name; ``LlamachatError`` lists them all."""
    found = FORMATS.get(name.strip().lower())
    if found is None:
        raise LlamachatError(f"no prompt format {name[:40]!r}: there are {', '.join(FORMATS)}")
    return found


def joined(pieces: Iterable[Piece]) -> list[Piece]:
    """The same pieces with neighbouring texts made one, since a tokenizer must see them together."""
    merged: list[Piece] = []
    for piece in pieces:
        before = merged[-1] if merged else None
        if isinstance(piece, Text) and isinstance(before, Text):
            merged[-1] = Text(before.text + piece.text)
        elif piece not in (Text(""), Ids(())):
            merged.append(piece)
    return merged


def shown(pieces: Iterable[Piece], tokenizer: Tokenizer | None = None) -> str:
    """The prompt as a person may read it, specials as their texts."""
    return "".join(
        (tokenizer.decode(piece.ids) if tokenizer else "") if isinstance(piece, Ids) else piece.text for piece in pieces
    )


def stop_ids(vocabulary: Vocabulary) -> frozenset[int]:
    """The tokens that end an answer: those the file names, and every control token, which is never text."""
    return vocabulary.stop_ids.union(vocabulary.ids_of_kinds(TokenKind.CONTROL))
