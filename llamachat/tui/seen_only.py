"""A compositor that renders what is drawn, and not what lies behind it or beside it."""

from __future__ import annotations

from collections.abc import Iterable

from textual._compositor import ChopsUpdate, Compositor
from textual.geometry import Region
from textual.strip import Strip


class SeenOnly(Compositor):
    """Textual renders every widget whose *clip* meets the box around all that changed: the panes beside a growing
    answer, their containers behind it, and everything between the answer and the status line if both changed. That was
    half of the cost of a frame. Here a widget is rendered where it meets something that changed and that nothing in
    front of it covers.
    """

    def __init__(self) -> None:
        super().__init__()
        self._drawn: tuple[Region, ...] = ()

    def render_partial_update(self) -> ChopsUpdate | None:
        """Renders what changed."""
        self._drawn = tuple(self._dirty_regions)
        try:
            return super().render_partial_update()
        finally:
            self._drawn = ()

    def _get_renders(self, crop: Region | None = None) -> Iterable[tuple[Region, Region, list[Strip]]]:
        left = self._drawn
        if not left:
            yield from super()._get_renders(crop)
            return
        for widget, (region, clip) in self.visible_widgets.items():  # from the front to the back
            seen = region.intersection(clip)
            if not any(seen.overlaps(part) for part in left):
                continue
            yield region, clip, widget.render_lines(seen.translate((-region.x, -region.y)))
            left = tuple(part for part in left if not seen.contains_region(part))
            if not left:
                return
