"""`bootserver bench`: how long boots take, measured on emulated machines."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bootserver.cli.shared import as_json, echo, print_json, with_config
from bootserver.config import Config
from bootserver.errors import BootServerError

if TYPE_CHECKING:
    from bootserver.bench.cases import Case
    from bootserver.bench.results import BenchRun

a_directory = click.Path(path_type=Path, file_okay=False)
a_report = click.Path(path_type=Path, exists=True)

cases_file = click.option(
    "--cases",
    "cases_path",
    type=click.Path(path_type=Path, dir_okay=False),
    help="A TOML file with cases of your own; docs/benchmarks.md shows one.",
)


@click.group()
def bench() -> None:
    """How long boots take, phase by phase, on emulated machines."""


@bench.command()
@click.argument("names", metavar="[CASE]...", nargs=-1)
@click.option(
    "--runs", type=click.IntRange(1, 1000), default=3, show_default=True, help="Boots of each case."
)
@click.option("--output", type=a_directory, help="Where results go; else ./bench-DATE-TIME.")
@cases_file
@with_config
async def run(
    config: Config,
    names: tuple[str, ...],
    runs: int,
    output: Path | None,
    cases_path: Path | None,
) -> None:
    """Boot the machines of cases or groups of cases, and tell where the time goes.

    Without CASE all cases of --cases are run, else the group memtest. Results are written after
    every boot: results.json, results.csv, results.svg, and evidence/ of what failed.
    """
    from bootserver.bench.cases import choose_cases, find_image
    from bootserver.bench.environment import look_around
    from bootserver.bench.qemu import require_qemu
    from bootserver.bench.report import write_report
    from bootserver.bench.results import Report
    from bootserver.bench.runner import run_cases

    cases = choose_cases(names, _own(cases_path))
    images = {case.image: find_image(case.image, config.images.path) for case in cases}
    require_qemu()
    output = output or Path(f"bench-{datetime.now():%Y%m%d-%H%M%S}")
    if (output / "results.json").exists():
        raise BootServerError(
            f"{output} has the results of another benchmark", hint="give another --output"
        )
    report = Report(environment=look_around(config.stub), cases=cases)
    width = max(len(case.name) for case in cases)

    def announce(case: Case, number: int) -> None:
        echo(f"{case.name:<{width}}  {number} of {runs}  ", nl=False)

    boots = run_cases(
        cases, images, config, runs=runs, evidence=output / "evidence", on_start=announce
    )
    async for boot in boots:
        echo(_outcome(boot), fg="red" if boot.error else "")
        report = report.with_run(boot)
        write_report(report, output)
    _show(output)
    echo(f"{output}: results.json, results.csv, results.svg")
    if failed := sum(bool(boot.error) for boot in report.runs):
        raise BootServerError(
            f"{failed} of {len(report.runs)} boots failed",
            hint=f"what their machines showed is in {output / 'evidence'}",
        )


@bench.command()
@click.argument("report", type=a_report)
def show(report: Path) -> None:
    """Print the report of an earlier benchmark, from its directory or its results.json."""
    _show(report)


@bench.command()
@click.argument("a", type=a_report)
@click.argument("b", type=a_report)
@as_json
def compare(a: Path, b: Path, as_json: bool) -> None:
    """Say what is quicker or slower in benchmark B than in A, and what chance could explain."""
    from dataclasses import asdict

    from bootserver.bench.compare import compare as compare_reports
    from bootserver.bench.report import show_comparison
    from bootserver.bench.results import read_report
    from bootserver.cli.terminal import PrintableConsole

    found = compare_reports(read_report(a), read_report(b))
    if not found:
        raise BootServerError(
            "no case has come to its end in both", hint="run the same cases for both"
        )
    if as_json:
        print_json([asdict(line) for line in found])
    else:
        PrintableConsole().print(show_comparison(found, "A", "B"))


@bench.command("cases")
@cases_file
@as_json
def list_cases(cases_path: Path | None, as_json: bool) -> None:
    """List what can be run: the built-in cases by group, and your own."""
    from bootserver.bench.cases import GROUPS

    groups = GROUPS | ({"your own": own} if (own := _own(cases_path)) else {})
    if as_json:
        print_json(
            {
                name: [case.model_dump(mode="json") for case in cases]
                for name, cases in groups.items()
            }
        )
        return
    for name, cases in groups.items():
        echo(f"{name}:")
        for case in cases:
            echo(f"  {case.name:<44}  {case.image}")


def _own(path: Path | None) -> tuple[Case, ...]:
    from bootserver.bench.cases import read_cases

    return read_cases(path) if path else ()


def _outcome(boot: BenchRun) -> str:
    if boot.error:
        return f"failed: {boot.error}"
    return f"{boot.total_s:8.1f} s  {boot.cd_bytes:>12,} bytes in {boot.cd_reads:>5,} READs"


def _show(path: Path) -> None:
    from bootserver.bench.report import show
    from bootserver.bench.results import read_report
    from bootserver.cli.terminal import PrintableConsole

    PrintableConsole().print(show(read_report(path)))
