"""How sizes and times are written for people."""

import pytest

from bootserver import units


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, units.UNKNOWN),
        (0, "0.00 s"),
        (9.994, "9.99 s"),
        (9.996, "10.0 s"),
        (59.94, "59.9 s"),
        (59.96, "1:00 min"),
        (3599.4, "59:59 min"),
        (3599.6, "1:00:00 h"),
        (90_061, "25:01:01 h"),
    ],
)
def test_a_duration_never_shows_sixty(seconds: float | None, text: str):
    assert units.duration(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, units.UNKNOWN),
        (-3, "0:00"),
        (59.9, "0:59"),
        (3600, "1:00:00"),
        (86_399, "23:59:59"),
        (277_500, "3 d 5:05 h"),
    ],
)
def test_a_clock_counts_whole_seconds_and_days(seconds: float | None, text: str):
    assert units.clock(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(89.4, "89 s"), (90, "2 min"), (5399, "90 min"), (5400, "1.5 h")]
)
def test_a_forecast_is_rough(seconds: float, text: str):
    assert units.rough_duration(seconds) == text
