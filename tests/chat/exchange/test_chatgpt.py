"""ChatGPT's conversations become ours: what was said, with its branches, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from llamachat.chat.conversation import Conversation, Message, Role, Status
from llamachat.chat.exchange import chatgpt
from llamachat.chat.exchange.chatgpt import from_chatgpt
from llamachat.chat.exchange.json_fields import PortableError
from tests.support.exchanged_chats import chatgpt_chat, node

HIDDEN = {"metadata": {"is_visually_hidden_from_conversation": True}}


def _tree(chat: Conversation, above: Message | None = None) -> list[Any]:
    """Who said what, each with what follows it."""
    return [(f"{one.role.value[0]}:{one.text}", *_tree(chat, one)) for one in chat.children(above)]


def _shown(chat: Conversation) -> list[str]:
    return [message.text for message in chat.path]


def test_a_conversation() -> None:
    chat = from_chatgpt(
        chatgpt_chat(
            node("root", None),
            node("s", "root", "system", "You are ChatGPT."),
            node("u", "s", "user", "Which tea?", create_time=1.69e9 + 5),
            node("a", "u", "assistant", "Green.", metadata={"model_slug": "gpt-4o"}, create_time=None),
        )
    )
    assert _tree(chat) == [("u:Which tea?", ("a:Green.",))]
    assert (chat.title, chat.created, chat.system) == ("From elsewhere", 1.68e9, "")
    question, answer = chat.path
    assert (question.created, question.model, question.status) == (1.69e9 + 5, "", Status.COMPLETE)
    assert (answer.created, answer.model, answer.status) == (1.68e9, "gpt-4o", Status.COMPLETE)


def test_branches_and_the_visible_path() -> None:
    nodes = [
        node("root", None),
        node("u", "root", "user", "q"),
        node("a1", "u", "assistant", "one"),
        node("a2", "u", "assistant", "two"),
        node("v", "a1", "user", "more"),
        node("b", "v", "assistant", "three"),
        node("w", "root", "user", "another q"),
    ]
    tree = [("u:q", ("a:one", ("u:more", ("a:three",))), ("a:two",)), ("u:another q",)]
    for current, shown in (
        ("b", ["q", "one", "more", "three"]), ("a2", ["q", "two"]), ("w", ["another q"]), ("root", ["another q"]),
        (None, ["another q"]), ("nowhere", ["another q"]),
    ):  # fmt: skip
        chat = from_chatgpt(chatgpt_chat(*nodes, current_node=current))
        assert _tree(chat) == tree
        assert _shown(chat) == shown, current


def test_the_order_is_that_of_the_children() -> None:
    whole = chatgpt_chat(
        node("u", None, "user", "q"), node("a1", "u", "assistant", "one"), node("a2", "u", "assistant", "two")
    )
    whole["mapping"]["u"]["children"] = ["a2", 7, "nobody", "a1"]
    assert _tree(from_chatgpt(whole)) == [("u:q", ("a:two",), ("a:one",))]
    del whole["mapping"]["u"]["children"]
    assert _tree(from_chatgpt(whole)) == [("u:q", ("a:one",), ("a:two",))]


def test_what_is_left_out_hands_its_followers_on() -> None:
    chat = from_chatgpt(
        chatgpt_chat(
            node("context", None, "user", "My name is Ada.", **HIDDEN),
            node("u", "context", "user", "q"),
            node("call", "u", "assistant", "search(tea)", recipient="browser"),
            node("tool", "call", "tool", "found 3"),
            node("thought", "tool", "assistant", "hm", content={"content_type": "thoughts", "thoughts": []}),
            node("a", "thought", "assistant", "Green."),
            node("analysis", "tool", "assistant", "They want tea.", channel="analysis"),
            node("a2", "analysis", "assistant", "Black.", channel="final"),
            node("empty", "a", "assistant", "  "),
            node("nothing", "empty"),
            node("v", "nothing", "user", "Why?"),
            node("last", "v", "tool", "found 4"),
        )
    )
    assert _tree(chat) == [("u:q", ("a:Green.", ("u:Why?",)), ("a:Black.",))]
    assert _shown(chat) == ["q", "Green.", "Why?"]


def test_an_answer_in_steps_becomes_one() -> None:
    nodes = [
        node("u", None, "user", "q"),
        node("a1", "u", "assistant", "Let me look."),
        node("t", "a1", "tool", "found 3"),
        node("a2", "t", "assistant", "Green."),
        node("a3", "t", "assistant", "Black."),
        node("v", "a2", "user", "Why?"),
    ]
    chat = from_chatgpt(chatgpt_chat(*nodes))
    assert _tree(chat) == [("u:q", ("a:Let me look.\n\nGreen.", ("u:Why?",)), ("a:Let me look.\n\nBlack.",))]
    assert _shown(chat)[1:] == ["Let me look.\n\nGreen.", "Why?"]
    later = node("w", None, "user", "another q")
    assert _shown(from_chatgpt(chatgpt_chat(*nodes, later))) == ["another q"]
    assert _shown(from_chatgpt(chatgpt_chat(*nodes, later, current_node="t"))) == ["q", "Let me look.\n\nBlack."]
    chat = from_chatgpt(chatgpt_chat(*nodes, node("x", "a1", "user", "Stop.")))  # a step that was left by a question
    assert _tree(chat)[0][1] == ("a:Let me look.", ("u:Stop.",))
    assert len(_tree(chat)[0]) == 4


def test_a_question_without_words() -> None:
    picture = {"content_type": "image_asset_pointer", "asset_pointer": "file-service://x"}
    spoken = {"content_type": "audio_transcription", "text": "Which tea?", "direction": "in"}
    chat = from_chatgpt(
        chatgpt_chat(
            node("a", None, "assistant", "Hello!"),
            node("u", "a", "user", [picture]),
            node("b", "u", "assistant", "A cup."),
            node("v", "b", "user", [picture, spoken, "Please."]),
        )
    )
    assert _tree(chat) == [
        ("u:(no question)", ("a:Hello!", ("u:(an attachment)", ("a:A cup.", ("u:Which tea?\nPlease.",)))))
    ]


def test_marks_of_citations_are_no_text() -> None:
    mark = "\ue200cite\ue202turn0search1\ue202turn0search2\ue201"
    text = f"Green.{mark} Or black.\ue200filecite\ue202turn1file0\ue201 \ue200entity\ue202Assam\ue201 {mark[:-1]}"
    chat = from_chatgpt(chatgpt_chat(node("u", None, "user", "q"), node("a", "u", "assistant", text)))
    assert _shown(chat)[1] == f"Green. Or black. \ue200entity\ue202Assam\ue201 {mark[:-1]}"


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({}, Status.COMPLETE),
        ({"status": "finished_successfully"}, Status.COMPLETE),
        ({"status": "in_progress"}, Status.INTERRUPTED),
        ({"metadata": {"finish_details": {"type": "interrupted"}}}, Status.STOPPED),
        ({"metadata": {"finish_details": {"type": "max_tokens"}}, "status": "in_progress"}, Status.LENGTH),
        ({"metadata": {"finish_details": {"type": "unheard of"}}, "status": "odd"}, Status.COMPLETE),
    ],
)
def test_how_an_answer_ended(fields: dict[str, Any], status: Status) -> None:
    chat = from_chatgpt(chatgpt_chat(node("u", None, "user", "q"), node("a", "u", "assistant", "a", **fields)))
    assert chat.path[1].status is status


def test_titles() -> None:
    question = node("u", None, "user", "Which tea?\nSay.")
    assert from_chatgpt(chatgpt_chat(question, title=None)).title == "Which tea?"
    assert from_chatgpt(chatgpt_chat(question, title=" two\n lines ")).title == "two lines"
    assert from_chatgpt(chatgpt_chat(question, title="x" * 999)).title == "x" * 200
    assert from_chatgpt(chatgpt_chat(question, title="lone \ud800")).title == "lone \ufffd"


def test_times_that_make_no_sense() -> None:
    times: tuple[object, ...] = (-1, 1e300, True, "yesterday", [], 10**400, float("inf"), float("nan"))
    for time in times:
        chat = from_chatgpt(chatgpt_chat(node("u", None, "user", "q", create_time=time), create_time=time))
        assert (chat.created, chat.path[0].created) == (0.0, 0.0), time


def test_ids_are_the_same_whenever_it_is_read_and_different_in_each_chat() -> None:
    nodes = node("a", None, "assistant", "Hello!"), node("u", "a", "user", "q")
    first, again = (from_chatgpt(chatgpt_chat(*nodes)) for _ in range(2))
    other = from_chatgpt(chatgpt_chat(*nodes, conversation_id="another"))
    assert list(first.messages) == list(again.messages)
    assert set(first.messages).isdisjoint(other.messages)
    assert all(len(key) == 32 and set(key) <= set("0123456789abcdef") for key in first.messages)
    for fields in ({"conversation_id": None, "id": "c"}, {"conversation_id": None}):
        chats = [from_chatgpt(chatgpt_chat(*nodes, **fields)) for _ in range(2)]
        assert list(chats[0].messages) == list(chats[1].messages)


@pytest.mark.parametrize("mapping", [{}, {"root": node("root", None)}, {"t": node("t", None, "tool", "x")}])
def test_nothing_is_said_in_it(mapping: dict[str, Any]) -> None:
    assert len(from_chatgpt({"mapping": mapping})) == 0


CIRCLES = {
    "itself": {"a": node("a", "a", "user", "q")},
    "two": {"a": node("a", "b", "user", "q"), "b": node("b", "a", "assistant", "x")},
    "beside a root": {"r": node("r", None, "user", "q"), "a": node("a", "c"), "b": node("b", "a"), "c": node("c", "b")},
}


@pytest.mark.parametrize("mapping", CIRCLES.values(), ids=CIRCLES)
def test_circles(mapping: dict[str, Any]) -> None:
    with pytest.raises(PortableError, match="its messages follow one another in a circle"):
        from_chatgpt({"mapping": mapping})


def test_children_that_are_told_twice_are_there_once() -> None:
    whole = chatgpt_chat(node("u", None, "user", "q"), node("a", "u", "assistant", "x"))
    whole["mapping"]["u"]["children"] = ["a", "a", "u"]
    whole["mapping"]["a"]["children"] = ["u", "a"]
    assert _tree(from_chatgpt(whole)) == [("u:q", ("a:x",))]


WRONG: list[tuple[str, dict[str, Any]]] = [
    ("'mapping' is no object", {"mapping": []}),
    ("has no 'mapping'", {"mapping": None}),
    ("node 1 is no JSON object", {"mapping": {"a": 1}}),
    ("node 1: 'parent' is no string", {"mapping": {"a": {"parent": 1}}}),
    ("node 1: 'children' is no list", {"mapping": {"a": {"children": "b"}}}),
    ("node 1: 'message' is no object", {"mapping": {"a": {"message": "hello"}}}),
    ("node 1: its message: 'author' is no object", {"mapping": {"a": {"message": {"author": "user"}}}}),
    ("its message: 'role' is no string", {"mapping": {"a": {"message": {"author": {"role": 1}}}}}),
    ("its message: 'content' is no object", {"mapping": {"a": {"message": {"content": "x"}}}}),
    ("'title' is no string", {"mapping": {}, "title": 7}),
    ("'current_node' is no string", {"mapping": {}, "current_node": 7}),
]


@pytest.mark.parametrize(("reason", "whole"), WRONG, ids=[reason for reason, _ in WRONG])
def test_wrong_types(reason: str, whole: dict[str, Any]) -> None:
    with pytest.raises(PortableError) as caught:
        from_chatgpt(whole)
    assert reason in str(caught.value)


@pytest.mark.parametrize("parts", [None, "text", {"a": 1}, [None], [1, ["x"]], [{"text": 7}], [{}]])
@pytest.mark.parametrize("role", list(Role))
def test_parts_of_any_kind(parts: object, role: Role) -> None:
    content = {"content_type": "text", "parts": parts}
    chat = from_chatgpt(chatgpt_chat(node("n", None, role.value, content=content)))
    assert _shown(chat) in ([], ["(an attachment)"])


def test_deep_and_wide_ones_take_no_long() -> None:
    deep = [node("0", None, "user", "q")]
    roles = ("user", "assistant", "tool")
    deep += [node(str(number), str(number - 1), roles[number % 3], "text") for number in range(1, 20_000)]
    assert len(from_chatgpt(chatgpt_chat(*deep)).path) > 13_000
    wide = [deep[0], *(node(f"w{number}", "0", "assistant", "x") for number in range(20_000))]
    assert len(from_chatgpt(chatgpt_chat(*wide))) == 20_001


def test_little_does_not_become_much(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each step of an answer is in the text of the next; where each is left by a question, all of them are kept."""
    monkeypatch.setattr(chatgpt, "_MOST_CHARS", 1_000_000)
    nodes = [node("u", None, "user", "q"), node("0", "u", "assistant", "x")]
    for number in range(1, 2_000):
        nodes.append(node(f"q{number}", str(number - 1), "user", "stop"))
        nodes.append(node(str(number), str(number - 1), "assistant", "x"))
    with pytest.raises(PortableError, match="its texts are too long"):
        from_chatgpt(chatgpt_chat(*nodes))
    chat = from_chatgpt(chatgpt_chat(*[one for one in nodes if not one["id"].startswith("q")]))
    assert len(chat) == 2


def test_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chatgpt, "MOST_MESSAGES", 10)
    nodes = [node(str(number), str(number - 1) if number else None, "user", "q") for number in range(30)]
    assert len(from_chatgpt(chatgpt_chat(*nodes[:10]))) == 10
    with pytest.raises(PortableError, match="more than 10 messages"):
        from_chatgpt(chatgpt_chat(*nodes[:11]))
    monkeypatch.setattr(chatgpt, "_MOST_NODES", 20)
    with pytest.raises(PortableError, match="more than 20 nodes"):
        from_chatgpt(chatgpt_chat(*nodes))
