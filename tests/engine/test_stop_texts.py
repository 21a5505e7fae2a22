import random

import pytest

from llamachat.engine.stop_texts import StopTexts


@pytest.mark.parametrize("seed", range(50))
def test_however_the_text_is_cut_the_same_is_shown(seed):
    rng = random.Random(seed)
    stops = ("\n### ", "##!", "STOP")
    text = "".join(rng.choice(["#", "\n", " ", "!", "S", "TO", "P", "x", "\n### "]) for _ in range(40))
    ends = [i for stop in stops if (i := text.find(stop)) >= 0]
    expected = text[: min(ends)] if ends else text
    finder = StopTexts(stops)
    shown, rest = "", text
    while rest:
        n = rng.randint(1, 4)
        shown += finder.push(rest[:n])
        rest = rest[n:]
    shown += finder.flush()
    assert shown == expected
    assert finder.found == bool(ends)


def test_without_stop_texts_nothing_is_held_back():
    finder = StopTexts(())
    assert finder.push("\n##") == "\n##"
    assert finder.flush() == ""


def test_nothing_is_shown_after_the_stop():
    finder = StopTexts(("END",))
    assert finder.push("abcENDdef") == "abc"
    assert finder.push("more") == ""
    assert finder.flush() == ""
