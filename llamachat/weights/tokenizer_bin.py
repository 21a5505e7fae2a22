"""llama2.c's tokenizer.bin: u32 longest token, then per token f32 score, u32 length, bytes. It states no count.

For some days of July 2023 there was neither the first number nor the scores. How the 256 bytes are written changed
too, which does not matter: what a token is follows from its id.
"""

from __future__ import annotations

import struct

from llamachat.vocabulary import Vocabulary
from llamachat.weights.files import Refusal, RegularFile
from llamachat.weights.reader import TOKEN_LIMIT, Reader, RecordLayout
from llamachat.weights.tokens import classify_by_id, llama_scores

_LONGEST = struct.Struct("<I")
_TOKENS = RecordLayout(struct.Struct("<I"), before=4)
_BARE_TOKENS = RecordLayout(struct.Struct("<I"))
_UNKNOWN = struct.pack("<fI", 0.0, 5) + b"<unk>"  # the first token, which every such file has
_UNKNOWN_WITHOUT_SCORE = struct.pack("<I", 5) + b"<unk>"


def is_tokenizer_bin(head: bytes) -> bool:
    """Whether the first bytes are those of a tokenizer.bin."""
    return head[4:17] == _UNKNOWN


def is_without_scores(head: bytes) -> bool:
    """Whether the first bytes are those of the layout of July 2023, without scores."""
    return head.startswith(_UNKNOWN_WITHOUT_SCORE)


def read_tokenizer_bin(file: RegularFile) -> Vocabulary:
    """The vocabulary in a tokenizer.bin. What a token is follows from its id, as in every file by llama2.c."""
    reader = Reader(file, "its tokens")
    (longest,) = reader.unpack(_LONGEST)
    if not 1 <= longest <= TOKEN_LIMIT:
        raise Refusal(f"states {longest} as the length of its longest token")
    texts, scores = reader.records(_TOKENS)
    if max(map(len, texts)) > longest:
        raise Refusal(f"has a token longer than the {longest} bytes it states as the longest")
    return classify_by_id(texts, struct.unpack(f"<{len(texts)}f", scores))


def read_without_scores(file: RegularFile) -> Vocabulary:
    """The vocabulary in a file of the layout without scores, which follow from the order of the tokens."""
    texts, _ = Reader(file, "its tokens").records(_BARE_TOKENS)
    return classify_by_id(texts, llama_scores(texts))
