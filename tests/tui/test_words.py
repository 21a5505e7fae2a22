"""Figures and states as words; the status line at any width."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from llamachat.chat.code_blocks import code_blocks
from llamachat.chat.conversation import Message, Role, Status
from llamachat.chat.session import Phase, Progress
from llamachat.tui.status_line import StatusFacts, fit
from llamachat.tui.words import (
    count,
    day_group,
    ending,
    file_size,
    phase_words,
    rate,
    seconds_left,
    short_path,
    sparkline,
)

NOTHING = Progress()


def answer(status: Status, note: str = "") -> Message:
    return Message("1", None, Role.ASSISTANT, status=status, note=note)


def test_a_sparkline_is_scaled_to_its_highest_bar() -> None:
    assert sparkline([]) == ""
    assert sparkline([0, 0]) == ""
    assert sparkline([5, 5, 5]) == "▇▇▇"
    assert sparkline([0, 4, 8]) == "▁▄▇"


@pytest.mark.parametrize(
    ("value", "words"), [(0.5, "0.5 t/s"), (9.96, "10.0 t/s"), (214.4, "214 t/s"), (1912.3, "1,912 t/s")]
)
def test_rates(value: float, words: str) -> None:
    assert rate(value) == words


def test_the_time_left_is_told_once_the_pace_is_known() -> None:
    start = Progress(400, 1400, 100.0)  # 400 were reused and cost nothing
    assert seconds_left(Progress(400, 1400, 100.0), start) == ""
    assert seconds_left(Progress(410, 1400, 150.0), start) == ""
    assert seconds_left(Progress(500, 1400, 1100.0), start) == " (9 s left)"
    assert seconds_left(Progress(500, 100_400, 1100.0), start) == " (17 min left)"
    assert seconds_left(Progress(1400, 1400, 9000.0), start) == ""


def test_the_phase_is_told_in_words() -> None:
    half = Progress(512, 1480, 0.0)
    assert phase_words(Phase.LOADING, Progress(43, 100, 0.0), NOTHING, None) == "loading 43 %"
    assert phase_words(Phase.PREFILL, half, half, None) == "reading prompt 512 of 1,480"
    assert phase_words(Phase.PREFILL, NOTHING, NOTHING, None) == "reading prompt"
    assert phase_words(Phase.DECODE, half, half, None) == "answering"
    assert phase_words(Phase.READY, NOTHING, NOTHING, answer(Status.STOPPED)) == "stopped"
    assert phase_words(Phase.READY, NOTHING, NOTHING, answer(Status.COMPLETE)) == "ready"
    assert phase_words(Phase.READY, NOTHING, NOTHING, answer(Status.STREAMING)) == "answering in another window"
    assert phase_words(Phase.NO_MODEL, NOTHING, NOTHING, None) == "no model"


def test_endings() -> None:
    assert ending(answer(Status.COMPLETE)) == ""
    assert ending(answer(Status.STREAMING)) == ""
    assert ending(answer(Status.FAILED, "out of memory")) == "failed: out of memory"
    assert all(ending(answer(status)) for status in Status if status.unfinished)


@pytest.mark.parametrize(
    ("then", "group"),
    [
        (date(2026, 3, 11), "Today"),
        (date(2026, 3, 12), "Today"),  # a clock that went back
        (date(2026, 3, 10), "Yesterday"),
        (date(2026, 3, 5), "Thursday"),
        (date(2026, 3, 4), "March"),
        (date(2025, 3, 12), "March 2025"),
    ],
)
def test_days(then: date, group: str) -> None:
    assert day_group(then, date(2026, 3, 11)) == group


def test_sizes_counts_and_paths() -> None:
    assert file_size(98_362_432) == "98 MB"
    assert file_size(4_370_000_000) == "4.4 GB"
    assert count(134_515_008) == "135 M"
    assert count(7_240_000_000) == "7.2 B"
    assert count(260) == "260"
    assert short_path(Path.home() / "models" / "a.gguf") == "~/models/a.gguf"
    assert short_path(Path("/else/where")) == "/else/where"


def test_the_status_line_drops_what_matters_least() -> None:
    facts = StatusFacts(
        "SmolLM2-135M-Instruct Q4_1", "answering", "prompt 1,912 t/s", "214 t/s", "▁▃▅▇", "812 of 8,192 tokens",
        (("esc", "stop"), ("F1", "help")),
    )  # fmt: skip
    wide = fit(facts, 120).plain
    assert wide.startswith("SmolLM2-135M-Instruct Q4_1 · answering · prompt 1,912 t/s · 214 t/s ▁▃▅▇ · 812 of")
    assert wide.endswith("esc stop   F1 help")
    assert fit(facts, 58).plain.startswith("SmolLM2 · answering · 214 t/s · 812/8,192")
    for width in range(1, 130):
        line = fit(facts, width)
        assert line.cell_length <= width
        if width >= 32:
            assert "answering" in line.plain
            assert "esc stop" in line.plain


def test_code_blocks() -> None:
    assert code_blocks("no code") == []
    assert code_blocks("```py\na\n\nb\n```\n~~~\nc\n~~~\n> ```\n> d\n> ```\n```\n```\n```\nopen") == [
        "a\n\nb",
        "c",
        "d",
        "open",
    ]


def test_a_short_model_name_still_tells_the_model() -> None:
    for name, shown in (("SmolLM2-135M-Instruct Q4_1", "SmolLM2 ·"), ("a-very-long-name-of-a-model Q4_1", "a-very ·")):
        facts = StatusFacts(model=name, phase="ready", context="0 of 8,192 tokens", hints=(("F1", "help"),))
        assert fit(facts, 38).plain.startswith(shown)
