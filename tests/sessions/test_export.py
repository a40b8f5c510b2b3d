"""The ledger as a file: its columns are a promise, its forms are judged by others' parsers."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from bootserver.config import PROJECT
from bootserver.database import open_database
from bootserver.model import (
    BootEvent,
    BootPhase,
    BootPlan,
    BootSession,
    Firmware,
    Machine,
    Method,
    Transfer,
    Way,
)
from bootserver.sessions import export
from bootserver.sessions.export import COLUMNS, FORMATS, PHASE_COLUMNS, Wanted
from bootserver.sessions.shape import boot_json
from bootserver.sessions.store import SessionStore

ALL = Wanted()
START = datetime(2026, 1, 31, 12, tzinfo=UTC)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SessionStore]:
    async with open_database(f"sqlite+aiosqlite:///{tmp_path}/ledger.db") as engine:
        yield SessionStore(engine)


async def record(
    store: SessionStore, number: int, *, image: str = "rescue", product: str = "Box"
) -> BootSession:
    """A boot that began `number` minutes after START and took 1 s, 2 s and 4 s for its phases."""
    at = START + timedelta(minutes=number)
    machine = Machine(mac=f"52:54:00:00:00:{number:02x}", product=product, firmware=Firmware.UEFI)
    session = BootSession(
        id=f"{number:012x}",
        key=f"key{number}",
        token="stub-token",
        image=image,
        created_at=at,
        machine=machine,
        address="192.0.2.9",
        phase=BootPhase.HANDED_OFF,
        phase_at=at + timedelta(seconds=7),
        plan=BootPlan("debian-live", Way(Method.KERNEL), image_bytes=1000),
        sent_bytes=1000,
    )
    events = [
        BootEvent(session.id, phase, at + timedelta(seconds=seconds))
        for phase, seconds in (
            (BootPhase.CREATED, 0),
            (BootPhase.STUB_STARTED, 1),
            (BootPhase.FETCHING, 3),
            (BootPhase.HANDED_OFF, 7),
        )
    ]
    began, ended = at + timedelta(seconds=3), at + timedelta(seconds=5)
    transfer = Transfer(
        session.id, 1, "image.iso", "http", began, 1000, ended, ended, 1000, "complete", 1.5, 3
    )
    await store.save([session], [], events, [transfer])
    return session


async def text(store: SessionStore, form: str, wanted: Wanted = ALL) -> str:
    return "".join([piece async for piece in FORMATS[form].write(store, wanted)])


async def test_csv_has_a_row_per_boot_with_seconds_per_phase(store: SessionStore):
    await record(store, 1)
    await record(store, 2)

    newest, oldest = csv.DictReader(io.StringIO(await text(store, "csv")))

    assert (newest["id"], oldest["id"]) == (f"{2:012x}", f"{1:012x}")
    assert (newest["recipe"], newest["firmware"]) == ("debian-live", "uefi")
    assert (newest["stub_started_seconds"], newest["fetching_seconds"]) == ("1.0", "2.0")
    assert (newest["handed_off_seconds"], newest["os_up_seconds"]) == ("4.0", "")
    assert newest["total_seconds"] == "7.0"
    assert (newest["transfers"], newest["stalled_s"], newest["retransmits"]) == ("1", "1.5", "3")


def test_the_columns_are_those_of_the_guide():
    guide = (PROJECT / "docs" / "api.md").read_text()
    section = guide.partition("## The columns of the export")[2].partition("\n## ")[0]

    listed = re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)

    assert listed == [*COLUMNS, *PHASE_COLUMNS]


async def test_what_a_machine_says_of_itself_is_no_formula(store: SessionStore):
    await record(store, 1, product='=HYPERLINK("http://evil.example")\n,x')

    [row] = csv.DictReader(io.StringIO(await text(store, "csv")))

    assert row["product"] == '\'=HYPERLINK("http://evil.example")\n,x'


async def test_json_is_the_list_of_boots_as_the_api_has_them(store: SessionStore):
    sessions = [await record(store, number) for number in range(3)]

    boots = json.loads(await text(store, "json"))

    ids = [session.id for session in sessions]
    events, transfers = await store.events(ids), await store.transfers(ids)
    assert boots == [
        boot_json(session, events[session.id], transfers[session.id])
        for session in reversed(sessions)
    ]
    assert "stub-token" not in str(boots)
    assert "key1" not in str(boots)


async def test_an_empty_ledger_is_an_empty_file_of_its_form(store: SessionStore):
    assert json.loads(await text(store, "json")) == []
    assert len((await text(store, "csv")).splitlines()) == 1
    assert (await text(store, "openmetrics")).endswith("# EOF\n")


async def test_openmetrics_counts_every_boot_once(store: SessionStore):
    for number in range(3):
        await record(store, number)
    await record(store, 3, image="other-one")

    exposition = await text(store, "openmetrics")
    samples = {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(exposition)
        for sample in family.samples
    }

    what = {"image": "rescue", "recipe": "debian-live", "firmware": "uefi"}

    def value(name: str, **labels: str) -> float:
        return samples[name, tuple(sorted((what | labels).items()))]

    assert exposition.endswith("# EOF\n")
    assert value("boots_total", outcome="handed_off") == 3
    assert value("boot_phase_seconds_sum", phase="handed_off") == 12
    assert value("boot_phase_seconds_bucket", phase="handed_off", le="5.0") == 3
    assert value("boot_phase_seconds_bucket", phase="handed_off", le="2.5") == 0
    assert value("image_bytes_total") == 3000
    assert value("boots_total", outcome="handed_off", image="other-one") == 1


async def test_since_and_image_choose_boots(store: SessionStore):
    for number in range(4):
        await record(store, number, image="even" if number % 2 == 0 else "odd")

    boots = json.loads(
        await text(store, "json", Wanted(since=START + timedelta(minutes=1), image="odd"))
    )
    since = json.loads(await text(store, "json", Wanted(since=START + timedelta(minutes=1))))

    assert [boot["id"] for boot in boots] == [f"{3:012x}", f"{1:012x}"]
    assert [boot["id"] for boot in since] == [f"{3:012x}", f"{2:012x}", f"{1:012x}"]


@pytest.mark.parametrize("form", list(FORMATS))
async def test_boots_are_read_in_batches_and_none_is_lost_between_them(
    store: SessionStore, form: str, monkeypatch: pytest.MonkeyPatch
):
    for number in range(7):
        await record(store, number)
    whole = await text(store, form)
    monkeypatch.setattr(export, "BATCH_BOOTS", 3)
    asked: list[int | None] = []
    recent = store.recent

    async def watched(limit: int | None, **conditions: Any) -> list[BootSession]:
        asked.append(limit)
        return await recent(limit, **conditions)

    monkeypatch.setattr(store, "recent", watched)

    assert await text(store, form) == whole
    assert asked == [3] * 4
