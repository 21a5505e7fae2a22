"""Encodes a long text part by part: to the ids of the whole, with a look at who waits for them in between.

No signal is heard while a library encodes, and it takes some hundred bytes of memory for a character: 70 MB at once
took minutes and ended, where memory was short, in an abort of the process.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

from llamachat.errors import Cancelled, TokenizerError
from llamachat.tokenizer.base import Tokenizer, encodable

PART = 1 << 16  #: characters: some 50 ms
_LONG = 1 << 18  # in one part take a thread, so that a stop is obeyed meanwhile
_LONGEST = 1 << 24
_LOOK_SECONDS = 0.05


def encode_parts(
    tokenizer: Tokenizer, text: str, stopped: Callable[[], bool] = lambda: False, size: int = PART, start: int = 0
) -> Iterator[tuple[list[int], int]]:
    """The ids of ``Tokenizer.encode``, part by part, each with the number of characters that are encoded by then.

    From ``start`` on, which is 0 or a place where a part of this text ended that was not its last.
    Parts of ``size`` characters end where no token can span, or go on until there is such a place. Raises
    ``Cancelled`` soon after ``stopped()`` is true, and ``TokenizerError`` for 16 million characters without a place.
    """
    text = encodable(text)
    while start < len(text):
        end, seen = start + size, start
        while end < len(text) and (place := tokenizer.cut(text, seen, end)) == seen:
            if end - start >= _LONGEST:
                raise TokenizerError(f"the text holds {_LONGEST:,} characters in a row that cannot be encoded in parts")
            seen, end = end - 1, start + 2 * (end - start)
        end = len(text) if end >= len(text) else place
        yield _encode(tokenizer, text, start, end, stopped), end
        start = end


def _encode(tokenizer: Tokenizer, text: str, start: int, end: int, stopped: Callable[[], bool]) -> list[int]:
    if stopped():
        raise Cancelled
    if end - start <= _LONG:
        return tokenizer.encode_behind(text, start, end)
    found: list[list[int]] = []
    failures: list[Exception] = []

    def work() -> None:
        try:
            found.append(tokenizer.encode_behind(text, start, end))
        except Exception as error:  # raised again where it can be told
            failures.append(error)

    thread = threading.Thread(target=work, name="llamachat-encode", daemon=True)
    thread.start()
    while thread.is_alive():
        if stopped():
            raise Cancelled
        thread.join(_LOOK_SECONDS)
    if failures:
        raise failures[0]
    return found[0]
