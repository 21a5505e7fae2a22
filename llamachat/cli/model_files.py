"""Which model to start with: the one that was asked for, or the one used last."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

from llamachat import paths
from llamachat.chat.names import NO_MODEL, find_model, model_files
from llamachat.cli.pull import DEFAULT
from llamachat.errors import LlamachatError

_LAST_USED = "last-model"
_MOST_BYTES = 16_384  # of a remembered path; whatever is longer is none


def default_model(data_dir: Path) -> Path | None:
    """The model used last, if its file is still there; else the default one; else any of the models folder."""
    remembered, _ = _remembered(data_dir)
    if remembered is not None and remembered.exists():
        return remembered
    files = model_files(paths.models_dir(data_dir))
    return next((file for file in files if file.name == DEFAULT.file_name), files[0] if files else None)


def chosen_model(wanted: str | None, data_dir: Path) -> Path:
    """The model to use; ``LlamachatError`` says how to get one where there is none."""
    path = find_model(wanted, data_dir) if wanted else default_model(data_dir)
    if path is None:
        raise LlamachatError(NO_MODEL)
    return path


def usual_tokenizer(data_dir: Path, path: Path) -> Path | None:
    """The tokenizer file with which the model at ``path`` was used last, if that is the model used last."""
    remembered, tokenizer = _remembered(data_dir)
    return tokenizer if remembered == path.absolute() else None


def remember_model(data_dir: Path, path: Path, tokenizer: Path | None = None) -> None:
    """Notes the model used last. Not being able to is no reason to trouble a person."""
    record = b"\0".join(os.fsencode(name.absolute()) for name in (path, tokenizer) if name)
    with contextlib.suppress(OSError):
        data_dir.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix=_LAST_USED, dir=data_dir)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(record)
            Path(name).replace(data_dir / _LAST_USED)
        except OSError:
            Path(name).unlink()
            raise


def _remembered(data_dir: Path) -> tuple[Path | None, Path | None]:
    """The model used last, and its tokenizer file if it needed one."""
    try:
        with (data_dir / _LAST_USED).open("rb") as file:
            names = os.fsdecode(file.read(_MOST_BYTES)).split("\0")
    except OSError:
        return None, None
    if len(names) > 2 or not all(names):  # not what this program wrote
        return None, None
    return Path(names[0]), Path(names[1]) if len(names) == 2 else None
