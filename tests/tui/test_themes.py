"""Themes as files: those that come along are readable; a broken one of the user's is a notice, not a crash."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from textual.color import Color

from llamachat import paths
from llamachat.errors import FileError
from llamachat.tui.themes import CODE_COLORS, COLORS, ThemeColors, ThemeShelf, load_folder, parse_theme
from tests.support.chat_app import open_chat

GOOD = "dark = true\n[colors]\n" + "\n".join(f'{name} = "#10203{at}"' for at, name in enumerate(COLORS))


def contrast(one: str, other: str) -> float:
    """The contrast ratio of WCAG 2.1, 1 to 21."""

    def luminance(color: str) -> float:
        channels = [value / 255 for value in Color.parse(color).rgb]
        red, green, blue = (c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_four_themes_come_along_two_dark_one_light_one_of_high_contrast() -> None:
    themes, notices = load_folder(paths.shipped_themes())
    assert notices == []
    assert {theme.name: theme.dark for theme in themes} == {
        "contrast": True,
        "dusk": True,
        "moss": True,
        "paper": False,
    }


@pytest.mark.parametrize("theme", load_folder(paths.shipped_themes())[0], ids=lambda theme: theme.name)
def test_their_text_can_be_read_everywhere(theme: ThemeColors) -> None:
    high = theme.name == "contrast"
    for ground in ("background", "pane", "raised"):
        for name, least in (
            ("text", 9.0),
            ("soft", 5.0),
            ("faint", 3.0),
            ("accent", 4.0),
            ("error", 4.0),
            ("warning", 4.0),
        ):
            ratio = contrast(theme.colors[name], theme.colors[ground])
            assert ratio >= (7.0 if high else least), f"{name} on {ground}: {ratio:.1f}"
    for name in CODE_COLORS:
        assert contrast(theme.code[name], theme.colors["pane"]) >= 3.0


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("dark = [", "is no TOML"),
        ("dark = 1" + "0" * 5000, "is no TOML"),
        ("dark = " + "[" * 5000, "is no TOML"),
        ("", "'dark' must be true or false"),
        ("dark = true", "no [colors] table"),
        (GOOD.replace("text", "txet"), "unknown colour 'txet' in [colors]; 'text' is missing"),
        (GOOD.replace('"#102033"', '"red"'), "'text' must look like"),
        (GOOD.replace('"#102033"', "3"), "'text' must look like"),
        (GOOD + "\n[code]\nloop = 1", "unknown colour 'loop' in [code]"),
        ("name = 'x'\n" + GOOD, "unknown entry 'name'"),
        (GOOD.replace("dark = true", 'dark = "\\u001b[2J"'), "'dark' must be true or false"),
    ],
)
def test_what_is_wrong_is_said(text: str, reason: str) -> None:
    with pytest.raises(FileError) as caught:
        parse_theme("mine", text, "mine.toml")
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "\x1b" not in str(caught.value)


def test_everything_wrong_is_said_at_once() -> None:
    with pytest.raises(FileError) as caught:
        parse_theme("My Theme!", "dark = 1\n[colors]\ntext = 'blue'", "x.toml")
    for part in ("a-z, 0-9", "'dark'", "'text' must", "'accent' is missing"):
        assert part in str(caught.value)


def test_a_folder_with_anything_in_it(tmp_path: Path) -> None:
    (tmp_path / "good.toml").write_text(GOOD)
    (tmp_path / "bad.toml").write_text("dark = 7")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "huge.toml").write_text("#" * 100_000)
    (tmp_path / "folder.toml").mkdir()
    (tmp_path / "readme.txt").write_text("not a theme")
    os.mkfifo(tmp_path / "pipe.toml")
    (tmp_path / "dangling.toml").symlink_to(tmp_path / "nowhere")
    themes, notices = load_folder(tmp_path)
    assert [theme.name for theme in themes] == ["good"]
    assert len(notices) == 6
    assert all("\n" not in notice for notice in notices)


def test_no_folder_is_no_notice(tmp_path: Path) -> None:
    shelf = ThemeShelf(paths.shipped_themes(), tmp_path / "none")
    assert shelf.notices == []
    assert shelf.names()[0] == "dusk"


async def test_themes_change_live_and_the_users_own_are_among_them(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(GOOD)
    async with open_chat(app_options={"user_themes": tmp_path, "theme": "moss"}) as chat:
        screen = chat.app.chat_screen
        assert chat.app.theme == "moss"
        before = screen.styles.background
        await chat.send("/theme paper")
        await chat.until(lambda: screen.styles.background != before)
        assert screen.styles.background == Color.parse("#fbf9f5")
        await chat.send("/theme mine")
        await chat.until(lambda: screen.styles.background == Color.parse("#102030"))
        (tmp_path / "mine.toml").write_text(GOOD.replace("#102030", "#304050"))
        await chat.send("/theme mine")  # read again
        await chat.until(lambda: screen.styles.background == Color.parse("#304050"))
        await chat.send("/theme nothing")
        await chat.until(lambda: "nothing" in chat.trouble)
        assert chat.app.theme == "mine"


async def test_every_theme_draws_an_answer() -> None:
    async with open_chat(["# Head\n\n`code`\n\n```python\nx = 1\n```\n\n> quote\n\n|a|b|\n|-|-|\n|c|d|"]) as chat:
        await chat.ask("draw")
        for name in chat.app.shelf_of_themes.names():
            chat.app.set_theme(name)
            await chat.pilot.pause()
            assert "x = 1" in chat.text


async def test_a_broken_theme_is_a_notice(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text("dark = 7")
    async with open_chat(app_options={"user_themes": tmp_path}) as chat:
        await chat.until(lambda: "mine.toml" in chat.trouble)
        assert "theme not used" in chat.trouble
        assert "mine" not in chat.app.shelf_of_themes.themes


async def test_an_unknown_theme_falls_back_and_says_so() -> None:
    async with open_chat(app_options={"theme": "nope"}) as chat:
        await chat.until(lambda: "no theme 'nope'" in chat.trouble)
        assert chat.app.theme == "dusk"


async def test_no_color_is_respected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    async with open_chat() as chat:
        await chat.ask("question")
        assert chat.app.no_color
        grey = {
            color.triplet
            for strip in chat.app.screen._compositor.render_strips()
            for segment in strip.apply_filter(chat.app._filters[-1], Color(0, 0, 0))
            if segment.style is not None and (color := segment.style.color) is not None
        }
        assert all(triplet is None or triplet.red == triplet.green == triplet.blue for triplet in grey)


async def test_without_color_everything_is_grey(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    async with open_chat(["Look:\n\n```python\nx = 'one'\n```\n\nDone."]) as chat:
        await chat.send("Show")
        await chat.until(lambda: "Done." in chat.text and "ready" in chat.status)
        styles = [segment.style for strip in chat.app.screen._compositor.render_strips() for segment in strip]
        colors = [color for style in styles if style for color in (style.color, style.bgcolor) if color is not None]
        triplets = {color.triplet for color in colors if color.triplet is not None}
        assert len(triplets) > 3
        assert [triplet for triplet in triplets if len(set(triplet)) > 1] == []


async def test_the_theme_chosen_last_is_there_again() -> None:
    chosen: list[str] = []
    async with open_chat(app_options={"on_theme": chosen.append}) as chat:
        await chat.send("/theme paper")
        await chat.until(lambda: chat.app.theme == "paper")
    assert chosen == ["paper"]
    async with open_chat(app_options={"last_theme": "paper", "on_theme": chosen.append}) as chat:
        assert chat.app.theme == "paper"
    async with open_chat(app_options={"last_theme": "paper", "theme": "moss", "on_theme": chosen.append}) as chat:
        assert chat.app.theme == "moss"
    async with open_chat(app_options={"last_theme": "of yesterday"}) as chat:
        assert chat.app.theme == "dusk"
        assert chat.trouble == ""
    assert chosen == ["paper"]
