"""The tree of messages and the path through it."""

from __future__ import annotations

import random

import pytest

from llamachat.chat.conversation import Conversation, Message, Role, Status, title_from
from llamachat.errors import LlamachatError


def _texts(conversation: Conversation) -> list[str]:
    return [message.text for message in conversation.path]


def _talk(*texts: str) -> Conversation:
    conversation = Conversation()
    for number, text in enumerate(texts):
        if number % 2 == 0:
            conversation.add_user(text, parent=conversation.leaf)
        else:
            leaf = conversation.leaf
            assert leaf is not None
            conversation.add_answer(leaf).text = text
    return conversation


def test_a_path_grows() -> None:
    conversation = _talk("q1", "a1", "q2")
    assert _texts(conversation) == ["q1", "a1", "q2"]
    assert [m.role for m in conversation.path] == [Role.USER, Role.ASSISTANT, Role.USER]
    assert [m.sequence for m in conversation.path] == [1, 2, 3]
    assert conversation.leaf is conversation.path[-1]
    assert conversation.title == "q1"


def test_an_empty_conversation() -> None:
    conversation = Conversation()
    assert conversation.path == []
    assert conversation.leaf is None
    assert conversation.shown_title == "New chat"


def test_a_fork_remembers_what_was_seen_below_it() -> None:
    conversation = _talk("q1", "a1", "q2", "a2")
    q1, a1, q2, _ = conversation.path
    other = conversation.add_user("q2 changed", parent=a1)
    answer = conversation.add_answer(other)
    assert _texts(conversation) == ["q1", "a1", "q2 changed", ""]
    again = conversation.add_answer(other)
    assert conversation.siblings(again) == (1, 2)
    conversation.select(answer)
    conversation.select(q2)
    assert _texts(conversation) == ["q1", "a1", "q2", "a2"]
    conversation.select(other)
    assert conversation.leaf is answer  # the choice below the fork is the one that was seen
    assert conversation.sibling(other, -1) is q2
    assert conversation.sibling(other, +9) is other
    assert conversation.siblings(q1) == (0, 1)


def test_selecting_a_deep_message_shows_its_whole_branch() -> None:
    conversation = _talk("q1", "a1", "q2", "a2")
    _, a1, _, a2 = conversation.path
    conversation.add_user("elsewhere", parent=a1)
    conversation.select(a2)
    assert _texts(conversation) == ["q1", "a1", "q2", "a2"]


def test_two_first_messages_are_siblings() -> None:
    conversation = _talk("q1", "a1")
    first = conversation.path[0]
    copy = conversation.add_copy(first, text="q1 changed")
    assert conversation.siblings(copy) == (1, 2)
    assert copy.parent_id is None
    assert _texts(conversation) == ["q1 changed"]


def test_a_changed_copy_has_no_figures() -> None:
    conversation = _talk("q1", "a1")
    answer = conversation.path[1]
    answer.ids, answer.vocabulary, answer.seed, answer.model = (1, 2), "v", 3, "m"
    same, changed = conversation.add_copy(answer), conversation.add_copy(answer, text="b1")
    assert (same.text, same.ids, same.seed) == ("a1", (1, 2), 3)
    assert (changed.text, changed.ids, changed.seed, changed.model) == ("b1", None, None, "m")


def test_taking_a_message_out_shows_the_one_beside_it() -> None:
    conversation = _talk("q1", "a1")
    q1 = conversation.path[0]
    second, third = conversation.add_answer(q1), conversation.add_answer(q1)
    conversation.remove(third)
    assert conversation.leaf is second
    conversation.remove(second)
    assert _texts(conversation) == ["q1", "a1"]
    with pytest.raises(LlamachatError, match="others follow"):
        conversation.remove(q1)


def test_trees_merge_by_id() -> None:
    conversation = _talk("q1", "a1", "q2", "a2")
    _, a1, q2, a2 = conversation.path
    theirs = [
        Message("x", a1.id, Role.USER, "from another window", sequence=9),
        Message("y", "x", Role.ASSISTANT, "its answer", sequence=10),
        Message(q2.id, a1.id, Role.USER, "not taken", sequence=3),
        Message("z", "nowhere", Role.USER, "an orphan", sequence=11),
        Message("w", a2.id, Role.USER, "goes on here", sequence=12),
    ]
    added = conversation.merge(theirs)
    assert [m.id for m in added] == ["x", "y", "z", "w"]
    assert _texts(conversation) == ["q1", "a1", "q2", "a2", "goes on here"]
    assert conversation.message("z").parent_id is None
    assert conversation.merge(theirs) == []


def test_siblings_are_in_order_whatever_came_first() -> None:
    conversation = Conversation()
    for sequence in (5, 1, 3):
        conversation.add(Message(str(sequence), None, Role.USER, sequence=sequence))
    assert [m.id for m in conversation.children(None)] == ["1", "3", "5"]


def test_siblings_of_any_order_are_as_if_sorted() -> None:
    rng, conversation = random.Random(5), Conversation()
    added: list[Message] = []
    for number in range(300):
        message = Message(f"{rng.getrandbits(64):x}-{number}", None, Role.USER, sequence=rng.randint(0, 40))
        added.append(conversation.add(message, select=bool(number % 2)))
        if number % 7 == 0:
            conversation.remove(added.pop(rng.randrange(len(added))))
    assert conversation.children(None) == sorted(added, key=lambda m: (m.sequence, m.id))


def test_a_new_sibling_is_not_compared_with_all_of_them() -> None:
    class Counted(Message):
        reads = 0

        def __getattribute__(self, name: str) -> object:
            Counted.reads += name == "sequence"
            return super().__getattribute__(name)

    conversation = Conversation()
    for number in range(1000):
        conversation.add(Counted(f"{number:04}", None, Role.USER, sequence=number))
    assert Counted.reads <= 20 * 1000  # sorting each time: 500,000


def test_no_cycles_and_no_strangers() -> None:
    conversation = _talk("q1")
    with pytest.raises(LlamachatError, match="not there"):
        conversation.add(Message("a", "a", Role.USER))
    with pytest.raises(LlamachatError, match="two messages"):
        conversation.add(Message(conversation.path[0].id, None, Role.USER))
    with pytest.raises(LlamachatError, match="no message 'nobody'"):
        conversation.message("nobody")


def test_choices_that_make_no_sense_are_ignored() -> None:
    conversation = _talk("q1", "a1")
    q1, a1 = conversation.path
    conversation.choose({None: a1.id, q1.id: "nobody", "x": q1.id})
    assert conversation.path == [q1, a1]


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("What is gravity?", "What is gravity?"),
        ("\n  \n  Hello\t there \nmore", "Hello there"),
        ("", ""),
        ("word " * 40, "word word word word word word word word word word word…"),
        ("x" * 100, "x" * 59 + "…"),
    ],
)
def test_titles(text: str, title: str) -> None:
    assert title_from(text) == title
    assert len(title) <= 60


def test_which_endings_can_be_continued() -> None:
    assert {s for s in Status if not s.unfinished} == {Status.COMPLETE, Status.STREAMING}


def test_a_long_chat_is_cheap() -> None:
    """10,000 messages: everything a face does for one message must not look at all of them twice."""
    conversation = Conversation()
    messages = [Message(f"{n:05}", f"{n - 1:05}" if n else None, Role.USER, sequence=n) for n in range(10_000)]
    conversation.merge(messages)
    assert len(conversation.path) == 10_000
    leaf = conversation.leaf
    assert leaf is not None
    conversation.add_answer(leaf)
    assert len(conversation.path) == 10_001
