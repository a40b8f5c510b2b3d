"""One boot as bars on a time axis: pure data. static/waterfall.js keeps it growing in a browser."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from statistics import median
from typing import Any

from bootserver.http.labels import PHASES
from bootserver.model import BootPhase
from bootserver.units import percent

# Phases that end a boot take no time themselves.
ENDS = frozenset({BootPhase.OS_UP, BootPhase.FAILED, BootPhase.EXPIRED})
TICKS_MAX = 6
STEPS_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400)
SCALE_MIN_S = 3.0
OUTLIER = 3.0  # a boot of this many times the usual length is cut off in a list


@dataclass(frozen=True, slots=True)
class Bar:
    """A phase from when it was reached until the next one was; `x` and `width` in percent.

    `seconds` is None for what takes no time (an end), and for what is not over.
    """

    phase: str
    label: str
    detail: str
    at: str
    start_s: float
    seconds: float | None
    growing: bool
    x: float
    width: float


@dataclass(frozen=True, slots=True)
class Waterfall:
    """A boot's bars and the axis under them; ticks are percent and label.

    `length_s` is from the first bar's beginning to the last one's end, or to now if that grows. The
    axis is no shorter than SCALE_MIN_S.
    """

    started_at: str
    length_s: float
    scale_s: float
    bars: tuple[Bar, ...]
    ticks: tuple[tuple[float, str], ...]


def waterfall(
    boot: Mapping[str, Any], now: datetime, *, live: bool, scale_s: float | None = None
) -> Waterfall:
    """The boot as bars; the last one grows until `now` if the boot is live.

    Time counts from the first thing that happened, not from when the boot was announced.
    """
    phases = _measured(boot["phases"])
    if not phases:
        return Waterfall(boot["created_at"], 0.0, SCALE_MIN_S, (), axis(SCALE_MIN_S))
    times = [datetime.fromisoformat(phase["at"]) for phase in phases]
    zero = times[0]
    growing = live and phases[-1]["phase"] not in ENDS
    stop = max(now, times[-1]) if growing else times[-1]
    length = (stop - zero).total_seconds()
    scale = scale_s or max(SCALE_MIN_S, length)
    ends = [*times[1:], stop]
    bars = []
    for place, (phase, start, end) in enumerate(zip(phases, times, ends, strict=True)):
        last = place == len(phases) - 1
        start_s, seconds = (start - zero).total_seconds(), (end - start).total_seconds()
        bars.append(
            Bar(
                phase=phase["phase"],
                label=PHASES[phase["phase"]],
                detail=phase["detail"],
                at=phase["at"],
                start_s=start_s,
                seconds=None if last else seconds,
                growing=last and growing,
                x=percent(start_s, scale),
                width=min(percent(seconds, scale), 100 - percent(start_s, scale)),
            )
        )
    return Waterfall(phases[0]["at"], length, scale, tuple(bars), axis(scale))


def length_s(boot: Mapping[str, Any]) -> float:
    """The seconds from the first thing that happened to the last."""
    phases = _measured(boot["phases"])
    if not phases:
        return 0.0
    first, last = (datetime.fromisoformat(phases[place]["at"]) for place in (0, -1))
    return (last - first).total_seconds()


def common_scale_s(lengths_s: Sequence[float]) -> float:
    """One scale for many boots, on which a single slow one does not flatten the others."""
    known = [length for length in lengths_s if length > 0]
    if not known:
        return SCALE_MIN_S
    return max(SCALE_MIN_S, min(max(known), OUTLIER * median(known)))


def axis(scale_s: float, ticks_max: int = TICKS_MAX) -> tuple[tuple[float, str], ...]:
    """The ticks of an axis of that length, the last one clear of its end."""
    step = next((s for s in STEPS_S if scale_s / s <= ticks_max), None)
    step = step or STEPS_S[-1] * math.ceil(scale_s / STEPS_S[-1] / ticks_max)
    count = math.floor(scale_s * 0.96 / step)
    return tuple((percent(n * step, scale_s), _tick(n * step)) for n in range(count + 1))


def _measured(phases: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
    """The phases without the announcement, where anything came of it."""
    happened = [phase for phase in phases if phase["phase"] != BootPhase.CREATED]
    return happened or phases


def _tick(seconds: int) -> str:
    if seconds < 60:
        return f"{seconds} s"
    minutes, rest = divmod(seconds, 60)
    if minutes < 60:
        return f"{minutes}:{rest:02}"
    return f"{minutes // 60}:{minutes % 60:02} h"
