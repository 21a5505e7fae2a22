"""Which format a model gets: by its template, by its tokens, by its name."""

from __future__ import annotations

from pathlib import Path

import pytest

from llamachat.chat.conversation import Role
from llamachat.chat.detect import choose_writer, guess, recognise
from llamachat.chat.jinja_template import TemplateWriter
from llamachat.chat.prompt_formats import FORMATS, Turn, shown
from llamachat.engine.events import ModelInfo
from llamachat.errors import LlamachatError
from llamachat.vocabulary import TokenKind, Vocabulary
from tests.support.chat_templates import CHATML, LLAMA2, LLAMA3, MISTRAL, PHI3, SMOLLM2, ZEPHYR


def _vocabulary(*specials: str, kind: TokenKind = TokenKind.CONTROL) -> Vocabulary:
    pieces = ("<unk>", "<s>", "</s>", *specials)
    kinds = (TokenKind.UNKNOWN, TokenKind.CONTROL, TokenKind.CONTROL, *(kind for _ in specials))
    return Vocabulary("spm", pieces, (0.0,) * len(pieces), kinds, bos_id=1, eos_id=2)


def _info(name: str, template: str | None = None) -> ModelInfo:
    return ModelInfo(Path(f"/models/{name}.gguf"), name, "GGUF v3", "Q4_0", 1, 2048, 2048, 3, 1, template)


@pytest.mark.parametrize(
    ("template", "name"),
    [
        (CHATML, "chatml"),
        (SMOLLM2, "smollm2"),
        (LLAMA2, "llama2"),
        (MISTRAL, "mistral-v1"),
        (LLAMA3, "llama3"),
        (ZEPHYR, "zephyr"),
        ("{{ 'USER: ' + m + ' ASSISTANT:' }}", "vicuna"),
        ("### Instruction:\n{{ m }}\n\n### Response:\n", "alpaca"),
    ],
)
def test_templates_of_known_families(template: str, name: str) -> None:
    assert recognise(template, _vocabulary()) is FORMATS[name]
    spelled = template.replace("\n", "\\n")  # some files spell the line ends
    assert recognise(spelled, _vocabulary()) is FORMATS[name]


def test_mistral_by_its_tokens() -> None:
    assert recognise(MISTRAL, _vocabulary("[INST]", "[/INST]")) is FORMATS["mistral-v3"]
    assert recognise(MISTRAL, _vocabulary("[INST]", kind=TokenKind.NORMAL)) is FORMATS["mistral-v1"]


def test_another_default_system_prompt_is_kept() -> None:
    found = recognise(SMOLLM2.replace("SmolLM", "Llamy"), _vocabulary())
    assert found is not None
    assert "named Llamy" in found.default_system
    assert shown(found.render("", [Turn(Role.USER, "Hi")])).startswith("<|im_start|>system\nYou are a helpful AI")


@pytest.mark.parametrize(
    "template", [PHI3, "{{ messages }}", CHATML + "<tool_call>", "[SYSTEM_PROMPT][INST][/INST]", ""]
)
def test_templates_of_nobody(template: str) -> None:
    assert recognise(template, _vocabulary()) is None


def test_by_tokens_without_a_template() -> None:
    assert guess(_vocabulary("<|im_start|>", "<|im_end|>")) is FORMATS["chatml"]
    assert guess(_vocabulary("<|start_header_id|>")) is FORMATS["llama3"]
    assert guess(_vocabulary("[INST]", "[/INST]")) is FORMATS["mistral-v3"]
    assert guess(_vocabulary()) is FORMATS["plain"]


@pytest.mark.parametrize(
    ("name", "format_name"),
    [
        ("llama-2-7b-chat.ggmlv3.q4_0", "llama2"),
        ("Llama 2 13B Chat", "llama2"),
        ("tinyllama-1.1b-chat-v1.0.Q4_K_M", "zephyr"),
        ("Mistral-7B-Instruct-v0.2", "mistral-v1"),
        ("vicuna-7b-v1.3", "vicuna"),
        ("ggml_alpaca_q4_0", "alpaca"),
        ("stories260K", "plain"),
        ("llama-7b", "plain"),
    ],
)
def test_by_name(name: str, format_name: str) -> None:
    assert guess(_vocabulary(), name) is FORMATS[format_name]


def test_tokens_outweigh_names() -> None:
    chatml = _vocabulary("<|im_start|>", "<|im_end|>")
    assert guess(chatml, "llama-2-7b-chat-tuned") is FORMATS["chatml"]
    assert guess(chatml, "SmolLM2-135M-Instruct") is FORMATS["smollm2"]


def test_what_a_person_names_wins() -> None:
    assert choose_writer(_info("x", LLAMA2), _vocabulary(), "zephyr") is FORMATS["zephyr"]
    with pytest.raises(LlamachatError, match="no prompt format"):
        choose_writer(_info("x", LLAMA2), _vocabulary(), "klingon")


def test_only_unknown_templates_are_run() -> None:
    assert isinstance(choose_writer(_info("x", PHI3), _vocabulary()), TemplateWriter)
    assert choose_writer(_info("x", LLAMA2), _vocabulary()) is FORMATS["llama2"]
    assert choose_writer(_info("vicuna-7b"), _vocabulary()) is FORMATS["vicuna"]
