"""The conversation on the screen. Of a long one only a window of messages is mounted, and moves as one scrolls."""

from __future__ import annotations

import asyncio

from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.geometry import Size
from textual.layout import DockArrangeResult
from textual.scrollbar import ScrollBar
from textual.widget import Widget
from textual.widgets import Static

from llamachat.chat.conversation import Conversation, Message
from llamachat.tui.laid_out_once import LaidOutOnce
from llamachat.tui.light_scroll_bar import LightScrollBar
from llamachat.tui.message_view import MessageView

FIRST = 12
"""Messages mounted when a chat is opened: more than a screenful, in a tenth of a second."""
STEP = 16
MOST = 40
_NEAR = 4


class Transcript(LaidOutOnce, VerticalScroll, can_focus=False):
    """Follows the end while it is there; a person who scrolls up is left in peace."""

    BLANK = True  # nothing but messages: its own rows need not be drawn below theirs
    DEFAULT_CSS = """
    Transcript {
        align-horizontal: center;
        padding: 1 1 0 1;
        scrollbar-size-vertical: 1;
        & > .more { height: 1; max-width: 100; color: $faint; margin-bottom: 1; padding-left: 2; display: none; }
        & > .more.-shown { display: block; }
    }
    """

    def __init__(self) -> None:
        super().__init__()
        self._conversation: Conversation | None = None
        self._path: list[Message] = []
        self._start = 0
        self._views: list[MessageView] = []
        self._earlier = Static("", classes="more", markup=False)
        self._later = Static("", classes="more", markup=False)
        self._changing = asyncio.Lock()
        self._pinned: tuple[Widget, int] | None = None
        self._follows = True

    def compose(self) -> ComposeResult:
        """The two lines that stand for what is not mounted."""
        yield self._earlier
        yield self._later

    # ---- what is shown ------------------------------------------------------

    @property
    def views(self) -> list[MessageView]:
        """The mounted messages, in order."""
        return list(self._views)

    @property
    def _stop(self) -> int:
        return self._start + len(self._views)

    @property
    def following(self) -> bool:
        """Whether the end is kept in sight."""
        return self._follows and not self._anchor_released

    def follow(self) -> None:
        """Goes to the end and stays there as it grows."""
        self._follows = True
        self._anchor_released = False
        self.anchor()

    async def to_end(self) -> None:
        """Goes to the end of the chat, mounted or not, and follows it."""
        if self._stop < len(self._path):
            await self._jump(len(self._path) - 1)
        self.follow()

    async def sync(self, conversation: Conversation, *, follow: bool = False) -> None:
        """Shows the conversation's visible path; views of messages that stay are kept as they are."""
        async with self._changing:
            other = conversation is not self._conversation
            reached_end = self._stop >= len(self._path)
            self._conversation, self._path = conversation, conversation.path
            same = 0 if other else self._same()
            lost_focus = next((at for at, view in enumerate(self._views[same:], same) if view.has_focus), None)
            if other or same == 0 or (follow and len(self._path) - self._start > MOST):
                await self._window(max(0, len(self._path) - FIRST), len(self._path), keep=None)
            else:
                stop = len(self._path) if follow or reached_end or same < len(self._views) else self._stop
                await self._window(self._start, min(stop, self._start + MOST), keep=None)
            for view in self._views:
                view.show_place(self._place(view.message))
            if lost_focus is not None and self._views:
                self._views[min(lost_focus, len(self._views) - 1)].focus()
        if other or follow:
            self.follow()

    def _place(self, message: Message) -> tuple[int, int]:
        """Its place among its versions; it may have been taken out while others were being mounted."""
        if self._conversation is None or message.id not in self._conversation.messages:
            return 0, 1
        return self._conversation.siblings(message)

    def _same(self) -> int:
        """How many of the mounted views, from the first, stand where the path still has their messages."""
        count = 0
        for view, message in zip(self._views, self._path[self._start :], strict=False):
            if view.message is not message:
                break
            count += 1
        return count

    async def _window(self, start: int, stop: int, keep: Widget | None) -> None:
        """Mounts ``path[start:stop]`` and nothing else; ``keep`` stays where it is on the screen."""
        assert self._conversation is not None  # noqa: S101 - sync() sets it first
        if keep is not None:
            self._pinned = (keep, keep.virtual_region.y - round(self.scroll_y))
        old = {id(view.message): view for view in self._views}
        wanted = self._path[start:stop]
        views = [
            old.pop(id(message)) if id(message) in old else MessageView(message, self._place(message))
            for message in wanted
        ]
        with self.app.batch_update():
            if old:
                await self.remove_children(list(old.values()))
            if not self.is_attached:  # the program has begun to end meanwhile
                return
            after: Widget = self._earlier
            fresh: list[Widget] = []
            for view in [*views, None]:
                if view is not None and not view.is_attached:
                    fresh.append(view)
                    continue
                if fresh:
                    await self.mount(*fresh, after=after)
                    fresh = []
                if view is not None:
                    after = view
            self._start, self._views = start, views
            self._show_more()
        if keep is not None:
            self.call_after_refresh(self._unpin)

    def _show_more(self) -> None:
        later = len(self._path) - self._stop
        for line, count, word in ((self._earlier, self._start, "earlier"), (self._later, later, "later")):
            line.update(f"… {count:,} {word} message{'s' if count > 1 else ''}" if count else "")
            line.set_class(count > 0, "-shown")

    # ---- scrolling ----------------------------------------------------------

    @property
    def vertical_scrollbar(self) -> ScrollBar:
        """As Textual makes it, but a light one."""
        if self._vertical_scrollbar is None:
            self._vertical_scrollbar = LightScrollBar(vertical=True, name="vertical")
            self._vertical_scrollbar.display = False
            self.app._start_widget(self, self._vertical_scrollbar)
        return self._vertical_scrollbar

    def arrange(self, size: Size, optimal: bool = False) -> DockArrangeResult:
        """Textual's layout, with two things settled in the very frame in which they come up.

        What is pinned keeps its row while others come or go above it. And a chat shorter than the screen stands
        at its top: Textual's anchor would push it to the bottom.
        """
        result = super().arrange(size, optimal)
        fits = result.total_region.bottom <= size.height
        self._anchored = self._follows and not fits
        row = 0 if fits and self._follows else None
        if self._pinned is not None:
            widget, above = self._pinned
            placed = next((placed for placed in result.placements if placed.widget is widget), None)
            row = row if placed is None else max(0, placed.region.y - above)
        if row is not None and row != self.scroll_y:
            self.set_reactive(Widget.scroll_y, row)
            self.set_reactive(Widget.scroll_target_y, row)
        return result

    def _unpin(self) -> None:
        self._pinned = None

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Near an end of the window, the window moves on."""
        super().watch_scroll_y(old_value, new_value)
        if new_value < old_value and new_value < _NEAR and self._start > 0:
            self.call_later(self._move_window, -STEP)
        elif new_value > old_value and self.max_scroll_y - new_value < _NEAR and self._stop < len(self._path):
            self.call_later(self._move_window, STEP)

    async def _move_window(self, step: int) -> None:
        async with self._changing:
            if not self._views or self._pinned is not None:
                return
            if step < 0 and self._start > 0:
                start = max(0, self._start + step)
                await self._window(start, min(self._stop, start + MOST), keep=self._views[0])
            elif step > 0 and self._stop < len(self._path):
                stop = min(len(self._path), self._stop + step)
                await self._window(max(self._start, stop - MOST), stop, keep=self._views[-1])

    # ---- the cursor ---------------------------------------------------------

    def focus_last(self) -> bool:
        """Puts the cursor on the last message; False if there is none."""
        if self._views:
            self._focus(self._views[-1])
        return bool(self._views)

    async def walk(self, view: MessageView, step: int) -> bool:
        """Moves the cursor ``step`` messages from ``view``; False if that leads below the last one."""
        if view not in self._views:
            return False
        at = self._start + self._views.index(view) + step
        if at >= len(self._path) and step == 1:
            return False
        at = min(max(at, 0), len(self._path) - 1)
        if not self._start <= at < self._stop:
            if abs(step) == 1:
                await self._move_window(STEP * step)
            else:
                await self._jump(at)
        self.release_anchor()
        self._focus(self._views[at - self._start])
        return True

    def _focus(self, view: MessageView) -> None:
        """The very next key is the message's; it comes into sight once it has its place."""
        self.screen.set_focus(view, scroll_visible=False)
        self.call_after_refresh(self.scroll_to_widget, view, animate=False)

    async def _jump(self, at: int) -> None:
        async with self._changing:
            start = min(max(at - FIRST // 2, 0), max(0, len(self._path) - FIRST))
            await self._window(start, min(start + FIRST, len(self._path)), keep=None)
