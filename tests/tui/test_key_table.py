"""What a person may set in the table of keys, and what is told of the rest."""

from __future__ import annotations

import random

import pytest
from textual.dom import DOMNode

from llamachat.display import clean_line
from llamachat.tui.help_screen import own_bindings
from llamachat.tui.key_names import read_key
from llamachat.tui.key_table import BINDINGS, KINDS, check, keys_of_all
from llamachat.tui.keys import key_name, key_word
from tests.support.chat_app import open_chat

ANSWER = "One two three"


# ---- names -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "key"),
    [("ctrl+f", "ctrl+f"), ("^f", "ctrl+f"), ("Ctrl + F", "ctrl+f"), ("F1", "f1"), ("?", "question_mark"),
     ("esc", "escape"), ("pgup", "pageup"), ("⌫", "backspace"), ("shift+alt+x", "alt+shift+x"), ("shift+a", "A"),
     ("A", "A"), ("alt+A", "alt+a"), ("+", "plus"), ("ctrl++", "ctrl+plus"), ("^]", "ctrl+right_square_bracket"),
     ("é", "é"), ("space", "space"), ("control+cmd+option+up", "alt+ctrl+super+up"), ("return", "enter")],
)  # fmt: skip
def test_keys_are_read_in_every_way_in_which_they_are_written(written: str, key: str) -> None:
    assert read_key(written) == (key,)


def test_control_space_is_both_that_terminals_make_of_it() -> None:
    assert read_key("ctrl+space") == read_key("^@") == ("ctrl+space", "ctrl+@")


@pytest.mark.parametrize(
    "written",
    ["", "ctrl-f", "ctrl+", "+ctrl", "ctrl+nope", "f99", "ab", "a b", "\x1b", "\x00", "\ud800", "<none>", "<any>", "++",
     "left_shift", "ctrl-at", "shift+", "👍🏽"],
)  # fmt: skip
def test_what_is_no_key_is_refused(written: str) -> None:
    with pytest.raises(ValueError, match="no key"):
        read_key(written)


@pytest.mark.parametrize("key", ["ctrl+f", "f1", "question_mark", "alt+shift+x", "ctrl+right_square_bracket", "é", "A"])
def test_a_key_as_it_is_shown_is_read_again(key: str) -> None:
    assert read_key(key_name(key)) == read_key(key_word(key)) == read_key(key) == (key,)


# ---- the table ---------------------------------------------------------------------


def test_every_binding_of_the_screen_is_in_the_table_once() -> None:
    def below(kind: type[DOMNode]) -> set[type[DOMNode]]:
        return {kind}.union(*map(below, kind.__subclasses__()))

    ours = [kind for kind in below(DOMNode) if kind.__module__.startswith("llamachat.")]
    declared = [binding.id for kind in ours for binding in kind.__dict__.get("BINDINGS", ())]
    assert None not in declared
    assert sorted(declared) == sorted(BINDINGS)
    assert {one.id for kind in KINDS for one in own_bindings(kind)} == set(BINDINGS)
    assert all(binding.description for binding in BINDINGS.values())


def test_what_comes_with_the_program_can_be_written_down() -> None:
    own = keys_of_all()
    assert all(own.values())
    checked = check({name: ",".join(keys) for name, keys in own.items()})
    assert checked.problems == []
    assert keys_of_all(checked.keys) == own


@pytest.mark.parametrize(
    ("wanted", "now"),
    [
        ({"chat.new": "ctrl+f", "message.tokens": "t,p"}, {"chat.new": ["ctrl+f"], "message.tokens": ["t", "p"]}),
        ({"message.copy": "t", "message.tokens": "c"}, {"message.copy": ["t"], "message.tokens": ["c"]}),
        ({"composer.send": "ctrl+s", "composer.newline": "enter"}, {"composer.newline": ["enter"]}),
        ({"app.quit": "ctrl+x", "chat.new": "ctrl+q"}, {"app.quit": ["ctrl+x"], "chat.new": ["ctrl+q"]}),
        ({"chat.new": " ^F ,, F7 "}, {"chat.new": ["ctrl+f", "f7"]}),
        ({"chat.new": " "}, {"chat.new": []}),
        ({"chat.escape": "esc,ctrl+l"}, {"chat.escape": ["escape", "ctrl+l"]}),
        ({"message.copy": "f5", "chat.new": "f5"}, {"message.copy": ["f5"], "chat.new": ["f5"]}),
        # what closes with the key that opens it goes along, unless that key has another meaning there
        ({"chat.palette": "ctrl+k"}, {"palette.close": ["ctrl+k"]}),
        ({"message.tokens": "v"}, {"tokens.close": ["escape", "q", "v"]}),
        ({"message.tokens": "p"}, {"tokens.close": ["escape", "q"], "tokens.previous-doubtful": ["shift+tab", "p"]}),
        ({"chat.palette": "ctrl+k", "palette.close": "ctrl+l"}, {"palette.close": ["ctrl+l"]}),
    ],
)  # fmt: skip
def test_keys_are_set(wanted: dict[str, str], now: dict[str, list[str]]) -> None:
    checked = check(wanted)
    assert checked.problems == []
    assert checked.notice == ""
    assert {name: keys_of_all(checked.keys)[name] for name in now} == now


@pytest.mark.parametrize(
    ("wanted", "problem"),
    [
        ({"chat.nwe": "ctrl+f"}, 'there is no "chat.nwe" (chat.new?)'),
        ({"zzz": "ctrl+f"}, 'there is no "zzz"'),
        ({"chat.new": "ctrl-f"}, 'chat.new: no key is called "ctrl-f"'),
        ({"chat.new": "escape"}, "chat.new: escape stays as it is"),
        ({"chat.new": "enter"}, "chat.new: enter stays as it is"),
        ({"confirm.yes": "enter"}, "confirm.yes: enter stays as it is"),
        ({"chats.rename": "enter"}, "chats.rename: enter stays as it is"),
        ({"chat.new": "n"}, "chat.new: n is needed to write"),
        ({"chat.new": ","}, "chat.new: , is needed to write"),
        ({"chat.new": "space"}, "chat.new: space is needed to write"),
        ({"chat.new": "up"}, "chat.new: up is needed to write"),
        ({"composer.send": "backspace"}, "composer.send: backspace is needed to write"),
        ({"edit.save": "s"}, "edit.save: s is needed to write"),
        ({"rows.down": "j"}, "rows.down: j is needed to write"),
        ({"value.more": "m"}, "value.more: m is needed to write"),
        ({"app.quit": "q"}, "app.quit: q is needed to write"),
        ({"chat.new": "ctrl+q"}, "chat.new: ctrl+q quits"),
    ],
)
def test_what_cannot_be_is_told_and_changes_nothing(wanted: dict[str, str], problem: str) -> None:
    checked = check(wanted)
    assert checked.problems == [problem]
    assert keys_of_all(checked.keys) == keys_of_all()


@pytest.mark.parametrize(
    ("wanted", "problem", "now"),
    [
        ({"message.copy": "t"}, "t is message.copy now, message.tokens has no key", {"message.tokens": []}),
        ({"message.copy": "k"}, "k is message.copy now, not message.up", {"message.up": ["up"]}),
        ({"composer.newline": "enter"}, "enter is composer.newline now, composer.send has no key",
         {"composer.send": []}),
        ({"chat.new": "f2"}, "f2 is chat.new now, chats.rename has no key", {"chats.rename": []}),
        ({"app.quit": "ctrl+n"}, "ctrl+n is app.quit now, chat.new has no key", {"chat.new": []}),
        ({"message.copy": "z", "message.edit": "z,f5"}, "message.edit: z is set for message.copy",
         {"message.copy": ["z"], "message.edit": ["f5"]}),
        ({"message.copy": "z", "message.edit": "z"}, "message.edit: z is set for message.copy",
         {"message.edit": ["e"]}),
        ({"message.leave": "f5"}, "message.leave: escape stays", {"message.leave": ["escape", "f5"]}),
        ({"rows.choose": "f5"}, "rows.choose: enter stays", {"rows.choose": ["enter", "f5"]}),
        ({"help.close": ""}, "help.close: enter stays", {"help.close": ["enter"]}),
    ],
)  # fmt: skip
def test_keys_that_others_have(wanted: dict[str, str], problem: str, now: dict[str, list[str]]) -> None:
    checked = check(wanted)
    assert checked.problems == [problem]
    assert {name: keys_of_all(checked.keys)[name] for name in now} == now


def test_a_long_list_of_problems_fits_under_the_composer() -> None:
    checked = check({f"nothing.{n}": "x" for n in range(30)})
    assert len(checked.problems) == 30
    assert checked.notice.startswith('there is no "nothing.0"')
    assert checked.notice.endswith("more: llamachat config --keys")
    assert len(checked.notice) <= 130


async def test_nothing_that_can_be_written_into_the_table_harms() -> None:
    dice = random.Random(5)
    ids = [*BINDINGS, "", "chat", "[/nope]", "\x1b[31m", "a" * 60]
    texts = ["", ",", ",,", "t,,p", "<none>", "ctrl+", "[bold]", "\x1b[2J", "a" * 100, "escape", "enter", "ctrl+q",
             "f5", "tab", "t", "up", "ctrl+@", "\ud800", "ﬁ", "ctrl+c", "^", "^^", "+"]  # fmt: skip
    for _ in range(200):
        wanted = {
            dice.choice(ids): ",".join(dice.sample(texts, dice.randint(1, 4))) for _ in range(dice.randint(1, 30))
        }
        checked = check(wanted)
        now = keys_of_all(checked.keys)
        for name, keys in keys_of_all().items():
            assert "escape" not in keys or "escape" in now[name] or not wanted.get(name, " ").strip()
        assert all(clean_line(key) == key for keys in now.values() for key in keys)
        assert all(clean_line(problem, 1000) == problem for problem in checked.problems)
    async with open_chat([ANSWER], app_options={"keys": {name: dice.choice(texts) for name in ids}}) as chat:
        await chat.paste("Hello")
        for name in BINDINGS:
            await chat.press(*keys_of_all()[name][:1])
            if not chat.app.is_running:
                break
