"""Pastes: whole, whatever is in them and however they arrive; and what of them is kept."""

from __future__ import annotations

import time
from collections.abc import Iterable

import pytest
from textual.events import AppFocus, Key, MouseMove, Paste
from textual.message import Message
from textual.widgets import Input

from llamachat.display import without_sequences
from llamachat.tui.dialogs import ModelFileScreen
from llamachat.tui.terminal_keys import PasteParser, teach_alt_enter, teach_whole_pastes
from tests.support.chat_app import open_chat

START, END = "\x1b[200~", "\x1b[201~"
LOG = "make: error log\n\x1b[31merror:\x1b[0m missing file\nsecond line\n"
HOSTILE = f"a\x1b[0mb\x11c\r\x03\x07\x1b\x1b[201\x1b]0;t\x07 {START}\x1b[201;~\x1b[<0;3;3M\x1b"
MIXED = f"x\x1b[A{START}{HOSTILE}{END}y{START}{LOG}{END}\x1b\r\x11"


def _told(tokens: Iterable[Message]) -> list[str]:
    """Keys by name, pastes as what was pasted."""
    return [
        f"paste {token.text}" if isinstance(token, Paste) else token.key if isinstance(token, Key) else str(token)
        for token in tokens
    ]


EXPECTED = ["x", "up", f"paste {HOSTILE}", "y", f"paste {LOG}", "alt+enter", "ctrl+q"]


@pytest.fixture(autouse=True)
def _alt_enter() -> None:
    teach_alt_enter()


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, len(MIXED)])
def test_a_paste_is_one_event_in_reads_of_any_size(size: int) -> None:
    parser = PasteParser()
    told: list[Message] = []
    for at in range(0, len(MIXED), size):
        told += [*parser.feed(MIXED[at : at + size]), *parser.tick()]
    assert _told(told) == EXPECTED


@pytest.mark.parametrize("at", range(1, len(MIXED)))
def test_a_paste_is_one_event_wherever_it_is_split(at: int) -> None:
    parser = PasteParser()
    assert _told([*parser.feed(MIXED[:at]), *parser.tick(), *parser.feed(MIXED[at:])]) == EXPECTED


def test_a_start_that_comes_in_two_is_waited_for() -> None:
    """Longer than for a key: what comes behind it would run as keys."""
    parser = PasteParser()
    assert not list(parser.feed("\x1b[2"))
    parser._timeout_time = 0.0  # as if Textual's tenth of a second was over
    assert not list(parser.tick())
    assert _told(parser.feed(f"00~a\x11{END}")) == ["paste a\x11"]


def test_escape_alone_is_a_key_still() -> None:
    parser = PasteParser()
    assert not list(parser.feed("\x1b"))
    parser._timeout_time = 0.0
    assert _told(parser.tick()) == ["escape"]
    assert _told(parser.feed("[200~")) == [
        "left_square_bracket", "2", "0", "0", "tilde",
    ]  # fmt: skip


def test_an_empty_paste_is_nothing() -> None:
    """It would delete what is selected."""
    assert _told(PasteParser().feed(f"{START}{END}a")) == ["a"]


def test_a_paste_of_many_megabytes_takes_no_longer_than_its_length() -> None:
    text = "word \x1b[1m" * 300_000
    parser, begun, told = PasteParser(), time.monotonic(), list[str]()
    whole = f"{START}{text}{END}"
    for at in range(0, len(whole), 4096):
        told += _told([*parser.feed(whole[at : at + 4096]), *parser.tick()])
    assert told == [f"paste {text}"]
    assert time.monotonic() - begun < 2


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch) -> PasteParser:
    """A parser for which every tick comes after a second of silence."""
    monkeypatch.setattr(PasteParser, "SILENCE", 0.0)
    return PasteParser()


@pytest.mark.parametrize(
    ("key", "told"),
    [("\x03", "ctrl+c"), ("\r", "enter"), ("\x1b[99;5u", "ctrl+c"), ("\x1b[A", "up"), ("é", "é")],
)
def test_a_key_after_silence_ends_a_paste_that_has_no_end(silent: PasteParser, key: str, told: str) -> None:
    assert not list(silent.feed(f"{START}text\x1b[20"))
    assert _told(silent.tick()) == ["paste text"]
    assert not list(silent.tick())
    assert _told(silent.feed(key))[-1] == told
    assert _told(silent.feed("\x11")) == ["ctrl+q"]


def test_escape_and_the_pointer_end_it_too(silent: PasteParser) -> None:
    assert not list(silent.feed(f"{START}text"))
    assert _told(silent.tick()) == ["paste text"]
    tokens = list(silent.feed("\x1b[<35;4;5M\x1b[<35;5;5M"))
    assert [type(token) for token in tokens] == [MouseMove, MouseMove]
    assert not list(silent.feed(START))
    assert not list(silent.tick())
    assert not list(silent.feed("\x1b"))
    silent._timeout_time = 0.0
    assert _told(silent.tick()) == ["escape"]
    assert [type(token) for token in silent.feed("\x1b[I")] == [AppFocus]


def test_a_paste_that_stopped_for_a_while_goes_on_as_text(silent: PasteParser) -> None:
    assert not list(silent.feed(f"{START}one\r"))
    assert _told(silent.tick()) == ["paste one\r"]
    assert not list(silent.feed("two\r\x11\r"))
    assert _told(silent.tick()) == ["paste two\r\x11\r"]
    assert not list(silent.feed("three\x1b[2"))
    assert _told(silent.tick()) == ["paste three"]
    assert _told(silent.feed("01~\r")) == ["enter"]


def test_what_goes_on_with_a_paste_is_told_from_keys_in_no_time(silent: PasteParser) -> None:
    """Hours, if an ESC could belong to what is before it or to what is behind it."""
    rest = "\x1bO\x1b" * 40 + "text"
    assert not list(silent.feed(f"{START}one"))
    assert _told(silent.tick()) == ["paste one"]
    assert _told(silent.feed(f"{rest}{END}")) == [f"paste {rest}"]


def test_its_end_alone_is_no_key(silent: PasteParser) -> None:
    assert not list(silent.feed(f"{START}one"))
    assert _told([*silent.tick(), *silent.feed(f"{END}x")]) == ["paste one", "x"]


def test_sequences_are_taken_out_of_a_long_text_in_no_time() -> None:
    begun = time.monotonic()
    for hostile in ("\x9d", "\x1b]", "\x1b[0", "\x1b[ ", "\x1bP", "\x1b ", "0"):
        without_sequences("\x1b[" + hostile * 300_000)
    assert time.monotonic() - begun < 3


def test_the_driver_of_a_terminal_reads_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    from textual.drivers import linux_driver

    monkeypatch.setattr(linux_driver, "XTermParser", None)
    assert teach_whole_pastes(linux_driver.LinuxDriver) is linux_driver.LinuxDriver
    assert vars(linux_driver)["XTermParser"] is PasteParser


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        (LOG, "make: error log\nerror: missing file\nsecond line\n"),
        ("\x1b]8;;https://a.b\x1b\\link\x1b]8;;\x1b\\ \x1b]0;title\x07end", "link end"),
        ("\x1b(B\x1b7\x1b[38;2;1;2;3mx\x1b[K\x9b0my", "xy"),
        ("\x1bPq#0\x1b\\sixel", "sixel"),
        ("\x1b]0;no end\nsecond line", "0;no end\nsecond line"),
        ("\x1b[31", "31"),
        ("a [31m b ]8;; \x1b", "a [31m b ]8;; \x1b"),
    ],
)
def test_what_a_terminal_obeys_is_not_text(text: str, seen: str) -> None:
    assert without_sequences(text) == seen


async def test_a_coloured_log_is_pasted_as_it_was_seen() -> None:
    async with open_chat() as chat:
        await chat.paste(LOG + "a\x03\x11\x07")
        assert chat.composer.text == "make: error log\nerror: missing file\nsecond line\na\ufffd\ufffd\ufffd"
        assert chat.path == []
        chat.composer.select_all()
        await chat.paste("\x1b[0m")
        assert chat.composer.text.startswith("make: error log")


async def test_what_is_pasted_into_a_dialog_steers_no_terminal() -> None:
    async with open_chat() as chat:
        chat.app.push_screen(ModelFileScreen())
        await chat.until(lambda: "Open a model file" in chat.text)
        await chat.paste("\x1b[31m/srv/\x1b[0mx\x07.gguf\nrest")
        assert chat.one(Input).value == "/srv/x\ufffd.gguf"


# ---- tabs ---------------------------------------------------------------------

MAKEFILE = "all:\n\tgcc -o x\ty\n\t\t日本\tend"
DRAWN = ["all:", "    gcc -o x    y", "        日本    end"]


async def test_tabs_are_sent_and_kept_as_they_are_and_drawn_alike_everywhere() -> None:
    async with open_chat() as chat:
        await chat.paste(MAKEFILE)
        assert chat.composer.text == MAKEFILE
        for line in DRAWN:
            assert any(line in shown for shown in chat.lines), chat.text
        await chat.until(lambda: chat.session.draft == MAKEFILE)
        await chat.press("enter")
        await chat.until(lambda: chat.path)
        assert chat.path[0].text == MAKEFILE
        await chat.settle()
        begin = next(at for at, shown in enumerate(chat.lines) if DRAWN[0] in shown)
        column = chat.lines[begin].index(DRAWN[0])
        assert [chat.lines[begin + at][column:].startswith(line) for at, line in enumerate(DRAWN)] == [True] * 3
        await chat.press("up")
        assert chat.composer.text == MAKEFILE


async def test_a_message_with_tabs_keeps_them_when_it_is_edited() -> None:
    async with open_chat() as chat:
        await chat.ask(MAKEFILE)
        await chat.press("ctrl+up", "up", "e")
        await chat.until(lambda: chat.composer.text == MAKEFILE)
        await chat.press(*"ing", "enter")
        await chat.until(lambda: chat.path[0].text == MAKEFILE + "ing")


async def test_a_long_paste_keeps_its_tabs_behind_its_label() -> None:
    async with open_chat(n_ctx=100_000) as chat:
        await chat.paste("a\tb\n" * 3000)
        assert chat.composer.text == "[pasted #1: 12,000 characters, 3,001 lines]"
        await chat.press("enter")
        await chat.until(lambda: chat.path)
        assert chat.path[0].text == ("a\tb\n" * 3000).rstrip()


async def test_the_cursor_goes_over_a_tab_as_over_one_letter() -> None:
    async with open_chat() as chat:
        await chat.paste("\tab\tc\n12345678")
        await chat.press("up", "home", "home", "right", "right")
        assert chat.composer.cursor_location == (0, 2)
        await chat.press("down")
        assert chat.composer.cursor_location == (1, 5)
        await chat.press("up", "backspace", "backspace")
        assert chat.composer.text == "b\tc\n12345678"
        await chat.press("ctrl+z")
        assert chat.composer.text == "\tab\tc\n12345678"
