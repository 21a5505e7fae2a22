"""An engine that needs no model: it says what a script tells it to, as fast as a test wants."""

from __future__ import annotations

import math
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

from llamachat.engine.events import (
    Alternative,
    Event,
    Finished,
    Loaded,
    LoadFailed,
    LoadProgress,
    Looked,
    LookFailed,
    LookRequest,
    ModelInfo,
    Place,
    PrefillProgress,
    Request,
    StopReason,
    Timings,
    TokenEvent,
)
from llamachat.engine.settings import SamplingSettings
from llamachat.engine.source import ModelSource
from llamachat.engine.stop_texts import StopTexts
from llamachat.errors import EngineError
from llamachat.tokenizer import Tokenizer
from llamachat.vocabulary import TokenKind, Vocabulary

SPECIALS = ("<unk>", "<s>", "</s>", "<|im_start|>", "<|im_end|>")
_WORD = re.compile(r" ?[A-Za-z0-9_']+| ?[!-/:-@\[-`{-~]+|.", re.DOTALL)

LOOKED_AT = (0.9, 0.6, 0.3, 0.04)
OTHER_WORDS = (" autumn", " spring", " winter")

CHATML_TEMPLATE = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"


class ScriptedTokenizer(Tokenizer):
    """One token per word, one per byte of other alphabets. It learns words as it meets them."""

    def __init__(self) -> None:
        kinds = (TokenKind.UNKNOWN, *(TokenKind.CONTROL,) * (len(SPECIALS) - 1))
        vocabulary = Vocabulary("bpe", SPECIALS, (), kinds, bos_id=1, eos_id=4, add_bos=False,
                                add_space_prefix=False, stop_ids=frozenset({2, 4}))  # fmt: skip
        self._learned = [b""] * len(SPECIALS) + [bytes([byte]) for byte in range(256)]
        self._ids: dict[str, int] = {}
        super().__init__(vocabulary, "replace")

    @property
    def n_vocab(self) -> int:
        return 100_000

    def _surface(self, id_: int) -> bytes:
        return self._learned[id_]

    def _encode(self, text: str) -> list[int]:
        return [token for word in _WORD.findall(text) for token in self._word(word)]

    def _word(self, word: str) -> Sequence[int]:
        if not word.isascii():
            return [len(SPECIALS) + byte for byte in word.encode()]
        if word not in self._ids:
            self._ids[word] = len(self._learned)
            self._learned.append(word.encode())
        return (self._ids[word],)


class ScriptedEngine:
    """An ``Engine`` whose answers are given: a list taken in turn (the last one again and again), or a function.

    ``tokens_per_second`` 0 means at once. With ``gated=True`` nothing happens but on :meth:`release`: each
    released step is one event, so a test decides what has happened when. ``load_error`` fails every load.
    ``fail_after`` tokens an answer fails. An answer ends with ``end`` (END by default), or LENGTH, CONTEXT
    or STOPPED where settings, context or a person cut it.
    """

    def __init__(
        self,
        answers: Sequence[str] | Callable[[Request], str] = ("Hello there.",),
        *,
        loaded: bool = False,
        tokens_per_second: float = 0.0,
        prefill_ms: float = 0.0,
        load_seconds: float = 0.0,
        look_seconds: float = 0.0,
        gated: bool = False,
        n_ctx: int = 2048,
        name: str = "Scripted 1B",
        chat_template: str | None = CHATML_TEMPLATE,
        notices: tuple[str, ...] = (),
        load_error: str = "",
        fail_after: int | None = None,
        end: StopReason = StopReason.END,
    ) -> None:
        self.settings = SamplingSettings()
        self.tokens_per_second = tokens_per_second
        self.prefill_ms = prefill_ms
        self.load_seconds = load_seconds
        self.look_seconds = look_seconds
        self.load_error = load_error
        self.fail_after = fail_after
        self.end = end
        self.requests: list[Request] = []  #: everything that was asked for
        self.sampled: list[SamplingSettings] = []  #: the settings in force at each token
        self.loads: list[ModelSource] = []
        self.looks: list[LookRequest] = []
        self._answers = answers if callable(answers) else deque(answers)
        self._name, self._n_ctx, self._template, self._notices = name, n_ctx, chat_template, notices
        self._gate = threading.Semaphore(0) if gated else None
        self._tokenizer = ScriptedTokenizer()
        self._info: ModelInfo | None = self._make_info(Path("/models/scripted.gguf")) if loaded else None
        self._listeners: list[Callable[[Event], None]] = []
        self._cache: tuple[int, ...] = ()
        self._stop = threading.Event()
        self._busy = threading.Lock()
        self._jobs: deque[ModelSource | Request | LookRequest | None] = deque()
        self._waiting = threading.Semaphore(0)
        self._thread: threading.Thread | None = None

    # ---- Engine -------------------------------------------------------------

    @property
    def info(self) -> ModelInfo | None:
        return self._info

    @property
    def tokenizer(self) -> ScriptedTokenizer | None:
        return self._tokenizer if self._info else None

    def subscribe(self, listener: Callable[[Event], None]) -> None:
        self._listeners.append(listener)

    def load(self, source: ModelSource) -> None:
        self._accept(source)
        self.loads.append(source)

    def generate(self, request: Request) -> None:
        if self._info is None:
            raise EngineError("no model is loaded")
        self._accept(request)
        self.requests.append(request)

    def look(self, request: LookRequest) -> None:
        if self._info is None:
            raise EngineError("no model is loaded")
        self._accept(request)
        self.looks.append(request)

    def stop(self) -> None:
        self._stop.set()
        self.release(1)  # a gated engine notices

    def close(self, timeout: float = 2.0) -> None:
        self.stop()
        self._jobs.append(None)
        self._waiting.release()
        self.release(1)
        if self._thread is not None:
            self._thread.join(timeout)

    # ---- for tests ----------------------------------------------------------

    def release(self, steps: int = 1) -> None:
        """Lets a gated engine tell ``steps`` more events."""
        if self._gate is not None:
            self._gate.release(steps)

    def hold(self) -> None:
        """Takes back the steps that were released and not used."""
        while self._gate is not None and self._gate.acquire(blocking=False):
            pass

    # ---- on the engine's thread ---------------------------------------------

    def _accept(self, job: ModelSource | Request | LookRequest) -> None:
        if not self._busy.acquire(blocking=False):
            raise EngineError("the engine is busy")
        self._stop.clear()
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="scripted-engine", daemon=True)
            self._thread.start()
        self._jobs.append(job)
        self._waiting.release()

    def _work(self) -> None:
        while True:
            self._waiting.acquire()
            job = self._jobs.popleft()
            if job is None:
                return
            match job:
                case ModelSource():
                    last = self._load(job)
                case LookRequest():
                    last = self._look(job)
                case Request():
                    last = self._answer(job)
            self._busy.release()
            self._tell(last)

    def _tell(self, event: Event) -> None:
        for listener in self._listeners:
            listener(event)

    def _pass(self, seconds: float) -> bool:
        """Waits as long as a step takes; False if stopped."""
        if self._gate is not None:
            self._gate.acquire()
        elif seconds > 0:
            self._stop.wait(seconds)
        return not self._stop.is_set()

    def _load(self, source: ModelSource) -> Event:
        total, steps = 98_362_432, 4
        for step in range(steps + 1):
            if not self._pass(self.load_seconds / steps):
                return LoadFailed("loading was stopped", source, cancelled=True)
            self._tell(LoadProgress(total * step // steps, total))
        if self.load_error:
            return LoadFailed(self.load_error, source)
        self._info = self._make_info(source.path, source.n_ctx)
        self._cache = ()
        return Loaded(self._info, source)

    def _answer(self, request: Request) -> Event:
        prompt = request.prompt_ids
        reused = self._common(prompt)
        total = len(prompt)
        for done in sorted({reused, (reused + total) // 2, total}):
            if not self._pass(self.prefill_ms / 3000):
                return Finished(StopReason.STOPPED, Timings(total, reused, self.prefill_ms))
            self._tell(PrefillProgress(done, total, reused, self.prefill_ms * done / max(total, 1)))
        return self._speak(request, reused)

    def _speak(self, request: Request, reused: int) -> Event:
        ids = self._tokenizer.encode(self._next_answer(request))
        started, said, reason, message = time.monotonic(), 0, self.end, ""
        text, stops = self._tokenizer.stream(at_start=request.at_start), StopTexts(request.stop_texts)
        for token in ids:
            settings = self.settings
            if not self._pass(1 / self.tokens_per_second if self.tokens_per_second > 0 else 0):
                reason = StopReason.STOPPED
            elif said == self.fail_after:
                reason, message = StopReason.FAILED, "the scripted engine fails here"
            elif said >= settings.max_tokens:
                reason = StopReason.LENGTH
            elif len(request.prompt_ids) + said >= self._n_ctx:
                reason = StopReason.CONTEXT
            else:
                said += 1
                self.sampled.append(settings)
                elapsed = 1000 * (time.monotonic() - started)
                self._tell(TokenEvent(token, stops.push(text.push(token)), elapsed_ms=elapsed))
                if not stops.found:
                    continue
            break
        self._cache = request.prompt_ids + tuple(ids[:said])
        timings = Timings(len(request.prompt_ids), reused, self.prefill_ms or 1.0, said,
                          1000 * (time.monotonic() - started))  # fmt: skip
        seed = 7 if self.settings.seed is None else self.settings.seed
        return Finished(reason, timings, stops.push(text.flush()) + stops.flush(), seed, message)

    def _look(self, request: LookRequest) -> Event:
        """The tokens have probabilities of 90, 60, 30 and 4 %, in turn; three words share what is left of each."""
        n_prompt, total = len(request.prompt_ids), len(request.prompt_ids) + len(request.ids)
        for done in (n_prompt, total):
            if not self._pass(self.look_seconds / 2):
                return LookFailed("looking was stopped", cancelled=True)
            self._tell(PrefillProgress(done, total, n_prompt, 0.0))
        self._cache = request.prompt_ids + request.ids
        tokens: list[int | None] = [*request.ids, min(request.end_ids, default=None)]
        return Looked(tuple(self._place(token, LOOKED_AT[at % 4]) for at, token in enumerate(tokens)))

    def _place(self, token: int | None, p: float) -> Place:
        others = [self._tokenizer.encode(word)[0] for word in OTHER_WORDS]
        parts = [(other, (1 - p) * part) for other, part in zip(others, (0.6, 0.3, 0.1), strict=True)]
        if token is not None:
            parts.append((token, p))
        parts.sort(key=lambda part: -part[1])
        top = tuple(
            Alternative(one, self._tokenizer.piece(one), math.log(part), part if part > 0.1 else 0.0)
            for one, part in parts
        )
        here = next((one for one in top if one.id == token), None)
        return Place(token, here.logprob if here else None, here.share if here else None, top)

    def _next_answer(self, request: Request) -> str:
        if callable(self._answers):
            return self._answers(request)
        return self._answers.popleft() if len(self._answers) > 1 else self._answers[0]

    def _common(self, prompt: tuple[int, ...]) -> int:
        """How much of the prompt the cache holds; the last token is always evaluated, for its logits."""
        same = 0
        for ours, theirs in zip(self._cache, prompt[:-1], strict=False):
            if ours != theirs:
                break
            same += 1
        return same

    def _make_info(self, path: Path, n_ctx: int | None = None) -> ModelInfo:
        n_ctx = n_ctx or self._n_ctx
        self._n_ctx = n_ctx
        return ModelInfo(path, self._name, "GGUF v3", "Q4_1", 134_515_008, n_ctx, n_ctx, 100_000, 98_362_432,
                         self._template, self._notices)  # fmt: skip
