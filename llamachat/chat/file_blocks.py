"""Files in a message: how they stand there, and where they are in it."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator

from llamachat.display import clean_line

_NAME_WIDTH = 200
_FENCE = "```"
_FENCES = re.compile("`{3,}")
_OPENING = re.compile(r"^File ([^\n]{1,300}):\n(`{3,})\n", re.MULTILINE)
_CLOSING = re.compile("^`{3,}$", re.MULTILINE)


def file_block(name: str, text: str) -> str:
    """A file as it stands in a message: a line with its name, then its text between fences longer than any in it."""
    fence = max([_FENCE, *(f"{found}`" for found in _FENCES.findall(text))], key=len)
    return f"File {clean_line(name, _NAME_WIDTH)}:\n{fence}\n{text}{'' if text.endswith(chr(10)) else chr(10)}{fence}"


def behind(before: str, block: str) -> str:
    """A message that began with ``before`` and goes on with a file. Behind it is an empty line, and room to type."""
    return "\n\n".join(filter(None, (before.rstrip(), block))) + "\n\n"


def parts_of(text: str) -> Iterator[tuple[str, str]]:
    """A message in parts that make it up again: files with their names, and what else there is, without one."""
    ends: dict[int, list[int]] = {}
    for fence in _CLOSING.finditer(text):
        ends.setdefault(len(fence[0]), []).append(fence.end())
    at = 0
    for opening in _OPENING.finditer(text):
        closings = ends.get(len(opening[2]), [])
        next_one = bisect_left(closings, opening.end())
        if opening.start() < at or next_one == len(closings):  # in another file, or it never ends
            continue
        if at < opening.start():
            yield "", text[at : opening.start()]
        at = closings[next_one]
        yield opening[1], text[opening.start() : at]
    if at < len(text):
        yield "", text[at:]


def content_of(block: str) -> str:
    """The text of a file that stands in a message."""
    return block.split("\n", 2)[-1].rpartition("\n")[0]


def ends_with_file(text: str) -> bool:
    """Whether a message ends with a file, but for empty lines."""
    text = text.rstrip()
    return text.endswith(_FENCE) and bool([name for name, _ in parts_of(text)][-1])


def without_files(text: str) -> str:
    """What a message says of its own; empty where it is nothing but files."""
    return "".join(part for name, part in parts_of(text) if not name).strip()
