"""Figures as text."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaiwa.report.figures import against, clock, is_measured, limits, number, percent, sign


def plain(text: str) -> str:
    return text.replace("\u00a0", " ")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (True, "–"),
        (math.nan, "–"),
        (-math.inf, "–"),
        ("as it is", "as it is"),
        (0, "0"),
        (0.0, "0"),
        (1234567, "1,234,567"),
        (1234.567, "1,235"),
        (-98765.4, "-98,765"),
        (12.3456, "12.3"),
        (0.0012345, "0.00123"),
        (0.00012345, "1.23e-04"),
        (999.4, "999"),
        (999.7, "1,000"),
    ],
)
def test_number(value: Any, text: str) -> None:
    assert number(value) == text


def test_number_of_two_digits_is_no_power_of_ten() -> None:
    assert number(0.126, 2) == "0.13"
    assert number(123.4, 2) == "123"


@given(st.floats(1e-3, 1e9))
def test_numbers_are_read_back_to_three_digits(value: float) -> None:
    assert float(number(value).replace(",", "")) == pytest.approx(value, rel=0.0051)


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0.634, "63 %"),
        (0, "0 %"),
        (1, "100 %"),
        (None, "–"),
        (0.0199, "2.0 %"),
        (0.02, "2 %"),
        (0.9801, "98.0 %"),
        (-0.004, "-0.4 %"),
        (1.5, "150 %"),
    ],
)
def test_percent_has_one_decimal_near_the_ends(share: float | None, text: str) -> None:
    assert plain(percent(share)) == text


def test_percent_does_not_break_between_figure_and_unit() -> None:
    assert percent(0.5) == "50\u00a0%"


def test_limits_of_a_share_name_the_unit_once_and_stay_in_range() -> None:
    assert plain(limits({"low": -0.02, "high": 0.4})) == "0–40 %"
    assert plain(limits({"low": 0.005, "high": 1.2})) == "0.5–100 %"


def test_limits_of_other_figures() -> None:
    assert limits({"low": -0.024, "high": 0.11}, share=False, signed=True) == "−0.02 … +0.11"
    assert limits({"low": 1.5, "high": 2000.0}, share=False) == "1.5 … 2,000"
    assert limits({"low": 0.1, "high": None}, share=False) == "–"


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "–"), (0.123, "+0.12"), (-0.126, "−0.13"), (0.004, "0.00"), (-0.0049, "0.00"), (0, "0.00")],
)
def test_sign(value: float | None, text: str) -> None:
    assert sign(value) == text


def test_a_longer_difference() -> None:
    assert sign(-0.0049, 3) == "−0.005"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0.0 s"), (9.94, "9.9 s"), (59.4, "59 s"), (59.6, "1:00"), (3599.7, "1:00:00"), (90061, "25:01:01")],
)
def test_clock(seconds: float, text: str) -> None:
    assert clock(seconds) == text


def test_what_counts_as_measured() -> None:
    assert not is_measured(None)
    assert not is_measured({})
    assert not is_measured({"mean": None, "low": None, "high": None, "n": 0})
    assert is_measured({"mean": 0.0})


@pytest.mark.parametrize(
    ("low", "high", "where"),
    [(0.51, 0.6, "above"), (0.4, 0.49, "below"), (0.5, 0.6, "around"), (0.4, 0.5, "around"), (None, None, "missing")],
)
def test_against_a_neutral_value(low: float | None, high: float | None, where: str) -> None:
    assert against({"mean": 0.5, "low": low, "high": high}, 0.5) == where


def test_nothing_lies_nowhere() -> None:
    assert against(None, 0.5) == "missing"
