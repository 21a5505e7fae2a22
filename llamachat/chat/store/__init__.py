"""The session store: every chat on disk, safe against crashes, full disks and second windows."""

from __future__ import annotations

from llamachat.chat.store.store import SessionStore
from llamachat.chat.store.summary import SessionSummary

__all__ = ["SessionStore", "SessionSummary"]
