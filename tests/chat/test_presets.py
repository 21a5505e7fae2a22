"""Presets as files: those that come along, a person's own, broken and hostile ones; and what taking one changes."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path

import pytest

from llamachat import paths
from llamachat.chat.presets import DEFAULT_PRESET, Preset, PresetShelf, all_presets, parse_preset
from llamachat.chat.session import ChatSession
from llamachat.engine.settings import PARAMETER, SamplingSettings
from llamachat.errors import FileError, LlamachatError
from tests.chat.conftest import Open
from tests.support.scripted_engine import ScriptedEngine
from tests.support.sessions import finish, said, until

ALL_KEYS = """
temperature = 1
top-p = 0.9
top_k = 7
min-p = 0.0
repeat_penalty = "1.2"
repeat-window = 32
seed = 42
max-tokens = 100
system = "Be brief."
"""


@pytest.fixture
def own(own_home: Path) -> Path:
    folder = own_home / ".config/llamachat/presets"
    folder.mkdir(parents=True)
    return folder


def refusal(text: str, name: str = "mine") -> str:
    with pytest.raises(FileError) as caught:
        parse_preset(name, text, f"{name}.toml")
    assert "\n" not in str(caught.value)
    assert "\x1b" not in str(caught.value)
    return str(caught.value)


# ---- files -----------------------------------------------------------------------


def test_four_come_along_from_the_surest_to_the_wildest() -> None:
    shelf = PresetShelf(paths.shipped_presets(), None)
    assert list(shelf.presets) == ["greedy", "precise", "balanced", "creative"]
    assert shelf.notices == []
    assert shelf.presets["greedy"].temperature == 0
    assert 0 < shelf.presets["precise"].temperature < 0.5
    assert shelf.presets["creative"].temperature > 1
    assert all(preset.system is None for preset in shelf.presets.values())


def test_the_balanced_one_is_the_defaults_written_out() -> None:
    text = (paths.shipped_presets() / "balanced.toml").read_text("utf-8")
    written = {key.replace("-", "_"): value for key, value in tomllib.loads(text).items()}
    defaults = SamplingSettings().to_dict()
    assert written == {name: value for name, value in defaults.items() if name not in ("seed", "max_tokens")}
    assert parse_preset(DEFAULT_PRESET, text, "x").words == "the defaults"


def test_every_key_is_known_in_both_spellings() -> None:
    preset = parse_preset("mine", ALL_KEYS, "mine.toml")
    assert preset.applied_to(SamplingSettings()) == SamplingSettings(1.0, 0.9, 7, 0.0, 1.2, 32, 42, 100)
    assert set(preset.named) == set(PARAMETER)
    assert isinstance(preset.named["temperature"], float)
    assert preset.system == "Be brief."
    for said_of_it in ("temperature 1.00", "top-k 7", "seed 42", "max-tokens 100", "system prompt “Be brief.”"):
        assert said_of_it in preset.words


def test_what_is_not_named_goes_to_its_default_but_seed_and_reply_length_stay() -> None:
    before = SamplingSettings(0.1, 0.2, 3, 0.4, 1.5, 6, seed=7, max_tokens=8)
    after = parse_preset("mine", "top-k = 9", "mine.toml").applied_to(before)
    assert after == SamplingSettings(top_k=9, seed=7, max_tokens=8)
    assert parse_preset("mine", "seed = 'random'\nmax-tokens = 1", "m").applied_to(before) == SamplingSettings(
        max_tokens=1
    )
    assert parse_preset("mine", "", "mine.toml").applied_to(before) == SamplingSettings(seed=7, max_tokens=8)


def test_a_mark_before_the_text_is_none_of_it() -> None:
    assert parse_preset("mine", "\ufefftemperature = 0.5", "m").temperature == 0.5


def test_a_system_prompt_has_no_empty_ends_and_may_be_empty() -> None:
    assert parse_preset("mine", 'system = """\n\nBe.\nSo.\n"""', "m").system == "Be.\nSo."
    nothing = parse_preset("mine", "system = ''", "m")
    assert nothing.system == ""
    assert nothing.words == "the model's own system prompt"
    assert parse_preset("mine", "", "m").system is None


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("temperature = [", "is no TOML"),
        ("temperature = 1\ntemperature = 2", "is no TOML"),
        ("temperature = 9", "temperature takes 0.00 to 5.00, not '9'"),
        ("temperature = nan", "temperature takes 0.00 to 5.00"),
        ("temperature = inf", "temperature takes 0.00 to 5.00"),
        ("temperature = true", "temperature takes 0.00 to 5.00"),
        ("temperature = 'warm'", "temperature takes 0.00 to 5.00, not 'warm'"),
        ("temperature = 2026-01-01", "temperature takes 0.00 to 5.00"),
        ("temperature = 1" + "0" * 5000, "is no TOML: it holds a number of thousands of digits"),
        ("temperature = 0x" + "f" * 50_000, "temperature takes 0.00 to 5.00, not a number of thousands of digits"),
        ("temperature = " + "[" * 5000, "is no TOML: nested too deeply"),
        ("temperature = [[1], {a = 1}]", "temperature takes 0.00 to 5.00"),
        ("top-k = 1.5", "top-k takes 0 to 1000000, not '1.5'"),
        ("max-tokens = 0", "max-tokens takes 1 to 1000000, not '0'"),
        ("seed = -1", "seed takes 0 to 9223372036854775807, or random, not '-1'"),
        ("top-p = 0.5\ntop_p = 0.6", "top-p stands there twice"),
        ("system = 3", "system takes a text"),
        ("warmth = 1", "unknown key 'warmth': there are temperature, top-p, "),
        ("[sampling]\ntemperature = 1", "unknown key 'sampling'"),
        ("'\\u001b[2J' = 1", "unknown key"),
        ('"\\u001b[2J" = 1', "unknown key"),
        ('temperature = "\\u001b[2J"', "temperature takes"),
    ],
)
def test_what_is_wrong_is_said(text: str, reason: str) -> None:
    assert reason in refusal(text)


def test_everything_wrong_is_said_at_once() -> None:
    said_of_it = refusal("temperature = 9\ntop-k = 'x'\nsystem = 1\nwarmth = 1\nheat = 2", "My Own!")
    for part in ("a-z, 0-9", "temperature takes", "top-k takes", "system takes", "unknown keys 'warmth', 'heat'"):
        assert part in said_of_it
    assert said_of_it.startswith("My Own!.toml: preset not used: ")


def test_thousands_of_mistakes_are_told_in_a_line_that_can_be_read() -> None:
    assert len(refusal("\n".join(f"key{at} = 1" for at in range(5000)))) < 300
    assert "and 4,997 more" in refusal("\n".join(f"key{at} = 1" for at in range(5000)))


def test_a_folder_with_anything_in_it(own: Path) -> None:
    (own / "good.toml").write_text("temperature = 0.5")
    (own / "bad.toml").write_text("temperature = 7")
    (own / "binary.toml").write_bytes(b"\xff\xfe\x00")
    (own / "huge.toml").write_text("#" * 100_000)
    with (own / "sparse.toml").open("wb") as file:
        file.truncate(1 << 40)
    (own / "folder.toml").mkdir()
    (own / "readme.txt").write_text("not a preset")
    (own / ".#good.toml").symlink_to("an editor's lock")
    os.mkfifo(own / "pipe.toml")
    (own / "dangling.toml").symlink_to(own / "nowhere")
    (own / "endless.toml").symlink_to("/dev/zero")
    shelf = all_presets()
    assert set(shelf.presets) == {"good", "greedy", "precise", "balanced", "creative"}
    assert set(shelf.broken) == {"bad", "binary", "huge", "sparse", "folder", "pipe", "dangling", "endless"}
    assert all("\n" not in notice for notice in shelf.notices)


def test_of_thousands_of_files_the_first_are_used(own: Path) -> None:
    for at in range(600):
        (own / f"p{at:03}.toml").touch()
    shelf = all_presets()
    assert "p499" in shelf.presets
    assert "p500" not in shelf.presets
    assert shelf.notices == [f"{own}: the first 500 of 600 files are used"]


def test_no_folder_is_no_notice(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for folder in (tmp_path / "none", tmp_path / "file"):
        assert PresetShelf(paths.shipped_presets(), folder).notices == []


# ---- finding ---------------------------------------------------------------------


def test_a_persons_own_go_before_shipped_ones_also_when_they_are_broken(own: Path) -> None:
    (own / "precise.toml").write_text("temperature = 0.4")
    shelf = all_presets()
    assert shelf.find("precise").temperature == 0.4
    (own / "precise.toml").write_text("temperature = 40")  # read again, and not taken for another
    with pytest.raises(FileError, match=r"precise\.toml: preset not used: temperature takes"):
        shelf.find("Precise")
    assert "precise" not in shelf.presets
    (own / "precise.toml").unlink()
    assert shelf.find("precise").temperature == 0.2


def test_a_name_is_found_by_its_beginning_in_any_case(own: Path) -> None:
    (own / "pretty.toml").touch()
    shelf = all_presets()
    assert shelf.find("Cre").name == "creative"
    with pytest.raises(LlamachatError, match=r"^which preset: precise, pretty\?$"):
        shelf.find("pr")
    (own / "pr.toml").touch()
    assert shelf.find(" PR ").name == "pr"
    for word in ("", "x", "creativer", "../greedy", "/etc/passwd", "\x1b[2J"):
        with pytest.raises(LlamachatError, match=r"no preset .*: there are greedy, precise, "):
            shelf.find(word)


def test_of_equal_ones_the_one_taken_is_in_use_else_the_one_that_says_most(own: Path) -> None:
    (own / "as-usual.toml").touch()
    (own / "brief.toml").write_text("system = 'Be brief.'")
    shelf, defaults = all_presets(), SamplingSettings()

    def in_use(system: str = "", settings: SamplingSettings = defaults) -> str | None:
        equal = shelf.equal_to(settings, system)
        return equal.name if equal else None

    assert in_use() in ("as-usual", "balanced")
    assert in_use("Be brief.") == "brief"
    assert in_use("Be long.") in ("as-usual", "balanced")
    for name in ("as-usual", "balanced"):
        shelf.took(shelf.presets[name])
        assert in_use() == name
        assert in_use("Be brief.") == name
    assert in_use(settings=SamplingSettings(seed=3, max_tokens=9)) == "balanced"
    assert in_use(settings=SamplingSettings(repeat_window=65)) is None


# ---- taking ----------------------------------------------------------------------


def test_a_preset_counts_from_the_next_token_on(open_session: Open) -> None:
    engine = ScriptedEngine(["a b c d e f"], loaded=True, gated=True)
    session = open_session(engine)
    session.send("go")
    engine.release(3 + 2)
    until(session, lambda: said(session, 2))
    before = len(engine.sampled)
    session.use_preset("greedy")
    assert session.answering is not None
    engine.release(100)
    finish(session)
    assert {settings.temperature for settings in engine.sampled[:before]} == {0.8}
    assert {settings.temperature for settings in engine.sampled[before + 1 :]} == {0.0}


def test_it_is_stored_with_the_chat(talk: ChatSession, own: Path) -> None:
    (own / "teacher.toml").write_text("top-k = 3\nsystem = 'Teach.'")
    talk.use_preset("teacher")
    chat = talk.conversation.id
    talk.new()
    assert talk.settings.top_k == 3  # a new chat has the sampling of the one before, and the system prompt of its own
    assert talk.conversation.system == ""
    talk.use_preset("balanced")
    talk.open(chat)
    assert (talk.settings.top_k, talk.conversation.system) == (3, "Teach.")
    assert talk.preset is not None
    assert talk.preset.name == "teacher"


def test_what_a_preset_does_not_name_stays(session: ChatSession, own: Path) -> None:
    (own / "teacher.toml").write_text("max-tokens = 20\nseed = 5\nsystem = 'Teach.'")
    session.set_system("Be brief.")
    session.use_preset("precise")
    assert session.conversation.system == "Be brief."
    session.use_preset("teacher")
    session.use_preset("precise")
    assert session.conversation.system == "Teach."
    assert (session.settings.seed, session.settings.max_tokens) == (5, 20)
    with pytest.raises(LlamachatError):
        session.use_preset("nothing")
    assert session.preset == session.presets.presets["precise"]


def names(session: ChatSession, step: int, times: int) -> list[str | None]:
    """The presets that so many steps come by; None for a person's own values."""
    came: list[Preset | None] = [session.step_preset(step) for _ in range(times)]
    assert came[-1] == session.preset
    return [preset.name if preset else None for preset in came]


def test_steps_go_by_temperature_and_end_at_the_ends(session: ChatSession) -> None:
    assert names(session, 1, 2) == ["creative", "creative"]
    assert names(session, -1, 4) == ["balanced", "precise", "greedy", "greedy"]
    assert session.settings == SamplingSettings(temperature=0.0)


def test_steps_come_back_to_a_persons_own_values(session: ChatSession) -> None:
    mine = SamplingSettings(temperature=0.65, top_k=20, seed=3)
    session.set_settings(mine)
    assert names(session, -1, 3) == ["precise", "greedy", "greedy"]
    assert names(session, 1, 2) == ["precise", None]
    assert session.settings == mine
    assert names(session, 1, 3) == ["balanced", "creative", "creative"]
    assert names(session, -1, 2) == ["balanced", None]
    assert session.settings == mine
    session.step_preset(1)
    session.set_parameter("top_k", 21)  # other values of one's own now
    assert names(session, -1, 1) == ["balanced"]
    assert names(session, 1, 1) == [None]
    assert session.settings.top_k == 21


def test_what_a_preset_brought_that_was_only_passed_goes_with_it(session: ChatSession, own: Path) -> None:
    (own / "teacher.toml").write_text("temperature = 1\nmax-tokens = 20\nseed = 5\nsystem = 'Teach.'")
    session.set_system("Be brief.")
    assert names(session, 1, 1) == ["teacher"]
    assert (session.conversation.system, session.settings.seed, session.settings.max_tokens) == ("Teach.", 5, 20)
    assert names(session, 1, 1) == ["creative"]
    assert (session.conversation.system, session.settings.seed, session.settings.max_tokens) == ("Be brief.", None, 512)
    session.use_preset("teacher", instead=True)
    session.use_preset("balanced", instead=True)
    assert (session.conversation.system, session.settings.max_tokens) == ("Be brief.", 512)
    session.use_preset("teacher")
    session.new()  # another chat has nothing to do with it
    session.set_system("Another.")
    session.step_preset(1)
    assert session.conversation.system == "Another."


def test_steps_pass_equal_ones_and_those_whose_file_is_gone(session: ChatSession, own: Path) -> None:
    (own / "balanced2.toml").touch()
    (own / "between.toml").write_text("temperature = 1")
    assert names(session, 1, 2) == ["balanced2", "between"]
    (own / "between.toml").unlink()
    assert session.preset is not None  # as it was read
    assert names(session, -1, 2) == ["balanced2", "balanced"]


def test_without_any_preset_there_is_nothing_to_step_to(session: ChatSession, tmp_path: Path) -> None:
    session.presets = PresetShelf(tmp_path / "none", None)
    assert session.preset is None
    assert session.step_preset(1) is None
    assert session.settings == SamplingSettings()
