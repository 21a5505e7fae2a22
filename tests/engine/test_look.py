"""Looking at a text that is there, on the real C core."""

import math
from dataclasses import replace

import numpy as np
import pytest

from llamachat.engine.context import Context
from llamachat.engine.core import StopFlag
from llamachat.engine.events import Looked, LookFailed, LookRequest, Place, PrefillProgress, Request, TokenEvent
from llamachat.engine.generate import generate
from llamachat.engine.look import look
from llamachat.engine.sampler import Sampler
from llamachat.engine.settings import SamplingSettings
from llamachat.engine.source import ModelSource
from llamachat.engine.worker import LocalEngine
from llamachat.errors import Cancelled, EngineError
from tests.engine.test_generate import GREEDY, PROMPT, WARM, answer, ids_of, logits_of, read
from tests.engine.test_worker import Recorder

SETTINGS = SamplingSettings(temperature=0.7, top_k=6, top_p=0.9, min_p=0.02)


def places_of(context, ids, prompt=PROMPT, settings=SETTINGS, end_ids=frozenset(), n_top=10):
    request = LookRequest(tuple(prompt), tuple(ids), end_ids, settings, n_top)
    events = list(look(context, request, StopFlag()))
    return [e for e in events if isinstance(e, Place)], [e for e in events if isinstance(e, PrefillProgress)]


def test_a_look_finds_the_probabilities_that_the_answer_was_drawn_with(context):
    tokens, _, _ = answer(context, replace(WARM, max_tokens=70), n_top=10)  # more than the tokens of one batch
    places, _ = places_of(context, ids_of(tokens))
    assert len(places) == len(tokens) + 1
    for place, token in zip(places, tokens, strict=False):
        assert place.id == token.id
        assert place.logprob == pytest.approx(token.logprob, abs=5e-3)
        for one, other in zip(place.top[:3], token.top[:3], strict=True):
            assert one.logprob == pytest.approx(other.logprob, abs=5e-3)


def test_logprobs_and_shares_are_those_of_the_logits_there(context):
    ids = (20, 21, 22, 23, 24)
    settings = replace(SETTINGS, repeat_penalty=1.7, repeat_window=4)
    places, _ = places_of(context, ids, settings=settings)
    for at, place in enumerate(places):
        before = (*PROMPT, *ids[:at])
        read(context, before)
        logits = logits_of(context).astype(np.float64)
        expected = logits - np.logaddexp.reduce(logits)
        best = np.argsort(-expected, kind="stable")[:10]
        assert [one.logprob for one in place.top] == pytest.approx(expected[best], abs=5e-3)
        sampler = Sampler(len(logits), 1)
        wanted = sampler.shares(context.logits, before, settings, [one.id for one in place.top])
        assert [one.share for one in place.top] == pytest.approx(wanted, abs=5e-3)
        if at < len(ids):
            assert place.logprob == pytest.approx(expected[ids[at]], abs=5e-3)
            assert place.share == pytest.approx(
                sampler.shares(context.logits, before, settings, [ids[at]])[0], abs=5e-3
            )


def test_the_sampling_keeps_its_share_of_the_alternatives(context):
    settings = SamplingSettings(temperature=1.0, top_k=3, top_p=1.0, min_p=0.0)
    places, _ = places_of(context, (20, 21), settings=settings)
    for place in places:
        shares = [one.share for one in place.top]
        assert sum(shares) == pytest.approx(1.0, abs=1e-5)
        assert [share > 0 for share in shares] == [True] * 3 + [False] * 7


def test_behind_a_text_that_was_cut_nothing_stands(context):
    places, _ = places_of(context, (20, 21))
    assert (places[-1].id, places[-1].logprob, places[-1].share) == (None, None, None)
    assert len(places[-1].top) == 10


def test_the_likeliest_end_is_taken_for_the_one_that_ended_it(context):
    read(context, (*PROMPT, 20))
    logits = logits_of(context)
    ends = [5, 6, 7]
    places, _ = places_of(context, (20,), end_ids=frozenset(ends), n_top=2)
    assert places[-1].id == max(ends, key=lambda token: logits[token])
    assert places[-1].logprob == pytest.approx(float(logits[places[-1].id] - np.logaddexp.reduce(logits)), abs=5e-3)
    assert len(places[-1].top) == 2


def test_only_the_text_is_evaluated_again(context):
    tokens, _, _ = answer(context)
    _, progress = places_of(context, ids_of(tokens))
    assert progress[0].reused_tokens == len(PROMPT) - 2  # the last but one for its logits, the last for those we want
    assert progress[-1].done_tokens == progress[-1].total_tokens == len(PROMPT) + len(tokens)
    assert context.ids == [*PROMPT, *ids_of(tokens)]
    more, finished, _ = answer(context, prompt=(*PROMPT, *ids_of(tokens)))
    assert finished.timings.reused_tokens == len(PROMPT) + len(tokens) - 1
    fresh = Context(context.model)
    assert ids_of(more) == ids_of(answer(fresh, prompt=(*PROMPT, *ids_of(tokens)))[0])
    fresh.close()


def test_the_shortest(context):
    places, _ = places_of(context, (), prompt=(10,))
    assert len(places) == 1
    places, _ = places_of(context, (20,), prompt=(10,))
    assert [place.id for place in places] == [20, None]


def test_a_text_may_fill_the_context_and_no_more(model):
    small = Context(model, n_ctx=16)
    places, _ = places_of(small, range(20, 32), prompt=PROMPT[:4])
    assert len(places) == 13
    with pytest.raises(EngineError, match="17 tokens with its prompt, the context holds 16"):
        places_of(small, range(20, 33), prompt=PROMPT[:4])
    with pytest.raises(EngineError, match="empty prompt"):
        places_of(small, (20,), prompt=())
    with pytest.raises(EngineError, match="vocabulary"):
        places_of(small, (320,), prompt=(1,))
    small.close()


def test_stopping(context):
    stop = StopFlag()
    events = look(context, LookRequest(PROMPT, tuple(range(20, 90)), frozenset(), SETTINGS), stop)
    next(event for event in events if isinstance(event, Place))
    stop.set()
    with pytest.raises(Cancelled):
        list(events)
    tokens, _, _ = answer(context, GREEDY)
    fresh = Context(context.model)
    assert ids_of(tokens) == ids_of(answer(fresh, GREEDY)[0])
    fresh.close()


# ---- on the worker thread --------------------------------------------------


@pytest.fixture
def engine(tiny_path):
    engine = LocalEngine()
    recorder = Recorder(engine)
    engine.load(ModelSource(tiny_path))
    recorder.last()
    yield engine, recorder
    engine.close()


def test_the_engine_looks(engine):
    engine, recorder = engine
    engine.look(LookRequest(PROMPT, (20, 21), frozenset(), SETTINGS))
    event = recorder.last()
    assert isinstance(event, Looked)
    assert [place.id for place in event.places] == [20, 21, None]
    assert all(math.isfinite(one.logprob) for place in event.places for one in place.top)
    assert isinstance(recorder.events[-2], PrefillProgress)
    engine.generate(Request(PROMPT))  # it is free again
    recorder.last()
    assert any(isinstance(event, TokenEvent) for event in recorder.events)


def test_what_it_cannot_look_at_is_told(engine):
    engine, recorder = engine
    engine.look(LookRequest(PROMPT, tuple(range(20, 20 + 200)), frozenset(), SETTINGS))
    event = recorder.last()
    assert isinstance(event, LookFailed)
    assert not event.cancelled
    assert "230 tokens with its prompt, the context holds 128" in event.message


def test_looking_is_stopped(engine):
    engine, recorder = engine
    recorder.on_event = lambda event: engine.stop() if isinstance(event, PrefillProgress) else None
    engine.look(LookRequest(PROMPT, tuple(range(20, 90)), frozenset(), SETTINGS))
    event = recorder.last()
    assert isinstance(event, LookFailed)
    assert event.cancelled


def test_without_a_model_and_beside_other_work_it_is_refused(engine):
    request = LookRequest(PROMPT, (20,), frozenset(), SETTINGS)
    empty = LocalEngine()
    with pytest.raises(EngineError, match="no model"):
        empty.look(request)
    empty.close()
    engine, recorder = engine
    refusals: list[str] = []

    def ask(event):
        if isinstance(event, PrefillProgress) and not refusals:
            try:
                engine.look(request)
            except EngineError as error:
                refusals.append(str(error))

    recorder.on_event = ask
    engine.generate(Request(PROMPT))
    recorder.last()
    assert refusals == ["the engine is busy"]


def test_generate_tells_the_same_with_and_without_a_look_before(context):
    first = [e.id for e in generate(context, Request(PROMPT), lambda: WARM, StopFlag()) if isinstance(e, TokenEvent)]
    places_of(context, first)
    again = [e.id for e in generate(context, Request(PROMPT), lambda: WARM, StopFlag()) if isinstance(e, TokenEvent)]
    assert again == first
