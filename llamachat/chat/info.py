"""What there is to know about the open chat, as text."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from llamachat.chat.presets import OWN
from llamachat.display import clean_line
from llamachat.engine.settings import PARAMETERS

if TYPE_CHECKING:
    from llamachat.chat.session import ChatSession


_COLUMNS = 66  # of text in the widest dialog of the full screen; line mode has more
_SYSTEM_CHARS = 300
_PATHS = ("file", "saved in")  # stay whole, to be copied

NO_SYSTEM = "none, or the model's own"  #: what is said of a system prompt that nobody set


def beside(name: str, text: str, columns: int = _COLUMNS) -> str:
    """A name with a text beside it, as narrow as a dialog is."""
    return textwrap.fill(text, columns, initial_indent=name, subsequent_indent=" " * len(name), break_on_hyphens=False)


def describe(session: ChatSession) -> str:
    """Chat, model, context, figures and settings, one after the other."""
    facts = [*_chat(session), *_model(session), *_figures(session)]
    values = session.settings.to_dict()
    facts.append(("preset", session.preset.name if session.preset else OWN))
    facts.append(("sampling", ", ".join(f"{p.key} {p.format(values[p.name])}" for p in PARAMETERS)))
    facts.append(("saved in", "memory only" if session.store.in_memory else str(session.store.data_dir)))
    lines = (f"{name:<10}{fact}" if name in _PATHS else beside(f"{name:<10}", fact) for name, fact in facts)
    return "\n".join(lines)


def _chat(session: ChatSession) -> list[tuple[str, str]]:
    conversation = session.conversation
    counts = f"{len(conversation.path)} messages shown, {len(conversation)} in all"
    facts = [("chat", f"{conversation.shown_title}: {counts}")]
    if session.dropped:
        facts.append(("window", f"the first {session.dropped} messages are outside the context"))
    return facts


def _model(session: ChatSession) -> list[tuple[str, str]]:
    model = session.model
    if model is None:
        return [("model", "none")]
    size = f"{model.n_params / 1e6:,.0f} M parameters, {model.size_bytes / 1e6:,.0f} MB"
    used = f"{session.context_used:,} of {session.context_total:,} tokens"
    return [
        ("model", f"{model.name}, {model.format} {model.type_name}, {size}"),
        ("file", str(model.path)),
        ("format", session.prompt_format),
        ("system", clean_line(session.system_in_use, _SYSTEM_CHARS) or NO_SYSTEM),
        ("context", f"{used} (trained for {model.n_ctx_train:,}), vocabulary of {model.n_vocab:,}"),
    ]


def _figures(session: ChatSession) -> list[tuple[str, str]]:
    timings = session.timings
    if timings is None:
        return []
    prompt = f"{timings.prompt_tokens:,} tokens, {timings.reused_tokens:,} of them reused"
    return [
        ("prompt", f"{prompt}, {timings.prompt_rate:,.0f} t/s"),
        ("answer", f"{timings.answer_tokens:,} tokens, {timings.answer_rate:,.1f} t/s"),
    ]
