from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from llamachat.engine.context import Context
from llamachat.engine.core import StopFlag, ffi
from llamachat.engine.events import Finished, PrefillProgress, Request, StopReason, TokenEvent
from llamachat.engine.generate import generate
from llamachat.engine.model import Model
from llamachat.engine.settings import SamplingSettings
from llamachat.engine.source import ModelSource
from llamachat.errors import Cancelled, EngineError

PROMPT = tuple(range(10, 40))
GREEDY = SamplingSettings(temperature=0, max_tokens=20)
WARM = SamplingSettings(temperature=1.0, top_k=0, top_p=1.0, min_p=0.0, seed=11, max_tokens=20)


def answer(context, settings=GREEDY, prompt=PROMPT, stop=None, **request):
    events = list(generate(context, Request(prompt, **request), lambda: settings, stop or StopFlag()))
    return [e for e in events if isinstance(e, TokenEvent)], events[-1], events


def ids_of(tokens):
    return [token.id for token in tokens]


def read(context, ids, stop=None):
    """Reads a prompt to its end; how many tokens were reused."""
    return list(context.read(ids, stop or StopFlag()))[-1].reused_tokens


def logits_of(context):
    data: Any = ffi.buffer(context.logits, 4 * context.model.info.n_vocab)
    return np.frombuffer(data, np.float32).copy()


def test_an_answer_ends_with_its_figures(context):
    tokens, finished, events = answer(context)
    assert isinstance(events[0], PrefillProgress)
    assert finished.reason is StopReason.LENGTH
    assert len(tokens) == 20
    assert finished.timings.prompt_tokens == len(PROMPT)
    assert finished.timings.answer_tokens == 20
    assert finished.timings.reused_tokens == 0
    assert finished.timings.prompt_ms > 0
    assert finished.timings.answer_ms > 0


def test_greedy_is_the_highest_logit(context):
    tokens, _, _ = answer(context)
    for i, token in enumerate(tokens):
        read(context, PROMPT + tuple(ids_of(tokens[:i])))
        assert token.id == int(np.argmax(logits_of(context)))


def test_the_text_of_the_events_is_the_text_of_the_tokens(context):
    tokens, finished, _ = answer(context, WARM)
    whole = "".join(token.text for token in tokens) + finished.tail
    stream = context.model.tokenizer.stream(at_start=True)
    assert whole == "".join(map(stream.push, ids_of(tokens))) + stream.flush()


def test_same_seed_same_text_whatever_the_threads(tiny_path, context):
    expected, finished, _ = answer(context, WARM)
    assert finished.seed == 11
    for threads in (1, 3):
        model = Model.load(ModelSource(tiny_path, threads=threads))
        other = Context(model)
        assert ids_of(answer(other, WARM)[0]) == ids_of(expected)
        other.close()
        model.close()


def test_another_seed_is_another_text(context):
    assert ids_of(answer(context, WARM)[0]) != ids_of(answer(context, replace(WARM, seed=12))[0])


def test_a_random_seed_is_told_and_repeats_the_text(context):
    tokens, finished, _ = answer(context, replace(WARM, seed=None))
    again, _, _ = answer(context, replace(WARM, seed=finished.seed))
    assert ids_of(again) == ids_of(tokens)


def test_only_what_differs_is_read_again(context):
    assert read(context, PROMPT) == 0
    assert read(context, (*PROMPT, 50, 51)) == len(PROMPT)
    assert read(context, (*PROMPT[:12], 99, 98)) == 12
    shared = logits_of(context)
    fresh = Context(context.model)
    read(fresh, (*PROMPT[:12], 99, 98))
    # Other batches round in another order, and that puts a key on the other side of an edge between two float16.
    assert np.allclose(shared, logits_of(fresh), rtol=0, atol=2e-3)
    fresh.close()


def test_the_same_prompt_again_costs_one_token(context):
    answer(context)
    _, finished, _ = answer(context)
    assert finished.timings.reused_tokens == len(PROMPT) - 1


def test_settings_take_effect_from_the_next_token(context):
    panel = [WARM]
    tokens = []
    for event in generate(context, Request(PROMPT), lambda: panel[-1], StopFlag()):
        if isinstance(event, TokenEvent):
            tokens.append(event.id)
            if len(tokens) == 5:
                panel.append(replace(GREEDY, max_tokens=10))
    assert len(tokens) == 10
    for i in range(5, 10):
        read(context, PROMPT + tuple(tokens[:i]))
        assert tokens[i] == int(np.argmax(logits_of(context)))


def test_a_stop_token_ends_the_answer_and_is_not_part_of_it(context):
    tokens, _, _ = answer(context)
    end = tokens[4].id
    first = ids_of(tokens).index(end)
    shorter, finished, _ = answer(context, stop_ids=frozenset({end}))
    assert ids_of(shorter) == ids_of(tokens[:first])
    assert finished.reason is StopReason.END


def test_a_stop_text_ends_the_answer_and_is_cut(context):
    tokens, finished, _ = answer(context, WARM)
    text = "".join(token.text for token in tokens) + finished.tail
    end = text[8:11]
    shorter, finished, _ = answer(context, WARM, stop_texts=(end,))
    assert finished.reason is StopReason.END
    assert "".join(token.text for token in shorter) + finished.tail == text[: text.index(end)]


def test_a_full_context_ends_the_answer(model):
    small = Context(model, n_ctx=len(PROMPT) + 4)
    tokens, finished, _ = answer(small)
    assert finished.reason is StopReason.CONTEXT
    assert len(tokens) == 4  # no more than the cache holds, so that the answer can be gone on with
    small.close()


def test_a_prompt_that_does_not_fit_is_refused(model):
    small = Context(model, n_ctx=16)
    with pytest.raises(EngineError, match="30 tokens, the context holds 16"):
        answer(small)
    with pytest.raises(EngineError, match="empty prompt"):
        answer(small, prompt=())
    with pytest.raises(EngineError, match="vocabulary"):
        answer(small, prompt=(1, 320))
    small.close()


def test_stopping_before_the_prompt_is_read(context):
    stop = StopFlag()
    stop.set()
    tokens, finished, _ = answer(context, stop=stop)
    assert tokens == []
    assert finished.reason is StopReason.STOPPED
    assert context.ids == []
    with pytest.raises(Cancelled):
        context.append([1], stop)


def test_stopping_between_tokens_keeps_what_was_said(context):
    stop = StopFlag()
    tokens = []
    for event in generate(context, Request(PROMPT), lambda: GREEDY, stop):
        if isinstance(event, TokenEvent):
            tokens.append(event.id)
            if len(tokens) == 3:
                stop.set()
        elif isinstance(event, Finished):
            assert event.reason is StopReason.STOPPED
    assert len(tokens) == 3
    assert tokens == ids_of(answer(context)[0])[:3]


def test_probabilities_are_those_of_the_raw_logits(context):
    tokens, _, _ = answer(context, WARM, n_top=5)
    read(context, PROMPT)
    logits = logits_of(context).astype(np.float64)
    expected = logits - np.logaddexp.reduce(logits)
    first = tokens[0]
    assert first.logprob == pytest.approx(expected[first.id], abs=1e-5)
    best = np.argsort(-expected, kind="stable")[:5]
    assert [alternative.id for alternative in first.top] == best.tolist()
    assert [alternative.logprob for alternative in first.top] == pytest.approx(expected[best], abs=1e-5)


def test_the_repeat_penalty_sees_the_window_only(context):
    tokens, _, _ = answer(context, GREEDY)
    favourite = tokens[0].id
    penal = replace(GREEDY, repeat_penalty=5.0, max_tokens=1)
    punished, _, _ = answer(context, penal, prompt=(favourite, *PROMPT))
    read(context, (favourite, *PROMPT))
    logits = logits_of(context)
    window = np.unique((favourite, *PROMPT))
    logits[window] = np.where(logits[window] > 0, logits[window] / 5, logits[window] * 5)
    assert punished[0].id == int(np.argmax(logits))
    free, _, _ = answer(context, replace(penal, repeat_window=0), prompt=(favourite, *PROMPT))
    read(context, (favourite, *PROMPT))
    assert free[0].id == int(np.argmax(logits_of(context)))
