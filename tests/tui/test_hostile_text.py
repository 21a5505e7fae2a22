"""Text that would steer the terminal, break the markup or choke the Markdown: it is shown, and nothing else happens."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest
from textual.app import App, ComposeResult
from textual.containers import VerticalScroll

from llamachat.chat.conversation import Conversation
from llamachat.chat.store import SessionStore
from llamachat.tui.answer_text import AnswerText
from llamachat.tui.markdown_document import MarkdownDocument
from llamachat.tui.safe_markdown import MAX_BLOCKS, displayed
from tests.support.chat_app import Chat, open_chat

STEERING = re.compile("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ufeff\U000e0000-\U000e007f]")

HOSTILE = {
    "clipboard": "\x1b]52;c;aGFja2Vk\x07",
    "title": "\x1b]0;owned\x07\x1b]8;;http://evil\x1b\\link\x1b]8;;\x1b\\",
    "clear": "\x1b[2J\x1b[H\x1bc",
    "c1": "\x9b31mred\x9d52;c;x\x9c",
    "bidi": "abc \u202e txt.exe \u2066x\u2069",
    "tags": "a\U000e0041\U000e007fb\ufeffc",
    "nul": "a\x00b\x7fc\x08d\x0ce\x0bf",
    "surrogate": "lone \ud800 half",
    "separators": "a\u2028b\u2029c\x85d",
    "markup": "[/nope] [bold]x[/] [@click=app.quit]quit[/] [link=file:///etc/passwd]y[/link] [[a]] \\[",
    "html": "<script>alert(1)</script> <b>bold</b> &#27;[31m &#x1b;",
    "css": "$accent {color: red} #id .class",
}


def assert_tame(chat: Chat) -> None:
    """Nothing on the screen steers a terminal: Textual writes a strip's text as it is."""
    for strip in chat.app.screen._compositor.render_strips():
        for segment in strip:
            assert not STEERING.search(segment.text), ascii(segment.text)
            if segment.style is not None:
                assert segment.style.link is None
    assert chat.app.is_running


async def test_in_questions_answers_titles_and_drafts() -> None:
    async with open_chat([f"{text} ANSWERED" for text in HOSTILE.values()]) as chat:
        for text in HOSTILE.values():
            chat.session.send(text + " ASKED")
            await chat.app.chat_screen.after_operation()
            await chat.settle()
            assert "ASKED" in chat.text
            assert "ANSWERED" in chat.text
            chat.session.rename(chat.session.conversation.id, text + " TITLE")
            chat.session.save_draft(text + " DRAFT")
            await chat.app.chat_screen.show_conversation()
            chat.app.chat_screen.refresh_sessions()
            await chat.paste(text + " PASTED")
            assert "PASTED" in chat.composer.text
            assert_tame(chat)
            await chat.press("ctrl+p")
            assert "Start an empty chat" in chat.text
            assert_tame(chat)
            await chat.press("escape", "ctrl+up", "e")
            assert_tame(chat)
            await chat.press("escape", "ctrl+n")
            await chat.until(lambda: not chat.path)


async def test_in_errors_notices_and_dialogs() -> None:
    async with open_chat() as chat:
        face = chat.app.chat_screen.face
        for text in HOSTILE.values():
            chat.app.chat_screen.say_error(text + " ERROR")
            chat.app.chat_screen.flash(text + " FLASH")
            await chat.pilot.pause()
            assert "ERROR" in chat.text
            assert_tame(chat)
        for text in (HOSTILE["clipboard"], HOSTILE["markup"], HOSTILE["surrogate"]):
            face.say(text + "\nsecond line")
            await chat.pilot.pause()
            assert "second line" in chat.text
            assert_tame(chat)
            await chat.press("escape")
            face.confirm(text, lambda: None)
            await chat.pilot.pause()
            assert_tame(chat)
            await chat.press("escape")
            face.edit_text(text, text, lambda _: None)
            await chat.pilot.pause()
            assert_tame(chat)
            await chat.press("escape")


@pytest.mark.parametrize("name", ["clipboard", "markup", "surrogate"])
async def test_in_model_names_and_failed_loads(name: str) -> None:
    text = HOSTILE[name]
    async with open_chat(name=text + "model", loaded=False, load_error=text + " BROKEN") as chat:
        await chat.until(lambda: "BROKEN" in chat.text)
        assert_tame(chat)
    async with open_chat(name=text + "model") as chat:
        assert_tame(chat)
        await chat.ask("question")
        assert_tame(chat)


async def test_markup_is_shown_as_it_is() -> None:
    markup = "[/nope] [@click=app.quit]quit[/]"
    async with open_chat([markup]) as chat:
        await chat.ask(markup)
        assert chat.text.count(markup) >= 2
        chat.session.rename(chat.session.conversation.id, markup)
        chat.app.chat_screen.refresh_sessions()
        await chat.pilot.pause()
        assert "[/nope] [@click=app" in chat.text
        row = next(at for at, line in enumerate(chat.lines) if markup in line)
        await chat.pilot.click(offset=(chat.lines[row].index("quit"), row))
        assert chat.app.is_running


async def test_a_sequence_split_over_tokens_stays_tame() -> None:
    parts = ["\x1b", "]52;", "c;aGk=", "\x07", " the end"]
    async with open_chat(["".join(parts)], gated=True) as chat:
        await chat.send("go")
        for _ in range(20):
            chat.engine.release(1)
            await chat.pilot.pause(0.02)
            assert_tame(chat)
        await chat.settle()
        assert "the end" in chat.text


async def test_html_shows_as_letters_and_images_as_words() -> None:
    async with open_chat(["<div>kept</div> and <b>this</b> ![a cat](http://x/cat.png)"]) as chat:
        await chat.ask("html?")
        assert "<div>kept</div>" in chat.text
        assert "<b>this</b>" in chat.text
        assert "[image: a cat]" in chat.text


# ---- links ----------------------------------------------------------------------


async def test_a_link_is_opened_only_after_asking(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    async with open_chat(["[good](https://example.org/x) done"]) as chat:
        monkeypatch.setattr(chat.app, "open_url", lambda url, **_: opened.append(url))
        await chat.ask("link?")
        row = next(at for at, line in enumerate(chat.lines) if "good done" in line)
        place = (chat.lines[row].index("good"), row)
        await chat.pilot.click(offset=place)
        await chat.until(lambda: "Open this link?" in chat.text)
        assert "https://example.org/x" in chat.text
        await chat.press("n")
        assert opened == []
        await chat.pilot.click(offset=place)
        await chat.until(lambda: "Open this link?" in chat.text)
        await chat.press("y")
        await chat.until(lambda: opened == ["https://example.org/x"])


async def test_other_links_are_never_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    async with open_chat() as chat:
        monkeypatch.setattr(chat.app, "open_url", lambda url, **_: opened.append(url))
        for url in (
            "javascript:alert(1)",
            "file:///etc/passwd",
            "data:text/html,x",
            "ssh://x",
            "/x",
            "http://[x",
            "\x1b]0;",
        ):
            chat.app.chat_screen.face.open_link(url)
            await chat.press("y")
            assert opened == []
            assert "Not opened" in chat.trouble
            assert_tame(chat)


# ---- Markdown that is a bomb ------------------------------------------------------

BOMBS = {
    "quotes": ">" * 10_000 + " x",
    "nested quotes": "> " * 10_000 + "x",
    "nested lists": "\n".join("  " * depth + "- a" for depth in range(400)),
    "list": "- a\n" * 10_000,
    "paragraphs": "a\n\n" * 10_000,
    "line": "x" * 1_000_000,
    "words": "word " * 200_000,
    "table": "|" + "a|" * 10_000 + "\n|" + "-|" * 10_000 + "\n|" + "b|" * 10_000,
    "rows": "|a|b|\n|-|-|\n" + "|c|d|\n" * 5_000,
    "ticks": "`" * 100_000,
    "stars": "*" * 10_000 + "a" + "*" * 10_000,
    "brackets": "[" * 15_000,
    "links": "[a](b" * 3_000,
    "headings": "# a\n" * 5_000,
    "fence": "```python\n" + "x = 1\n" * 10_000 + "```",
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_makes_few_pieces(name: str) -> None:
    document = MarkdownDocument()
    document.show(displayed(BOMBS[name]))
    document.set_width(80)
    assert len(document.pieces) <= MAX_BLOCKS
    assert 0 < document.height <= 25_000


async def test_bombs_are_shown_and_the_chat_goes_on() -> None:
    async with open_chat() as chat:
        await chat.ask("make one")
        for bomb in BOMBS.values():
            message = chat.path[-1]
            message.text = bomb
            chat.transcript.views[-1].grow()
            await chat.settle()
            assert_tame(chat)
        await chat.ask("still there?")
        assert "Hello there." in chat.text


class Page(App[None]):
    """An answer on a page of its own."""

    def compose(self) -> ComposeResult:
        with VerticalScroll():
            yield AnswerText("")


def random_document(dice: random.Random) -> str:
    """Markdown with everything in it, whole and broken, and bytes of all kinds."""
    pieces = [
        "# heading\n", "text ", "**bold** ", "*it* ", "`code` ", "\n", "\n\n", "- item\n", "  - inner\n", "1. one\n",
        "> quote\n", "```python\nx = 1\n", "```\n", "| a | b |\n|---|---|\n| c | d |\n", "---\n", "[link](http://x) ",
        "![i](y) ", "<b>", "[/nope]", "***", "~~x~~ ", "\\", "\t", "&amp;", "\x1b[31m", "日本語", "🎉", "é", "[", "]",
        "(", "    indented\n", "===\n", "\r\n", "\u2028", "\ufeff", "\x00", "|", "`",
    ]  # fmt: skip
    text = "".join(dice.choice(pieces) for _ in range(dice.randint(1, 60)))
    if dice.random() < 0.2:
        noise = bytes(dice.randrange(256) for _ in range(dice.randint(1, 200)))
        text += noise.decode("utf-8", "surrogateescape")
    return text


async def test_random_documents_are_drawn_whole_and_grown_alike() -> None:
    """What was appended in random pieces ends as the same blocks as what was drawn at once."""
    dice = random.Random(11)
    app = Page()
    app.get_theme_variable_defaults = dict  # type: ignore[method-assign]
    async with app.run_test(size=(80, 24)) as pilot:
        answer = app.query_one(AnswerText)
        for _ in range(12):
            text = random_document(dice)
            cut = 0
            answer.finish("")
            while cut < len(text):
                cut += dice.randint(1, 30)
                answer.grow(text[:cut])
            answer.finish(text)
            grown = drawn_text(answer)
            fresh = AnswerText(text)
            await app.query_one(VerticalScroll).mount(fresh)
            await pilot.pause()
            assert drawn_text(fresh) == grown, ascii(text)
            await fresh.remove()


def drawn_text(answer: AnswerText) -> list[str]:
    """Every row."""
    document = answer.document
    document.set_width(60)
    return [document.row(y).content.markup for y in range(document.height)]


# ---- stored things -----------------------------------------------------------------


async def test_a_hostile_store_is_shown(tmp_path: Path) -> None:
    store = SessionStore(tmp_path)
    for name, text in HOSTILE.items():
        conversation = Conversation(title=text.encode("utf-8", "replace").decode() + name)
        message = conversation.add_user(text.encode("utf-8", "replace").decode(), parent=None)
        store.save(conversation, message)
    store.close()
    async with open_chat(data=tmp_path) as chat:
        assert_tame(chat)
        await chat.press("ctrl+b")
        for _ in HOSTILE:
            await chat.press("down", "enter")
            await chat.until(lambda: chat.path)
            assert_tame(chat)
            await chat.press("ctrl+b")
