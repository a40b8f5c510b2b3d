"""The ledger as a file: CSV, JSON or OpenMetrics, written while it is read.

Boots come newest first, a hundred at a time, so that a million are never in memory. The columns
and their order are a promise (docs/api.md): new ones come at the end.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from bootserver.model import BootPhase, BootSession
from bootserver.quoting import spreadsheet_cell
from bootserver.sessions.metrics import OTHER, BootMetrics
from bootserver.sessions.shape import BootJson, boot_json
from bootserver.sessions.store import SessionStore

BATCH_BOOTS = 100  # a few milliseconds, in which no other task runs
IMAGES_MAX = 200  # told apart in OpenMetrics; the rest is "other"

# What each column of the CSV has, of a boot as boot_json gives it.
COLUMNS: dict[str, Callable[[BootJson], Any]] = {
    "id": lambda boot: boot["id"],
    "created_at": lambda boot: boot["created_at"],
    "image": lambda boot: boot["image"],
    "recipe": lambda boot: boot["recipe"],
    "method": lambda boot: boot["method"],
    "machine": lambda boot: boot["machine"]["name"],
    "mac": lambda boot: boot["machine"]["mac"],
    "uuid": lambda boot: boot["machine"]["uuid"],
    "serial": lambda boot: boot["machine"]["serial"],
    "asset": lambda boot: boot["machine"]["asset"],
    "manufacturer": lambda boot: boot["machine"]["manufacturer"],
    "product": lambda boot: boot["machine"]["product"],
    "firmware": lambda boot: boot["machine"]["firmware"],
    "architecture": lambda boot: boot["machine"]["architecture"],
    "memory_mib": lambda boot: boot["machine"]["memory_mib"],
    "address": lambda boot: boot["address"],
    "phase": lambda boot: boot["phase"],
    "phase_at": lambda boot: boot["phase_at"],
    "error": lambda boot: boot["error"],
    "stalled": lambda boot: boot["stalled"],
    "image_bytes": lambda boot: boot["image_bytes"],
    "sent_bytes": lambda boot: boot["sent_bytes"],
    "bytes_per_s": lambda boot: boot["bytes_per_s"],
    "transfers": lambda boot: len(boot["transfers"]),
    "stalled_s": lambda boot: round(sum(t["stalled_s"] for t in boot["transfers"]), 3),
    "retransmits": lambda boot: sum(t["retransmits"] for t in boot["transfers"]),
    "total_seconds": lambda boot: boot["total_seconds"],
}
# The seconds that a boot took to come to each phase from the one before; empty if it never came.
_NEW_PHASES = (BootPhase.ROOT_FETCHED,)
PHASE_COLUMNS = {
    f"{phase}_seconds": phase.value
    for phase in (*(phase for phase in BootPhase if phase not in _NEW_PHASES), *_NEW_PHASES)
    if phase is not BootPhase.CREATED
}


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which boots: since when they began, of which image; all by default."""

    since: datetime | None = None
    image: str = ""


@dataclass(frozen=True, slots=True)
class Format:
    """One form of the export."""

    content_type: str
    suffix: str
    write: Callable[[SessionStore, Wanted], AsyncIterator[str]]


async def boots_json(store: SessionStore, sessions: Sequence[BootSession]) -> list[BootJson]:
    """The boots with their phases and transfers."""
    ids = [session.id for session in sessions]
    events, transfers = await store.events(ids), await store.transfers(ids)
    return [boot_json(boot, events[boot.id], transfers[boot.id]) for boot in sessions]


async def each_boot(store: SessionStore, wanted: Wanted) -> AsyncIterator[list[BootJson]]:
    """The boots as JSON, newest first, in batches."""
    before: datetime | None = None
    while sessions := await store.recent(BATCH_BOOTS, before=before, image=wanted.image):
        before = sessions[-1].created_at
        if wanted.since:
            sessions = [boot for boot in sessions if boot.created_at >= wanted.since]
        yield await boots_json(store, sessions)
        if wanted.since and before < wanted.since:
            return


async def _write_csv(store: SessionStore, wanted: Wanted) -> AsyncIterator[str]:
    """RFC 4180, with a header line."""
    yield _csv([[*COLUMNS, *PHASE_COLUMNS]])
    async for boots in each_boot(store, wanted):
        yield _csv([_row(boot) for boot in boots])


def _row(boot: BootJson) -> list[Any]:
    seconds = {str(phase["phase"]): phase["seconds"] for phase in boot["phases"]}
    values = [value(boot) for value in COLUMNS.values()]
    return [spreadsheet_cell(v) for v in values] + [
        seconds.get(p, "") for p in PHASE_COLUMNS.values()
    ]


def _csv(rows: list[list[Any]]) -> str:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue()


async def _write_json(store: SessionStore, wanted: Wanted) -> AsyncIterator[str]:
    """One array, one boot a line."""
    yield "["
    separator = "\n"
    async for boots in each_boot(store, wanted):
        if boots:
            yield separator + ",\n".join(map(json.dumps, boots))
            separator = ",\n"
    yield "\n]\n"


async def _write_openmetrics(store: SessionStore, wanted: Wanted) -> AsyncIterator[str]:
    """Counters and histograms over all the boots; ends with `# EOF`."""
    images: set[str] = set()

    def image_label(image: str) -> str:
        if len(images) < IMAGES_MAX:
            images.add(image)
        return image if image in images else OTHER

    metrics = BootMetrics(image_label)
    async for boots in each_boot(store, wanted):
        for boot in boots:
            metrics.add(boot)
    yield metrics.openmetrics()


FORMATS = {
    "csv": Format("text/csv; charset=utf-8; header=present", "csv", _write_csv),
    "json": Format("application/json", "json", _write_json),
    "openmetrics": Format(
        "application/openmetrics-text; version=1.0.0; charset=utf-8", "txt", _write_openmetrics
    ),
}
