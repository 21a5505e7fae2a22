"""A model file's own chat template, run where it can do no harm: in a sandbox, in a process with limits."""

from __future__ import annotations

import json
import os
import re
import secrets
import sys
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path

from llamachat.chat.conversation import Role
from llamachat.chat.prompt_formats import Ids, Piece, PromptFormat, Special, Text, Turn, joined
from llamachat.display import clean_line
from llamachat.errors import LlamachatError
from llamachat.vocabulary import TokenKind, Vocabulary

#: Wall-clock seconds that one run may take; the child's own limit on CPU time is 2 s.
_TIMEOUT_S = 2.4
_MAX_OUTPUT_BYTES = 8 << 20  # the child stops at a million characters, which JSON may spell out
_MAX_TEMPLATE_BYTES = 256 << 10
_CHILD = Path(__file__).with_name("template_child.py")


class TemplateError(LlamachatError):
    """A template that fails, takes too long, writes too much, or loses messages."""


class TemplateRaisedError(TemplateError):
    """A template that ran and raised an error of its own."""


class TemplateWriter:
    """A ``PromptWriter`` that asks the template how a conversation of this shape is written.

    The template never sees what anybody said: it gets an unguessable word in place of each message, and
    the messages are set in afterwards, as text. So nothing that is said can become a control token, and
    one answer serves every conversation of the same shape. Any failure is final: from then on
    ``fallback`` writes, and ``notify`` is told why, once.
    """

    def __init__(
        self, template: str, vocabulary: Vocabulary, fallback: PromptFormat, notify: Callable[[str], None]
    ) -> None:
        self._template = template
        self._vocabulary = vocabulary
        self._fallback = fallback
        self._notify = notify
        self._failed = False
        self._shapes: dict[tuple[bool, int], list[Piece | int]] = {}

    @property
    def name(self) -> str:
        """``template``, or the name of the fallback once that is in use."""
        return self._fallback.name if self._failed else "template"

    @property
    def default_system(self) -> str:
        """The fallback's, once that is in use: a template does not say."""
        return self._fallback.default_system if self._failed else ""

    @property
    def stop_texts(self) -> tuple[str, ...]:
        """None: a template ends answers with tokens."""
        return self._fallback.stop_texts if self._failed else ()

    def render(self, system: str, turns: Sequence[Turn]) -> list[Piece]:
        """The pieces of a prompt. May take as long as a process takes to start, and at most 2.5 s or so."""
        if not self._failed:
            try:
                return self._render(system, turns)
            except TemplateError as error:
                self._failed = True
                self._notify(
                    f"the model file's chat template cannot be used ({error}): "
                    f"the built-in format {self._fallback.name!r} serves instead"
                )
        return self._fallback.render(system, turns)

    def _render(self, system: str, turns: Sequence[Turn]) -> list[Piece]:
        open_answer = turns[-1] if turns and turns[-1].role is Role.ASSISTANT else None
        closed = turns[:-1] if open_answer else turns
        contents: list[Piece] = [Text(system), *map(_content, closed)]
        shape = (bool(system), len(closed))  # turns alternate from a question, so their number says it all
        if shape not in self._shapes:
            self._shapes[shape] = self._ask(*shape)
        pieces = [contents[part] if isinstance(part, int) else part for part in self._shapes[shape]]
        return joined([*pieces, _content(open_answer)] if open_answer else pieces)

    def _ask(self, has_system: bool, n_turns: int) -> list[Piece | int]:
        """What the template writes: pieces, and the numbers of messages (0: the system prompt) between them."""
        words = [f"q{secrets.token_hex(16)}q" for _ in range(n_turns + 1)]
        turns = [{"role": ("user", "assistant")[n % 2], "content": words[n + 1]} for n in range(n_turns)]
        first = [{"role": "system", "content": words[0]}] if has_system else []
        expected = words if has_system else words[1:]
        try:
            text = run_template(self._template, first + turns, *self._begin_and_end())
        except TemplateRaisedError:
            if not has_system or not turns:
                raise
            # Some templates know no system prompt; it then goes in front of the first question.
            turns[0]["content"] = f"{words[0]}\n\n{words[1]}"
            text = run_template(self._template, turns, *self._begin_and_end())
        if any(text.count(word) != 1 for word in expected):
            raise TemplateError("it changes, repeats or loses messages")
        parts: list[Piece | int] = []
        for part in re.split(f"({'|'.join(words)})", text):
            if part in words:
                parts.append(words.index(part))
            else:
                parts += self._split_specials(part)
        return parts

    def _begin_and_end(self) -> tuple[str, str]:
        pieces = self._vocabulary.pieces

        def text_of(token: int | None) -> str:
            return pieces[token] if token is not None and token < len(pieces) else ""

        return text_of(self._vocabulary.bos_id), text_of(self._vocabulary.eos_id)

    def _split_specials(self, text: str) -> list[Piece]:
        found = sorted((special for special in self._specials if special in text), key=len, reverse=True)
        parts = re.split(f"({'|'.join(map(re.escape, found))})", text) if found else [text]
        return [Special(part) if part in found else Text(part) for part in parts if part]

    @cached_property
    def _specials(self) -> list[str]:
        pieces, kinds = self._vocabulary.pieces, self._vocabulary.kinds
        special = (TokenKind.CONTROL, TokenKind.USER_DEFINED)
        return [piece for piece, kind in zip(pieces, kinds, strict=False) if kind in special and piece]


def _content(turn: Turn) -> Piece:
    return Ids(turn.ids) if turn.ids is not None else Text(turn.text)


def run_template(template: str, messages: list[dict[str, str]], bos: str, eos: str) -> str:
    """What a Jinja chat template writes for ``messages``, with the beginning of an answer.

    It runs in a process of its own with limits on time, memory and output. ``TemplateError`` otherwise.
    """
    if len(template.encode("utf-8", "replace")) > _MAX_TEMPLATE_BYTES:
        raise TemplateError("it is too long")
    request = {
        "template": template,
        "variables": {"messages": messages, "add_generation_prompt": True, "bos_token": bos, "eos_token": eos},
        "path": [folder for folder in sys.path if folder],
    }
    import subprocess  # nobody but an unknown template needs it

    child = subprocess.Popen(
        [sys.executable, "-I", "-S", str(_CHILD)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={name: os.environ[name] for name in ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH") if name in os.environ},
        close_fds=True,
    )
    try:
        output, _ = child.communicate(json.dumps(request).encode(), timeout=_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        raise TemplateError("it takes too long") from None
    finally:
        child.kill()
        child.communicate()
    return _reply(output)


def _reply(output: bytes) -> str:
    try:
        reply = json.loads(output[:_MAX_OUTPUT_BYTES])
        text, problem = reply.get("text"), reply.get("error")
    except (ValueError, AttributeError, RecursionError):
        raise TemplateError("it used too much time, memory or output") from None
    if not isinstance(text, str):
        raise TemplateRaisedError(clean_line(str(problem or "no answer"), 100))
    return text
