"""A boot as bars on a time axis."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from bootserver.http.waterfall import axis, common_scale_s, length_s, waterfall

BEGAN = datetime(2026, 1, 31, 12, tzinfo=UTC)


def boot(**seconds: float) -> dict[str, Any]:
    """A boot that came to these phases, so many seconds after it was announced."""
    return {
        "created_at": BEGAN.isoformat(),
        "phases": [
            {"phase": phase, "at": (BEGAN + timedelta(seconds=at)).isoformat(), "detail": ""}
            for phase, at in {"created": 0.0, **seconds}.items()
        ],
    }


def test_a_phase_lasts_until_the_next_one():
    fall = waterfall(boot(stub_started=0, fetching=2, fetched=8, handed_off=10), BEGAN, live=False)

    assert [(bar.phase, bar.start_s, bar.seconds, bar.x, bar.width) for bar in fall.bars] == [
        ("stub_started", 0, 2, 0, 20),
        ("fetching", 2, 6, 20, 60),
        ("fetched", 8, 2, 80, 20),
        ("handed_off", 10, None, 100, 0),
    ]


def test_time_counts_from_when_the_machine_came_and_not_from_the_announcement():
    announced_long_before = boot(stub_started=3600, fetching=3604)

    fall = waterfall(announced_long_before, BEGAN, live=False)

    assert [bar.start_s for bar in fall.bars] == [0, 4]
    assert length_s(announced_long_before) == 4
    assert datetime.fromisoformat(fall.started_at) == BEGAN + timedelta(hours=1)


def test_the_last_phase_of_a_live_boot_grows_until_now():
    now = BEGAN + timedelta(seconds=20)

    fall = waterfall(boot(stub_started=0, fetching=5), now, live=True)

    assert fall.scale_s == 20
    assert (fall.bars[-1].growing, fall.bars[-1].x, fall.bars[-1].width) == (True, 25, 75)
    assert fall.bars[0].growing is False


def test_a_young_boot_is_as_long_as_it_is_and_not_as_its_axis():
    now = BEGAN + timedelta(seconds=1)

    fall = waterfall(boot(stub_started=0, fetching=0.25), now, live=True)

    assert (fall.length_s, fall.scale_s) == (1, 3)
    assert waterfall(boot(stub_started=0, fetching=0.25), now, live=False).length_s == 0.25


def test_a_clock_that_is_behind_gives_no_negative_bar():
    fall = waterfall(boot(stub_started=0, fetching=5), BEGAN, live=True)

    assert fall.bars[-1].width == 0


@pytest.mark.parametrize("end", ["os_up", "failed", "expired"])
def test_an_end_does_not_grow(end: str):
    fall = waterfall(boot(stub_started=0, **{end: 5}), BEGAN + timedelta(hours=1), live=True)

    assert fall.scale_s == 5
    assert fall.bars[-1].growing is False


def test_a_boot_that_was_only_announced_waits():
    fall = waterfall(boot(), BEGAN + timedelta(seconds=30), live=True)

    assert [(bar.phase, bar.width) for bar in fall.bars] == [("created", 100)]


def test_bars_beyond_a_common_scale_end_at_its_edge():
    fall = waterfall(boot(stub_started=0, fetching=5, fetched=50), BEGAN, live=False, scale_s=10)

    assert all(bar.x + bar.width <= 100 for bar in fall.bars)


def test_one_slow_boot_does_not_flatten_the_others():
    assert common_scale_s([10, 12, 11, 3600]) == pytest.approx(34.5)
    assert common_scale_s([10, 12, 14]) == 14
    assert common_scale_s([]) > 0


@pytest.mark.parametrize("scale_s", [3, 7.5, 61, 600, 5000, 100_000, 3_000_000])
def test_an_axis_has_a_few_round_ticks(scale_s: float):
    ticks = axis(scale_s)

    assert 2 <= len(ticks) <= 7
    assert ticks[0] == (0, "0 s")
    assert all(x <= 96 for x, _ in ticks)
    assert len({label for _, label in ticks}) == len(ticks)
