"""Reading a file's header front to back, where every count in it may be a lie."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

from llamachat.weights.files import Refusal, RegularFile

#: Bytes of header that are looked at, at most. Llama 3's is 8 MB, most of it vocabulary.
HEADER_LIMIT = 32 << 20
#: Tokens (or merges) of one vocabulary, at most. Llama 3 has 128,256 and 280,147.
COUNT_LIMIT = 1 << 19
#: Bytes of one token, at most.
TOKEN_LIMIT = 1 << 16

_WINDOW = 1 << 20  # bytes read ahead in a list of records; more than any one of them
_STEP = 1 << 12  # bytes read ahead elsewhere: headers between tensors are small


@dataclass(frozen=True)
class RecordLayout:
    """How a list of texts is stored, as every vocabulary is: the length as an integer, then the text's bytes.

    ``before`` bytes of numbers stand before the length, ``after`` bytes behind the text.
    """

    length: struct.Struct
    before: int = 0
    after: int = 0

    @property
    def smallest(self) -> int:
        """Bytes of a record with an empty text."""
        return self.before + self.length.size + self.after


class Reader:
    """A place in a file, and a small window of its bytes.

    What a header claims is held against the bytes that are left before anything of that size is
    made. A header that goes past its end, or past ``HEADER_LIMIT``, is a ``Refusal``.
    """

    def __init__(self, file: RegularFile, part: str = "the header") -> None:
        self.file = file
        self.part = part  #: what is being read, for messages
        self.position = 0
        self._budget = HEADER_LIMIT
        self._window = b""
        self._window_at = 0

    @property
    def left(self) -> int:
        """Bytes from here to the end of the file."""
        return self.file.size - self.position

    def need(self, n_bytes: int) -> None:
        """Refuses the file unless it has ``n_bytes`` more."""
        if n_bytes > self.left:
            raise Refusal(f"is cut short or broken: it ends inside {self.part}")

    def skip(self, n_bytes: int) -> None:
        """Goes on without looking at ``n_bytes``."""
        self.need(n_bytes)
        self.position += n_bytes

    def align(self, alignment: int) -> None:
        """Goes on to the next multiple of ``alignment``."""
        self.skip(-self.position % alignment)

    def take(self, n_bytes: int) -> bytes:
        """The next ``n_bytes``."""
        start = self.position - self._window_at
        end = start + n_bytes
        if not (start >= 0 and end <= len(self._window)):
            self.need(n_bytes)
            start = self._fill(n_bytes)
            end = start + n_bytes
        self._spend(n_bytes)
        self.position += n_bytes
        return self._window[start:end]

    def unpack(self, layout: struct.Struct) -> tuple[Any, ...]:
        """The next values of a layout."""
        return layout.unpack(self.take(layout.size))

    def records(self, layout: RecordLayout, count: int | None = None) -> tuple[list[bytes], bytes]:
        """The texts of ``count`` records (None: all up to the file's end), and the numbers around them, joined."""
        if count is not None and count > COUNT_LIMIT:
            raise Refusal(f"claims {count} entries in {self.part}; at most {COUNT_LIMIT} are allowed")
        self.need((count or 0) * layout.smallest)
        most = COUNT_LIMIT if count is None else count
        texts: list[bytes] = []
        numbers: list[bytes] = []
        while self.left if count is None else len(texts) < count:
            if len(texts) == COUNT_LIMIT:
                raise Refusal(f"has more than {COUNT_LIMIT} entries in {self.part}")
            start = self._fill(layout.smallest)
            end = self._scan(start, most, layout, texts, numbers)
            if end == start:  # the next record is not whole in what was read ahead
                start = self._fill(min(self.left, _WINDOW))
                end = self._scan(start, most, layout, texts, numbers)
            if end == start:
                self._fail_record(layout)
            self.position += end - start
            self._spend(end - start)
        return texts, b"".join(numbers)

    def _scan(self, at: int, count: int, layout: RecordLayout, texts: list[bytes], numbers: list[bytes]) -> int:
        """Adds the records that lie whole in the window from ``at``, up to ``count``; returns where they end.

        A vocabulary of 128,256 tokens and 280,147 merges takes 0.05 s here: the loop is kept tight.
        """
        window, unpack = self._window, layout.length.unpack_from
        before, after, head = layout.before, layout.after, layout.before + layout.length.size
        last = len(window) - after
        append = texts.append
        for _ in range(count - len(texts)):
            text_at = at + head
            if text_at > last:
                break
            (n,) = unpack(window, at + before)
            text_end = text_at + n
            if text_end > last or n > TOKEN_LIMIT:
                break
            append(window[text_at:text_end])
            if before or after:
                numbers.append(window[at : at + before] + window[text_end : text_end + after])
            at = text_end + after
        return at

    def _fail_record(self, layout: RecordLayout) -> None:
        """The record here is not whole in a full window: it passes the end of the file, or is absurdly long."""
        self.skip(layout.before)
        (n,) = self.unpack(layout.length)
        self.need(n + layout.after)
        raise Refusal(f"has an entry of {n} bytes in {self.part}; at most {TOKEN_LIMIT} are allowed")

    def _spend(self, n_bytes: int) -> None:
        self._budget -= n_bytes
        if self._budget < 0:
            raise Refusal(f"has a header of more than {HEADER_LIMIT >> 20} MiB, too much for a Llama model")

    def _fill(self, n_bytes: int) -> int:
        """Has ``n_bytes`` from here in the window; returns where in it they start."""
        start = self.position - self._window_at
        if start < 0 or start + n_bytes > len(self._window):
            size = min(max(n_bytes, _STEP), self.left)
            self._window = b""  # freed before the next one is read
            self._window = self.file.read(self.position, size)
            self._window_at = self.position
            start = 0
        return start
