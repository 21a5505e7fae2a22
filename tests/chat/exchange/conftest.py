"""A store to import into."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from llamachat.chat.store import SessionStore


@pytest.fixture
def store(data_dir: Path) -> Iterator[SessionStore]:
    with closing(SessionStore(data_dir)) as one:
        yield one
