"""Broken model files: what a case is, and how cases are made of a good file by rules that fit every format.

A ``Specimen`` is a small model that opens, with the places in one of its files where something begins (``marks``) and
where a number stands (``numbers``). It is cut at every mark and a byte beside it, and every number becomes extreme.
What only one format can have wrong is in the module of its family.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path
from typing import Any

from llamachat.tokenizer.model_proto import build_model_proto
from tests.support.tiny_models import TinyModel, TinyShape, random_model, spm_vocabulary, write_tokenizer_bin

#: The model that most cases are made of: large enough to have everything, small enough for a thousand copies.
SHAPE = TinyShape(n_vocab=300, n_embd=32, n_ff=32, n_layers=1, n_heads=2, n_kv_heads=1, tied=False)


class Verdict(Enum):
    """What has to become of a case. Whatever it is, it ends in time and in one line."""

    OPENS = "opens"
    REFUSED = "refused"  #: by whoever wants to use the model; ``inspect`` may still tell what it is
    NOT_RUN = "not run"  #: found out when the weights are read: it may be looked at and written elsewhere
    EITHER = "either"  #: opened or refused


Content = bytes | Callable[[Path], None]  #: of a file, or what makes something that is no ordinary file


@dataclass(frozen=True)
class Case:
    """One broken model in a folder of its own."""

    family: str
    name: str
    files: Mapping[str, Content] = field(repr=False)
    opened: str  #: which of the files is named; empty: the folder
    verdict: Verdict = Verdict.REFUSED

    def write(self, folder: Path) -> Path:
        """Makes the files in a new folder; returns the path to open."""
        folder.mkdir()
        for name, content in self.files.items():
            path = folder / name
            if isinstance(content, bytes):
                path.write_bytes(content)
            else:
                content(path)
        return folder / self.opened if self.opened else folder


@dataclass(frozen=True)
class Specimen:
    """A good model, and where in one of its files things are."""

    family: str
    files: Mapping[str, bytes] = field(repr=False)
    opened: str
    spoiled: str  #: the file that the places are of
    marks: tuple[tuple[str, int], ...] = ()  #: (what begins here, offset)
    numbers: tuple[tuple[str, int, str], ...] = ()  #: (what it is, offset, struct layout)

    @property
    def data(self) -> bytes:
        """The file that is to be spoiled."""
        return self.files[self.spoiled]

    def case(self, name: str, verdict: Verdict = Verdict.REFUSED, /, **_: Any) -> Case:
        """The specimen as it is, under a name."""
        return Case(self.family, name, self.files, self.opened, verdict)

    def with_data(self, name: str, data: bytes, verdict: Verdict = Verdict.REFUSED) -> Case:
        """The specimen with other bytes in the file that is spoiled."""
        return self.with_files(name, {self.spoiled: data}, verdict)

    def with_files(self, name: str, files: Mapping[str, Content], verdict: Verdict = Verdict.REFUSED) -> Case:
        """The specimen with other files, or further ones."""
        return Case(self.family, name, {**self.files, **files}, self.opened, verdict)


class Cursor:
    """Walks through a good file, noting what begins where."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0
        self.marks: list[tuple[str, int]] = []
        self.numbers: list[tuple[str, int, str]] = []

    def mark(self, label: str) -> None:
        """Something begins here."""
        self.marks.append((label, self.at))

    def number(self, label: str, layout: str) -> Any:
        """A number, which is a place to spoil."""
        self.mark(label)
        self.numbers.append((label, self.at, layout))
        return self.plain(layout)

    def plain(self, layout: str) -> Any:
        """A number that is one of many alike."""
        (value,) = struct.unpack_from(layout, self.data, self.at)
        self.at += struct.calcsize(layout)
        return value

    def skip(self, n_bytes: int) -> None:
        """Goes on without a place of its own."""
        self.at += n_bytes

    def text(self, label: str, n_bytes: int) -> bytes:
        """Bytes that are no number."""
        self.mark(label)
        self.at += n_bytes
        return self.data[self.at - n_bytes : self.at]

    def specimen(self, family: str, files: Mapping[str, bytes], opened: str, spoiled: str) -> Specimen:
        """The specimen with what has been noted, the file's end last."""
        self.marks.append(("the end", len(self.data)))
        return Specimen(family, files, opened, spoiled, tuple(self.marks), tuple(self.numbers))


# ---- the rules ----


def every_rule(specimen: Specimen, *, cuts: int = 60, numbers: int = 60) -> Iterator[Case]:
    """The specimen itself, and all that the rules make of it, ``cuts`` and ``numbers`` of them at most."""
    yield specimen.case("as it is", Verdict.OPENS)
    yield from _thinned(list(cut(specimen)), cuts)
    yield from _thinned(list(extreme_numbers(specimen)), numbers)
    yield specimen.with_data("empty", b"")
    yield specimen.with_data("zeros", bytes(len(specimen.data)))
    yield specimen.with_data("itself twice", specimen.data * 2, Verdict.EITHER)


def cut(specimen: Specimen) -> Iterator[Case]:
    """Cut short at each mark, a byte before it and a byte behind."""
    data, done = specimen.data, set[int]()
    for label, offset in specimen.marks:
        for end, where in ((offset - 1, "a byte before"), (offset, "at"), (offset + 1, "a byte behind")):
            if not 0 < end < len(data) or end in done:
                continue
            done.add(end)
            padding_only = not data[end:].strip(b"\0\n")
            yield specimen.with_data(
                f"cut {where} {label}", data[:end], Verdict.EITHER if padding_only else Verdict.REFUSED
            )


_EXTREMES = {
    1: (0, 0xFF),
    2: (0, 0xFFFF),
    4: (0, 1, 1 << 31, (1 << 31) - 1, (1 << 32) - 1),
    8: (0, 1 << 31, (1 << 32) - 1, 1 << 63, (1 << 63) - 1, (1 << 64) - 1),
}


def extreme_numbers(specimen: Specimen) -> Iterator[Case]:
    """Each number as small and as large as its bytes allow, and where signs change."""
    for label, offset, layout in specimen.numbers:
        size = struct.calcsize(layout)
        unsigned = struct.Struct(layout[0] + {1: "B", 2: "H", 4: "I", 8: "Q"}[size])
        for value in _EXTREMES[size]:
            data = bytearray(specimen.data)
            unsigned.pack_into(data, offset, value)
            if data != specimen.data:
                yield specimen.with_data(f"{label} is {value}", bytes(data), Verdict.EITHER)


def _thinned(cases: list[Case], most: int) -> list[Case]:
    """At most so many, evenly chosen."""
    return cases if len(cases) <= most else [cases[i * len(cases) // most] for i in range(most)]


def json_values(specimen: Specimen, file: str, values: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """(what is wrong, the object) for an object of settings: each left out, or of a value that it must not have."""
    wrong: tuple[Any, ...] = (
        None,
        True,
        "text",
        [],
        {},
        -1,
        0,
        1 << 31,
        1 << 63,
        10**400,
        0.5,
        1e308,
        float("nan"),
        [[[1]]],
    )
    for number, key in enumerate(values):
        yield f"{file}: {key} left out", {k: v for k, v in values.items() if k != key}
        for i in range(5):
            value = wrong[(number + 3 * i) % len(wrong)]
            yield f"{file}: {key} is {str(value)[:12]}", {**values, key: value}


# ---- what several families need ----


def model(**shape: Any) -> TinyModel:
    """A model of ``SHAPE``, or with other numbers in it."""
    return random_model(replace(SHAPE, **shape))


def spm_files(folder: Path) -> dict[str, bytes]:
    """The vocabulary of ``SHAPE`` as files of its own, by name."""
    write_tokenizer_bin(folder / "tokenizer.bin", spm_vocabulary(SHAPE.n_vocab))
    made = (folder / "tokenizer.bin").read_bytes()
    return {"tokenizer.bin": made, "tokenizer.model": build_model_proto(spm_vocabulary(SHAPE.n_vocab))}
