"""Every test has a home of its own: nothing of the person who runs the tests is read or written."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

import tests.support.default_model  # noqa: F401  (finds the model before the home is replaced)


def pytest_configure() -> None:
    """A shell starts what runs in its background deaf to Ctrl+C, and so would be every program that a test starts."""
    for number in (signal.SIGINT, signal.SIGQUIT):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)


@pytest.fixture(autouse=True)
def own_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh home folder, and no ``LLAMACHAT_*`` variable but the ones that steer the tests themselves."""
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("HOME", str(home))
    for variable, folder in (
        ("XDG_DATA_HOME", ".local/share"),
        ("XDG_CONFIG_HOME", ".config"),
        ("XDG_STATE_HOME", ".local/state"),
        ("XDG_CACHE_HOME", ".cache"),
    ):
        monkeypatch.setenv(variable, str(home / folder))
    for name in list(os.environ):
        if name.startswith("LLAMACHAT_") and name not in ("LLAMACHAT_ISA", "LLAMACHAT_TEST_MODEL", "LLAMACHAT_SHARED"):
            monkeypatch.delenv(name)
    return home
