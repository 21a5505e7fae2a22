"""Why storing failed, in a person's words."""

from __future__ import annotations

import errno
import os
import sqlite3


def reason_of(error: Exception) -> str:
    """Why the system or SQLite refused."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_FULL or (isinstance(error, OSError) and error.errno == errno.ENOSPC):
        return "the disk is full"
    if code == sqlite3.SQLITE_BUSY:
        return "another program is writing"
    if isinstance(error, OSError) and error.errno is not None:
        return os.strerror(error.errno).lower()
    return str(error)
