import pytest

from llamachat.engine.settings import PARAMETER, PARAMETERS, SamplingSettings, parameter_named
from llamachat.errors import LlamachatError


@pytest.mark.parametrize("parameter", PARAMETERS, ids=lambda p: p.name)
def test_range_is_kept_and_named(parameter):
    assert parameter.check(parameter.minimum) == parameter.minimum
    assert parameter.check(parameter.maximum) == parameter.maximum
    for outside in (parameter.minimum - 1, parameter.maximum + 1):
        with pytest.raises(LlamachatError) as error:
            parameter.check(outside)
        assert parameter.range_text in str(error.value)
        assert parameter.key in str(error.value)


@pytest.mark.parametrize("bad", ["", "x", "1e999", "nan", "inf", "0x10", "1,5", "--", "9" * 400])
def test_nonsense_is_refused(bad):
    with pytest.raises(LlamachatError):
        PARAMETER["temperature"].parse(bad)


@pytest.mark.parametrize(
    "value", [True, "0.5", None, [1], float("nan"), float("inf"), pytest.param(1 << 99_999, id="huge")]
)
def test_wrong_types_are_refused(value):
    with pytest.raises(LlamachatError):
        PARAMETER["top_p"].check(value)


def test_whole_numbers_stay_whole():
    assert PARAMETER["top_k"].parse("40") == 40
    with pytest.raises(LlamachatError):
        PARAMETER["top_k"].parse("40.5")
    assert isinstance(PARAMETER["top_k"].check(40.0), int)


def test_seed_can_be_random():
    seed = PARAMETER["seed"]
    assert seed.parse("random") is None
    assert seed.parse("42") == 42
    assert seed.format(None) == "random"
    assert seed.nudge(None, 1) == 0


@pytest.mark.parametrize("parameter", PARAMETERS, ids=lambda p: p.name)
def test_nudging_up_and_down_ends_at_the_limits(parameter):
    value = parameter.maximum
    assert parameter.nudge(value, 1) == value
    value = parameter.minimum
    assert parameter.nudge(value, -1) in (value, None)


def test_nudging_stays_on_the_grid():
    temperature = PARAMETER["temperature"]
    value: float | int | None = 0.8
    for _ in range(7):
        value = temperature.nudge(value, 1)
    assert value == pytest.approx(1.15, abs=1e-9)
    for _ in range(7):
        value = temperature.nudge(value, -1)
    assert value == 0.8


def test_a_change_makes_a_new_object():
    before = SamplingSettings()
    after = before.with_value("top-p", 0.5)
    assert (before.top_p, after.top_p) == (0.95, 0.5)
    with pytest.raises(LlamachatError, match="there are temperature, top-p"):
        before.with_value("warmth", 1)


def test_settings_survive_a_dictionary():
    settings = SamplingSettings(temperature=0.1, seed=7)
    assert SamplingSettings().with_values(settings.to_dict()) == settings


def test_names_may_be_written_with_dashes():
    assert parameter_named("Repeat-Penalty").flag == "--repeat-penalty"
