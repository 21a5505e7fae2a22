"""Themes as data: read from TOML, checked whole, turned into Textual's themes.

A theme is one accent and two greys on three backgrounds. Whoever writes one gets every mistake told at once.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llamachat.chat.toml_files import parse_toml, read_folder, wrong_name
from llamachat.display import clean_line
from llamachat.errors import FileError

if TYPE_CHECKING:
    from textual.theme import Theme

DEFAULT_THEME = "dusk"

COLORS = ("background", "pane", "raised", "text", "soft", "faint", "accent", "warning", "error")
CODE_COLORS = ("comment", "keyword", "string", "number", "name")

_COLOR = re.compile(r"#[0-9a-fA-F]{6}")


@dataclass(frozen=True, slots=True)
class ThemeColors:
    """One theme as its file says it: colours as ``#rrggbb``, by name."""

    name: str
    dark: bool
    colors: dict[str, str]
    code: dict[str, str]

    def variables(self) -> dict[str, str]:
        """The CSS variables that the style sheets use beyond Textual's own."""
        color = self.colors
        own = {name: color[name] for name in ("pane", "raised", "soft", "faint")}
        code = {f"code-{name}": value for name, value in self.code.items()}
        borrowed = {
            "text": color["text"],
            "text-muted": color["soft"],
            "text-disabled": color["faint"],
            "foreground-muted": color["soft"],
            "foreground-disabled": color["faint"],
            "border": color["accent"],
            "border-blurred": color["raised"],
            "scrollbar": color["raised"],
            "scrollbar-hover": color["faint"],
            "scrollbar-active": color["accent"],
            "scrollbar-background": color["background"],
            "scrollbar-background-hover": color["background"],
            "scrollbar-background-active": color["background"],
            "scrollbar-corner-color": color["background"],
            "input-cursor-background": color["text"],
            "input-cursor-foreground": color["background"],
            "input-selection-background": f"{color['accent']} 30%",
            "screen-selection-background": f"{color['accent']} 30%",
            "link-color": color["accent"],
            "link-color-hover": color["background"],
            "link-background-hover": color["accent"],
            "link-style": "underline",
            "link-style-hover": "none",
            "block-cursor-background": color["raised"],
            "block-cursor-foreground": color["text"],
            "block-cursor-text-style": "none",
        }
        return {**own, **code, **borrowed}

    def to_textual(self) -> Theme:
        """The theme in Textual's terms."""
        from textual.theme import Theme

        color = self.colors
        return Theme(
            name=self.name,
            dark=self.dark,
            primary=color["accent"],
            secondary=color["soft"],
            accent=color["accent"],
            success=color["accent"],
            warning=color["warning"],
            error=color["error"],
            foreground=color["text"],
            background=color["background"],
            surface=color["raised"],
            panel=color["pane"],
            variables=self.variables(),
        )


def parse_theme(name: str, text: str, path: str | Path) -> ThemeColors:
    """The theme in ``text``; ``FileError`` lists everything that is wrong with it."""
    table = parse_toml(text, path)
    wrong = wrong_name(name)
    dark = table.get("dark")
    if not isinstance(dark, bool):
        wrong.append("'dark' must be true or false")
    colors = _colors(table.get("colors"), "colors", COLORS, wrong)
    code = _colors(table.get("code", {}), "code", CODE_COLORS, wrong, optional=True)
    wrong += [f"unknown entry {clean_line(key, 30)!r}" for key in table if key not in ("dark", "colors", "code")]
    if wrong:
        raise FileError(path, "theme not used: " + "; ".join(wrong))
    fallback = {"comment": "faint", "keyword": "accent", "string": "soft", "number": "accent", "name": "text"}
    return ThemeColors(name, bool(dark), colors, {key: code.get(key, colors[fallback[key]]) for key in CODE_COLORS})


def _colors(
    table: Any, title: str, names: Iterable[str], wrong: list[str], *, optional: bool = False
) -> dict[str, str]:
    if not isinstance(table, dict):
        wrong.append(f"no [{title}] table")
        return {}
    known = tuple(names)
    wrong += [f"unknown colour {clean_line(key, 30)!r} in [{title}]" for key in table if key not in known]
    found: dict[str, str] = {}
    for name in known:
        value = table.get(name)
        if value is None and optional:
            continue
        if value is None:
            wrong.append(f"'{name}' is missing from [{title}]")
        elif not isinstance(value, str) or not _COLOR.fullmatch(value):
            wrong.append(f"'{name}' must look like \"#1a2b3c\"")
        else:
            found[name] = value.lower()
    return found


def load_folder(folder: Traversable | Path) -> tuple[list[ThemeColors], list[str]]:
    """Every theme in a folder, sorted by name, and one sentence for each file that is not used."""
    themes, failed = read_folder(folder, parse_theme)
    return list(themes.values()), [clean_line(str(error), 300) for error in failed.values()]


class ThemeShelf:
    """The shipped themes, and the user's own, which come first where the names are equal."""

    def __init__(self, shipped: Traversable | Path, own: Path | None) -> None:
        self._shipped = shipped
        self._own = own
        self.themes: dict[str, ThemeColors] = {}
        self.notices: list[str] = []
        self.reload()

    def reload(self) -> None:
        """Reads both folders again, so that an edited file shows at once."""
        shipped, wrong = load_folder(self._shipped)
        own, own_wrong = load_folder(self._own) if self._own is not None else ([], [])
        self.themes = {theme.name: theme for theme in (*shipped, *own)}
        self.notices = wrong + own_wrong

    @property
    def default(self) -> ThemeColors:
        """The theme to start with where none is asked for."""
        return self.themes[DEFAULT_THEME]

    def names(self) -> list[str]:
        """All names, sorted, the default first."""
        return sorted(self.themes, key=lambda name: (name != DEFAULT_THEME, name))
