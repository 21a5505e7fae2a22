"""The formats of the table as chat templates: they write the same, and are recognised as what they are."""

from __future__ import annotations

from dataclasses import replace

import pytest

from llamachat.chat.conversation import Role
from llamachat.chat.detect import format_by_name, recognise
from llamachat.chat.jinja_template import run_template
from llamachat.chat.prompt_formats import FORMATS, Turn, shown
from llamachat.chat.template_source import template_source
from llamachat.vocabulary import TokenKind, Vocabulary
from tests.support.dialogue import DIALOGUE, SYSTEM, WRITTEN
from tests.support.tiny_models import bpe_vocabulary, spm_vocabulary

TEMPLATES = [name for name in FORMATS if name != "plain"]


def rendered(name: str, messages: list[dict[str, str]]) -> str:
    template = template_source(FORMATS[name])
    assert template is not None
    return run_template(template, messages, "<|begin_of_text|>" if name == "llama3" else "<s>", "</s>")


def messages(turns: list[Turn]) -> list[dict[str, str]]:
    return [{"role": "user" if turn.role is Role.USER else "assistant", "content": turn.text} for turn in turns]


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_template_writes_what_the_format_writes(name: str) -> None:
    system = [{"role": "system", "content": SYSTEM}]
    assert rendered(name, system + messages(DIALOGUE)) == WRITTEN[name]
    odd = [Turn(Role.USER, " What's a 'quote'\\n? ")]
    assert rendered(name, messages(odd)) == shown(FORMATS[name].render("", odd))


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_template_is_recognised_as_its_format(name: str) -> None:
    template = template_source(FORMATS[name])
    assert template is not None
    assert recognise(template, vocabulary_for(name)) == FORMATS[name]


def vocabulary_for(name: str) -> Vocabulary:
    words = spm_vocabulary()
    if name != "mistral-v3":
        return words
    kinds = (*words.kinds[:-1], TokenKind.CONTROL)
    return replace(words, pieces=(*words.pieces[:-1], "[INST]"), kinds=kinds)


def test_plain_text_needs_no_template() -> None:
    assert template_source(FORMATS["plain"]) is None


def test_what_only_a_name_tells() -> None:
    words, chatml = spm_vocabulary(), bpe_vocabulary()
    assert format_by_name(words, "llama-2-7b-chat.ggmlv3.q4_0") == FORMATS["llama2"]
    assert format_by_name(chatml, "SmolLM2-135M-Instruct") == FORMATS["smollm2"]
    assert format_by_name(chatml, "dolphin-2.1") is None  # its tokens tell of ChatML already
    assert format_by_name(words, "stories15M") is None
