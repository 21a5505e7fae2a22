"""Conversations as JSON: whole there and back, and nothing hostile gets through."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from llamachat.chat.conversation import Conversation, Role, Status
from llamachat.chat.examples import add_examples, example_names, load_example
from llamachat.chat.exchange.portable import PortableError, dumps, from_portable, loads, to_portable
from llamachat.chat.session import ChatSession
from llamachat.engine.events import Timings
from llamachat.engine.settings import SamplingSettings
from llamachat.errors import LlamachatError
from tests.support.sessions import texts


def _conversation() -> Conversation:
    conversation = Conversation(title="T", system="S", settings=SamplingSettings(top_k=3), created=1e9)
    question = conversation.add_user("q", parent=None)
    answer = conversation.add_answer(question, model="M")
    answer.text, answer.status, answer.seed, answer.ids = "a 🦙", Status.STOPPED, 5, (1, 2)
    answer.timings = Timings(3, 1, 2.5, 2, 9.0)
    answer.settings = SamplingSettings(top_k=3).to_dict()
    other = conversation.add_answer(question)
    other.status, other.text = Status.COMPLETE, "b"
    conversation.add_user("deeper", parent=other)
    conversation.select(answer)
    return conversation


def _entry(**changes: object) -> dict[str, Any]:
    return {"id": "1", "parent": None, "role": "user", "text": "q"} | changes


def _whole(*messages: object, **changes: object) -> dict[str, Any]:
    return {"llamachat": 1, "messages": list(messages) or [_entry()]} | changes


def test_there_and_back() -> None:
    conversation = _conversation()
    again = loads(dumps(conversation))
    assert (again.title, again.system, again.created) == ("T", "S", 1e9)
    assert again.settings.top_k == 3
    assert [m.text for m in again.path] == ["q", "a 🦙"]
    ours, theirs = list(conversation.messages.values()), list(again.messages.values())
    for name in ("role", "text", "status", "model", "timings", "seed", "settings", "created"):
        assert [getattr(m, name) for m in theirs] == [getattr(m, name) for m in ours], name
    assert [again.siblings(m) for m in again.path] == [conversation.siblings(m) for m in conversation.path]
    assert set(again.messages).isdisjoint(conversation.messages)  # it can stand beside its original
    assert again.id != conversation.id
    assert all(message.ids is None for message in theirs)  # ids from outside could be control tokens
    assert dumps(loads(dumps(again))).count("🦙") == 1


def test_the_least_there_can_be() -> None:
    assert loads('{"llamachat": 1, "messages": []}').path == []
    conversation = from_portable(_whole(_entry(text="What is it?\nMore")))
    assert conversation.title == "What is it?"
    assert conversation.path[0].role is Role.USER


def test_an_answer_that_was_being_written_is_not_any_more() -> None:
    answer = _entry(id="2", parent="1", role="assistant", text="half", status="streaming")
    assert from_portable(_whole(_entry(), answer)).path[1].status is Status.INTERRUPTED


HOSTILE: list[tuple[str, object]] = [
    ("no JSON object", []),
    ("no llamachat conversation", {}),
    ("no llamachat conversation", {"messages": []}),
    ("newer llamachat", _whole(llamachat=2)),
    ("'llamachat' is no whole number", _whole(llamachat=True)),
    ("has no 'messages'", {"llamachat": 1}),
    ("'messages' is no list", {"llamachat": 1, "messages": {}}),
    ("message 1 is no JSON object", _whole("q")),
    ("message 1 has no 'id'", _whole({})),
    ("message 1: 'id' is no string", _whole(_entry(id=7))),
    ("message 1: 'id' is too long", _whole(_entry(id="x" * 201))),
    ("message 1: 'role' is none of user, assistant", _whole(_entry(role="system"))),
    ("message 1: 'status' is none of", _whole(_entry(status="excellent"))),
    ("message 1 has no 'text'", _whole({"id": "1", "role": "user"})),
    ("message 1: 'text' is no string", _whole(_entry(text=["q"]))),
    ("message 2: its id was given before", _whole(_entry(), _entry())),
    ("message 1: it follows a message that does not come before it", _whole(_entry(parent="1"))),
    ("message 1: it follows a message that does not", _whole(_entry(parent="2"), _entry(id="2", parent="1"))),
    ("message 1: an answer must follow a question", _whole(_entry(role="assistant"))),
    (
        "message 3: an answer must follow a question",
        _whole(_entry(), _entry(id="2", parent="1", role="assistant"), _entry(id="3", parent="2", role="assistant")),
    ),
    ("'settings' is no object", _whole(settings=[1])),
    ("'title' is too long", _whole(title="x" * 2000)),
    ("'choices' is no object", _whole(choices="a")),
    ("message 1: 'seed' is no whole number", _whole(_entry(seed=1.5))),
]


@pytest.mark.parametrize(("reason", "values"), HOSTILE, ids=[reason for reason, _ in HOSTILE])
def test_what_is_wrong_is_named(reason: str, values: object) -> None:
    with pytest.raises(PortableError) as caught:
        loads(json.dumps(values))
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("reason", "text"),
    [
        ("nested too deeply", "[" * 1_000_000),
        ("nested too deeply", '{"llamachat": 1, "messages": ' + "[" * 500_000 + "]" * 500_000 + "}"),
        ("NaN, which is no number", '{"llamachat": 1, "created": NaN, "messages": []}'),
        ("-Infinity, which is no number", '{"llamachat": 1, "created": -Infinity, "messages": []}'),
        ("not JSON", "these are not the chats"),
        ("number of thousands of digits", '{"llamachat": ' + "9" * 10_000 + "}"),
        ("not UTF-8", b'\xff\xfe{"llamachat": 1\xff'),
    ],
    ids=range(7),
)
def test_texts_that_attack(reason: str, text: str | bytes) -> None:
    with pytest.raises(PortableError, match=reason):
        loads(text)


def test_too_many_messages() -> None:
    with pytest.raises(PortableError, match="more than 100,000 messages"):
        from_portable({"llamachat": 1, "messages": [None] * 100_001})


def test_values_that_make_no_sense_are_left_out() -> None:
    answer = _entry(id="2", parent="1", role="assistant", text="a\ud800b", created=1e300, seed=-1, dropped=99,
                    settings={"temperature": 1e300, "top_k": 5, "x": 1},
                    timings={"prompt_tokens": 1e300, "reused_tokens": 0, "prompt_ms": -1, "answer_tokens": 0,
                             "answer_ms": 0})  # fmt: skip
    values = _whole(_entry(), answer, choices={"1": 7, "": "2", "9": "1"}, settings={"temperature": -5, "top_k": 9})
    conversation = loads(json.dumps(values).replace("e+300", "e+999"))  # which is read as infinity
    message = conversation.path[1]
    assert (message.text, message.created, message.seed, message.timings) == ("a\ufffdb", 0.0, None, None)
    assert message.settings["top_k"] == 5
    assert message.settings["temperature"] == 0.8
    assert message.dropped <= 2
    assert conversation.settings == SamplingSettings(top_k=9)
    assert dumps(conversation)


ODD: tuple[Any, ...] = (None, True, -1, 1e308, "", "x" * 300, [], {}, [[]], {"a": {}})


def _mutations(values: Any) -> list[Callable[[], None]]:
    """Every single value of a conversation, to be replaced by something else."""
    places: list[Callable[[], None]] = []

    def visit(container: Any, key: Any) -> None:
        places.extend(partial(container.__setitem__, key, odd) for odd in ODD)
        value = container[key]
        inside = value.keys() if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
        for inner in list(inside):
            visit(value, inner)

    for key in list(values):
        visit(values, key)
    return places


def test_any_one_value_may_be_wrong() -> None:
    """Every field of a real conversation replaced by everything odd: read or refused, never anything else."""
    n_places = len(_mutations(to_portable(_conversation())))
    assert n_places > 500
    refused = 0
    for number in range(n_places):
        values = to_portable(_conversation())
        _mutations(values)[number]()
        try:
            dumps(from_portable(values))
        except PortableError:
            refused += 1
    assert 100 < refused < n_places


# ---- the examples ------------------------------------------------------------------


def test_the_examples_are_conversations() -> None:
    assert len(example_names()) >= 2
    for name in example_names():
        conversation = load_example(name)
        assert conversation.title
        assert len(conversation.path) >= 2
        assert all(m.model and m.timings and m.settings for m in conversation.path if m.role is Role.ASSISTANT)
    assert any(len(load_example(name)) > len(load_example(name).path) for name in example_names())  # one has a branch
    with pytest.raises(LlamachatError, match="no example 'x': there are"):
        load_example("x")


def test_examples_are_added_once(session: ChatSession) -> None:
    titles = add_examples(session)
    assert len(titles) == len(example_names()) == len(session.sessions())
    assert session.conversation.title == titles[0]
    assert add_examples(session, example_names()[1]) == [titles[1]]
    assert len(session.sessions()) == len(titles)
    assert session.conversation.title == titles[1]
    assert texts(session)


def test_examples_name_no_machine() -> None:
    folder = Path(__file__).resolve().parents[2] / "sessions"
    for path in folder.glob("*.json"):
        assert "/home" not in path.read_text(encoding="utf-8")
        assert "ids" not in json.loads(path.read_text(encoding="utf-8"))
