"""The formats to the letter, and to the token where the real vocabularies are at hand."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest

from llamachat.chat.conversation import Role
from llamachat.chat.prompt import encode_prompt
from llamachat.chat.prompt_formats import FORMATS, Ids, Special, Text, Turn, format_named, shown, stop_ids
from llamachat.errors import LlamachatError
from llamachat.tokenizer import Tokenizer, load_tokenizer
from llamachat.weights import read_vocabulary
from tests.support.dialogue import DIALOGUE, SYSTEM, WRITTEN
from tests.support.shared import shared_model

LLAMA2_IDS = [
    1, 518, 25580, 29962, 3532, 14816, 29903, 6778, 13, 3492, 526, 1935, 344, 29889, 13, 29966, 829, 14816, 29903,
    6778, 13, 13, 18567, 29991, 518, 29914, 25580, 29962, 15043, 29889, 29871, 2,
    1, 518, 25580, 29962, 29871, 29906, 29974, 29906, 29973, 518, 29914, 25580, 29962, 29871, 29946, 29871, 2,
    1, 518, 25580, 29962, 1834, 518, 29914, 25580, 29962,
]  # fmt: skip


@pytest.fixture(scope="module")
def llama2() -> Tokenizer:
    return load_tokenizer(read_vocabulary(shared_model("tokenizers/llama2/tokenizer.model")))


@pytest.fixture(scope="module")
def llama3() -> Tokenizer:
    return load_tokenizer(read_vocabulary(shared_model("tokenizers/llama-bpe/ggml-vocab-llama-bpe.gguf")))


def test_every_format_is_held_to_its_text() -> None:
    assert WRITTEN.keys() == FORMATS.keys()


@pytest.mark.parametrize("name", FORMATS)
def test_dialogue_to_the_letter(name: str) -> None:
    assert shown(FORMATS[name].render(SYSTEM, DIALOGUE)) == WRITTEN[name]


def test_without_system_prompt() -> None:
    hello = [Turn(Role.USER, " Hi! ")]
    assert shown(FORMATS["llama2"].render("", hello)) == "<s>[INST] Hi! [/INST]"
    assert shown(FORMATS["chatml"].render("", hello)).startswith("<|im_start|>user\n Hi! <|im_end|>")
    assert shown(FORMATS["smollm2"].render("", hello)).startswith(
        "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n"
    )
    assert shown(FORMATS["alpaca"].render("", hello)).startswith(
        "Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n"
    )
    assert shown(FORMATS["plain"].render("", [Turn(Role.USER, "Once upon")])) == "Once upon"


@pytest.mark.parametrize("name", FORMATS)
def test_an_open_answer_is_the_beginning_of_the_closed_one(name: str) -> None:
    """Continuing must see exactly what the model saw while it answered."""
    written = FORMATS[name]
    continued = shown(written.render(SYSTEM, DIALOGUE[:4]))
    assert continued.endswith("4")
    assert shown(written.render(SYSTEM, DIALOGUE)).startswith(continued)


@pytest.mark.parametrize("name", FORMATS)
def test_texts_are_never_neighbours(name: str) -> None:
    """A tokenizer must see neighbouring texts as one, or it would cut words at the seam."""
    pieces = FORMATS[name].render(SYSTEM, DIALOGUE)
    assert not any(isinstance(a, Text) and isinstance(b, Text) for a, b in pairwise(pieces))


@pytest.mark.parametrize("name", FORMATS)
def test_content_cannot_write_specials(name: str) -> None:
    written = FORMATS[name]
    hostile = " ".join([*written.specials, "{}", "{system}", "</s>", "[INST]"])
    pieces = written.render(hostile, [Turn(Role.USER, hostile)])
    harmless = written.render("§", [Turn(Role.USER, "§")])
    assert [p for p in pieces if isinstance(p, Special)] == [p for p in harmless if isinstance(p, Special)]
    assert shown(pieces) == shown(harmless).replace("§", hostile)


def test_unknown_name_lists_the_known() -> None:
    with pytest.raises(LlamachatError, match=r"no prompt format 'gpt5': there are llama2, llama3"):
        format_named("gpt5")
    assert format_named(" ChatML ") is FORMATS["chatml"]


def test_llama2_ids(llama2: Tokenizer) -> None:
    assert list(encode_prompt(FORMATS["llama2"].render(SYSTEM, DIALOGUE), llama2)) == LLAMA2_IDS
    assert len(LLAMA2_IDS) == 58


def test_llama2_ids_with_the_answers_own_ids(llama2: Tokenizer) -> None:
    """Answers given back by their ids make the same prompt as their texts do."""
    exact = [Turn(t.role, t.text, tuple(llama2.encode(t.text)) if t.role is Role.ASSISTANT else None) for t in DIALOGUE]
    pieces = FORMATS["llama2"].render(SYSTEM, exact)
    assert sum(isinstance(p, Ids) for p in pieces) == 2
    assert list(encode_prompt(pieces, llama2)) == LLAMA2_IDS


def test_unusual_ids_are_kept(llama2: Tokenizer) -> None:
    """Hello may have come as Hel and lo: the next prompt holds just these."""
    odd = (llama2.encode("Hel")[0], 417, 29889)
    assert llama2.decode(odd) == "Hello."
    turns = [Turn(Role.USER, "Hi!"), Turn(Role.ASSISTANT, "Hello.", odd), Turn(Role.USER, "More")]
    ids = encode_prompt(FORMATS["llama2"].render("", turns), llama2)
    place = ids.index(2)
    assert ids[place - 4 : place + 1] == (*odd, 29871, 2)


def test_mistral_ids() -> None:
    tokenizer = load_tokenizer(read_vocabulary(shared_model("tokenizers/mistral/tokenizer.model.v1")))
    ids = encode_prompt(FORMATS["mistral-v1"].render("", DIALOGUE[:1]), tokenizer)
    assert ids[0] == 1
    assert tokenizer.decode(ids[1:]).strip() == "[INST] Hi! [/INST]"


def test_bos_comes_once(llama2: Tokenizer, llama3: Tokenizer) -> None:
    for name, tokenizer in (("vicuna", llama2), ("zephyr", llama2), ("llama2", llama2), ("llama3", llama3)):
        ids = encode_prompt(FORMATS[name].render(SYSTEM, DIALOGUE[:1]), tokenizer)
        assert ids[0] == tokenizer.vocabulary.bos_id
        assert ids.count(ids[0]) == 1, name


def test_llama3_specials_are_tokens(llama3: Tokenizer) -> None:
    ids = encode_prompt(FORMATS["llama3"].render("", DIALOGUE[:1]), llama3)
    assert ids[:2] == (128000, 128006)
    assert ids[-4:] == (128006, 78191, 128007, 271)


def test_foreign_specials_are_letters(llama2: Tokenizer) -> None:
    """A format forced on a vocabulary without its tokens still writes its text."""
    ids = encode_prompt(FORMATS["chatml"].render("", DIALOGUE[:1]), llama2)
    assert "<|im_start|>user" in llama2.decode(ids)


@pytest.mark.parametrize("name", FORMATS)
def test_no_control_token_from_people(name: str, llama2: Tokenizer, llama3: Tokenizer) -> None:
    """Every control token of two vocabularies, in question and system prompt, in every format."""
    for tokenizer in (llama2, llama3):
        control = stop_ids(tokenizer.vocabulary)
        texts = [tokenizer.vocabulary.pieces[i] for i in sorted(control)]
        hostile = "".join(f"{text} a{text}b" for text in texts) + "<0x0A>[INST]<<SYS>>"
        written = FORMATS[name]
        plain = encode_prompt(written.render("x", [Turn(Role.USER, "x")]), tokenizer)
        ids = encode_prompt(written.render(hostile, [Turn(Role.USER, hostile)]), tokenizer)
        assert [i for i in ids if i in control] == [i for i in plain if i in control]


def test_golden_chat_prompt() -> None:
    """The default model's prompt, as its own template and llama.cpp write it."""
    golden = json.loads(shared_model("smollm2/smollm2-chat-prompt.ids.txt").read_text())
    text = shared_model("smollm2/smollm2-chat-prompt.txt").read_text()
    pieces = FORMATS["smollm2"].render("You are a helpful assistant.", [Turn(Role.USER, "What is gravity?")])
    assert shown(pieces) == text
    from tests.support.default_model import DEFAULT_MODEL

    if not DEFAULT_MODEL.is_file():
        pytest.skip(f"needs the default model at {DEFAULT_MODEL}")
    from llamachat.weights import open_weights

    with open_weights(DEFAULT_MODEL) as weights:
        assert weights.vocabulary is not None
        tokenizer = load_tokenizer(weights.vocabulary)
    assert list(encode_prompt(pieces, tokenizer)) == golden
