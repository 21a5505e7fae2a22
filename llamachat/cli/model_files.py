"""Which model: by file, by name in the models folder, or the one used last."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

from llamachat import paths
from llamachat.cli.pull import DEFAULT
from llamachat.errors import FileError, LlamachatError

NO_MODEL = "no model yet; fetch the default one with: llamachat pull"

_LAST_USED = "last-model"
_MOST_BYTES = 16_384  # of a remembered path; whatever is longer is none


def model_files(models: Path) -> list[Path]:
    """The files of the models folder, by name; an empty list where there is no such folder."""
    try:
        return sorted(
            (path for path in models.iterdir() if not path.name.startswith(".") and path.is_file()),
            key=lambda path: path.name.casefold(),
        )
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise FileError(models, error.strerror or str(error)) from None


def model_name(path: Path) -> str:
    """What to call a model of the models folder: its file name without the ending."""
    return path.stem


def find_model(wanted: str, data_dir: Path) -> Path:
    """The file that ``-m`` means: a file, else the model whose name it is or begins, in any case.

    ``FileError`` lists the models there are where none is meant, or those it could mean.
    """
    path = Path(wanted)
    if path.name != wanted or (os.path.lexists(path) and not path.is_dir()):
        return path
    files = model_files(paths.models_dir(data_dir))
    word = wanted.casefold()
    exact = [file for file in files if word in (file.name.casefold(), model_name(file).casefold())]
    found = exact or [file for file in files if file.name.casefold().startswith(word)]
    if len(found) == 1:
        return found[0]
    if len(found) > 1:
        raise FileError(wanted, f"which one: {_names(found)}?")
    if os.path.lexists(path):
        return path
    if not files:
        raise FileError(wanted, f"no such file, and {NO_MODEL}")
    raise FileError(wanted, f"no such file, and no such model: there is {_names(files)}")


def default_model(data_dir: Path) -> Path | None:
    """The model used last, if its file is still there; else the default one; else any of the models folder."""
    remembered = _remembered(data_dir)
    if remembered is not None and remembered.is_file():
        return remembered
    files = model_files(paths.models_dir(data_dir))
    return next((file for file in files if file.name == DEFAULT.file_name), files[0] if files else None)


def chosen_model(wanted: str | None, data_dir: Path) -> Path:
    """The model to use; ``LlamachatError`` says how to get one where there is none."""
    path = find_model(wanted, data_dir) if wanted else default_model(data_dir)
    if path is None:
        raise LlamachatError(NO_MODEL)
    return path


def remember_model(data_dir: Path, path: Path) -> None:
    """Notes the model used last. Not being able to is no reason to trouble a person."""
    with contextlib.suppress(OSError):
        data_dir.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix=_LAST_USED, dir=data_dir)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(os.fsencode(path.absolute()))
            Path(name).replace(data_dir / _LAST_USED)
        except OSError:
            Path(name).unlink()
            raise


def _remembered(data_dir: Path) -> Path | None:
    try:
        with (data_dir / _LAST_USED).open("rb") as file:
            name = os.fsdecode(file.read(_MOST_BYTES))
    except OSError:
        return None
    return Path(name) if name and "\0" not in name else None


def _names(files: list[Path]) -> str:
    return ", ".join(model_name(file) for file in files)
