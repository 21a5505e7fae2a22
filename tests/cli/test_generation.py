"""How the commands that ask once take in what the engine tells."""

from __future__ import annotations

from pathlib import Path

import pytest

from llamachat.cli import generation
from llamachat.cli.generation import OneModel, Printer
from llamachat.engine.events import Finished, Request, StopReason, Timings, TokenEvent
from llamachat.engine.settings import SamplingSettings
from llamachat.engine.source import ModelSource
from tests.support.scripted_engine import ScriptedEngine


class AtOnce(ScriptedEngine):
    """Says its whole answer before ``generate`` returns: all of it waits when it is looked at."""

    def generate(self, request: Request) -> None:
        self._tell(self._answer(request))


class Counting(Printer):
    """Remembers what was written at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[str] = []

    def write(self, text: str) -> None:
        self.written.append(text)
        super().write(text)


@pytest.fixture
def one_model(monkeypatch: pytest.MonkeyPatch) -> OneModel:
    monkeypatch.setattr(generation, "LocalEngine", lambda: AtOnce(["so many words at once"]))
    return OneModel(ModelSource(Path("model.gguf")))


def test_tokens_that_wait_are_printed_together(one_model: OneModel, capsys: pytest.CaptureFixture[str]) -> None:
    printer = Counting()
    answer = one_model.answer(Request((1,)), SamplingSettings(), printer)
    assert printer.written == ["so many words at once"]
    assert capsys.readouterr().out == "so many words at once"
    assert [token.text for token in answer.tokens] == ["so", " many", " words", " at", " once"]
    assert answer.finished is not None
    assert answer.finished.reason is StopReason.END
    one_model.close()


def test_what_comes_later_is_printed_later(one_model: OneModel) -> None:
    printer = Counting()
    events = one_model._until(Finished)
    answer = generation.Answer()
    for text in ("a", "b"):
        one_model._events.put(TokenEvent(1, text))
        one_model._take(next(events), answer, printer)
    one_model._events.put(Finished(StopReason.END, answer_timings := Timings(), tail="."))
    one_model._take(next(events), answer, printer)
    assert next(events, None) is None
    assert printer.written == ["a", "b", "."]
    assert answer.text == "ab."
    assert answer.finished is not None
    assert answer.finished.timings is answer_timings
    one_model.close()
