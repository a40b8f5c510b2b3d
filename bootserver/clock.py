"""The time as this process tells it: it never jumps, so that durations are differences of it.

People and NTP set the wall clock, also in the middle of a boot. So that clock is read once. From
then on the time that passes is counted, the host's sleep included. `set_right` takes the wall clock
up again while nothing is being measured. What is about dates outside of this process (certificates,
files) asks the wall clock.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

# Linux: what passes while the host sleeps counts too.
_PASSING = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def _wall() -> datetime:
    return datetime.now(UTC)


def _passing_s() -> float:
    return time.clock_gettime(_PASSING)


class Clock:
    """Time from one reading of the wall clock on; `passing_s` counts seconds from anywhere."""

    def __init__(
        self, wall: Callable[[], datetime] = _wall, passing_s: Callable[[], float] = _passing_s
    ) -> None:
        self._wall = wall
        self._passing_s = passing_s
        self._from_s = passing_s()
        self.began = wall()

    def passed_s(self) -> float:
        """Seconds since this clock began."""
        return self._passing_s() - self._from_s

    def now(self) -> datetime:
        """The time, UTC."""
        return self.began + timedelta(seconds=self.passed_s())

    def set_right(self) -> float:
        """Take up the wall clock again; returns by how many seconds that was set meanwhile."""
        wrong_by = self._wall() - self.now()
        self.began += wrong_by
        return wrong_by.total_seconds()


CLOCK = Clock()


def now() -> datetime:
    """The time of this process, UTC."""
    return CLOCK.now()
