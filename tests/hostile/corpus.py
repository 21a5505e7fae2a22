"""All broken models, family by family; and the command to write them into a folder:

    python -m tests.hostile.corpus FOLDER [WORDS]

makes a folder for each case whose family and name have the words, and ``index.json`` that says what they are.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from llamachat.display import clean_line
from tests.hostile import ggml, gguf, huggingface, llama2c, ncnn, places, torch
from tests.hostile.cases import Case, spm_files


def all_cases() -> Iterator[Case]:
    """Every case there is, in an order that does not change."""
    with tempfile.TemporaryDirectory() as folder:
        vocabulary = spm_files(Path(folder))
    yield from gguf.cases()
    yield from ggml.cases()
    for family in (llama2c, torch, huggingface, ncnn):
        yield from family.cases(vocabulary)
    yield from places.cases()


def write(folder: Path, words: str = "") -> list[dict[str, object]]:
    """Writes the cases and returns what ``index.json`` holds."""
    folder.mkdir(parents=True, exist_ok=True)
    index: list[dict[str, object]] = []
    for number, case in enumerate(all_cases()):
        if words not in f"{case.family}: {case.name}":
            continue
        place = folder / f"{number:04d}"
        path = case.write(place)
        names = sorted({place.name, *(clean_line(name, 300) for name in list(case.files)[:20])})
        facts = {"family": case.family, "name": case.name, "verdict": case.verdict.value}
        index.append({**facts, "path": str(path), "folder": str(place), "names": names})
    (folder / "index.json").write_text(json.dumps(index))
    return index


if __name__ == "__main__":
    print(f"{len(write(Path(sys.argv[1]), ' '.join(sys.argv[2:])))} cases")
