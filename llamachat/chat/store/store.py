"""The session store's face: what is stored, and when it is on disk."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class SessionSummary:
    """A stored chat in a list."""

    id: str
    title: str
    updated: float  #: seconds since 1970, for display; lists are ordered by use, not by clock
    n_messages: int
    model: str = ""  #: name of the model that answered last


class SessionStore:
    """All chats in one SQLite database, ``sessions.db`` in the data folder.

    Opening it never destroys anything: a damaged database is moved aside and a notice says where; where
    the folder cannot be written, chats live in memory, and a notice says so. ``StoreError`` is raised
    only for a database that a newer version wrote.
    """

    def __init__(self, data_dir: Path | None) -> None:
        """Opens or makes the database in ``data_dir``; None keeps everything in memory, silently."""
        raise NotImplementedError

    def take_notices(self) -> list[str]:
        """What a person should know about the storage; each notice is handed out once."""
        raise NotImplementedError

    def sessions(self, filter: str = "") -> list[SessionSummary]:  # noqa: A002
        """All chats, the last used first; ``filter`` keeps those whose titles hold all its words."""
        raise NotImplementedError

    def close(self) -> None:
        """Writes what waits and closes the database."""
        raise NotImplementedError
