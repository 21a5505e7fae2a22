"""Chats as people read them."""

from __future__ import annotations

import random
import re

import pytest
from markdown_it import MarkdownIt

from llamachat.chat.conversation import Conversation, Status
from llamachat.chat.exchange.readable import as_markdown, as_text, as_titled_text
from tests.support.exchanged_chats import ODD_TEXT, rich_chat


def _chat(*texts: str, title: str = "Tea", system: str = "", model: str = "Tiny") -> Conversation:
    chat = Conversation(title=title, system=system)
    for number, text in enumerate(texts):
        if number % 2 == 0:
            chat.add_user(text, parent=chat.leaf)
        else:
            assert chat.leaf is not None
            answer = chat.add_answer(chat.leaf, model=model)
            answer.text, answer.status = text, Status.COMPLETE
    return chat


def _headings(markdown: str) -> list[str]:
    """The headings of levels 1 and 2 as a reader of Markdown sees them."""
    tokens = MarkdownIt("commonmark").parse(markdown)
    return [
        "".join(part.content for part in tokens[at + 1].children or ())
        for at, token in enumerate(tokens)
        if token.type == "heading_open" and token.tag in ("h1", "h2") and token.level == 0
    ]


def test_who_spoke_and_what() -> None:
    chat = _chat("Which tea?", "Green.\n", "Why?", "  It is\nmild.", system="Be brief.")
    assert as_text(chat) == (
        "System\nBe brief.\n\nYou\nWhich tea?\n\nTiny\nGreen.\n\n\nYou\nWhy?\n\nTiny\n  It is\nmild.\n"
    )
    assert as_titled_text(chat) == "Tea\n===\n\n" + as_text(chat)
    assert as_markdown(chat) == (
        "# Tea\n\n## System\n\nBe brief.\n\n## You\n\nWhich tea?\n\n## Tiny\n\nGreen.\n\n"
        "## You\n\nWhy?\n\n## Tiny\n\n  It is\nmild.\n"
    )


def test_an_empty_chat() -> None:
    assert as_text(Conversation()) == "\n"
    assert as_markdown(Conversation()) == "# New chat\n"


def test_only_the_visible_path_is_there() -> None:
    chat = rich_chat()
    for text in (as_text(chat), as_markdown(chat)):
        assert re.findall(r"answer (\d)|and then (\d)|another", text) == [("2", ""), ("", "2")]


@pytest.mark.parametrize("status", [status for status in Status if status.unfinished])
def test_an_answer_that_was_cut_says_so(status: Status) -> None:
    chat = _chat("q", "half an")
    assert chat.leaf is not None
    chat.leaf.status, chat.leaf.note = status, "no *room*\nleft"
    told = "failed: no *room* left" if status is Status.FAILED else status.value
    assert as_text(chat).endswith(f"half an\n({told})\n")
    assert as_markdown(chat).endswith("half an\n\n*({})*\n".format(told.replace("*", "\\*")))


def test_nothing_in_it_steers_a_terminal() -> None:
    chat = _chat(ODD_TEXT, ODD_TEXT, title=ODD_TEXT, system=ODD_TEXT, model=ODD_TEXT)
    chat.leaf.status, chat.leaf.note = Status.FAILED, ODD_TEXT  # type: ignore[union-attr]
    for text in (as_titled_text(chat), as_markdown(chat)):
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ufeff\U000e0000-\U000e007f]", text)
        assert "🦙" in text
        assert "e\u0301" in text


@pytest.mark.parametrize(
    "title",
    ["C# or F#", "# *x* _y_ `z` [a](b) <b> &amp; ~~t~~ \\", "snake_case _and_ ##", "1. one", "- two", "> three", "==="],
)
def test_titles_and_names_show_as_they_are(title: str) -> None:
    assert _headings(as_markdown(_chat("q", "a", title=title, model=title))) == [title, "You", title]
    assert as_markdown(_chat("q", title="C# and snake_case")).startswith("# C# and snake_case\n")  # nothing escaped


CODE = "Look:\n\n```python\ndef f():\n    return '# no heading'\n\n\n# You\n```\n\n~~~\n```\n~~~\nDone."


def test_code_is_as_it_was() -> None:
    markdown = as_markdown(_chat("q", CODE, "q", CODE))
    assert markdown.count(CODE) == 2
    assert _headings(markdown) == ["Tea", "You", "Tiny", "You", "Tiny"]


@pytest.mark.parametrize(
    "cut",
    [
        "```py\nprint(1)", "````\n```\nx", "~~~~ text\n```", "> ```\n> x", "- ```\n  x", "1. a\n\n   ~~~\n   x",
        "<!-- never closed", "<pre>\nx", "<Script type='a'>\nx", "<style>", "<?php", "<!DOCTYPE x", "<![CDATA[ x",
        "    ```\n    no fence", "a ``` b", "<div>\nx", "<b>bold",
    ],
)  # fmt: skip
def test_what_an_answer_leaves_open_does_not_swallow_the_next_heading(cut: str) -> None:
    markdown = as_markdown(_chat("q", cut, cut, "fine"))
    assert _headings(markdown) == ["Tea", "You", "Tiny", "You", "Tiny"]
    assert markdown.count(cut) == 2


def test_whatever_is_left_open() -> None:
    parts = (
        "```", "~~~", "````py", "\n", "\n\n", " ", "   ", "- ", "1. ", "> ", "<!--", "-->", "<pre>", "</pre>", "<?",
        "?>", "<![CDATA[", "]]>", "<!X", ">", "<script", "</script>", "<div>", "text", "`", "\t", "[x]: ",
    )  # fmt: skip
    for seed in range(1500):
        chosen = random.Random(seed)
        text = "".join(chosen.choice(parts) for _ in range(chosen.randint(1, 14)))
        assert _headings(as_markdown(_chat(text, "end")))[-2:] == ["You", "Tiny"], (seed, text)
