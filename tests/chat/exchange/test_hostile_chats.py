"""Files that hold no chats, or attack: refused in one line, or cleaned; nothing of them is added then."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from llamachat.chat.exchange import json_fields
from llamachat.chat.exchange.portable import dumps, to_portable
from llamachat.chat.exchange.reading import chats_in, import_file, import_text
from llamachat.chat.store import SessionStore
from llamachat.errors import FileError
from tests.support.exchanged_chats import add, all_stored, dialogue, gpt, texts


@pytest.mark.parametrize(
    ("reason", "data"),
    [
        ("it is not JSON", b""),
        ("it is not JSON", b"# A chat\n\n## You\n"),
        ("not a text: it holds zero bytes", b"\x7fELF\0\0\0"),
        ("a zip archive: unpack it, and import the conversations.json in it", b"PK\3\4\x14\0\0\0conversations.json"),
        ("it is not UTF-8 text", b'{"llamachat": "\xff"}'),
        ("it is nested too deeply", b"[" * 1_000_000),
        ("it is nested too deeply", b'{"mapping": ' * 500_000),
        ("it holds NaN, which is no number", b'[{"mapping": {}, "create_time": NaN}]'),
        ("it holds -Infinity", b'{"llamachat": -Infinity}'),
        ("it has the key 'a' twice in one object", b'{"mapping": {"a": {}, "b": {}, "a": {}}}'),
        ("it is no chat of llamachat or ChatGPT", b'"hello"'),
        ("it is no chat of llamachat or ChatGPT", b"{}"),
        ("chat 1: it is no chat of llamachat or ChatGPT", b'[["llamachat", "mapping"]]'),
    ],
)
def test_files_that_are_none(store: SessionStore, tmp_path: Path, reason: str, data: bytes) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(data)
    with pytest.raises(FileError) as caught:
        import_file(store, str(path))
    assert str(caught.value).startswith(f"{path}: {reason}")
    assert "\n" not in str(caught.value)
    assert store.sessions() == []


def test_nested_as_deeply_as_can_be_read(store: SessionStore) -> None:
    messages = b'[{"id": "1", "role": "user", "text": "q"}]'
    refused, depths = 0, (*range(800, 1100, 3), 100_000)
    for depth in depths:
        junk = b"[" * depth + b"]" * depth
        try:
            import_text(store, b'{"llamachat": 1, "messages": %b, "junk": %b}' % (messages, junk), "x.json")
        except FileError as error:
            refused += str(error) == "x.json: it is nested too deeply"
    assert refused > 0
    assert refused + len(store.sessions()) == len(depths)


def test_places_that_are_no_file(store: SessionStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "broken").symlink_to("nowhere")
    (tmp_path / "loop").symlink_to("loop")
    for name, reason in (
        ("none", "no such file"),
        ("pipe", "a pipe or a device, not a text"),
        (".", "a folder, not a text"),
        ("broken", "no such file"),
        ("loop", "too many levels"),
        ("a\0b", "embedded null"),
        ("~nobody-of-that-name/x", "Could not determine home"),
        ("/dev/zero", "a pipe or a device, not a text"),
    ):
        where = name if name[0] in "/~" else f"{tmp_path}/{name}"
        with pytest.raises(FileError, match=reason):
            import_file(store, where)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "chat.json").write_text(dumps(dialogue("q")))
    assert import_file(store, "~/chat.json").arrivals[0].is_new


def test_how_large_it_may_be(store: SessionStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x.json").write_text(dumps(dialogue("q" * 3000)))
    monkeypatch.setattr("llamachat.files.texts.MOST_BYTES", 2000)
    with pytest.raises(FileError, match="too large for a text"):
        import_file(store, str(tmp_path / "x.json"))
    monkeypatch.setattr(json_fields, "MOST_BYTES", 2 << 20)
    with pytest.raises(FileError, match="it is larger than 2 MB"):
        import_text(store, b" " * (2 << 20) + b" ", "x.json")


@pytest.mark.parametrize("unit", [b"[],", b"{},", b"1,", b'"",', b'{"a":1},', b"[" * 3, b'["\\"",1],'])
def test_little_text_does_not_become_a_mountain(monkeypatch: pytest.MonkeyPatch, unit: bytes) -> None:
    monkeypatch.setattr(json_fields, "_MOST_VALUES", 2_000)
    monkeypatch.setattr(json_fields, "_MOST_QUOTES", 5_000)
    with pytest.raises(json_fields.PortableError, match="it holds too many values for chats"):
        chats_in(b"[" + unit * 3_000 + b"1]")


@pytest.mark.parametrize("text", [",[{:", ",[{:" * 10 + '"\\ ' + ",[{:" * 10, "\\"])
def test_a_text_may_hold_what_looks_like_values(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr(json_fields, "_MOST_VALUES", 200)
    (chat,) = chats_in(dumps(dialogue(text * 300)).encode())
    assert texts(chat) == [text * 300]


def test_lone_surrogates_become_what_they_look_like(store: SessionStore) -> None:
    message = {"id": "\ud800", "role": "user", "text": "x\ud83e\udd99 \ud800", "model": "m\ud800"}
    ours = {"llamachat": 1, "title": "t\ud800", "system": "s\udfff", "messages": [message]}
    theirs = gpt("t\ud801", "x\udc00")
    for values, title, text in ((ours, "t\ufffd", "x🦙 \ufffd"), (theirs, "t\ufffd", "x\ufffd")):
        (arrival,) = add(store, values).arrivals
        chat = store.load(arrival.session_id)
        assert (chat.title, chat.path[0].text) == (title, text)
        assert add(store, values).arrivals[0].n_added == 0


ODD: tuple[Any, ...] = (None, True, -1, 10**400, 1e308, "", "x" * 300, "\ud800\0", [], {}, [[]], {"a": {}})


def _mutations(values: dict[str, Any]) -> list[Callable[[], None]]:
    """Every single value, to be replaced by something odd or taken away."""
    places: list[Callable[[], None]] = []

    def visit(container: Any, key: Any) -> None:
        places.extend(partial(container.__setitem__, key, odd) for odd in ODD)
        places.append(partial(container.pop, key))
        value = container[key]
        inside = value.keys() if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
        for inner in list(inside):
            visit(value, inner)

    for key in list(values):
        visit(values, key)
    return places


@pytest.mark.parametrize("kind", ["ours", "theirs"])
def test_any_one_value_may_be_wrong(data_dir: Path, kind: str) -> None:
    """Each is read, or refused in one line; what is stored can be opened and exported again."""
    ours = json.dumps(to_portable(dialogue("q", "a", "r", "b")) | {"prompt_format": "chatml"})
    theirs = json.dumps(gpt("T", "q", "a", "r"))
    made = ours if kind == "ours" else theirs
    n_places = len(_mutations(json.loads(made)))
    assert n_places > 300
    refused = []
    with closing(SessionStore(None)) as store:
        for number in range(n_places):
            values = json.loads(made)
            _mutations(values)[number]()
            try:
                add(store, values)
            except FileError as error:
                refused.append(str(error))
        for chat in all_stored(store):
            dumps(chat)
    assert n_places // 10 < len(refused) < n_places
    assert "\n" not in "".join(refused)
