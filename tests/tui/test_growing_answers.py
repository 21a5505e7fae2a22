"""Answers while they grow: the rows are those of the whole text, and what is added costs what it is."""

from __future__ import annotations

import random

import pytest
from textual.geometry import Offset, Region
from textual.selection import Selection

from llamachat.tui.answer_text import AnswerText
from llamachat.tui.markdown_document import MarkdownDocument
from llamachat.tui.safe_markdown import SafeParser, displayed
from tests.support.chat_app import open_chat
from tests.tui.test_hostile_text import random_document

Look = tuple[str, list[tuple[int, int, str]], str, str | None]


def look(document: MarkdownDocument) -> list[Look]:
    """Every row with its colours, its background and what joins it to the next."""
    rows = [document.row(y) for y in range(document.height)]
    return [
        (
            row.content.plain,
            sorted((span.start, span.end, str(span.style)) for span in row.content.spans),
            row.background,
            row.glue,
        )
        for row in rows
    ]


def shown(text: str, width: int) -> MarkdownDocument:
    """A text drawn at once."""
    document = MarkdownDocument()
    document.show(text)
    document.set_width(width)
    return document


def words(text: str, width: int = 40) -> list[str]:
    """The rows of a text."""
    return [row[0].rstrip() for row in look(shown(text, width))]


@pytest.mark.parametrize("seed", range(150))
def test_a_text_that_grew_has_the_rows_of_the_whole_text(seed: int) -> None:
    dice = random.Random(seed)
    text, cut = displayed(random_document(dice)), 0
    width = dice.choice([10, 20, 40, 80])
    grown = shown("", width)
    screen: list[Look] = []
    while cut < len(text):
        piece = text[cut : cut + dice.randint(1, 30)]
        cut += len(piece)
        first = grown.add(piece)
        screen[first:] = look(grown)[first:]
        assert screen == look(grown), "rows above the one that was told have changed"
        if dice.random() < 0.1:
            width = dice.choice([10, 20, 40, 80])
            grown.set_width(width)
            screen = look(grown)
    whole = look(shown(text, width))
    assert [row[0] for row in look(grown)] == [row[0] for row in whole]
    grown.show(text)  # as at the end of an answer: colours of code that began in the middle are put right
    assert look(grown) == whole


LONG = {
    "list": ("", "{}. **words** and `code` and more words\n"),
    "table": ("| a | b |\n|---|---|\n", "| {} | some more words |\n"),
    "code": ("```python\nclass A:\n", "    def f_{}(self): return 'text'  # words\n"),
    "paragraphs": ("", "Words {} and **more** words, all in one paragraph.\n\n"),
}


@pytest.mark.parametrize("name", LONG)
def test_what_is_added_is_parsed_and_nothing_above_it(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    begin, line = LONG[name]
    document = shown(begin, 60)
    for number in range(150):
        document.add(line.format(number + 1))
    parsed: list[int] = []
    parse = SafeParser.parse

    def counted(parser: SafeParser, text: str) -> object:
        parsed.append(len(text))
        return parse(parser, text)

    monkeypatch.setattr(SafeParser, "parse", counted)
    height = document.height
    for number in range(150, 160):
        assert document.add(line.format(number + 1)) >= height - 4
        height = document.height
    assert max(parsed, default=0) <= 250


def test_lists_have_their_bullets_numbers_and_empty_rows() -> None:
    assert words("7. one\n8. two\n   - inner\n\n     more\n\n- a\n\n- b\n-\n") == [
        "7. one", "8. two", "   ◦ inner", "", "     more", "", "• a", "", "• b", "•",
    ]  # fmt: skip


def test_quotes_have_a_bar_on_every_row() -> None:
    assert words("> one two three four five six seven eight nine\n>\n> - ten\n") == [
        "▌ one two three four five six seven", "▌ eight nine", "▌", "▌ • ten",
    ]  # fmt: skip


def test_a_table_fits_and_is_aligned() -> None:
    rows = words("| name | n |\n|:--|--:|\n| one | 1 |\n| " + "long words " * 8 + "| 22 |\n", 30)
    assert rows[:3] == [f"{'name':26}{'n':>4}", "─" * 26 + "  ──", f"{'one':26}{'1':>4}"]
    assert rows[3].endswith(" 22")
    assert all(len(row) <= 30 for row in rows)
    assert " ".join(row.removesuffix("22") for row in rows[3:]).split() == ["long", "words"] * 8


def test_long_lines_of_code_go_on_in_the_next_row() -> None:
    code = "x = '" + "日本" * 20 + "e\u0301" * 30 + "'"
    document = shown(f"```python\n{code}\n```", 24)
    rows = [document.row(y) for y in range(document.height)]
    assert all(row.content.cell_length <= 24 for row in rows)
    assert "".join(row.content.plain[row.begin :] for row in rows) == code


async def test_code_has_its_margins_again_on_a_screen_that_was_small() -> None:
    async with open_chat(["```\nfirst\n```\n\n```\nlast\n```"], size=(80, 24)) as chat:
        await chat.ask("go")
        before = chat.lines
        await chat.pilot.resize_terminal(60, 12)
        await chat.pilot.pause()
        assert chat.lines != before
        await chat.pilot.resize_terminal(80, 24)
        await chat.until(lambda: chat.lines == before, "the screen as it was")


def test_what_is_nested_too_deep_is_shown_as_it_is() -> None:
    assert "deep inside" in "\n".join(words(">" * 30 + " deep inside", 60))


async def test_a_copy_has_the_lines_of_the_text_and_not_those_of_the_screen() -> None:
    text = "Words that go on and on, " * 6 + "end.\n\n- item\n\n```\n" + "code " * 30 + "\nlast\n```"
    async with open_chat([text], size=(60, 15)) as chat:
        await chat.ask("go")
        answer = chat.app.chat_screen.query_one(AnswerText)
        copied = answer.get_selection(Selection(None, None))
        assert copied is not None
        assert [line.strip() for line in copied[0].split("\n") if line.strip()] == [
            ("Words that go on and on, " * 6 + "end.").strip(), "• item", ("code " * 30).strip(), "last",
        ]  # fmt: skip
        part = answer.get_selection(Selection(Offset(0, 0), Offset(5, 0)))
        assert part == ("Words", "\n")


async def test_a_selection_is_seen_and_goes_away() -> None:
    async with open_chat(["Some words to select"]) as chat:
        await chat.ask("go")
        row = next(at for at, line in enumerate(chat.lines) if "Some words" in line)
        column = chat.lines[row].index("Some")
        answer = chat.app.chat_screen.query_one(AnswerText)
        plain = answer.render_line(0)
        await chat.pilot.mouse_down(offset=(column, row))
        await chat.pilot.hover(offset=(column + 3, row))
        await chat.pilot.mouse_up(offset=(column + 3, row))
        assert chat.app.screen.get_selected_text() == "Some"
        assert answer.render_line(0) != plain
        chat.app.screen.clear_selection()
        assert answer.render_line(0) == plain


async def test_a_frame_draws_what_a_whole_screen_would() -> None:
    """What is left out because something covers it, or because it is elsewhere, is not missed."""
    text = "# Head\n\n" + "".join(f"{number}. **item** {number} `code`\n" for number in range(1, 31))
    async with open_chat([text], gated=True) as chat:
        await chat.send("go")
        while chat.session.busy:
            chat.engine.release(25)
            await chat.pilot.pause(0.03)
            compositor = chat.app.screen._compositor
            chat.app.chat_screen.query_one("#middle").refresh()
            chat.transcript.views[-1].refresh()
            compositor.update_widgets({chat.app.chat_screen.query_one("#middle"), chat.transcript.views[-1]})
            whole = [strip.text for strip in compositor.render_strips()]
            update = compositor.render_partial_update()
            assert update is not None
            for y, x1, x2 in update.spans:
                cells = {x + at: character for x, strip in update.chops[y].items() if strip is not None
                         for at, character in enumerate(strip.text)}  # fmt: skip
                assert "".join(cells.get(x, "?") for x in range(x1, x2)) == whole[y][x1:x2]
        await chat.settle()
        assert "30. item 30 code" in chat.text


async def test_an_answer_that_is_drawn_after_it_was_removed_is_blank() -> None:
    async with open_chat(["One two three"]) as chat:
        await chat.send("Count")
        await chat.until(lambda: "One two three" in chat.text)
        view = list(chat.app.screen.query(AnswerText))[-1]
        await view.remove()
        assert [strip.text for strip in view.render_lines(Region(0, 0, 9, 2))] == [9 * " "] * 2
