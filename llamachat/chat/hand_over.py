"""A request on its way to the engine."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

Request = TypeVar("Request")


class HandOver:
    """Gives a request, written on a thread of its own, to the engine, unless a person was faster and gave it up."""

    def __init__(self) -> None:
        self._gate = threading.Lock()
        self._given = False
        self._cancelled = False

    def give(self, request: Request, to: Callable[[Request], None]) -> bool:
        """Gives the request; False if :meth:`cancel` came first."""
        with self._gate:
            if self._cancelled:
                return False
            self._given = True
            to(request)
        return True

    def cancel(self) -> bool:
        """Keeps the request from the engine; False if the engine has it already."""
        with self._gate:
            self._cancelled = not self._given
            return self._cancelled
