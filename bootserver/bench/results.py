"""What a benchmark has measured: runs, their phases, and how far these are spread. Pure.

results.json is a `Report`; results.csv has a row for each case and measure, with the columns of
`CSV_COLUMNS`. Seconds count from power-on, which is the emulated processor's first instruction.
"""

from __future__ import annotations

import csv
import io
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from bootserver.bench.cases import BootWay, Case
from bootserver.errors import BootServerError
from bootserver.model import BootPhase
from bootserver.quoting import spreadsheet_cell

UP = "up"  # the marker has been seen

# What a run is made of, in order: each lasts from the end of the one before. `created` is left
# out, since the ledger opens a session in the moment when the stub first calls.
PHASES = (
    *(BootPhase.STUB_STARTED, BootPhase.SCRIPT_SERVED, BootPhase.FETCHING, BootPhase.FETCHED),
    *(BootPhase.HANDED_OFF, BootPhase.ROOT_FETCHED, BootPhase.OS_UP, UP),
)

CSV_COLUMNS = (
    *("case", "image", "firmware", "way", "rate_kb_s", "latency_ms", "measure", "unit"),
    *("runs", "failed", "min", "median", "max"),
)


class _Data(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Environment(_Data):
    """Where a benchmark ran."""

    cpu: str
    cores: int
    memory_mib: int
    kernel: str
    qemu: str
    accelerator: str
    python: str
    bootserver: str
    commit: str  # "" where the code is in no git repository; "+" for changes that are in none
    loaders: dict[str, str]  # name: package and version


class BenchRun(_Data):
    """One boot: when it reached what, or why it did not."""

    case: str
    number: int
    started_at: datetime
    load_average: float  # of the last minute, before it began: others use the machine as well
    at: dict[str, float] = {}  # seconds from power-on
    cd_bytes: int = 0
    cd_reads: int = 0
    http_bytes: int = 0
    error: str = ""

    @property
    def total_s(self) -> float:
        """From power-on to its end."""
        return max(self.at.values())

    def phases(self) -> dict[str, float]:
        """How long each phase took, in order; what came after the end is left out."""
        reached = [phase for phase in PHASES if phase in self.at]
        starts = [0.0, *(self.at[phase] for phase in reached)]
        return {
            phase: self.at[phase] - start for phase, start in zip(reached, starts, strict=False)
        }


class Report(_Data):
    """Everything a benchmark has measured."""

    format: Literal["bootserver-bench-1"] = "bootserver-bench-1"
    environment: Environment
    cases: tuple[Case, ...]
    runs: tuple[BenchRun, ...] = ()

    def of(self, case: Case) -> tuple[BenchRun, ...]:
        """The runs of a case that came to their end."""
        return tuple(run for run in self.runs if run.case == case.name and not run.error)

    def with_run(self, run: BenchRun) -> Self:
        """The same and one run more."""
        return self.model_copy(update={"runs": (*self.runs, run)})


@dataclass(frozen=True, slots=True)
class Spread:
    """What values lie between, and which is in the middle."""

    min: float
    median: float
    max: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Self:
        """The spread of one value at least."""
        ordered = sorted(values)
        return cls(ordered[0], statistics.median(ordered), ordered[-1])


@dataclass(frozen=True, slots=True)
class Summary:
    """A case's runs in short; `spreads` is empty when none came to its end."""

    case: Case
    runs: int
    errors: tuple[str, ...]
    spreads: dict[str, Spread]  # of each measure, by name

    @property
    def attempts(self) -> int:
        """Runs that came to their end, and those that did not."""
        return self.runs + len(self.errors)

    @property
    def line_s(self) -> float | None:
        """Arithmetic: what the slow path takes for the bytes and READs of the median run."""
        if not self.spreads or not (self.case.rate_kb_s or self.case.latency_ms):
            return None
        reads = round(self.spreads["cd_reads"].median)
        return self.case.line.seconds(round(self.spreads["cd_bytes"].median), reads)

    def phases(self) -> dict[str, Spread]:
        """The phases' spreads, in order."""
        return {phase: self.spreads[phase] for phase in PHASES if phase in self.spreads}


UNITS = {"total": "s", "cd_bytes": "bytes", "cd_reads": "READs", "http_bytes": "bytes"}


def measures(runs: Sequence[BenchRun]) -> dict[str, list[float]]:
    """All values of each measure: the phases, then `UNITS`. A phase counts if all runs have it."""
    if not runs:
        return {}
    common = [phase for phase in PHASES if all(phase in run.at for run in runs)]
    values = {phase: [run.phases()[phase] for run in runs] for phase in common}
    return values | {
        "total": [run.total_s for run in runs],
        "cd_bytes": [run.cd_bytes for run in runs],
        "cd_reads": [run.cd_reads for run in runs],
        "http_bytes": [run.http_bytes for run in runs],
    }


def summarize(report: Report) -> list[Summary]:
    """One summary for each case, in order."""
    return [
        Summary(
            case,
            len(report.of(case)),
            tuple(run.error for run in report.runs if run.case == case.name and run.error),
            {name: Spread.of(values) for name, values in measures(report.of(case)).items()},
        )
        for case in report.cases
    ]


def pairs(cases: Sequence[Case]) -> list[tuple[Case, Case]]:
    """Direct and two-stage cases that differ in nothing else that costs time."""

    def alike(case: Case) -> tuple[object, ...]:
        machine = (case.image, case.firmware, case.nic, case.memory_mib)
        return (*machine, case.marker, case.rate_kb_s, case.latency_ms)

    direct = {alike(case): case for case in cases if case.way is BootWay.DIRECT}
    return [
        (direct[alike(case)], case)
        for case in cases
        if case.way is BootWay.TWO_STAGE and not case.recipe and alike(case) in direct
    ]


def as_csv(report: Report) -> str:
    """The spread of every measure of every case."""
    text = io.StringIO()
    writer = csv.DictWriter(text, CSV_COLUMNS, lineterminator="\n")
    writer.writeheader()
    for summary in summarize(report):
        case = summary.case
        row = {column: getattr(case, column) for column in CSV_COLUMNS if hasattr(case, column)}
        row = {column: spreadsheet_cell(value) for column, value in row.items()}
        row |= {
            "case": spreadsheet_cell(case.name),
            "runs": summary.runs,
            "failed": len(summary.errors),
        }
        writer.writerows(
            row
            | {"measure": name, "unit": UNITS.get(name, "s")}
            | {
                edge: f"{getattr(spread, edge):.3f}".removesuffix(".000")
                for edge in ("min", "median", "max")
            }
            for name, spread in summary.spreads.items()
        )
        if not summary.spreads:
            writer.writerow(row)
    return text.getvalue()


def read_report(path: Path) -> Report:
    """The report in a results.json, or in the directory that has one."""
    file = path / "results.json" if path.is_dir() else path
    try:
        return Report.model_validate_json(file.read_bytes())
    except OSError as err:
        raise BootServerError(
            f"{file} cannot be read: {err.strerror}",
            hint="give the directory that `bootserver bench run --output` wrote",
        ) from err
    except ValidationError as err:
        raise BootServerError(
            f"{file} is no report of this version's `bootserver bench run`",
            hint="measure again, with the same version for both",
        ) from err
