import threading
from dataclasses import replace

import pytest

from llamachat.engine.events import (
    Finished,
    Loaded,
    LoadFailed,
    LoadProgress,
    Looked,
    LookFailed,
    PrefillProgress,
    Request,
    StopReason,
    TokenEvent,
)
from llamachat.engine.settings import SamplingSettings
from llamachat.engine.source import ModelSource
from llamachat.engine.worker import LocalEngine
from llamachat.errors import EngineError

LAST = (Loaded, LoadFailed, Finished, Looked, LookFailed)


class Recorder:
    """Keeps all events, and lets a test wait for the last one of a job."""

    def __init__(self, engine):
        self.events = []
        self._over = threading.Semaphore(0)
        self.on_event = lambda event: None
        engine.subscribe(self)

    def __call__(self, event):
        self.events.append(event)
        self.on_event(event)
        if isinstance(event, LAST):
            self._over.release()

    def last(self):
        assert self._over.acquire(timeout=30), "the engine did not come to an end"
        return next(event for event in reversed(self.events) if isinstance(event, LAST))


@pytest.fixture
def engine():
    engine = LocalEngine()
    engine.settings = SamplingSettings(temperature=0, max_tokens=10)
    yield engine
    engine.close()


@pytest.fixture
def loaded(engine, tiny_path):
    recorder = Recorder(engine)
    engine.load(ModelSource(tiny_path))
    assert isinstance(recorder.last(), Loaded)
    return recorder


def test_loading_tells_its_progress(engine, tiny_path):
    recorder = Recorder(engine)
    engine.load(ModelSource(tiny_path, n_ctx=64))
    event = recorder.last()
    assert isinstance(event, Loaded)
    assert event.info == engine.info
    assert event.info.n_ctx == 64
    assert event.info.type_name == "Q8_0"
    done = [e.done_bytes for e in recorder.events if isinstance(e, LoadProgress)]
    assert done == sorted(done)
    assert done[-1] == recorder.events[-2].total_bytes


def test_an_answer_comes_in_order(engine, loaded):
    engine.generate(Request((1, 5, 6)))
    assert loaded.last().reason is StopReason.LENGTH
    kinds = [type(event) for event in loaded.events if not isinstance(event, LoadProgress | Loaded)]
    assert kinds[0] is PrefillProgress
    assert kinds[-11:] == [TokenEvent] * 10 + [Finished]


def test_the_next_job_may_be_asked_for_from_the_last_event(engine, loaded):
    def again(event):
        if isinstance(event, Finished):
            loaded.on_event = lambda event: None
            engine.generate(Request((1, 7)))

    loaded.on_event = again
    engine.generate(Request((1, 5, 6)))
    loaded.last()
    loaded.last()
    assert sum(isinstance(event, Finished) for event in loaded.events) == 2


def test_one_job_at_a_time(engine, loaded):
    inside, go_on = threading.Event(), threading.Event()

    def hold(event):
        if isinstance(event, TokenEvent):
            inside.set()
            go_on.wait(30)

    loaded.on_event = hold
    engine.generate(Request((1, 5, 6)))
    assert inside.wait(30)
    with pytest.raises(EngineError, match="busy"):
        engine.generate(Request((1,)))
    engine.stop()
    go_on.set()
    assert loaded.last().reason is StopReason.STOPPED


def test_a_failed_load_leaves_the_model_in_use(engine, loaded, tmp_path):
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF" + bytes(40))
    info = engine.info
    engine.load(ModelSource(broken))
    event = loaded.last()
    assert isinstance(event, LoadFailed)
    assert str(broken) in event.message
    assert not event.cancelled
    assert engine.info is info
    engine.generate(Request((1, 5, 6)))
    assert loaded.last().reason is StopReason.LENGTH


def test_a_load_can_be_stopped(engine, tiny_path):
    recorder = Recorder(engine)
    recorder.on_event = lambda event: engine.stop()
    engine.load(ModelSource(tiny_path))
    event = recorder.last()
    assert isinstance(event, LoadFailed)
    assert event.cancelled
    assert engine.info is None


def test_an_impossible_request_fails_in_words(engine, loaded):
    engine.generate(Request(tuple([1] * 1000)))
    event = loaded.last()
    assert event.reason is StopReason.FAILED
    assert "1,000 tokens" in event.message


def test_without_a_model_nothing_is_generated(engine):
    with pytest.raises(EngineError, match="no model"):
        engine.generate(Request((1,)))


def test_settings_are_read_before_every_token(engine, loaded):
    def shorten(event):
        if isinstance(event, TokenEvent):
            engine.settings = replace(engine.settings, max_tokens=3)

    loaded.on_event = shorten
    engine.generate(Request((1, 5, 6)))
    assert loaded.last().timings.answer_tokens == 3


def test_closing_ends_the_thread_in_mid_answer(tiny_path):
    engine = LocalEngine()
    engine.settings = SamplingSettings(temperature=0, max_tokens=100_000)
    recorder = Recorder(engine)
    engine.load(ModelSource(tiny_path))
    recorder.last()
    engine.generate(Request((1, 5, 6)))
    engine.close()
    assert "llamachat-engine" not in {thread.name for thread in threading.enumerate()}
    assert engine.info is None
