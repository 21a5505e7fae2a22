"""Plain columns on standard output."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from llamachat.display import clean_line


def print_table(rows: Iterable[Sequence[str]]) -> None:
    """Prints rows with their columns aligned, two spaces apart; every cell is made safe to show."""
    cells = [[clean_line(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        padded = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print("  ".join(padded).rstrip())
