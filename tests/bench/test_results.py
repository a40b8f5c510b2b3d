"""What is made of runs: phases, spreads, CSV, and a file that can be read again."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from bootserver.bench.cases import BootWay
from bootserver.bench.report import write_report
from bootserver.bench.results import (
    CSV_COLUMNS,
    Spread,
    as_csv,
    measures,
    pairs,
    read_report,
    summarize,
)
from bootserver.errors import BootServerError
from tests.bench.reports import case, report, run

TWO_STAGE = case("two", BootWay.TWO_STAGE, rate_kb_s=100, latency_ms=10)
AT = {"created": 4.9, "stub_started": 5.0, "script_served": 5.25, "handed_off": 7.0, "up": 20.0}


def test_a_phase_lasts_from_the_one_before_and_they_add_up_to_the_total():
    boot = run(TWO_STAGE, at=AT)

    assert boot.phases() == {
        "stub_started": 5.0,
        "script_served": 0.25,
        "handed_off": 1.75,
        "up": 13.0,
    }
    assert sum(boot.phases().values()) == boot.total_s == 20.0


def test_a_phase_that_one_run_lacks_is_no_measure_of_the_case():
    runs = [run(TWO_STAGE, at=AT), run(TWO_STAGE, at={"stub_started": 6.0, "up": 30.0})]

    found = measures(runs)

    assert found["stub_started"] == [5.0, 6.0]
    assert found["total"] == [20.0, 30.0]
    assert "handed_off" not in found


def test_the_spread_is_of_runs_that_came_to_their_end_and_failures_are_kept():
    boots = report({TWO_STAGE: [4.0, 1.0, 2.0, 3.0]}).with_run(run(TWO_STAGE, 5, error="no UP"))

    (summary,) = summarize(boots)

    assert summary.spreads["total"] == Spread(1.0, 2.5, 4.0)
    assert (summary.runs, summary.attempts, summary.errors) == (4, 5, ("no UP",))


def test_the_slow_line_is_reckoned_from_bytes_and_reads():
    (summary,) = summarize(report({TWO_STAGE: [9.0]}, cd_bytes=500_000, cd_reads=20))

    assert summary.line_s == pytest.approx(20 * 0.010 + 500_000 / 100_000)


def test_a_line_without_limits_takes_no_time_that_could_be_told():
    (summary,) = summarize(report({case("c"): [9.0]}, cd_bytes=500_000))

    assert summary.line_s is None


def test_pairs_are_alike_but_for_the_way():
    slow = {"rate_kb_s": 600}
    direct, other = case("direct", **slow), case("other", rate_kb_s=150)
    two_stage = case("two-stage", BootWay.TWO_STAGE, arguments="quiet", **slow)
    whole = case("whole", BootWay.TWO_STAGE, recipe="disc", **slow)

    assert pairs([direct, other, two_stage, whole]) == [(direct, two_stage)]


def test_csv_has_a_row_for_each_measure_and_one_for_a_case_that_always_failed():
    failed = case("failed")
    boots = report({case("c", rate_kb_s=150): [1.0, 2.5]}, cd_bytes=4096, cd_reads=2)
    boots = boots.model_copy(update={"cases": (*boots.cases, failed)})
    boots = boots.with_run(run(failed, error="no UP"))

    up, total, cd_bytes, reads, http_bytes, nothing = csv.DictReader(as_csv(boots).splitlines())

    assert list(up) == list(CSV_COLUMNS)
    assert (up["case"], up["measure"], up["rate_kb_s"], up["runs"]) == ("c", "up", "150", "2")
    assert (total["min"], total["median"], total["max"]) == ("1", "1.750", "2.500")
    assert (cd_bytes["unit"], cd_bytes["median"]) == ("bytes", "4096")
    assert (reads["unit"], reads["max"], http_bytes["measure"]) == ("READs", "2", "http_bytes")
    assert (nothing["case"], nothing["failed"], nothing["median"]) == ("failed", "1", "")


def test_a_report_is_read_as_it_was_written(tmp_path: Path):
    boots = report({TWO_STAGE: [1.0]}).with_run(run(TWO_STAGE, 2, error="no UP"))

    write_report(boots, tmp_path / "bench")

    assert read_report(tmp_path / "bench") == boots
    assert read_report(tmp_path / "bench" / "results.json") == boots


@pytest.mark.parametrize("text", ["{}", "nonsense", '{"format": "bootserver-bench-0"}'])
def test_another_file_is_no_report(tmp_path: Path, text: str):
    (tmp_path / "results.json").write_text(text)

    with pytest.raises(BootServerError, match="no report of this version"):
        read_report(tmp_path)
