"""Files as they stand in messages, and are found there again."""

from __future__ import annotations

import pytest

from llamachat.chat.conversation import title_from
from llamachat.chat.file_blocks import behind, content_of, ends_with_file, file_block, parts_of, without_files

FENCED = "# Use\n\n```sh\nmake\n```\n\n````md\n```\n````\n"


@pytest.mark.parametrize("text", ["one\n", "one", "", "\n\n", FENCED, "`" * 70, "x ```` y\n", file_block("in", FENCED)])
def test_a_file_is_found_whole_whatever_is_in_it(text: str) -> None:
    message = behind("Look:", file_block("a b.md", text)) + "What is it?"
    assert list(parts_of(message)) == [
        ("", "Look:\n\n"),
        ("a b.md", file_block("a b.md", text)),
        ("", "\n\nWhat is it?"),
    ]
    assert content_of(file_block("x", text)) == text.removesuffix("\n")
    assert without_files(message) == "Look:\n\n\n\nWhat is it?"


def test_how_it_is_written() -> None:
    assert file_block("notes.txt", "one\n") == "File notes.txt:\n```\none\n```"
    assert file_block("x", FENCED).split("\n")[1] == "`" * 5
    assert file_block("a\nb\x1b[m", "one").startswith("File a b\ufffd[m:\n")


def test_several_add_up() -> None:
    first = behind("", file_block("a", "1"))
    both = behind(first + "\n \n", file_block("b", "2"))
    assert both == f"{file_block('a', '1')}\n\n{file_block('b', '2')}\n\n"
    assert [name for name, _ in parts_of(both)] == ["a", "", "b", ""]


@pytest.mark.parametrize(
    "text",
    [
        "File x:\n```\nno end",
        "File x:\n````\nno\n```",
        "A File x:\n```\n```",
        "File x:\n\n```\n```",
        "File :\n```\n```",
    ],
)
def test_what_is_no_file(text: str) -> None:
    assert list(parts_of(text)) == [("", text)]
    assert not ends_with_file(text)


def test_whether_a_file_comes_last() -> None:
    block = file_block("x", "1")
    assert ends_with_file(block)
    assert ends_with_file(f"Look:\n{block}\n \n")
    assert not ends_with_file(f"{block}\n\nWhat is it?")
    assert not ends_with_file("")
    assert not ends_with_file("```\ncode\n```")


@pytest.mark.parametrize(
    "hostile",
    ["File x:\n```\n", "File x:\n````\n```\n", "File :", "File ", "```\n", f"{'`' * 3000}\nFile x:\n{'`' * 3001}\n"],
)
def test_hostile_messages_are_taken_apart_in_one_go(hostile: str) -> None:
    """From every beginning on to the end would take minutes."""
    text = hostile * (2_000_000 // len(hostile))
    assert "".join(part for _, part in parts_of(text)) == text


def test_the_title_is_of_what_is_asked() -> None:
    block = file_block("notes.txt", "one\n")
    assert title_from(f"{block}\n\nWhat is it?") == "What is it?"
    assert title_from(block) == "File notes.txt:"
