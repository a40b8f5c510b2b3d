"""Benchmark reports with made-up figures, for the tests of what is made of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from bootserver.bench.cases import BootWay, Case
from bootserver.bench.results import UP, BenchRun, Environment, Report
from bootserver.model import Firmware

ENVIRONMENT = Environment(
    cpu="Abacus <2>",
    cores=2,
    memory_mib=4096,
    kernel="Linux 6.1",
    qemu="7.2.22 (Debian)",
    accelerator="tcg",
    python="CPython 3.11.7",
    bootserver="0.1.0",
    commit="0123456789ab",
    loaders={"ipxe.lkrn": "ipxe 1.21.1"},
)


def case(name: str, way: BootWay = BootWay.DIRECT, /, **fields: Any) -> Case:
    more = {"image": "rescue", "firmware": Firmware.BIOS, "marker": "UP"} | fields
    return Case(name=name, way=way, **more)


def run(
    of: Case, number: int = 1, at: Mapping[str, float] | None = None, **fields: Any
) -> BenchRun:
    return BenchRun(
        case=of.name,
        number=number,
        started_at=datetime(2026, 1, 2, tzinfo=UTC),
        load_average=0.25,
        at=dict(at or {}),
        **fields,
    )


def report(totals: Mapping[Case, Sequence[float]], **fields: Any) -> Report:
    """Cases that were up after so many seconds; every run has the same bytes."""
    runs = tuple(
        run(of, number, {UP: total_s}, **fields)
        for of, seconds in totals.items()
        for number, total_s in enumerate(seconds, 1)
    )
    return Report(environment=ENVIRONMENT, cases=tuple(totals), runs=runs)
