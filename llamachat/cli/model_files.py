"""Which model to use: the one that was asked for, else the default one; a person's new chat takes the one used last.

What a command says must not depend on which chat somebody had in between, so only chats look at what was used last.
"""

from __future__ import annotations

import os
from pathlib import Path

from llamachat import paths
from llamachat.chat.model_names import model_names
from llamachat.chat.names import NO_MODEL, find_model, model_files
from llamachat.cli.last_used import note_used, used_last
from llamachat.cli.offers import DEFAULT
from llamachat.errors import LlamachatError

_LAST_USED = "last-model"
_MOST_NAMED = 6


def default_model(data_dir: Path) -> Path | None:
    """The default model, if it was fetched; else the only one of the models folder; else None."""
    files = model_files(paths.models_dir(data_dir))
    only = files[0] if len(files) == 1 else None
    return next((file for file in files if file.name == DEFAULT.file_name), only)


def model_used_last(data_dir: Path) -> Path | None:
    """The model that a chat was led with last, if its file is still there."""
    remembered, _ = _remembered(data_dir)
    return remembered if remembered is not None and is_there(remembered) else None


def is_there(path: Path) -> bool:
    """Whether a path is that of something; no also where that cannot be told, as on a network that is gone."""
    return os.path.exists(path)  # noqa: PTH110 - pathlib fails there


def chosen_model(wanted: str | None, data_dir: Path) -> Path:
    """The model to use; ``LlamachatError`` says how to get one where there is none, or names those there are."""
    path = default_model(data_dir) if wanted is None else find_model(wanted, data_dir)
    if path is None:
        raise LlamachatError(no_choice(data_dir))
    return path


def no_choice(data_dir: Path) -> str:
    """Why there is no default model: none at all, or several to choose from."""
    files = model_files(paths.models_dir(data_dir))
    if not files:
        return NO_MODEL
    names = ", ".join(model_names(files)[:_MOST_NAMED]) + (", ..." if len(files) > _MOST_NAMED else "")
    return f"which model? Name one with -m (or set model in config.toml): {names}"


def usual_tokenizer(data_dir: Path, path: Path) -> Path | None:
    """The tokenizer file with which the model at ``path`` was used last, if that is the model used last."""
    remembered, tokenizer = _remembered(data_dir)
    return tokenizer if remembered == path.absolute() else None


def remember_model(data_dir: Path, path: Path, tokenizer: Path | None = None) -> None:
    """Notes the model used last."""
    note_used(data_dir, _LAST_USED, b"\0".join(os.fsencode(name.absolute()) for name in (path, tokenizer) if name))


def _remembered(data_dir: Path) -> tuple[Path | None, Path | None]:
    """The model used last, and its tokenizer file if it needed one."""
    names = os.fsdecode(used_last(data_dir, _LAST_USED)).split("\0")
    if len(names) > 2 or not all(names):  # none, or not what this program wrote
        return None, None
    return Path(names[0]), Path(names[1]) if len(names) == 2 else None
