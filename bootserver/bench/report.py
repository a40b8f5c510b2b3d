"""A benchmark's report for people: tables for the terminal, and the files beside results.json."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.table import Table
from rich.text import Text

from bootserver.bench.compare import MANY_RUNS, Comparison, Verdict, ratio
from bootserver.bench.picture import draw
from bootserver.bench.results import (
    Environment,
    Report,
    Spread,
    Summary,
    as_csv,
    pairs,
    summarize,
)

_VERDICT_STYLES = {Verdict.QUICKER: "green", Verdict.SLOWER: "red"}


def write_report(report: Report, directory: Path) -> None:
    """Write results.json, results.csv and results.svg."""
    directory.mkdir(parents=True, exist_ok=True)
    texts = {
        "results.json": report.model_dump_json(indent=1) + "\n",
        "results.csv": as_csv(report),
        "results.svg": draw(report),
    }
    for name, text in texts.items():
        (directory / name).write_text(text, encoding="utf-8")


def show(report: Report) -> Group:
    """Everything that was measured, for a terminal."""
    summaries = summarize(report)
    failures = [f"{each.case.name} failed: {error}" for each in summaries for error in each.errors]
    parts = [
        _environment(report.environment, report),
        _totals(summaries),
        _phases(summaries),
        _ratios(report),
        *(Text(failure, style="red") for failure in failures),
    ]
    return Group(*(part for part in parts if part is not None))


def show_comparison(comparisons: Sequence[Comparison], a: str, b: str) -> Group:
    """What differs between two reports, for a terminal."""
    table = _table("Ratios of medians, with intervals of 95 % confidence")
    table.add_column("case", overflow="fold")
    table.add_column("measure")
    for name in (a, b, f"{b} / {a}", "interval"):
        table.add_column(name, justify="right")
    table.add_column("runs", justify="right")
    table.add_column("verdict")
    previous = ""
    for line in comparisons:
        table.add_row(
            line.case if line.case != previous else "",
            line.measure,
            *(_number(line.median_a), _number(line.median_b)),
            "-" if line.ratio is None else f"{line.ratio:.3f}",
            "-" if line.interval is None else "{:.3f} to {:.3f}".format(*line.interval),
            f"{line.runs_a}, {line.runs_b}",
            Text(line.verdict, style=_VERDICT_STYLES.get(line.verdict, "")),
        )
        previous = line.case
    few = any(min(line.runs_a, line.runs_b) < MANY_RUNS for line in comparisons)
    return Group(table, Text(_FEW_RUNS if few else ""))


_FEW_RUNS = (
    f"With fewer than {MANY_RUNS} runs on a side the intervals are too narrow. The smallest and "
    f"the largest of {MANY_RUNS - 1} runs miss the true median in 6 of 100 benchmarks."
)


def _environment(environment: Environment, report: Report) -> Text:
    loads = [run.load_average for run in report.runs]
    busy = f", load average {min(loads):.2f} to {max(loads):.2f} before the runs" if loads else ""
    ipxe = environment.loaders.get("ipxe.lkrn", "no iPXE")
    return Text(
        f"{environment.cpu}, {environment.cores} cores, {environment.kernel}{busy}\n"
        f"QEMU {environment.qemu}, {environment.accelerator}; {environment.python}; bootserver "
        f"{environment.bootserver} {environment.commit}".rstrip()
        + f"; {ipxe}\n"
    )


def _totals(summaries: Sequence[Summary]) -> Table:
    table = _table("From power-on to the end of the case, in seconds")
    table.add_column("case", overflow="fold")
    for name in ("runs", "min", "median", "max", "line*", "CD bytes", "READs"):
        table.add_column(name, justify="right")
    table.caption = (
        "* arithmetic: what the CD's slow line takes, READs x latency + bytes / rate\n"
        "~ the median of counts that vary"
    )
    table.caption_justify = "left"
    for summary in summaries:
        runs = f"{summary.runs}" + (f" of {summary.attempts}" if summary.errors else "")
        if not summary.spreads:
            table.add_row(summary.case.name, runs, *["-"] * 6)
            continue
        table.add_row(
            *(summary.case.name, runs),
            *_seconds(summary.spreads["total"], digits=1),
            "-" if summary.line_s is None else f"{summary.line_s:.1f}",
            *(_count(summary.spreads[name]) for name in ("cd_bytes", "cd_reads")),
        )
    return table


def _phases(summaries: Sequence[Summary]) -> Table | None:
    table = _table("The phases, each in seconds from the one before")
    table.add_column("case", overflow="fold")
    table.add_column("phase")
    for name in ("min", "median", "max"):
        table.add_column(name, justify="right")
    for summary in summaries:
        for number, (phase, spread) in enumerate(summary.phases().items()):
            name = summary.case.name if number == 0 else ""
            table.add_row(name, phase, *_seconds(spread, digits=3))
    return table if table.row_count else None


def _ratios(report: Report) -> Table | None:
    """How much two-stage wins, or loses."""
    table = _table("Direct redirection against two-stage")
    table.add_column("two-stage case", overflow="fold")
    for name in ("direct", "two-stage", "ratio", "95 % interval"):
        table.add_column(name, justify="right")
    for direct, two_stage in pairs(report.cases):
        ours = [run.total_s for run in report.of(two_stage)]
        theirs = [run.total_s for run in report.of(direct)]
        if not ours or not theirs:
            continue
        quotient, interval = ratio(ours, theirs)
        table.add_row(
            two_stage.name,
            *(f"{Spread.of(values).median:.1f} s" for values in (theirs, ours)),
            "-" if quotient is None else f"{quotient:.1f} x",
            "-" if interval is None else "{:.1f} to {:.1f}".format(*interval),
        )
    return table if table.row_count else None


def _table(title: str) -> Table:
    return Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False)


def _seconds(spread: Spread, *, digits: int) -> Iterator[str]:
    return (f"{seconds:.{digits}f}" for seconds in (spread.min, spread.median, spread.max))


def _count(spread: Spread) -> str:
    """A count that is always the same, or about which it varies."""
    varies = "" if spread.min == spread.max else "~"
    return f"{varies}{spread.median:,.0f}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) else f"{value:,.2f}"
