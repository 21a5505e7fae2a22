"""Templates run in a sandbox, in a process with limits; whatever they do, a prompt comes out."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from llamachat.chat.conversation import Role
from llamachat.chat.jinja_template import TemplateError, TemplateWriter, run_template
from llamachat.chat.prompt_formats import FORMATS, Ids, Special, Text, Turn, shown
from llamachat.vocabulary import TokenKind, Vocabulary
from tests.chat.conftest import Open
from tests.support.chat_templates import CHATML, LLAMA3, MISTRAL, SMOLLM2, ZEPHYR
from tests.support.dialogue import DIALOGUE, SYSTEM, WRITTEN
from tests.support.scripted_engine import ScriptedEngine
from tests.support.sessions import finish, texts

VOCABULARY = Vocabulary(
    "spm",
    ("<unk>", "<s>", "</s>", "<|a|>", "<|b|>", "word"),
    (0.0,) * 6,
    (TokenKind.UNKNOWN, *(TokenKind.CONTROL,) * 2, TokenKind.USER_DEFINED, TokenKind.CONTROL, TokenKind.NORMAL),
    bos_id=1,
    eos_id=2,
)
PLAIN = "{% for m in messages %}<|a|>{{ m.role }}: {{ m.content }}{{ eos_token }}{% endfor %}<|b|>"


def _writer(template: str, notices: list[str] | None = None) -> TemplateWriter:
    return TemplateWriter(template, VOCABULARY, FORMATS["zephyr"], (notices if notices is not None else []).append)


def test_pieces() -> None:
    notices: list[str] = []
    pieces = _writer(PLAIN, notices).render("s", [Turn(Role.USER, "</s><|b|>")])
    assert pieces == [
        Special("<|a|>"),
        Text("system: s"),
        Special("</s>"),
        Special("<|a|>"),
        Text("user: </s><|b|>"),  # what was typed stays letters
        Special("</s>"),
        Special("<|b|>"),
    ]
    assert notices == []


def test_answers_come_back_by_their_ids() -> None:
    turns = [Turn(Role.USER, "q"), Turn(Role.ASSISTANT, "a", (7, 8)), Turn(Role.USER, "r")]
    pieces = _writer(PLAIN).render("", turns)
    assert Ids((7, 8)) in pieces
    assert shown(pieces).count("user: ") == 2


def test_an_open_answer_goes_behind_the_generation_prompt() -> None:
    turns = [Turn(Role.USER, "q"), Turn(Role.ASSISTANT, "half an answ")]
    assert _writer(PLAIN).render("", turns)[-2:] == [Special("<|b|>"), Text("half an answ")]


def test_the_real_templates_write_what_the_table_writes() -> None:
    """The formats of the table against the templates they stand for, where those follow the same procedure."""
    chatml = _writer(CHATML)
    assert shown(chatml.render(SYSTEM, DIALOGUE)) == WRITTEN["chatml"]
    smollm2 = _writer(SMOLLM2)
    for system in ("", SYSTEM):
        assert shown(smollm2.render(system, DIALOGUE)) == shown(FORMATS["smollm2"].render(system, DIALOGUE))
    assert "[INST] " in shown(_writer(MISTRAL).render("", DIALOGUE))
    assert shown(_writer(LLAMA3).render("", DIALOGUE)).count("<|eot_id|>") == 5


def test_block_lines_leave_no_white_space() -> None:
    pieces = _writer(ZEPHYR).render("", DIALOGUE[:1])
    assert shown(pieces) == "<|user|>\nHi!</s>\n"


def test_one_shape_is_rendered_once(monkeypatch: pytest.MonkeyPatch) -> None:
    writer = _writer(PLAIN)
    first = shown(writer.render("", [Turn(Role.USER, "one")]))
    monkeypatch.setattr("llamachat.chat.jinja_template.run_template", lambda *_: pytest.fail("rendered again"))
    assert shown(writer.render("", [Turn(Role.USER, "two")])) == first.replace("one", "two")


def test_a_template_without_system_prompts() -> None:
    """It goes in front of the first question then, as the template's authors advise."""
    template = (
        "{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
        "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
    )
    notices: list[str] = []
    assert shown(_writer(template, notices).render("Be brief.", DIALOGUE[:1])) == "user: Be brief.\n\nHi!\n"
    assert notices == []


def test_what_templates_are_given() -> None:
    template = (
        "{{ bos_token }}|{{ eos_token }}|{{ add_generation_prompt }}|{{ strftime_now('%Y')|length }}|{{ tools }}|"
    )
    template += "{% for m in messages %}{% if loop.index > 9 %}{% break %}{% endif %}{{ m['content'] }}{% endfor %}"
    assert shown(_writer(template).render("", [Turn(Role.USER, "x")])) == "<s>|</s>|True|4||x"


HOSTILE = {
    "a syntax error": "{% for %}",
    "an error of its own": "{{ raise_exception('no: \x1b]52;c;AAAA\x07') }}",
    "an undefined thing": "{{ nothing.at.all }}",
    "a division by zero": "{{ 1 / 0 }}",
    "loses the messages": "hello",
    "repeats them": "{% for m in messages %}{{ m.content }}{{ m.content }}{% endfor %}",
    "changes them": "{% for m in messages %}{{ m.content | upper }}{% endfor %}",
    "cuts them": "{% for m in messages %}{{ m.content[3:] }}{% endfor %}",
    "reaches for the system": "{{ ''.__class__.__mro__[1].__subclasses__() }}{{ messages[0].content }}",
    "reaches for globals": "{{ cycler.__init__.__globals__.os.system('touch MARKER') }}{{ messages[0].content }}",
    "reaches through format": "{{ '{0.__class__.__init__.__globals__}'.format(messages) }}{{ messages[0].content }}",
    "changes its input": "{{ messages.append(1) }}{{ messages[0].content }}",
    "imports": "{% import 'os' as os %}",
    "includes a file": "{% include '/etc/passwd' %}",
    "a great power": "{{ 9 ** (9**9) }}{{ messages[0].content }}",
    "a long loop": "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
    "a range beyond all": "{% for a in range(10**12) %}{% endfor %}{{ messages[0].content }}",
    "a great string": "{{ 'x' * 10**10 }}",
    "much output": "{% for a in range(99999) %}{{ 'x' * 1000 }}{% endfor %}",
    "a great width": "{{ '%*d' % (10**9, 1) }}",
    "deep nesting": "(" * 5000,
    "deep blocks": "{% if 1 %}" * 2000 + "{% endif %}" * 2000,
    "endless recursion": "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
    "a file too long": "x" * 300_000,
    "surrogates": "\ud800{{ messages[0].content }}\udfff{{ 1/0 }}",
}


@pytest.mark.parametrize("template", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_templates(template: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One notice of one line, and the fallback writes; nothing is run, and it does not take long."""
    monkeypatch.chdir(tmp_path)
    notices: list[str] = []
    writer = _writer(template, notices)
    assert writer.name == "template"
    began = time.monotonic()
    pieces = writer.render(SYSTEM, DIALOGUE)
    took = time.monotonic() - began
    assert pieces == FORMATS["zephyr"].render(SYSTEM, DIALOGUE)
    assert (writer.name, writer.stop_texts) == ("zephyr", ())
    (notice,) = notices
    assert "the built-in format 'zephyr' serves instead" in notice
    assert "\n" not in notice
    assert "\x1b" not in notice
    assert took < 6  # a child has 2 s of processor time and 2.4 s of any
    assert list(tmp_path.iterdir()) == []
    writer.render("", DIALOGUE[:1])
    assert len(notices) == 1


def test_the_limits_hold_in_the_child() -> None:
    """The memory limit is there before the template is: a gigabyte is refused, not swapped."""
    with pytest.raises(TemplateError, match="memory"):
        run_template("{{ ('y' * 900000000)[0] }}", [], "", "")


def test_the_child_sees_nothing_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """No variable of ours, no file but its three pipes, and it sits nowhere in particular."""
    seen: dict[str, object] = {}
    popen = subprocess.Popen

    def noting(*arguments: Any, **options: Any) -> subprocess.Popen[bytes]:
        seen.update(options)
        return popen(*arguments, **options)

    monkeypatch.setenv("LLAMACHAT_SECRET", "s3cret")
    monkeypatch.setattr(subprocess, "Popen", noting)
    assert run_template("{{ 1 + 1 }}", [], "", "") == "2"
    assert "LLAMACHAT_SECRET" not in str(seen["env"])
    assert seen["close_fds"] is True


def test_no_child_is_left() -> None:
    with pytest.raises(TemplateError, match=r"too long|too much time"):
        run_template(HOSTILE["a long loop"], [{"role": "user", "content": "x"}], "", "")
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_a_session_with_a_template_of_its_own(open_session: Open) -> None:
    session = open_session(ScriptedEngine(["Yes."], loaded=True, chat_template=PLAIN.replace("<|a|>", "<|im_start|>")))
    assert session.prompt_format == "template"
    session.send("is it?")
    finish(session)
    assert texts(session) == ["is it?", "Yes."]
    assert session.take_notices() == []


def test_a_session_with_a_broken_template(open_session: Open) -> None:
    session = open_session(ScriptedEngine(["Yes."], loaded=True, chat_template="{{ 1 / 0 }}"))
    session.send("is it?")
    finish(session)
    session.send("really?")
    finish(session)
    assert texts(session) == ["is it?", "Yes.", "really?", "Yes."]
    (notice,) = session.take_notices()
    assert "division" in notice
    assert session.prompt_format == "chatml"  # by the model's tokens
