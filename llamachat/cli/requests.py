"""From a text to what the engine is asked to generate from."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from llamachat.engine.events import Request
from llamachat.errors import PromptError

if TYPE_CHECKING:
    from llamachat.engine.events import ModelInfo
    from llamachat.tokenizer import Tokenizer


def question(
    info: ModelInfo,
    tokenizer: Tokenizer,
    text: str,
    *,
    system: str,
    format_name: str,
    max_tokens: int,
    n_top: int | None,
    notify: Callable[[str], None],
) -> Request:
    """Asks ``text`` in the format called ``format_name``, or the model's own where that is empty.

    ``notify`` is told if the model's own cannot be used. ``PromptError`` where the question does not fit the context.
    """
    from llamachat.chat.conversation import Role
    from llamachat.chat.detect import choose_writer
    from llamachat.chat.prompt import build_prompt, check_length
    from llamachat.chat.prompt_formats import Turn, stop_ids

    check_length(text, tokenizer, info.n_ctx, max_tokens)
    writer = choose_writer(info, tokenizer.vocabulary, format_name, notify)
    turns = [Turn(Role.USER, text)]
    prompt = build_prompt(writer, tokenizer, system, turns, n_ctx=info.n_ctx, max_tokens=max_tokens)
    return Request(prompt.ids, stop_ids(tokenizer.vocabulary), writer.stop_texts, n_top)


def continuation(info: ModelInfo, tokenizer: Tokenizer, text: str, *, bos: bool, n_top: int | None) -> Request:
    """Goes on with ``text`` as it stands, behind the vocabulary's BOS where it wants one and ``bos`` allows it.

    An empty text starts from BOS also where the vocabulary does not put it in front of texts. ``PromptError`` where
    there is nothing to start from, or more than fits the context.
    """
    from llamachat.chat.prompt import more_than
    from llamachat.chat.prompt_formats import stop_ids

    vocabulary = tokenizer.vocabulary
    bos = bos and vocabulary.bos_id is not None
    if more := more_than(text, tokenizer, info.n_ctx - 1, int(bos and vocabulary.add_bos)):
        raise _too_long(info, more)
    ids = tokenizer.encode(text)
    if bos and vocabulary.bos_id is not None and (vocabulary.add_bos or not ids):
        ids.insert(0, vocabulary.bos_id)
    if not ids:
        raise PromptError("nothing to go on from: give a text of at least one token")
    if len(ids) >= info.n_ctx:
        raise _too_long(info, f"{len(ids):,}")
    return Request(tuple(ids), stop_ids(vocabulary), n_top=n_top, at_start=not text)


def _too_long(info: ModelInfo, n_tokens: str) -> PromptError:
    return PromptError(
        f"the text is too long: {n_tokens} of {info.n_ctx - 1:,} tokens that fit the context of {info.path.name}; "
        "shorten it, or give a larger --n-ctx"
    )
