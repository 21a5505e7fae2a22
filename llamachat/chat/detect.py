"""Which prompt format a model wants: from its file's template, its vocabulary, or its name."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

from llamachat.chat.jinja_template import TemplateWriter
from llamachat.chat.prompt_formats import FORMATS, PromptFormat, PromptWriter, format_named
from llamachat.engine.events import ModelInfo
from llamachat.vocabulary import TokenKind, Vocabulary

# Families by what their templates spell out: all of the first words, none of the second. Order matters:
# Llama-2's markers are Mistral's and more.
_MARKERS: tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...] = (
    ("chatml", ("<|im_start|>", "<|im_end|>"), ("[INST]", "<think>", "<tool_call>")),
    ("llama3", ("<|start_header_id|>", "<|eot_id|>"), ()),
    ("llama2", ("[INST]", "<<SYS>>"), ()),
    ("mistral", ("[INST]", "[/INST]"), ("[SYSTEM_PROMPT]",)),
    ("zephyr", ("<|user|>", "<|assistant|>", "eos_token"), ("<|end|>", "<|endoftext|>", "[gMASK]")),
    ("zephyr", ("<|user|>", "<|assistant|>", "</s>"), ("<|end|>", "<|endoftext|>", "[gMASK]")),
    ("vicuna", ("USER:", "ASSISTANT:"), ()),
    ("alpaca", ("### Instruction:", "### Response:"), ()),
)

# Names that people gave their files before files held templates.
_NAMES: tuple[tuple[str, str], ...] = (
    (r"smollm2?\b.*instruct", "smollm2"),
    (r"tiny-?llama.*chat|zephyr", "zephyr"),
    (r"llama-?3.*instruct", "llama3"),
    (r"llama-?2.*chat|codellama.*instruct", "llama2"),
    (r"mistral.*instruct|mixtral.*instruct", "mistral"),
    (r"vicuna", "vicuna"),
    (r"alpaca", "alpaca"),
    (r"hermes|openorca|dolphin", "chatml"),
)

# What a ChatML template says in place of a missing system prompt. The line end may be spelled out.
_DEFAULT_SYSTEM = re.compile(r"<\|im_start\|>system(?:\\n|\n)([^<{}'\"]+)<\|im_end\|>")


def choose_writer(
    info: ModelInfo, vocabulary: Vocabulary, name: str = "", notify: Callable[[str], None] = lambda _: None
) -> PromptWriter:
    """The format called ``name``, or the one that fits the model.

    A template that is no known family's runs in a sandbox; ``notify`` is told, once, if it cannot be used.
    """
    if name:
        return format_named(name)
    template = info.chat_template
    found = recognise(template, vocabulary) if template else None
    if found is None and template:
        return TemplateWriter(template, vocabulary, guess(vocabulary, info.name, info.path.stem), notify)
    return found or guess(vocabulary, info.name, info.path.stem)


def explain_choice(chat_template: str | None, vocabulary: Vocabulary, *names: str) -> tuple[str, str]:
    """(name, how it was found) of the format that ``choose_writer`` takes for such a model.

    ``"recognised"``: the file's template is a known family's; ``"template"``: it is not, and runs itself;
    ``"guessed"``: there is none, and special tokens or the model's name tell; ``"none"``: nothing does.
    """
    if chat_template:
        found = recognise(chat_template, vocabulary)
        return (found.name, "recognised") if found else ("template", "template")
    guessed = guess(vocabulary, *names)
    return guessed.name, "none" if guessed is FORMATS["plain"] else "guessed"


def format_by_name(vocabulary: Vocabulary, *names: str) -> PromptFormat | None:
    """The format of a model without a template that its names tell and its vocabulary alone does not."""
    named = guess(vocabulary, *names)
    return None if named == guess(vocabulary) else named


def recognise(template: str, vocabulary: Vocabulary) -> PromptFormat | None:
    """The known family that a template belongs to, or None."""
    for family, wanted, unwanted in _MARKERS:
        if all(word in template for word in wanted) and not any(word in template for word in unwanted):
            return _of_family(family, vocabulary, template)
    return None


def guess(vocabulary: Vocabulary, *names: str) -> PromptFormat:
    """The likeliest format of a model without a template: by its special tokens, then by its names."""
    tokens = set(vocabulary.pieces)
    if "<|start_header_id|>" in tokens:
        possible: tuple[str, ...] = ("llama3",)
    elif {"<|im_start|>", "<|im_end|>"} <= tokens:
        possible = ("chatml", "smollm2")
    else:
        possible = ()
    for name in names:
        for pattern, family in _NAMES:
            plain_name = name.lower().replace("_", "-").replace(" ", "-")
            if re.search(pattern, plain_name) and (not possible or family in possible):
                return _of_family(family, vocabulary)
    if possible:
        return FORMATS[possible[0]]
    return FORMATS["mistral-v3"] if _has_control(vocabulary, "[INST]") else FORMATS["plain"]


def _of_family(family: str, vocabulary: Vocabulary, template: str = "") -> PromptFormat:
    if family == "mistral":
        return FORMATS["mistral-v3" if _has_control(vocabulary, "[INST]") else "mistral-v1"]
    default = _DEFAULT_SYSTEM.search(template) if family == "chatml" else None
    if default is None:
        return FORMATS[family]
    known = FORMATS["smollm2"]
    system = default[1].replace("\\n", "\n")
    return known if system == known.default_system else replace(FORMATS["chatml"], default_system=system)


def _has_control(vocabulary: Vocabulary, text: str) -> bool:
    try:
        return vocabulary.kinds[vocabulary.pieces.index(text)] is TokenKind.CONTROL
    except ValueError:
        return False
