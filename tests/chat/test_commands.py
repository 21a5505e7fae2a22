"""The commands: found, completed and run, for any face."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from llamachat.chat.commands import (
    COMMANDS,
    as_message,
    complete_line,
    complete_path_line,
    find_command,
    is_command,
    run_line,
)
from llamachat.chat.conversation import Message
from llamachat.chat.session import ChatSession
from llamachat.errors import LlamachatError
from tests.chat.conftest import Open
from tests.support.scripted_engine import ScriptedEngine
from tests.support.sessions import finish, said, texts, until


class NotingFace:
    """Notes what commands ask of it."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.done: list[str] = []
        self.copied: list[str] = []
        self.edits: list[tuple[str, str]] = []
        self.agrees = True
        self.asks = True
        self.typed: str | None = None

    def say(self, text: str) -> None:
        self.said.append(text)

    def show_help(self) -> None:
        self.done.append("help")

    def quit(self) -> None:
        self.done.append("quit")

    def themes(self) -> list[str]:
        return ["paper", "night"]

    def set_theme(self, name: str) -> None:
        if name not in self.themes():
            raise LlamachatError(f"no theme {name!r}")
        self.done.append(f"theme {name}")

    def copy(self, text: str) -> None:
        self.copied.append(text)

    def confirm(self, question: str, action: Callable[[], None]) -> None:
        self.done.append(question)
        if self.agrees:
            action()

    def edit_line(self, label: str, text: str, action: Callable[[str], object]) -> None:
        self.edit_text(label, text, action)

    def edit_text(self, label: str, text: str, action: Callable[[str], object]) -> None:
        self.edits.append((label, text))
        if self.typed is not None:
            action(self.typed)

    def edit_message(self, message: Message) -> None:
        self.edits.append((message.role.value, message.text))

    def show_tokens(self, message: Message, at: int | None) -> None:
        self.done.append(f"tokens of {message.text!r}" + ("" if at is None else f" at {at}"))

    def pick_session(self) -> None:
        self.done.append("pick session")

    def pick_model(self) -> None:
        self.done.append("pick model")

    def fetch_model(self) -> None:
        self.done.append("fetch model")


@pytest.fixture
def face() -> NotingFace:
    return NotingFace()


# ---- the table -------------------------------------------------------------------


def test_names_are_unique_and_helped() -> None:
    names = [name for command in COMMANDS for name in (command.name, *command.aliases)]
    assert len(names) == len(set(names))
    for command in COMMANDS:
        assert command.name == command.name.lower()
        assert command.help.endswith(".")
        assert len(command.usage) + len(command.help) < 110
    for wanted in ("new", "open", "rename", "delete", "sessions", "regenerate", "again", "continue", "edit", "prev",
                   "next", "stop", "set", "params", "show", "system", "model", "info", "theme", "copy", "examples",
                   "help", "quit"):  # fmt: skip
        assert find_command(wanted) in COMMANDS


def test_what_is_a_command() -> None:
    assert is_command("/help")
    assert not is_command("//help")
    assert not is_command("a /help")
    assert as_message("//usr/bin is a folder") == "/usr/bin is a folder"
    assert as_message("plain") == "plain"


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("/temprature 1", "/set temperature"),
        ("/regnerate", "/regenerate"),
        ("/sess", "/sessions"),
        ("/quti", "/quit"),
        ("/etc/passwd", "/help"),
    ],
)
def test_unknown_commands_name_the_nearest(session: ChatSession, face: NotingFace, typed: str, meant: str) -> None:
    with pytest.raises(LlamachatError, match=f"no command {typed.split()[0]}: .*{meant}") as caught:
        run_line(session, face, typed)
    assert "\n" not in str(caught.value)


def test_arguments_are_checked(session: ChatSession, face: NotingFace) -> None:
    with pytest.raises(LlamachatError, match="/new takes nothing after it"):
        run_line(session, face, "/new chat")
    with pytest.raises(LlamachatError, match="/set needs something after it: /set NAME"):
        run_line(session, face, "/set")


@pytest.mark.parametrize("command", [c for c in COMMANDS if c.otherwise], ids=lambda c: c.name)
def test_what_makes_no_sense_says_so(session: ChatSession, face: NotingFace, command: object) -> None:
    """In an empty chat at rest, these have nothing to work on."""
    assert command in COMMANDS
    for known in COMMANDS:
        if known is command:
            with pytest.raises(LlamachatError) as caught:
                run_line(session, face, f"/{known.name}")
            assert str(caught.value) == known.otherwise


def test_every_command_can_be_typed(talk: ChatSession, face: NotingFace) -> None:
    """No command falls over its own feet: each does something or says one line."""
    for command in COMMANDS:
        for argument in ("", " x", " 1", " \x1b[31m"):
            error = _refusal(talk, face, f"/{command.name}{argument}")
            assert error is None or (error.strip() and "\n" not in error)
            finish(talk)


def _refusal(session: ChatSession, face: NotingFace, line: str) -> str | None:
    try:
        run_line(session, face, line)
    except LlamachatError as error:
        return str(error)
    return None


def test_completion_of_names(session: ChatSession, face: NotingFace) -> None:
    assert complete_line(session, face, "/re") == ["/rename", "/regenerate", "/reset"]
    assert complete_line(session, face, "/REN") == ["/rename"]
    assert complete_line(session, face, "/") == [f"/{command.name}" for command in COMMANDS]
    assert complete_line(session, face, "/nothing x") == []


def test_completion_of_arguments(talk: ChatSession, face: NotingFace, data_dir: Path) -> None:
    (data_dir / "models").mkdir()
    (data_dir / "models" / "Tiny-1B.Q4_0.gguf").write_bytes(b"")
    (data_dir / "models" / "parted-00001-of-00002.gguf").write_bytes(b"")
    (data_dir / "models" / "parted-00002-of-00002.gguf").write_bytes(b"")
    (data_dir / "models" / "Hub-v1.0").mkdir()
    (data_dir / "models" / "Hub-v1.0" / "model.safetensors").write_bytes(b"")
    lines = {
        "/set to": ["/set top-p 0.95", "/set top-k 40"],
        "/set top-k ": ["/set top-k 40"],
        "/reset te": ["/reset temperature"],
        "/theme ni": ["/theme night"],
        "/format mis": ["/format mistral-v1", "/format mistral-v3"],
        "/open FIR": ["/open first question"],
        "/model tiny": ["/model Tiny-1B.Q4_0"],
        "/model p": ["/model parted"],
        "/model hub": ["/model Hub-v1.0"],
        "/copy c": ["/copy code"],
        "/help ren": ["/help rename"],
        "/new ": [],
    }
    for line, whole in lines.items():
        assert complete_line(talk, face, line) == whole, line


def test_completion_of_paths(tmp_path: Path) -> None:
    (tmp_path / "a b").mkdir()
    (tmp_path / "a b/x.gguf").touch()
    assert complete_path_line(f"/model {tmp_path}/a") == [f"/model {tmp_path}/a b/"]
    assert complete_path_line(f"/MODEL  {tmp_path}/a b/") == [f"/MODEL  {tmp_path}/a b/x.gguf"]
    for line in ("/model", "/model ", f"/open {tmp_path}/", f"/nothing {tmp_path}/", "/"):
        assert complete_path_line(line) == []


# ---- what they do ------------------------------------------------------------------


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
