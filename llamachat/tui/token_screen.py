"""The tokens of an answer over the chat: how sure the model was of each, and what else it could have said."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container
from textual.content import Content
from textual.message import Message
from textual.screen import Screen
from textual.style import Style
from textual.widget import Widget
from textual.widgets import Static

from llamachat.chat.look import Look
from llamachat.display import clean_line
from llamachat.tui.keys import Keys, key_hints, key_of
from llamachat.tui.over_chat import OverChat
from llamachat.tui.token_text import TINTS, TokenPiece, TokenText

_CADENCE = 0.06
_WIDE = 100
"""Columns from which on the alternatives stand beside the text."""
_TALL = 24
_BAR_CELLS = 10
_EIGHTHS = " ▏▎▍▌▋▊▉█"
_DIGITS = "1234567890"
"""One for each alternative."""

Choice = tuple[int, int]
"""A place of the answer, and the token that shall stand there."""


def bar(share: float, cells: int) -> str:
    """A bar for a share of one, to an eighth of a cell."""
    eighths = round(min(max(share, 0.0), 1.0) * cells * 8)
    return (_EIGHTHS[-1] * (eighths // 8) + _EIGHTHS[eighths % 8].strip()).ljust(cells)


def percent(share: float | None) -> str:
    """A share in four cells: what there is only a little of is told from nothing."""
    if share is None:
        return ""
    if 0 < share < 0.005:
        return "<1 %"
    return f"{round(100 * share)} %"


def take_keys(screen: Screen[Any]) -> list[str]:
    """The keys of the alternatives, the likeliest first; empty for one that has none."""
    return [key_of(screen, f"tokens.take-{n + 1}") for n in range(len(_DIGITS))]


class Alternatives(Widget):
    """What could stand at a place, the likeliest first."""

    DEFAULT_CSS = """
    Alternatives { height: auto; color: $soft; }
    """

    class Clicked(Message):
        """An alternative was clicked: its number, from 0."""

        def __init__(self, number: int) -> None:
            super().__init__()
            self.number = number

    def __init__(self, look: Look) -> None:
        super().__init__()
        self._look = look
        self._at = 0
        self._keys: Sequence[str] = _DIGITS
        self._key_width = 1

    def on_mount(self) -> None:
        """Each alternative stands beside its key."""
        self._keys = take_keys(self.screen)
        self._key_width = max(map(len, self._keys))

    def show_place(self, at: int) -> None:
        """Shows another place."""
        self._at = at
        self.refresh(layout=True)

    def render(self) -> Content:
        """Which place it is; a row for each alternative; last what stands there, if it is none of them."""
        place = self._look.places[self._at]
        width = self.size.width or 40
        rows = [self._heading(width)]
        for number, one in enumerate(place.top):
            here = one.id == place.id
            row = self._row(width, self._keys[number], one.id, math.exp(one.logprob), one.share, here=here)
            rows.append(row.stylize(Style.from_meta({"take": number})))
        if place.id is not None and place.logprob is not None and all(one.id != place.id for one in place.top):
            rows.append(self._row(width, "", place.id, math.exp(place.logprob), place.share, here=True))
        return Content("\n").join(rows)

    def _row(self, width: int, key: str, token: int, p: float, share: float | None, *, here: bool) -> Content:
        label_width = self._label_width(width)
        label = clean_line(self._look.word(token), 60)
        name = Content(label).truncate(label_width, ellipsis=True, pad=True)
        bars = f" {bar(p, _BAR_CELLS)}" if self._has_bars(width) else ""
        figures = f"{percent(p):>6}{percent(share):>8}"
        return Content.assemble(
            (f"{key:>{self._key_width}} ", "$soft"),
            ("▎" if here else " ", "$accent"),
            (name.plain, "$accent" if here else "$text"),
            (bars, "$accent" if here else "$faint"),
            (figures, "$text" if share else "$faint"),
        )

    def _heading(self, width: int) -> Content:
        places = self._look.places
        cut = "   cut here" if places[self._at].id is None else ""
        words = f"{self._at + 1:,} of {len(places):,}{cut}"
        bars = " " * (_BAR_CELLS + 1) if self._has_bars(width) else ""
        return Content.assemble(
            (f"{words:<{2 + self._key_width + self._label_width(width)}}", "$soft"), (f"{bars} model  as set", "$faint")
        )

    @staticmethod
    def _has_bars(width: int) -> bool:
        return width >= 40

    def _label_width(self, width: int) -> int:
        taken = 2 + self._key_width + 6 + 8 + (_BAR_CELLS + 1 if self._has_bars(width) else 0)
        return max(6, min(24, width - taken))

    async def _on_click(self, event: events.Click) -> None:
        number = event.style.meta.get("take")
        if event.button == 1 and isinstance(number, int):
            event.stop()
            self.post_message(self.Clicked(number))


class TokenScreen(OverChat[Choice | None]):
    """Looks at an answer; hands over the place and the token with which it shall go on."""

    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (_WIDE, "-wide")]  # noqa: RUF012 - declared so by Textual
    VERTICAL_BREAKPOINTS = [(0, "-short"), (_TALL, "-tall")]  # noqa: RUF012
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,t", "close", "Close", show=False, id="tokens.close"),
        Binding("f1", "app.help", "Help", show=False, id="tokens.help"),
        *(
            Binding(key, f"take({number})", "Go on with that token", show=False, id=f"tokens.take-{number + 1}")
            for number, key in enumerate(_DIGITS)
        ),
    ]
    DEFAULT_CSS = """
    TokenScreen {
        background: $background;
        padding: 1 2;
        layout: vertical;
        & > #token-title { height: auto; color: $text; text-style: bold; margin-bottom: 1; }
        & > #token-panes { height: 1fr; layout: horizontal; }
        & > #token-panes > TokenText { width: 1fr; max-width: 100; height: 100%; }
        & > #token-panes > #token-waits { width: 1fr; color: $soft; }
        & > #token-panes > #token-side {
            width: 50; height: 100%; padding: 0 1 0 3; overflow-y: auto; scrollbar-size: 1 1;
        }
        & #token-legend { height: auto; color: $faint; margin-top: 1; }
        & > #token-keys { height: 1; color: $faint; margin-top: 1; }
        &.-narrow > #token-panes { layout: vertical; }
        &.-narrow > #token-panes > TokenText { width: 100%; height: 1fr; }
        &.-narrow > #token-panes > #token-side { width: 100%; height: 13; padding: 1 0 0 0; }
        &.-narrow #token-legend { display: none; }
        &.-short { padding: 0 1; }
        &.-short > #token-title { margin-bottom: 0; }
        &.-short > #token-keys { margin-top: 0; }
        &.-short.-narrow > #token-panes > #token-side { height: 9; padding: 0; }
    }
    """

    def __init__(self, look: Look, progress: Callable[[], str], at: int | None = None) -> None:
        """``progress`` says how far the look is, as long as it is not over; ``at`` is where the cursor stands first."""
        super().__init__()
        self._look = look
        self._progress = progress
        self._first = at or 0

    def compose(self) -> ComposeResult:
        """A title, the text, the alternatives, the keys."""
        yield Static("", id="token-title", markup=False)
        with Container(id="token-panes"):
            yield Static("", id="token-waits", markup=False)
        yield Static("", id="token-keys", markup=False)

    async def on_mount(self) -> None:
        """Waits for the engine, if it is not done yet."""
        self._say_keys((("esc", "cancel"),))
        self.query_one("#token-title", Static).update("Tokens")
        if self._look.done:
            await self._show()
        else:
            self._wait = self.set_interval(_CADENCE, self._look_again)

    def _look_again(self) -> None:
        if not self._look.over:
            self.query_one("#token-waits", Static).update(clean_line(self._progress()))
            return
        if not (self._look.done or self.is_active):  # something is over it, and closes first
            return
        self._wait.stop()  # which cancels what runs in it
        self.call_next(self._show)

    async def _show(self) -> None:
        look = self._look
        if self not in self.app.screen_stack:  # closed: it loses its widgets
            return
        if not look.done:
            self.dismiss(None)
            return
        self.query_one("#token-waits").display = False
        pieces = [
            TokenPiece(text, 1.0 if place.logprob is None else math.exp(place.logprob))
            for text, place in zip((*look.texts, ""), look.places, strict=True)
        ]
        text = TokenText(pieces)
        text.set_reactive(TokenText.cursor, min(self._first, len(pieces) - 1))
        side = Container(
            Alternatives(look),
            Static(_LEGEND, id="token-legend", markup=False),
            id="token-side",
        )
        await self.query_one("#token-panes").mount(text, side)
        count = f"{len(look.texts):,} tokens · perplexity {look.perplexity:.2f}"
        self.query_one("#token-title", Static).update(Content.assemble("Tokens", (f"   {count}", "not bold $soft")))
        self._say_keys((*self._keys(text), ("esc", "close")))
        text.focus()
        side.query_one(Alternatives).show_place(text.cursor)

    def _keys(self, text: TokenText) -> Keys:
        move = key_hints(text, ("tokens.left tokens.right", "token"), ("tokens.next-doubtful", "doubtful"))
        keys = take_keys(self)
        take = "1-9" if keys == list(_DIGITS) else f"{keys[0]} …"  # each stands beside its alternative
        return (*move, (take, "go on with it"))

    def _say_keys(self, keys: Keys) -> None:
        line = Content("   ").join(Content.assemble((key, "$soft"), f" {word}") for key, word in keys)
        self.query_one("#token-keys", Static).update(line)

    def on_token_text_moved(self, event: TokenText.Moved) -> None:
        """Shows what could stand there."""
        event.stop()
        self.query_one(Alternatives).show_place(event.at)

    def on_alternatives_clicked(self, event: Alternatives.Clicked) -> None:
        """A click is a digit."""
        event.stop()
        self.action_take(event.number)

    def action_take(self, number: int) -> None:
        """Hands over the alternative with this number, from 0."""
        texts = self.query(TokenText)
        if not texts:
            return
        at = texts.first().cursor
        top = self._look.places[at].top
        if number < len(top):
            self.dismiss((at, top[number].id))

    def action_close(self) -> None:
        """Back to the chat."""
        self.dismiss(None)


_TINTED = (Content.assemble((f"below {100 * below:.0f} %", f"$text {tint}")) for below, tint in TINTS[::-1])
_LEGEND = Content.assemble(
    "model: how likely the model held it\nas set: how likely your sampling makes it\n\n", Content("  ").join(_TINTED)
)
