"""Two benchmarks against each other: ratios of medians, and how far chance alone could move them.

The interval is a percentile bootstrap. Both sides' runs are drawn again, with replacement,
`RESAMPLES` times. 95 of 100 ratios of their medians lie in it. The draws are seeded, so that equal
reports give equal answers.
"""

from __future__ import annotations

import random
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from bootserver.bench.results import UNITS, Report, measures

RESAMPLES = 2000
CONFIDENCE = 0.95
SEED = 2010

# Of fewer runs not even the range from smallest to largest holds the true median in 95 of 100
# benchmarks. All n runs lie on one side of it with probability 2 / 2**n.
MANY_RUNS = 6


class Verdict(StrEnum):
    """What an interval says of B."""

    QUICKER = "B is quicker"
    SLOWER = "B is slower"
    LESS = "B has less"
    MORE = "B has more"
    SAME = "no difference"
    TOO_FEW = "too few runs"
    NOTHING = "nothing to divide by"


@dataclass(frozen=True, slots=True)
class Comparison:
    """One measure of one case in two reports; the ratio is B's to A's."""

    case: str
    measure: str
    runs_a: int
    runs_b: int
    median_a: float
    median_b: float
    ratio: float | None
    interval: tuple[float, float] | None
    verdict: Verdict


def compare(a: Report, b: Report) -> list[Comparison]:
    """Every measure of every case that has come to its end in both.

    A case counts as the same by its name and by all that it says.
    """
    found = []
    for case in a.cases:
        if case not in b.cases:
            continue
        values_a, values_b = measures(a.of(case)), measures(b.of(case))
        for name in (name for name in values_a if name in values_b):
            found.append(_compare(case.name, name, values_a[name], values_b[name]))
    return found


def ratio(
    a: Sequence[float], b: Sequence[float]
) -> tuple[float | None, tuple[float, float] | None]:
    """The ratio of B's median to A's and its interval; None for what cannot be told."""
    if min(a) <= 0:
        return None, None
    quotient = statistics.median(b) / statistics.median(a)
    if min(len(a), len(b)) < 2:
        return quotient, None
    dice = random.Random(SEED)  # noqa: S311 - statistics, no secret
    ratios = sorted(
        statistics.median(dice.choices(b, k=len(b))) / statistics.median(dice.choices(a, k=len(a)))
        for _ in range(RESAMPLES)
    )
    tail = round(RESAMPLES * (1 - CONFIDENCE) / 2)
    return quotient, (ratios[tail], ratios[-1 - tail])


def _compare(case: str, measure: str, a: list[float], b: list[float]) -> Comparison:
    quotient, interval = ratio(a, b)
    return Comparison(
        case,
        measure,
        *(len(a), len(b)),
        *(statistics.median(a), statistics.median(b)),
        quotient,
        interval,
        _verdict(measure, quotient, interval),
    )


def _verdict(measure: str, quotient: float | None, interval: tuple[float, float] | None) -> Verdict:
    if quotient is None:
        return Verdict.NOTHING
    if interval is None:
        return Verdict.TOO_FEW
    low, high = interval
    if low <= 1 <= high:
        return Verdict.SAME
    is_time = UNITS.get(measure, "s") == "s"
    if high < 1:
        return Verdict.QUICKER if is_time else Verdict.LESS
    return Verdict.SLOWER if is_time else Verdict.MORE
