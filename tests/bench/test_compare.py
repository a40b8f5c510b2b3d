"""Two benchmarks against each other: ratios, intervals, and what they allow to say."""

from __future__ import annotations

import random

import pytest

from bootserver.bench.compare import Verdict, compare, ratio
from tests.bench.reports import case, report

CASE = case("c")
AROUND_10 = [9.7, 9.8, 9.9, 10.0, 10.1, 10.2, 10.3]
AROUND_5 = [value / 2 for value in AROUND_10]


def verdict(a: list[float], b: list[float], measure: str = "total") -> Verdict:
    (found,) = (x for x in compare(report({CASE: a}), report({CASE: b})) if x.measure == measure)
    return found.verdict


def test_half_the_time_is_quicker():
    (_, total, *_) = compare(report({CASE: AROUND_10}), report({CASE: AROUND_5}))

    assert (total.measure, total.median_a, total.median_b) == ("total", 10.0, 5.0)
    assert total.ratio == 0.5
    assert total.interval is not None
    low, high = total.interval
    assert 4.85 / 10.3 <= low < 0.5 < high <= 5.15 / 9.7
    assert total.verdict == Verdict.QUICKER


def test_twice_the_time_is_slower():
    assert verdict(AROUND_5, AROUND_10) == Verdict.SLOWER


def test_what_chance_explains_is_no_difference():
    assert verdict([9.0, 10.0, 11.0], [9.5, 10.4, 10.9]) == Verdict.SAME
    assert verdict(AROUND_10, AROUND_10) == Verdict.SAME


def test_one_run_has_a_ratio_and_no_interval():
    assert ratio([10.0], [5.0, 6.0]) == (0.55, None)
    assert verdict([10.0], [5.0]) == Verdict.TOO_FEW


def test_nothing_is_divided_by_zero():
    assert verdict([0.0, 0.1], [0.1, 0.1]) == Verdict.NOTHING


def test_counts_are_more_or_less_not_slower_or_quicker():
    a = report({CASE: [1.0, 1.0]}, cd_bytes=100)
    b = report({CASE: [1.0, 1.0]}, cd_bytes=90)

    (found,) = (x for x in compare(a, b) if x.measure == "cd_bytes")

    assert (found.interval, found.verdict) == ((0.9, 0.9), Verdict.LESS)


def test_a_case_that_was_changed_is_not_compared():
    changed = CASE.model_copy(update={"memory_mib": 4096})

    assert compare(report({CASE: [1.0]}), report({changed: [1.0]})) == []


def test_equal_reports_give_equal_answers():
    assert ratio(AROUND_10, AROUND_5) == ratio(AROUND_10, AROUND_5)


@pytest.mark.slow
def test_the_interval_covers_the_true_ratio_about_as_often_as_it_says():
    dice = random.Random(1)
    covered = 0
    for _ in range(60):
        a = [dice.lognormvariate(0, 0.1) for _ in range(15)]
        b = [dice.lognormvariate(0, 0.1) for _ in range(15)]
        _, interval = ratio(a, b)
        assert interval is not None
        covered += interval[0] <= 1 <= interval[1]

    assert covered / 60 == pytest.approx(0.95, abs=0.06)
