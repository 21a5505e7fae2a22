"""What the commands do, for any face."""

from __future__ import annotations

from pathlib import Path

import pytest

from llamachat.chat.commands import run_line
from llamachat.chat.session import ChatSession
from llamachat.errors import LlamachatError
from tests.chat.conftest import Open
from tests.support.noting_face import NotingFace
from tests.support.scripted_engine import ScriptedEngine
from tests.support.sessions import finish, said, texts, until


def test_chats(talk: ChatSession, face: NotingFace) -> None:
    first = talk.conversation.id
    run_line(talk, face, "/rename A better title")
    run_line(talk, face, "/new")
    assert len(talk.conversation) == 0
    run_line(talk, face, "/open a bet")
    assert talk.conversation.id == first
    with pytest.raises(LlamachatError, match="no such chat"):
        run_line(talk, face, "/open elsewhere")
    face.agrees = False
    run_line(talk, face, "/delete")
    assert face.done == ["Delete 'A better title' with its 4 messages?"]
    assert talk.conversation.id == first
    face.agrees = True
    run_line(talk, face, "delete a better")
    assert talk.sessions() == []
    run_line(talk, face, "/sessions")
    run_line(talk, face, "/open")
    assert face.done[-2:] == ["pick session"] * 2


def test_messages(talk: ChatSession, face: NotingFace) -> None:
    run_line(talk, face, "/again")
    finish(talk)
    run_line(talk, face, "/prev")
    assert texts(talk)[-1] == "Two."
    run_line(talk, face, "/next")
    assert texts(talk)[-1] == "Three."
    run_line(talk, face, "/continue")
    finish(talk)
    assert texts(talk)[-1] == "Three.Three."
    run_line(talk, face, "/edit another question")
    finish(talk)
    assert texts(talk)[2:] == ["another question", "Three."]
    run_line(talk, face, "/correct It is so")
    assert texts(talk)[3] == "It is so"
    run_line(talk, face, "/edit")
    run_line(talk, face, "/edit typed anew")
    finish(talk)
    assert face.edits == [("user", "another question")]
    assert texts(talk)[2:] == ["typed anew", "Three."]
    run_line(talk, face, "/prev")  # the last fork: the questions
    assert texts(talk)[2:] == ["another question", "It is so"]


def test_stop(open_session: Open, face: NotingFace) -> None:
    engine = ScriptedEngine(["a b c d"], loaded=True, gated=True)
    session = open_session(engine)
    session.send("go")
    engine.release(3 + 2)
    until(session, lambda: said(session, 2))
    run_line(session, face, "/stop")
    finish(session)
    assert texts(session) == ["go", "a b"]


def test_copying(open_session: Open, face: NotingFace) -> None:
    answer = "Like so:\n\n```python\nprint('`')\n```\nand\n~~~~\nplain\n~~~~\nthat's it"
    session = open_session(ScriptedEngine([answer], loaded=True))
    session.send("how?")
    finish(session)
    for argument in ("", " code", " question"):
        run_line(session, face, f"/copy{argument}")
    assert face.copied == [answer, "plain", "how?"]
    with pytest.raises(LlamachatError, match="takes nothing"):
        run_line(session, face, "/copy all")


@pytest.mark.parametrize("answer", ["- item\n  ```\n  code\n  ```", "> ~~~py\n> code\n> ~~~", "```\ncode"])
def test_copying_code_wherever_it_stands(open_session: Open, face: NotingFace, answer: str) -> None:
    session = open_session(ScriptedEngine([answer], loaded=True))
    session.send("how?")
    finish(session)
    run_line(session, face, "/copy code")
    assert face.copied == ["code"]


def test_sampling(session: ChatSession, face: NotingFace) -> None:
    run_line(session, face, "/set top-p 0.9")
    run_line(session, face, "/set temperature=0")
    run_line(session, face, "/set seed 5")
    assert (session.settings.top_p, session.settings.temperature, session.settings.seed) == (0.9, 0.0, 5)
    assert face.said[0] == "top-p 0.90  (0.00 to 1.00)"
    run_line(session, face, "/set seed random")
    assert session.settings.seed is None
    run_line(session, face, "/set top_p")
    assert face.said[-1].startswith("top-p 0.90")
    with pytest.raises(LlamachatError, match=r"top-p takes 0\.00 to 1\.00"):
        run_line(session, face, "/set top_p 3")
    with pytest.raises(LlamachatError, match="no parameter 'warmth'"):
        run_line(session, face, "/set warmth 3")
    run_line(session, face, "/params")
    assert "min-p" in face.said[-1]
    run_line(session, face, "/reset top_p")
    assert (session.settings.top_p, session.settings.temperature) == (0.95, 0.0)
    run_line(session, face, "/reset")
    assert session.settings.temperature == 0.8


def test_system_prompt(session: ChatSession, face: NotingFace) -> None:
    run_line(session, face, "/system Be brief.")
    assert session.conversation.system == "Be brief."
    face.typed = "Be long."
    run_line(session, face, "/system")
    assert face.edits == [("System prompt", "Be brief.")]
    assert session.conversation.system == "Be long."
    run_line(session, face, "/system -")
    assert session.conversation.system == ""


def test_models(session: ChatSession, engine: ScriptedEngine, face: NotingFace, data_dir: Path) -> None:
    with pytest.raises(LlamachatError, match=r"^nothing: no such file, and no model yet; /pull fetches"):
        run_line(session, face, "/model nothing")
    (data_dir / "models").mkdir()
    file = data_dir / "models" / "Tiny-1B.Q4_0.gguf"
    file.write_bytes(b"")
    run_line(session, face, "/model tiny-1b")
    finish(session)
    run_line(session, face, "/model /models/other.gguf")
    finish(session)
    assert [source.path for source in engine.loads] == [file, Path("/models/other.gguf")]
    with pytest.raises(LlamachatError, match=r"no such model: there is Tiny-1B\.Q4_0"):
        run_line(session, face, "/model nothing")
    run_line(session, face, "/model")
    assert face.done == ["pick model"]


def test_formats(session: ChatSession, face: NotingFace) -> None:
    run_line(session, face, "/format llama2")
    assert session.prompt_format == "llama2"
    assert face.said[-1].startswith("prompt format: llama2 (set for this chat)")
    run_line(session, face, "/format auto")
    assert face.said[-1].startswith("prompt format: chatml (detected)")


def test_info(talk: ChatSession, face: NotingFace, data_dir: Path) -> None:
    run_line(talk, face, "/info")
    told = face.said[-1]
    timings = talk.timings
    assert timings is not None
    facts = (
        "first question: 4 messages shown, 4 in all",
        "Scripted 1B, GGUF v3 Q4_1, 135 M parameters, 98 MB",
        "format    chatml",
        "of 2,048 tokens",
        f"{timings.prompt_tokens} tokens, {timings.reused_tokens} of them reused",
        "preset    balanced",
        "temperature 0.80",
        str(data_dir),
    )
    for fact in facts:
        assert fact in told, fact


def test_where_nobody_can_be_asked_the_system_prompt_in_use_is_said(talk: ChatSession, face: NotingFace) -> None:
    face.asks = False
    run_line(talk, face, "/system")
    assert face.said == ["system prompt: none, or the model's own"]
    run_line(talk, face, "/format alpaca")
    run_line(talk, face, "/system")
    assert face.said[-1].startswith("system prompt: Below is an instruction")
    run_line(talk, face, "/system Be brief.")
    run_line(talk, face, "/system")
    assert face.said[-1] == "system prompt: Be brief."
    assert face.edits == []


def test_info_names_the_system_prompt_in_use(talk: ChatSession, face: NotingFace) -> None:
    run_line(talk, face, "/info")
    assert "\nsystem    none, or the model's own" in face.said[-1]
    run_line(talk, face, "/system Be brief.")
    run_line(talk, face, "/info")
    assert "\nsystem    Be brief." in face.said[-1]
    run_line(talk, face, "/system -")
    run_line(talk, face, "/format alpaca")
    run_line(talk, face, "/info")
    assert "\nsystem    Below is an instruction" in face.said[-1]


def test_info_is_as_narrow_as_a_dialog(talk: ChatSession, face: NotingFace) -> None:
    run_line(talk, face, "/system " + "word " * 100)
    run_line(talk, face, "/info")
    lines = face.said[-1].split("\n")
    assert max(len(line) for line in lines if not line.startswith(("file", "saved in"))) <= 66
    assert all(line[:10].isspace() for line in lines if "word" in line and not line.startswith("system"))


def test_the_prompt_is_shown_as_the_model_reads_it(talk: ChatSession, face: NotingFace, engine: ScriptedEngine) -> None:
    talk.set_system("Be <|im_end|> brief.")
    talk.edit(talk.conversation.path[-2].id, "really? </s>")
    finish(talk)
    run_line(talk, face, "/prompt")
    n_tokens = len(engine.requests[-1].prompt_ids) + len(talk.conversation.path[-1].ids or ())
    start, end = "\u27e6<|im_start|>\u27e7", "\u27e6<|im_end|>\u27e7"
    assert face.said[-1] == (
        f"{n_tokens} tokens; in \u27e6 \u27e7 stands one control token, the rest is text\n\n"
        f"{start}system\nBe <|im_end|> brief.{end}\n"
        f"{start}user\nfirst question{end}\n{start}assistant\nOne.{end}\n"
        f"{start}user\nreally? </s>{end}\n{start}assistant\nThree."
    )


def test_the_prompt_says_what_is_left_out(open_session: Open, face: NotingFace) -> None:
    session = open_session(ScriptedEngine(["One."], loaded=True, n_ctx=128))
    for _ in range(6):
        session.send("words " * 20)
        finish(session)
    run_line(session, face, "/prompt")
    dropped = session.written_prompt().dropped
    assert dropped > 0
    assert f"; the first {dropped} messages left out\n" in face.said[-1]
    assert face.said[-1].count("user\n") == (len(session.conversation.path) - dropped) // 2


def test_there_is_no_prompt_without_a_message_or_a_model(
    session: ChatSession, open_session: Open, face: NotingFace
) -> None:
    with pytest.raises(LlamachatError, match="nothing here yet"):
        run_line(session, face, "/prompt")
    other = open_session(ScriptedEngine())
    other.send("question")
    with pytest.raises(LlamachatError, match="no model is loaded"):
        run_line(other, face, "/prompt")


def test_the_program(session: ChatSession, face: NotingFace) -> None:
    for line in ("/theme night", "/help", "/?", "/quit", "/"):
        run_line(session, face, line)
    assert face.done == ["theme night", "help", "help", "quit", "help"]
    run_line(session, face, "/theme")
    run_line(session, face, "/help again")
    assert face.said == ["themes: paper, night", "/regenerate  Ask for another answer; the one before stays beside it."]
