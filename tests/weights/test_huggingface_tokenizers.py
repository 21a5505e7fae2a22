"""Vocabularies beside models in Hugging Face's layout, held to the ``tokenizers`` library that wrote them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from tokenizers import Regex as Expression

from llamachat.errors import WeightsError
from llamachat.tokenizer import load_tokenizer
from llamachat.tokenizer.model_proto import build_model_proto
from llamachat.vocabulary import TokenKind, Vocabulary
from llamachat.weights import open_weights, read_vocabulary
from llamachat.weights.inspection import inspect_weights
from tests.support.huggingface_files import write_huggingface
from tests.support.shared import shared_model
from tests.support.tiny_models import TinyShape, random_model
from tests.support.tiny_vocabularies import bpe_vocabulary, spm_vocabulary

TEXTS = ("the weather was on and in", "  two  spaces\n\n", "I'm 12345, it's", "\u00e9\U0001f999 \t", "a<|im_end|>b", "")
LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
PRE = {
    "gpt-2": pre_tokenizers.ByteLevel(add_prefix_space=False),
    "smollm": pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    ),
    "llama-bpe": pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Expression(LLAMA3), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    ),
}


def byte_level(pre: str) -> Tokenizer:
    v = bpe_vocabulary(pre=pre)
    ids = {piece: i for i, piece in enumerate(v.pieces)}
    pairs = [merge.split(" ") for merge in v.merges]
    merges = [(left, right) for left, right in pairs if {left, right, left + right} <= ids.keys()]
    tokenizer = Tokenizer(models.BPE(vocab=ids, merges=merges, ignore_merges=pre == "llama-bpe"))
    tokenizer.pre_tokenizer = PRE[pre]
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(piece, normalized=False) for piece in v.pieces[:3]])
    return tokenizer


def with_tokenizer(folder: Path, tokenizer: Tokenizer, n_vocab: int = 320, **extra: Any) -> Vocabulary:
    write_huggingface(folder, random_model(TinyShape(n_vocab=n_vocab, n_layers=1)))
    (folder / "tokenizer.json").write_text(tokenizer.to_str())
    (folder / "tokenizer_config.json").write_text(json.dumps(extra))
    with open_weights(folder) as weights:
        assert weights.vocabulary is not None
        return weights.vocabulary


@pytest.mark.parametrize("pre", PRE)
def test_byte_level_bpe(tmp_path: Path, pre: str) -> None:
    library = byte_level(pre)
    first = bpe_vocabulary().pieces
    v = with_tokenizer(tmp_path / "m", library, bos_token=first[1], eos_token={"content": first[2]})
    assert (v.model, v.pre, v.bos_id, v.eos_id, v.add_bos) == ("bpe", pre, 1, 2, False)
    assert v.stop_ids == {0, 2}
    assert v.kinds[:4] == (*(TokenKind.CONTROL,) * 3, TokenKind.NORMAL)
    ours = load_tokenizer(v)
    assert not ours.notices
    for text in TEXTS:
        assert ours.encode_special(text) == library.encode(text, add_special_tokens=False).ids


def test_a_pre_tokenizer_that_is_not_known(tmp_path: Path) -> None:
    library = byte_level("gpt-2")
    library.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Punctuation(), PRE["gpt-2"]])
    v = with_tokenizer(tmp_path / "m", library)
    assert v.pre == "Punctuation, ByteLevel"
    assert "Punctuation, ByteLevel" in load_tokenizer(v).notices[0]


def test_tokens_that_were_added(tmp_path: Path) -> None:
    """Special ones end up as control tokens, others stay text; ids of none are unused."""
    library = byte_level("gpt-2")
    library.add_special_tokens(["<|tool|>"])
    library.add_tokens(["llama"])
    v = with_tokenizer(tmp_path / "m", library, n_vocab=330)
    assert (v.pieces[320], v.kinds[320]) == ("<|tool|>", TokenKind.CONTROL)
    assert (v.pieces[321], v.kinds[321]) == ("llama", TokenKind.USER_DEFINED)
    assert (len(v), v.pieces[322], v.kinds[329]) == (330, "<dummy_322>", TokenKind.UNUSED)
    ours = load_tokenizer(v)
    assert ours.encode("a llama") == library.encode("a llama").ids
    assert 320 not in ours.encode("<|tool|>")


@pytest.mark.parametrize("as_pairs", [False, True])
def test_sentencepiece_in_another_form(tmp_path: Path, as_pairs: bool) -> None:
    v = spm_vocabulary()
    ids = {piece: i for i, piece in enumerate(v.pieces)}
    cuts = [(piece[:k], piece[k:]) for piece in v.pieces[259:] for k in range(1, len(piece))]
    merges = [(left, right) for left, right in cuts if left in ids and right in ids]
    library = Tokenizer(models.BPE(vocab=ids, merges=merges, byte_fallback=True, unk_token=v.pieces[0]))
    library.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
    library.add_special_tokens(["<unk>", "<s>", "</s>"])
    library.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    found = with_tokenizer(tmp_path / "m", library, bos_token=v.pieces[1], eos_token=v.pieces[2])
    if as_pairs:
        data = json.loads(library.to_str())
        data["model"]["merges"] = [list(m) for m in merges]
        (tmp_path / "m/tokenizer.json").write_text(json.dumps(data))
        with open_weights(tmp_path / "m") as weights:
            assert weights.vocabulary == found
    assert (found.model, found.pieces, found.kinds, found.unk_id) == ("spm", v.pieces, v.kinds, 0)
    assert (found.add_bos, found.bos_id, found.eos_id, found.add_space_prefix) == (True, 1, 2, True)
    ours = load_tokenizer(found)
    for text in ("the weather was on and in", "two  spaces", "\u00e9\U0001f999"):
        assert ours.encode(text) == library.encode(text, add_special_tokens=False).ids


def test_tokenizer_model_comes_first(tmp_path: Path) -> None:
    with_tokenizer(tmp_path / "m", byte_level("gpt-2"))
    (tmp_path / "m/tokenizer.model").write_bytes(build_model_proto(spm_vocabulary(320)))
    with open_weights(tmp_path / "m") as weights:
        assert weights.vocabulary is not None
        assert weights.vocabulary.model == "spm"
        assert weights.vocabulary.model_proto
    (tmp_path / "m/tokenizer.model").write_bytes(build_model_proto(spm_vocabulary(310)))  # too small: tokens were added
    with open_weights(tmp_path / "m") as weights:
        assert weights.vocabulary is not None
        assert weights.vocabulary.model == "bpe"
    (tmp_path / "m/tokenizer.json").unlink()
    with open_weights(tmp_path / "m") as weights:
        assert weights.vocabulary is not None
        assert (weights.vocabulary.pieces[310], weights.vocabulary.kinds[310]) == ("<dummy_310>", TokenKind.UNUSED)
        assert load_tokenizer(weights.vocabulary).encode("the")
    (tmp_path / "m/tokenizer.model").write_bytes(build_model_proto(spm_vocabulary(330)))
    with pytest.raises(WeightsError, match=r"tokenizer.model: has 330 tokens where the model has 320"):
        open_weights(tmp_path / "m")


def test_what_ends_a_text_may_be_stated_in_three_places(tmp_path: Path) -> None:
    with_tokenizer(tmp_path / "m", byte_level("gpt-2"))
    (tmp_path / "m/generation_config.json").write_text('{"eos_token_id": [2, 5, 99999, "x"]}')
    with open_weights(tmp_path / "m") as weights:
        assert weights.vocabulary is not None
        assert weights.vocabulary.stop_ids == {0, 2, 5}


def test_tokens_that_are_missing_are_told(tmp_path: Path) -> None:
    v = spm_vocabulary()
    few = {piece: i for i, piece in enumerate(v.pieces[:300])}
    with_tokenizer(tmp_path / "m", byte_level("gpt-2"))
    (tmp_path / "m/tokenizer.json").write_text(
        json.dumps({"model": {"type": "BPE", "byte_fallback": True, "vocab": few, "merges": []}})
    )
    assert "20 of its 320 tokens are unused or missing" in inspect_weights(tmp_path / "m").notes


def test_ids_that_no_token_has_are_told(tmp_path: Path) -> None:
    with_tokenizer(tmp_path / "m", byte_level("gpt-2"))
    config = tmp_path / "m/config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"eos_token_id": [2, 320], "bos_token_id": -1}))
    found = inspect_weights(tmp_path / "m")
    assert [sentence for sentence in found.notes if "outside" in sentence] == [
        "its config.json states the bos_token_id -1, outside its vocabulary of 320: passed over",
        "its config.json states the eos_token_id 320, outside its vocabulary of 320: passed over",
    ]


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{{ x }}", "{{ x }}"),
        ([{"name": "tool_use", "template": "t"}, {"name": "default", "template": "d"}], "d"),
        ([{"name": "tool_use", "template": "t"}], None),
        (5, None),
        ("", None),
    ],
)
def test_chat_templates(tmp_path: Path, template: Any, expected: str | None) -> None:
    with_tokenizer(tmp_path / "m", byte_level("gpt-2"), chat_template=template)
    with open_weights(tmp_path / "m") as weights:
        assert weights.chat_template == expected
    (tmp_path / "m/chat_template.jinja").write_text("{{ of its own }}")
    with open_weights(tmp_path / "m") as weights:
        assert weights.chat_template == "{{ of its own }}"


@pytest.mark.parametrize(
    ("tokenizer", "words"),
    [
        ("[]", "is JSON, but no object"),
        ("{}", "of the kind 'BPE', neither byte-level BPE"),
        ('{"model": {"type": "Unigram"}}', "of the kind 'Unigram'"),
        ('{"model": {"type": "BPE", "byte_fallback": true}}', "has an empty vocabulary"),
        ('{"model": {"type": "BPE", "byte_fallback": true, "vocab": {"a": 320}}}', "a token 'a' with the id '320'"),
        ('{"model": {"type": "BPE", "byte_fallback": true, "vocab": {"a": -1}}}', "a token 'a' with the id '-1'"),
        ('{"model": {"type": "BPE", "byte_fallback": true, "vocab": {"a": 1, "b": 1}}}', "two tokens with the id 1"),
        ('{"model": {"type": "BPE", "byte_fallback": true, "vocab": {"a": 1, "a": 2}}}', "a key twice"),
        ('{"model": {"type": "BPE", "byte_fallback": true, "merges": [5]}}', "no pair of texts"),
        ('{"model": {"type": "BPE", "byte_fallback": true, "merges": 5}}', "no list"),
        ('{"added_tokens": [5], "model": {"byte_fallback": true}}', "no list of tokens"),
        ("[" * 3_000_000, "is JSON of some 3000000 values"),
        ("{" + '"a":1,' * 300_000 + "}", "is JSON of some 300000 keys"),
        ('{"pre_tokenizer":' * 5000 + "1" + "}" * 5000, ""),
    ],
)
def test_tokenizers_that_are_refused(tmp_path: Path, tokenizer: str, words: str) -> None:
    write_huggingface(tmp_path / "m", random_model(TinyShape(n_layers=1)))
    (tmp_path / "m/tokenizer.json").write_text(tokenizer)
    with pytest.raises(WeightsError) as caught:
        open_weights(tmp_path / "m")
    assert caught.value.path == tmp_path / "m/tokenizer.json"
    assert words in caught.value.reason
    (tmp_path / "words").write_bytes(build_model_proto(spm_vocabulary()))
    open_weights(tmp_path / "m", tokenizer=tmp_path / "words").close()  # another may be named in its place


def test_a_tokenizer_json_named_itself(tmp_path: Path) -> None:
    v = with_tokenizer(tmp_path / "m", byte_level("smollm"))
    found = read_vocabulary(tmp_path / "m/tokenizer.json", 320)
    assert (found.pieces, found.merges, found.pre, found.kinds[:1]) == (v.pieces, v.merges, v.pre, v.kinds[:1])


def test_a_vocabulary_as_large_as_llama_3_s(tmp_path: Path) -> None:
    """Written as Llama 3's own file is, it is the vocabulary of the GGUF it was taken from."""
    v = read_vocabulary(shared_model("tokenizers/llama-bpe/ggml-vocab-llama-bpe.gguf"))
    n = 128_000
    split = {"type": "Split", "pattern": {"Regex": LLAMA3}, "behavior": "Isolated", "invert": False}
    cut = {"type": "Sequence", "pretokenizers": [split, {"type": "ByteLevel", "use_regex": False}]}
    template = {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": v.pieces[n], "type_id": 0}}]}
    model = {
        "type": "BPE",
        "vocab": {piece: i for i, piece in enumerate(v.pieces[:n])},
        "merges": [merge.split(" ", 1) for merge in v.merges],
    }
    tokenizer = {
        "added_tokens": [{"id": i, "content": v.pieces[i], "special": True} for i in range(n, len(v))],
        "pre_tokenizer": cut,
        "post_processor": {"type": "Sequence", "processors": [{"type": "ByteLevel"}, template]},
        "model": model,
    }
    (tmp_path / "tokenizer.json").write_text(json.dumps(tokenizer, ensure_ascii=False))
    ends = {"bos_token": v.pieces[128_000], "eos_token": v.pieces[128_001]}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(ends))
    found = read_vocabulary(tmp_path / "tokenizer.json", len(v))
    assert found.pieces == v.pieces
    assert found.merges == v.merges
    assert found.kinds == v.kinds
    assert (found.pre, found.add_bos, found.bos_id, found.eos_id) == ("llama-bpe", True, 128_000, 128_001)
    assert found.stop_ids == v.stop_ids
