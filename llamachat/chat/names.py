"""Which chat and which model a person means by a word."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from llamachat import paths
from llamachat.chat.model_names import model_name, model_names
from llamachat.errors import FileError, LlamachatError
from llamachat.files.reasons import reason_of

if TYPE_CHECKING:
    from llamachat.chat.store import SessionSummary

NO_MODEL = "no model yet; fetch the default one with: llamachat pull"
NO_MODEL_HERE = "no model yet; /pull fetches the default one, /model FILE opens another"  #: said in a chat
LAST = "last"
_SHORT_ID = 8
_LEAST_ID = 3  # letters that are taken for the beginning of one
_MOST_NAMED = 3


def short_id(session_id: str) -> str:
    """The beginning of a chat's id, enough to type."""
    return session_id[:_SHORT_ID]


def find_session(stored: Iterable[SessionSummary], wanted: str) -> SessionSummary:
    """The chat whose id or title ``wanted`` is, or begins (in any case); "last" is the one used last.

    ``LlamachatError`` where there is none, or more than one that it could be.
    """
    sessions = list(stored)
    word = wanted.casefold().strip()
    matches = (
        [one for one in sessions if one.id == word],
        [one for one in sessions if one.shown_title.casefold() == word],
        sessions[:1] if word == LAST else [],
        [one for one in sessions if len(word) >= _LEAST_ID and one.id.startswith(word)],
        [one for one in sessions if word and one.shown_title.casefold().startswith(word)],
    )
    found = next((group for group in matches if group), [])
    if len(found) == 1:
        return found[0]
    if found:
        which = ", ".join(f"{short_id(one.id)} {one.shown_title!r}" for one in found[:_MOST_NAMED])
        raise LlamachatError(f"{wanted[:60]}: several chats are called that; give an id: {which}")
    raise LlamachatError(f"{wanted[:60]}: no such chat")


def model_files(models: Path) -> list[Path]:
    """The models of the models folder, by name: files, the first of several, and folders that are opened as a model.

    An empty list where there is no such folder; ``FileError`` where it cannot be read.
    """
    from llamachat.weights.collection import models_among  # only now: the first frame of the screen needs none

    try:
        return [models / name for name in sorted(models_among(models), key=lambda name: (name.casefold(), name))]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise FileError(models, reason_of(error)) from None


def model_word(path: Path, data_dir: Path) -> str:
    """What to type for a model where one is asked for: its name in the models folder, else its path."""
    return model_name(path) if path.parent == paths.models_dir(data_dir) else str(path)


def find_model(wanted: str, data_dir: Path, without: str = NO_MODEL) -> Path:
    """The model that a word means: a file, else the model whose name it is or begins, in any case.

    ``FileError`` lists the models there are where none is meant, or those it could mean; where there is none at all it
    says what ``without`` says. An empty word, as a script's variable that is not set, means none: ``LlamachatError``.
    """
    if not wanted:
        raise LlamachatError("the model's name is empty")
    try:
        path = Path(os.path.expanduser(wanted))  # noqa: PTH111 - pathlib fails where there is no such user
    except ValueError:  # a zero byte
        raise FileError(wanted, "is no file name") from None
    if path.name != wanted or (os.path.lexists(path) and not path.is_dir()):
        return path
    models = paths.models_dir(data_dir)
    files = model_files(models)
    word = wanted.casefold()
    matches = (
        [file for file in files if file.name == wanted],
        [file for file in files if file.name.casefold() == word],
        [file for file in files if model_name(file).casefold() == word],
        [file for file in files if file.name.casefold().startswith(word)],
    )
    found = next((group for group in matches if group), [])
    if len(found) == 1:
        return found[0]
    if len(found) > 1:
        raise FileError(wanted, f"which one: {', '.join(model_names(found))}?")
    for there in (path, models / wanted):  # a folder, or what is no model: whoever opens it says why not
        if os.path.lexists(there):
            return there
    if not files:
        raise FileError(wanted, f"no such file, and {without}")
    raise FileError(wanted, f"no such file, and no such model: there is {', '.join(model_names(files))}")
