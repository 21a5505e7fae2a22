"""The tokenizer's files in Hugging Face's layout: tokenizer.model or tokenizer.json, and settings beside."""

from __future__ import annotations

from typing import Any

from llamachat.vocabulary import TokenKind, Vocabulary
from llamachat.weights.huggingface_tokenizer import (
    GENERATION_CONFIG,
    PRE_TOKENIZERS,
    SENTENCEPIECE,
    TOKENIZER,
    TOKENIZER_CONFIG,
)
from llamachat.weights.write.parts import Model

_DEFAULT_PRE = "gpt-2"


def tokenizer_files(model: Model, notes: list[str]) -> dict[str, bytes | dict[str, Any]]:
    """Files by their names: bytes, or what is to be JSON. ``notes`` is told what could not go along."""
    v = model.vocabulary
    if v is None:
        notes.append("no tokenizer is written, since no vocabulary was found: --tokenizer FILE gives one")
        return {}
    files: dict[str, bytes | dict[str, Any]] = {}
    if v.model == "spm":
        if model.sentencepiece is None:
            raise ValueError("a SentencePiece vocabulary comes with its tokenizer.model")
        files[SENTENCEPIECE] = model.sentencepiece
    else:
        files[TOKENIZER] = _byte_level(v, notes)
    files[TOKENIZER_CONFIG] = _settings(v, model.chat_template)
    files[GENERATION_CONFIG] = {"bos_token_id": v.bos_id, "eos_token_id": sorted(v.stop_ids)}
    return files


def _settings(v: Vocabulary, chat_template: str | None) -> dict[str, Any]:
    """tokenizer_config.json; the control tokens stand in it too, since a tokenizer.model does not make them whole."""
    special = {
        str(i): {
            "content": v.pieces[i],
            "lstrip": False,
            "normalized": False,
            "rstrip": False,
            "single_word": False,
            "special": True,
        }
        for i, kind in enumerate(v.kinds)
        if kind in (TokenKind.CONTROL, TokenKind.UNKNOWN)
    }
    settings: dict[str, Any] = {
        "tokenizer_class": "LlamaTokenizer" if v.model == "spm" else "PreTrainedTokenizerFast",
        "add_bos_token": v.add_bos,
        "add_eos_token": v.add_eos,
        "added_tokens_decoder": special,
        "clean_up_tokenization_spaces": False,
    }
    for name, i in (("bos_token", v.bos_id), ("eos_token", v.eos_id), ("unk_token", v.unk_id)):
        if i is not None and (v.model == "spm" or name != "unk_token"):
            settings[name] = v.pieces[i]
    if v.model == "spm":
        settings |= {"legacy": True, "add_prefix_space": v.add_space_prefix}
    if chat_template:
        settings["chat_template"] = chat_template
    return settings


def _byte_level(v: Vocabulary, notes: list[str]) -> dict[str, Any]:
    """tokenizer.json of a byte-level BPE vocabulary."""
    by_name = {name: steps for steps, name in PRE_TOKENIZERS.items()}
    if v.pre not in by_name:
        notes.append(f"the way in which this vocabulary cuts words ({v.pre or 'not named'}) is written as GPT-2's")
    added = {i: v.kinds[i] for i in range(len(v)) if v.kinds[i] in (TokenKind.CONTROL, TokenKind.USER_DEFINED)}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {
                "id": i,
                "content": v.pieces[i],
                "single_word": False,
                "lstrip": False,
                "rstrip": False,
                "normalized": False,
                "special": kind is TokenKind.CONTROL,
            }
            for i, kind in added.items()
        ],
        "normalizer": None,
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [_step(step) for step in by_name.get(v.pre, by_name[_DEFAULT_PRE])],
        },
        "post_processor": _begins_with(v),
        "decoder": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": v.pre == "llama-bpe",
            "vocab": {piece: i for i, piece in reversed(list(enumerate(v.pieces)))},
            "merges": list(v.merges),
        },
    }


def _step(step: str) -> dict[str, Any]:
    """A step of the pre-tokenizer, from the words by which the reader knows it."""
    if step.startswith("Split "):
        pattern = {"Regex": step.removeprefix("Split ")}
        return {"type": "Split", "pattern": pattern, "behavior": "Isolated", "invert": False}
    if step == "Digits each":
        return {"type": "Digits", "individual_digits": True}
    return {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": step.endswith("regex")}


def _begins_with(v: Vocabulary) -> dict[str, Any] | None:
    """The step that puts BOS before a text."""
    if not v.add_bos or v.bos_id is None:
        return None
    bos = v.pieces[v.bos_id]
    first, text = {"SpecialToken": {"id": bos, "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}
    second = [{"SpecialToken": {"id": bos, "type_id": 1}}, {"Sequence": {"id": "B", "type_id": 1}}]
    return {
        "type": "TemplateProcessing",
        "single": [first, text],
        "pair": [first, text, *second],
        "special_tokens": {bos: {"id": bos, "ids": [v.bos_id], "tokens": [bos]}},
    }
