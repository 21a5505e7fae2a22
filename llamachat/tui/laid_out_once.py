"""Widgets whose new size asks for no second layout."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.geometry import Region, Size
from textual.strip import Strip
from textual.widget import Widget

if TYPE_CHECKING:
    _Base = Widget
else:
    _Base = object  # a style sheet knows a widget by the first of its bases that is one


class LaidOutOnce(_Base):
    """Textual sets ``virtual_size`` at the end of a layout, and that asks for a layout of the whole screen again.

    It would find every size as it is. While an answer grows that is half of the cost of every frame. (A scrollbar that
    appears or goes asks by itself.)
    """

    def _size_updated(self, size: Size, virtual_size: Size, container_size: Size, layout: bool = True) -> bool:  # noqa: ARG002
        return super()._size_updated(size, virtual_size, container_size, layout=False)

    def render_lines(self, crop: Region) -> list[Strip]:
        """Rows of a blank widget in greys too where ``NO_COLOR`` is set: Textual leaves those as they are."""
        strips = super().render_lines(crop)
        if strips and self.BLANK and self.app.no_color:
            strip = strips[0]
            for line_filter in self.get_line_filters():
                strip = strip.apply_filter(line_filter, self.background_colors[1])
            strips = [strip] * crop.height
        return strips
