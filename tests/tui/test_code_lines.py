"""Code blocks while they grow: what is drawn, what is coloured, what is parsed."""

from __future__ import annotations

import random

import pytest
from textual.geometry import Offset
from textual.selection import Selection

from llamachat.tui.answer_text import AnswerText
from llamachat.tui.code_lines import MAX_HIGHLIGHT, ColouredCode
from llamachat.tui.markdown_rows import Code
from llamachat.tui.safe_markdown import SafeParser
from tests.support.chat_app import Chat, open_chat

CODE = '''\
import os

class Bank:
    """Keeps money.

    for nobody in particular
    """

    def __init__(self, owner: str = "nobody") -> None:  # makes one
        self.owner = owner
        self.money = 0.5

    def report(self):
        return f"{self.owner} has {self.money}"


def main():
\tbank = Bank()
\tprint(bank.report(), """a text
of def two lines""")


if __name__ == "__main__":
    main()
'''


SCRIPT = """\
/* of no
   use */
const names = ["a", 'b'];

function greet(name) {
  // says it
  return `hello
to ${name}` + 1.5;
}

names.forEach((name) => {
  console.log(greet(name));
});
"""


def looks(coloured: ColouredCode) -> list[tuple[str, list[tuple[int, int, str]]]]:
    """Every line with its colours."""
    return [
        (line.plain, sorted((span.start, span.end, str(span.style)) for span in line.spans)) for line in coloured.lines
    ]


@pytest.mark.parametrize(
    ("language", "code"), [("python", CODE), ("javascript", SCRIPT), ("no such language", CODE), ("", CODE)]
)
def test_code_that_grew_looks_like_code_drawn_at_once(language: str, code: str) -> None:
    dice = random.Random(5)
    whole = ColouredCode(language)
    whole.show(code)
    for _ in range(10):
        grown, cut = ColouredCode(language), 0
        while cut < len(code):
            cut += dice.randint(1, 40)
            grown.show(code[:cut])
        assert looks(grown) == looks(whole)
    assert [line.plain for line in whole.lines] == code.expandtabs().split("\n")


def test_only_the_end_of_growing_code_is_coloured_again(monkeypatch: pytest.MonkeyPatch) -> None:
    import llamachat.tui.code_lines as module

    lengths: list[int] = []
    highlight = vars(module)["highlight"]

    def counted(code, **how):
        lengths.append(len(code))
        return highlight(code, **how)

    monkeypatch.setattr(module, "highlight", counted)
    coloured, code = ColouredCode("python"), ""
    for number in range(100):
        code += f"def function_{number}(x):\n    return x + {number}\n"
        coloured.show(code)
    assert max(lengths) < 200
    assert len(coloured.lines) == 201


def test_other_code_is_taken_over_from_where_it_differs() -> None:
    coloured = ColouredCode("python")
    coloured.show("a = 1\nb = 2\nc = 3")
    assert coloured.show("a = 1\nb = 2\nc = 34") == 2
    assert coloured.show("x = 1\nb = 2") == 0
    assert [line.plain for line in coloured.lines] == ["x = 1", "b = 2"]


def test_very_long_code_has_no_colours() -> None:
    coloured = ColouredCode("python")
    coloured.show("x = 1\n" * 10)
    assert any(line.spans for line in coloured.lines)
    coloured.show("x = 1\n" * MAX_HIGHLIGHT)
    assert not any(line.spans for line in coloured.lines)


def code_of(chat: Chat) -> list[str]:
    """The code blocks of the answer that is drawn."""
    document = chat.app.chat_screen.query(AnswerText).last().document
    return [piece.code for piece in document.pieces if isinstance(piece, Code)]


async def grow_all(chat: Chat) -> None:
    """Lets the gated engine say everything, a few tokens at a time."""
    while chat.session.busy:
        chat.engine.release(3)
        await chat.pilot.pause(0.02)
    await chat.settle()


async def test_inside_an_open_block_nothing_is_parsed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    code = "\n".join(f"value_{number} = {number} + {number}" for number in range(60))
    async with open_chat([f"Look:\n\n```python\n{code}\n```\n\nThat was **all**."], gated=True) as chat:
        parsed: list[str] = []
        parse = SafeParser.parse

        def counted(parser, text):
            parsed.append(text)
            return parse(parser, text)

        monkeypatch.setattr(SafeParser, "parse", counted)
        await chat.send("code?")
        chat.engine.release(30)
        await chat.until(lambda: "value_2" in chat.text, "the block's beginning")
        before = len(parsed)
        chat.engine.release(150)
        await chat.until(lambda: "value_20" in chat.text, "more of the block")
        assert len(parsed) == before
        await grow_all(chat)
        assert code_of(chat) == [code]
        assert "That was all." in chat.text


async def test_a_block_ends_where_its_text_ends_it() -> None:
    answer = "~~~~ text\na\n~~~\n``` no end\n~~~~\n\nafter\n\n```\nx\n``` \nlast"
    async with open_chat([answer], gated=True) as chat:
        await chat.send("go")
        while chat.session.busy:
            chat.engine.release(1)
            await chat.pilot.pause(0.02)
        await chat.settle()
        assert code_of(chat) == ["a\n~~~\n``` no end", "x"]
        assert "after" in chat.text
        assert "last" in chat.text


async def test_an_open_block_ends_before_the_answer_does() -> None:
    """What comes after the block is no code, also before the whole text is drawn anew."""
    # The end is further away than a slow machine gets before it draws.
    script = "```python\nx = 1\ny = 2\n```\n\nwords after and more words, which go on" + " and on" * 5000
    async with open_chat([script], gated=True) as chat:
        await chat.send("go")
        while "and more" not in chat.text:
            chat.engine.release(1)
            await chat.pilot.pause(0.02)
        assert chat.session.busy
        assert code_of(chat) == ["x = 1\ny = 2"]
        assert chat.app.chat_screen.query_one(AnswerText).document.ends_in_words


async def test_code_can_be_selected_with_the_mouse() -> None:
    async with open_chat(["```python\nfirst = 1\nsecond = 2\n```"]) as chat:
        await chat.ask("code?")
        row = next(at for at, line in enumerate(chat.lines) if "first = 1" in line)
        column = chat.lines[row].index("first")
        await chat.pilot.mouse_down(offset=(column + 2, row))
        await chat.pilot.hover(offset=(column + 6, row + 1))
        await chat.pilot.mouse_up(offset=(column + 6, row + 1))
        assert chat.app.screen.get_selected_text() == "rst = 1\nsecond "
        answer = chat.app.chat_screen.query_one(AnswerText)
        assert answer.get_selection(Selection(Offset(0, 2), Offset(8, 2))) == ("second", "\n")


async def test_a_growing_answer_lays_the_screen_out_once_a_frame() -> None:
    lines = "".join(f"value_{number} = {number}\n" for number in range(12))
    async with open_chat([f"```python\n{lines}" + "end\n" * 20], gated=True) as chat:
        await chat.send("go")
        chat.engine.release(12)
        await chat.until(lambda: "value_1" in chat.text, "the beginning")
        await chat.pilot.pause(0.1)
        screen = chat.app.chat_screen
        layouts: list[object] = []
        screen.screen_layout_refresh_signal.subscribe(screen, layouts.append, immediate=True)
        view = chat.transcript.views[-1]
        view.message.text += "grown = 1\n" * 9
        view.grow()
        await chat.until(lambda: "grown" in chat.text, "more lines")
        await chat.pilot.pause(0.1)
        assert len(layouts) == 1
        view.message.text += "spare = 1\n" * 2  # there are rows for these
        view.grow()
        await chat.until(lambda: "spare" in chat.text, "two lines more")
        await chat.pilot.pause(0.1)
        assert len(layouts) == 1


async def test_a_costly_frame_puts_the_next_one_off() -> None:
    async with open_chat(["one two three four five six"], gated=True) as chat:
        await chat.send("go")
        chat.engine.release(5)
        await chat.until(lambda: "one" in chat.text, "the first word")
        screen = chat.app.chat_screen
        await chat.pilot.pause(0.1)
        screen._pace(begun := screen._not_before + 1000.0, 0.0)  # a frame that took all of the thread's time until now
        assert screen._not_before > begun
        before = chat.text
        chat.engine.release(3)
        await chat.pilot.pause(0.2)
        assert chat.text == before
        screen._not_before = 0.0
        await chat.until(lambda: "four" in chat.text, "the rest")
