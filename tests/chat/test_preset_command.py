"""``/preset``: what it lists and takes, for any face."""

from __future__ import annotations

from pathlib import Path

import pytest

from llamachat.chat.commands import run_line
from llamachat.chat.session import ChatSession
from llamachat.errors import LlamachatError
from tests.support.noting_face import NotingFace


@pytest.fixture
def face() -> NotingFace:
    return NotingFace()


def test_they_are_listed_and_taken(session: ChatSession, face: NotingFace, own_home: Path) -> None:
    own = own_home / ".config/llamachat/presets"
    own.mkdir(parents=True)
    (own / "teacher.toml").write_text('temperature = 0.3\nsystem = "Teach \\u001b[2J well, and never be dull. "')
    (own / "bad.toml").write_text("temperature = 30")
    run_line(session, face, "/preset")
    lines = face.said[-1].split("\n")
    assert max(map(len, lines[:-1])) <= 50
    assert [line.split()[0] for line in lines if line[:1].strip()] == [
        "greedy", "precise", "teacher", "balanced", "creative", "bad", "your"
    ]  # fmt: skip
    assert "balanced  in use: the defaults" in lines
    assert "bad       preset not used: temperature takes 0.00" in lines
    assert lines[-1] == f"your own: {own}/NAME.toml"
    assert face.said[-1].count("in use") == 1
    run_line(session, face, "/preset teach")
    assert face.said[-1].startswith("preset teacher: temperature 0.30, system prompt “Teach \ufffd[2J well")
    assert session.conversation.system == "Teach \x1b[2J well, and never be dull."
    run_line(session, face, "/set temperature 0.35")
    run_line(session, face, "/preset")
    assert "own       in use: temperature 0.35" in face.said[-1].split("\n")
    assert face.said[-1].count("in use") == 1
    with pytest.raises(LlamachatError, match="no preset 'x': there are greedy, precise, teacher, balanced, creative"):
        run_line(session, face, "/preset x")
    with pytest.raises(LlamachatError, match=r"bad\.toml: preset not used: temperature takes"):
        run_line(session, face, "/preset bad")
    assert session.settings.temperature == 0.35


def test_a_preset_of_a_name_as_long_as_can_be_is_listed(session: ChatSession, face: NotingFace, own_home: Path) -> None:
    own = own_home / ".config/llamachat/presets"
    own.mkdir(parents=True)
    (own / f"{'x' * 40}.toml").touch()
    (own / "balanced.toml").write_text("x")  # so that the defaults are no preset's but this one's
    run_line(session, face, "/preset")
    assert f"{'x' * 40}  in use:" in face.said[-1].replace("\n", " ")
    (own / f"{'x' * 40}.toml").unlink()
    run_line(session, face, "/preset")
    assert "own       in use: the defaults" in face.said[-1]
