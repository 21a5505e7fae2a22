"""Widgets whose new size asks for no second layout."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.geometry import Size
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
