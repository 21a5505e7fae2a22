"""Lines broken between words, however the text comes."""

from __future__ import annotations

import random

import pytest

from llamachat.cli.word_wrap import WordWrap


def wrapped(text: str, columns: int, *, pieces: random.Random | None = None) -> str:
    """``text`` wrapped, fed whole or in random pieces."""
    wrap = WordWrap(lambda: columns)
    out, rest = "", text
    while rest:
        n = pieces.randint(1, 5) if pieces else len(rest)
        out += wrap.feed(rest[:n])
        rest = rest[n:]
    return out + wrap.end()


CASES = {
    "fits": ("one two", 20, "one two"),
    "exactly": ("four five", 9, "four five"),
    "one too many": ("four five", 8, "four\nfive"),
    "long word": ("a " + "x" * 12 + " b", 8, "a\n" + "x" * 12 + "\nb"),
    "lines stay": ("one\n\n  two three", 9, "one\n\n  two\nthree"),
    "wide letters": ("ab 漢字漢字漢字", 8, "ab 漢字\n漢字漢字"),
    "accents take no room": ("e\u0301e\u0301e\u0301 e\u0301", 5, "e\u0301e\u0301e\u0301 e\u0301"),
    "code stays": (
        "so:\n```py\nprint('a long line')\n```\nand so on",
        8,
        "so:\n```py\nprint('a long line')\n```\nand so\non",
    ),
    "a longer fence": ("````\n``` a b c d\n````\na b c", 4, "````\n``` a b c d\n````\na b\nc"),
}


@pytest.mark.parametrize(("text", "columns", "expected"), CASES.values(), ids=CASES)
def test_lines_break_between_words(text: str, columns: int, expected: str) -> None:
    assert wrapped(text, columns) == expected
    for seed in range(20):
        assert wrapped(text, columns, pieces=random.Random(seed)) == expected


def test_nothing_but_spaces_at_a_break_is_lost() -> None:
    rng = random.Random(1)
    for _ in range(200):
        text = "".join(rng.choice(["word", "a", " ", " ", "\n", "```", "漢", ",", "\t"]) for _ in range(60))
        shown = wrapped(text, 12, pieces=rng)
        assert "".join(shown.split()) == "".join(text.split())
        assert shown.count("\n") >= text.count("\n")
