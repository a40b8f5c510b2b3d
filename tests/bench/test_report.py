"""A benchmark's report on the terminal says what was measured, what was reckoned, what failed."""

from __future__ import annotations

import io

from rich.console import Console, RenderableType

from bootserver.bench.cases import BootWay
from bootserver.bench.compare import compare
from bootserver.bench.report import show, show_comparison
from tests.bench.reports import case, report, run

SLOW = {"rate_kb_s": 100}
DIRECT, TWO_STAGE = case("direct", **SLOW), case("two-stage", BootWay.TWO_STAGE, **SLOW)


def printed(what: RenderableType) -> str:
    console = Console(file=io.StringIO(), width=80, color_system=None)
    console.print(what)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def row(text: str, name: str) -> list[str]:
    (found,) = (line.split() for line in text.splitlines() if line.strip().startswith(name))
    return found


def test_totals_counts_and_the_reckoned_line_are_in_one_row():
    text = printed(show(report({DIRECT: [8.0, 9.0, 7.0]}, cd_bytes=500_000, cd_reads=20)))

    totals = text.split("The phases")[0]
    assert row(totals, "direct") == ["direct", "3", "7.0", "8.0", "9.0", "5.0", "500,000", "20"]
    assert "arithmetic" in totals


def test_counts_that_vary_are_told_as_such():
    boots = report({DIRECT: [8.0]}, cd_bytes=1000, cd_reads=2)
    boots = boots.with_run(run(DIRECT, 2, {"up": 8.0}, cd_bytes=2000, cd_reads=3))

    assert row(printed(show(boots)).split("The phases")[0], "direct")[-2:] == ["~1,500", "~2"]


def test_two_stage_is_set_against_direct():
    text = printed(show(report({DIRECT: [40.0, 44.0], TWO_STAGE: [10.0, 11.0]})))

    ours = row(text.split("95 % interval")[1], "two-stage")
    assert ours[:6] == ["two-stage", "42.0", "s", "10.5", "s", "4.0"]


def test_a_failure_is_told_with_its_reason_and_counted():
    text = printed(show(report({DIRECT: [8.0]}).with_run(run(DIRECT, 2, error="no UP at all"))))

    assert "1 of 2" in text
    assert "direct failed: no UP at all" in text


def test_where_and_how_busy_it_was_is_told():
    text = printed(show(report({DIRECT: [8.0]})))

    assert "Abacus <2>" in text
    assert "load average 0.25 to 0.25" in text
    assert "0123456789ab" in text


def test_a_comparison_warns_of_few_runs():
    few, many = report({DIRECT: [1.0] * 3}), report({DIRECT: [2.0] * 6})

    assert "the intervals are too narrow" in printed(show_comparison(compare(few, many), "A", "B"))
    assert "too narrow" not in printed(show_comparison(compare(many, many), "A", "B"))
