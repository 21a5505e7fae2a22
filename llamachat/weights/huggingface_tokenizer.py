"""The vocabulary of a model in Hugging Face's layout: tokenizer.model, or else tokenizer.json, and what is beside them.

tokenizer.json describes a whole pipeline. Of two kinds the vocabulary can be taken out: byte-level BPE, and BPE with a
fallback to bytes, which is SentencePiece's in another form.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from llamachat.display import clean_line
from llamachat.vocabulary import TokenKind, Vocabulary
from llamachat.weights.files import Refusal, RegularFile, blaming, open_regular, quoted
from llamachat.weights.json_text import CONFIG_LIMIT, Fields, parse_object
from llamachat.weights.model_files import ModelFiles
from llamachat.weights.reader import COUNT_LIMIT
from llamachat.weights.sentencepiece_model import read_sentencepiece_model
from llamachat.weights.tokens import finish_vocabulary, kinds_by_text

SENTENCEPIECE = "tokenizer.model"
TOKENIZER = "tokenizer.json"
TOKENIZER_CONFIG = "tokenizer_config.json"
GENERATION_CONFIG = "generation_config.json"
TEMPLATE = "chat_template.jinja"

#: All files that tell of the tokenizer; the last ones are for other programs.
SETTINGS = (
    *(SENTENCEPIECE, TOKENIZER, TOKENIZER_CONFIG, GENERATION_CONFIG, TEMPLATE),
    *("added_tokens.json", "special_tokens_map.json"),
)

_TOKENIZER_LIMIT = 32 << 20
_ITEMS_LIMIT = 1 << 20  # Llama 3 has 128,256 tokens, and 280,147 merges of three

_LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|DIGITS| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
#: GGUF's names of pre-tokenizers, by their steps.
PRE_TOKENIZERS = {
    ("ByteLevel regex",): "gpt-2",
    ("Digits each", "ByteLevel regex"): "smollm",
    ("Split " + _LLAMA3.replace("DIGITS", r"\p{N}{1,3}"), "ByteLevel"): "llama-bpe",
    ("Split " + _LLAMA3.replace("DIGITS", r"\p{N}"), "ByteLevel"): "qwen2",
}


def read_tokenizer(files: ModelFiles, n_vocab: int, config: Fields) -> tuple[Vocabulary, Path] | None:
    """The vocabulary of ``n_vocab`` tokens, and its file; None where there is none. ``Refusal`` names that at fault."""
    extra = _config(files, TOKENIZER_CONFIG)
    vocabulary, source = None, files.folder / SENTENCEPIECE
    if path := files.path_of(SENTENCEPIECE):
        file = open_regular(path)
        try:
            with blaming(path):
                vocabulary = read_sentencepiece_model(file)
        finally:
            file.close()
        if len(vocabulary) < n_vocab and files.has(TOKENIZER):
            vocabulary = None  # which has the tokens that were added
    if vocabulary is None:
        text = files.text(TOKENIZER, _TOKENIZER_LIMIT)
        if text is None:
            return None
        source = files.folder / TOKENIZER
        with blaming(source):
            vocabulary = _from_json(Fields(parse_object(text, items_limit=_ITEMS_LIMIT)), n_vocab, extra)
    if len(vocabulary) > n_vocab:
        raise Refusal(f"has {len(vocabulary)} tokens where the model has {n_vocab}", source)
    return _with_ends(_padded(vocabulary, n_vocab), files, config, extra), source


def tokenizer_json_vocabulary(file: RegularFile) -> Vocabulary:
    """The vocabulary in a tokenizer.json that was named itself, with the settings beside it."""
    if file.size > _TOKENIZER_LIMIT:
        raise Refusal(f"has {file.size} bytes; at most {_TOKENIZER_LIMIT} are allowed")
    files = ModelFiles(file.path, file)
    extra = _config(files, TOKENIZER_CONFIG)
    tokenizer = Fields(parse_object(file.read(0, file.size), items_limit=_ITEMS_LIMIT))
    return _with_ends(_from_json(tokenizer, COUNT_LIMIT, extra), files, Fields({}), extra)


def read_chat_template(files: ModelFiles) -> str | None:
    """The Jinja source of the chat template, if there is one; of several the one that is named "default"."""
    data = files.text(TEMPLATE, CONFIG_LIMIT)
    if data is not None:
        return data.decode(errors="replace") or None
    template = _config(files, TOKENIZER_CONFIG).values.get("chat_template")
    if isinstance(template, list):
        named = [t for t in template if isinstance(t, dict) and t.get("name") == "default"]
        template = named[0].get("template") if named else None
    return template if isinstance(template, str) and template else None


def _config(files: ModelFiles, name: str) -> Fields:
    """An optional file of settings."""
    data = files.text(name, CONFIG_LIMIT)
    with blaming(files.folder / name):
        return Fields(parse_object(data) if data is not None else {})


def _with_ends(vocabulary: Vocabulary, files: ModelFiles, config: Fields, extra: Fields) -> Vocabulary:
    """The vocabulary with BOS, EOS and all tokens that end a text, wherever they are stated."""
    n = len(vocabulary)
    _note_strays(files, config, n)
    generation = _config(files, GENERATION_CONFIG)
    stops = {i for source in (config, generation) for i in _ids(source.values.get("eos_token_id"), n)}
    ids = {piece: i for i, piece in reversed(list(enumerate(vocabulary.pieces)))}
    bos = ids.get(_token_text(extra, "bos_token"), next(iter(_ids(config.values.get("bos_token_id"), n)), None))
    eos = ids.get(_token_text(extra, "eos_token"), min(stops, default=None))
    return finish_vocabulary(
        replace(
            vocabulary,
            bos_id=bos if bos is not None else vocabulary.bos_id,
            eos_id=eos if eos is not None else vocabulary.eos_id,
            add_bos=extra.flag("add_bos_token", vocabulary.add_bos),
            add_eos=extra.flag("add_eos_token", vocabulary.add_eos),
        ),
        stops,
    )


def _ids(value: Any, n_vocab: int) -> list[int]:
    """The token ids in a value, which may be one or a list of them; others are passed over."""
    values = value if isinstance(value, list) else [value]
    return [i for i in values if type(i) is int and 0 <= i < n_vocab]


def _note_strays(files: ModelFiles, config: Fields, n_vocab: int) -> None:
    """Notes ids of the configuration that no token has."""
    for key in ("bos_token_id", "eos_token_id"):
        value = config.values.get(key)
        strays = [i for i in (value if isinstance(value, list) else [value]) if type(i) is int and not 0 <= i < n_vocab]
        if strays:
            files.report.notes.append(
                f"its config.json states the {key} {clean_line(str(strays[0]), 40)}, outside its vocabulary of"
                f" {n_vocab:,}: passed over"
            )


def _token_text(extra: Fields, key: str) -> str:
    value = extra.values.get(key)
    value = value.get("content") if isinstance(value, dict) else value
    return value if isinstance(value, str) else ""


def _padded(vocabulary: Vocabulary, n_vocab: int) -> Vocabulary:
    """The vocabulary with unused tokens up to the rows of the embedding, which some models round up."""
    missing = range(len(vocabulary), n_vocab)
    if not missing:
        return vocabulary
    return replace(
        vocabulary,
        pieces=vocabulary.pieces + tuple(f"<dummy_{i}>" for i in missing),
        scores=vocabulary.scores + (0.0,) * (len(missing) if vocabulary.scores else 0),
        kinds=vocabulary.kinds + (TokenKind.UNUSED,) * len(missing),
        model_proto=None,  # it has the tokens of before
        rewrites_text=False,
    )


# ---- tokenizer.json ----


def _from_json(tokenizer: Fields, n_vocab: int, extra: Fields) -> Vocabulary:
    model = tokenizer.fields("model")
    kind = model.text("type", "BPE")
    steps = _steps(tokenizer.values.get("pre_tokenizer"))
    byte_level = any(step.startswith("ByteLevel") for step in steps)
    if kind != "BPE" or not (byte_level or model.flag("byte_fallback")):
        raise Refusal(f"describes a tokenizer of the kind {quoted(kind)}, neither byte-level BPE nor SentencePiece's")
    merges = _merges(model)
    ids, added = _tokens(tokenizer, model, n_vocab)
    pieces = tuple(ids.get(i, f"<dummy_{i}>") for i in range(max(ids) + 1))
    kinds = [TokenKind.NORMAL] * len(pieces) if byte_level else list(kinds_by_text(pieces))
    for i in range(len(pieces)):
        if i not in ids:
            kinds[i] = TokenKind.UNUSED
    for i, special in added.items():
        if kinds[i] is TokenKind.NORMAL:
            kinds[i] = TokenKind.CONTROL if special else TokenKind.USER_DEFINED
    unknown = {piece: i for i, piece in ids.items()}.get(model.text("unk_token"))
    return Vocabulary(
        model="bpe" if byte_level else "spm",
        pieces=pieces,
        scores=() if byte_level else _scores(pieces, merges),
        kinds=tuple(kinds),
        merges=tuple(merges) if byte_level else (),
        pre=PRE_TOKENIZERS.get(tuple(steps), ", ".join(step.split(" ")[0] for step in steps)) if byte_level else "",
        unk_id=unknown,
        add_bos=_adds_first(tokenizer.values.get("post_processor"), _token_text(extra, "bos_token")),
        add_space_prefix=not byte_level and _prefixes_space(tokenizer),
    )


def _tokens(tokenizer: Fields, model: Fields, n_vocab: int) -> tuple[dict[int, str], dict[int, bool]]:
    """Texts by id, and of the added tokens whether they are special."""
    ids: dict[int, str] = {}
    added: dict[int, bool] = {}
    listed = tokenizer.values.get("added_tokens") or []
    if not isinstance(listed, list) or not all(isinstance(token, dict) for token in listed):
        raise Refusal("is broken: its 'added_tokens' are no list of tokens")
    pairs: list[tuple[Any, Any]] = list(model.fields("vocab").values.items())
    pairs += [(token.get("content"), token.get("id")) for token in listed]
    for text, i in pairs:
        if not isinstance(text, str) or type(i) is not int or not 0 <= i < n_vocab:
            raise Refusal(f"has a token {quoted(str(text))} with the id {quoted(str(i))}; the model has {n_vocab}")
        if ids.setdefault(i, text) != text:
            raise Refusal(f"has two tokens with the id {i}")
    for token in listed:
        added[token["id"]] = token.get("special") is True
    if not model.fields("vocab").values:  # the tokens that were added are none
        raise Refusal("has an empty vocabulary")
    return ids, added


def _merges(model: Fields) -> list[str]:
    """Merges as ``left right``; newer files write each as a list of two."""
    merges = model.values.get("merges") or []
    if not isinstance(merges, list):
        raise Refusal("is broken: its 'merges' are no list")
    found = []
    for merge in merges:
        if isinstance(merge, list) and len(merge) == 2 and all(isinstance(part, str) for part in merge):
            merge = f"{merge[0]} {merge[1]}"
        if not isinstance(merge, str):
            raise Refusal("is broken: one of its 'merges' is no pair of texts")
        found.append(merge)
    return found


def _scores(pieces: tuple[str, ...], merges: list[str]) -> tuple[float, ...]:
    """SentencePiece's scores: a piece is the better the earlier it is merged; those never merged do not matter."""
    ranks: dict[str, int] = {}
    for rank, merge in enumerate(merges):
        ranks.setdefault(merge.replace(" ", "", 1), rank)
    last = float(len(merges))
    return tuple([-float(ranks[piece]) if piece in ranks else -last for piece in pieces])


def _steps(node: Any) -> list[str]:
    """The steps of a pre-tokenizer, each as its type and what matters of its settings."""
    if not isinstance(node, dict):
        return []
    kind = node.get("type")
    if kind == "Sequence" and isinstance(node.get("pretokenizers"), list):
        return [step for part in node["pretokenizers"][:16] for step in _steps(part)[:16]]
    if kind == "ByteLevel":
        return ["ByteLevel" if node.get("use_regex") is False else "ByteLevel regex"]
    if kind == "Digits":
        return ["Digits each" if node.get("individual_digits") else "Digits"]
    if kind == "Split":
        pattern = node.get("pattern")
        return ["Split " + (str(pattern.get("Regex")) if isinstance(pattern, dict) else "")]
    return [str(kind)[:20]]


def _adds_first(processor: Any, bos: str) -> bool:
    """Whether the post-processor puts BOS before a text."""
    if not isinstance(processor, dict):
        return False
    parts = processor.get("processors")
    if isinstance(parts, list):
        return any(isinstance(part, dict) and "processors" not in part and _adds_first(part, bos) for part in parts)
    single = processor.get("single")
    if not isinstance(single, list) or not single or not isinstance(single[0], dict):
        return False
    token = single[0].get("SpecialToken")
    return isinstance(token, dict) and (not bos or token.get("id") == bos)


def _prefixes_space(tokenizer: Fields) -> bool:
    """Whether a text gets a space before it: by a normalizer, or by the Metaspace step."""
    text = json.dumps([tokenizer.values.get("normalizer"), tokenizer.values.get("pre_tokenizer")])
    return '"Prepend"' in text or '"prepend_scheme": "first"' in text or '"prepend_scheme": "always"' in text
