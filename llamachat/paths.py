"""Where things are: the user's folders, and the files that come with the program."""

from __future__ import annotations

from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

import platformdirs

_APP = "llamachat"


def data_dir() -> Path:
    """Sessions and models (``--data-dir`` names another)."""
    return platformdirs.user_data_path(_APP, appauthor=False)


def config_dir() -> Path:
    """``config.toml`` and the user's own ``themes/`` and ``presets/``."""
    return platformdirs.user_config_path(_APP, appauthor=False)


def log_dir() -> Path:
    """The log file."""
    return platformdirs.user_log_path(_APP, appauthor=False)


def models_dir(data: Path) -> Path:
    """Where ``llamachat pull`` puts models, and where a model's NAME is looked up."""
    return data / "models"


def shipped_themes() -> Traversable:
    """The folder of themes that come with the program (the project's ``themes/``)."""
    return resources.files("llamachat.themes")


def shipped_presets() -> Traversable:
    """The folder of presets that come with the program (the project's ``presets/``)."""
    return resources.files("llamachat.presets")


def shipped_sessions() -> Traversable:
    """The folder of example sessions that come with the program (the project's ``sessions/``)."""
    return resources.files("llamachat.sessions")
