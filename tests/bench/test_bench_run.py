"""`bootserver bench run` from end to end: one machine each way, and what is known of both."""

from __future__ import annotations

from pathlib import Path

import pytest

from bootserver.bench.cases import Case
from bootserver.bench.results import BenchRun, read_report
from tests.fixtures.packaged import MEMTEST, MEMTEST_SAYS, packaged
from tests.fixtures.server import Site

pytestmark = [pytest.mark.boot, pytest.mark.slow]

MEMTEST_CASE = """\
[[case]]
name = "{name}"
image = "{image}"
firmware = "bios"
timeout_s = 240
"""
LATENCY_MS = 10


def case(name: str, **keys: object) -> str:
    lines = "".join(
        f"{key} = '{text}'\n" if isinstance(text, str) else f"{key} = {text}\n"
        for key, text in keys.items()
    )
    return MEMTEST_CASE.format(name=name, image=packaged(MEMTEST)) + lines


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path / "site")


async def test_both_ways_are_measured_and_what_they_read_is_known(site: Site):
    up = {"marker": MEMTEST_SAYS}
    (site.path / "cases.toml").write_text(
        case("direct", way="direct", **up)
        + case("throttled", way="direct", rate_kb_s=2000, **up)
        + case("far", way="direct", latency_ms=LATENCY_MS, **up)
        + case("two-stage", way="two-stage", **up)
        + case("handed-off", way="two-stage", phase="handed_off")
    )

    shown = await site.command(
        *("bench", "run", "--cases", "cases.toml", "--runs", "1", "--output", "results")
    )

    report = read_report(site.path / "results")
    boots = {run.case: run for run in report.runs}
    assert list(boots) == ["direct", "throttled", "far", "two-stage", "handed-off"]
    disc_bytes = packaged(MEMTEST).stat().st_size
    _is_direct(boots["direct"], disc_bytes)
    for slow in ("throttled", "far"):  # a line changes when a disc is read, not what
        _is_direct(boots[slow], disc_bytes)
        assert _cd(boots[slow]) == _cd(boots["direct"])
    assert _is_in_order(boots["two-stage"], "handed_off", "up")
    assert _is_in_order(boots["handed-off"], "fetched", "handed_off")
    assert boots["two-stage"].http_bytes == disc_bytes
    assert _cd(boots["two-stage"]) == _cd(boots["handed-off"])
    assert boots["two-stage"].cd_reads < boots["direct"].cd_reads < boots["direct"].cd_bytes / 2048
    assert boots["two-stage"].cd_bytes > boots["direct"].cd_bytes  # why direct wins here
    far = next(c for c in report.cases if c.name == "far")
    assert boots["far"].total_s > _line_s(far, boots["far"])
    assert "two-stage" in shown
    assert (site.path / "results" / "results.svg").read_text().startswith("<svg")
    assert (site.path / "results" / "results.csv").read_text().startswith("case,image,")


async def test_a_boot_that_fails_is_kept_with_its_evidence(site: Site):
    (site.path / "cases.toml").write_text(
        case("never", way="two-stage", marker="NEVER SAID").replace("240", "5")
    )

    errors = await site.command(
        *("bench", "run", "--cases", "cases.toml", "--runs", "1", "--output", "results"), expect=1
    )

    (run,) = read_report(site.path / "results").runs
    evidence = site.path / "results" / "evidence" / "never-1"
    assert "1 of 1 boots failed" in errors
    assert run.error == "no 'NEVER SAID' within 5.0 s"
    assert (evidence / "screenshot.png").stat().st_size > 0
    assert "server.stopped" in (evidence / "server.log").read_text()


def _is_direct(run: BenchRun, disc_bytes: int) -> None:
    assert (run.error, list(run.at), run.http_bytes) == ("", ["up"], 0)
    assert 100_000 < run.cd_bytes < disc_bytes


def _is_in_order(run: BenchRun, *last: str) -> bool:
    """True if the ledger's phases are there, in order, and end with these."""
    first = ("stub_started", "script_served", "fetching")
    names = [name for name in run.at if name != "created"]
    times = list(run.at.values())
    return (
        run.error == ""
        and names[:3] == list(first)
        and names[-2:] == list(last)
        and times == sorted(times)
        and times[0] > 0
    )


def _cd(run: BenchRun) -> tuple[int, int]:
    return run.cd_bytes, run.cd_reads


def _line_s(case: Case, run: BenchRun) -> float:
    return case.line.seconds(run.cd_bytes, run.cd_reads)
