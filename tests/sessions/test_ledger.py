"""The ledger: live sessions, and what of them reaches the database."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from structlog.testing import capture_logs

from bootserver.database import DatabaseEngine, open_database
from bootserver.model import (
    BootPhase,
    BootPlan,
    BootSession,
    Firmware,
    Machine,
    Method,
    TransferEnd,
    Way,
)
from bootserver.sessions import ledger as ledger_module
from bootserver.sessions import tracker
from bootserver.sessions.ledger import Ledger
from bootserver.sessions.store import SessionStore
from bootserver.sessions.tracker import is_same_machine

HERE = Machine(mac="52:54:00:00:00:01", firmware=Firmware.BIOS, memory_mib=1024)
THERE = Machine(mac="52:54:00:00:00:02")
DAY = timedelta(days=1)


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[DatabaseEngine]:
    async with open_database(f"sqlite+aiosqlite:///{tmp_path}/ledger.db") as engine:
        yield engine


@pytest.fixture
def store(engine: DatabaseEngine) -> SessionStore:
    return SessionStore(engine)


@pytest.fixture
def ledger(store: SessionStore) -> Ledger:
    return Ledger(store, expire_after=DAY)


async def test_a_boot_is_read_back_as_it_was_written(ledger: Ledger, store: SessionStore):
    session = ledger.start("token", "image", HERE, "192.0.2.9")
    ledger.set_plan(session.key, BootPlan("disc", Way(Method.MEMDISK), image_bytes=1000))
    ledger.advance(session.key, BootPhase.FETCHING)
    fetch = ledger.fetch(session.key, "image.iso", "http", 1000)
    fetch.sent(300)
    fetch.sent(700)
    ledger.fetched(session.key, fetch, TransferEnd.COMPLETE)
    ledger.advance(session.key, BootPhase.FETCHED)
    await ledger.flush()

    [stored] = await store.recent(10)
    events = (await store.events([stored.id]))[stored.id]

    assert stored == ledger.find(session.key, "")
    assert (stored.machine, stored.address) == (HERE, "192.0.2.9")
    assert (stored.sent_bytes, stored.image_bytes) == (1000, 1000)
    assert [event.phase for event in events] == [
        BootPhase.CREATED,
        BootPhase.STUB_STARTED,
        BootPhase.FETCHING,
        BootPhase.FETCHED,
    ]


async def test_two_machines_with_one_stub_have_two_boots(ledger: Ledger):
    one = ledger.start("token", "image", HERE, "192.0.2.9")
    two = ledger.start("token", "image", THERE, "192.0.2.10")
    ledger.fetch(one.key, "image.iso", "http", 1000).sent(5)

    assert one.key != two.key
    assert ledger.find("token", "192.0.2.9").sent_bytes == 5
    assert ledger.find("token", "192.0.2.10").sent_bytes == 0
    assert ledger.find("token", "192.0.2.11") is None


async def test_a_machine_that_starts_over_has_failed_and_boots_anew(
    ledger: Ledger, store: SessionStore
):
    first = ledger.start("token", "image", HERE, "192.0.2.9")
    ledger.advance(first.key, BootPhase.FETCHING)
    ledger.start("token", "image", HERE, "192.0.2.9")
    await ledger.flush()

    second, failed = await store.recent(10)

    assert (failed.phase, failed.error) == (BootPhase.FAILED, "the machine started over")
    assert second.phase is BootPhase.STUB_STARTED


async def test_a_second_boot_leaves_the_first_one_handed_off(ledger: Ledger, store: SessionStore):
    first = ledger.start("token", "image", HERE, "192.0.2.9")
    ledger.advance(first.key, BootPhase.HANDED_OFF)
    ledger.start("token", "image", HERE, "192.0.2.9")
    await ledger.flush()

    assert [s.phase for s in await store.recent(10)] == [
        BootPhase.STUB_STARTED,
        BootPhase.HANDED_OFF,
    ]


async def test_a_boot_goes_on_after_a_restart_of_the_server(ledger: Ledger, store: SessionStore):
    session = ledger.start("token", "image", HERE, "192.0.2.9")
    await ledger.flush()

    restarted = Ledger(store, expire_after=DAY)
    await restarted.load()
    restarted.advance(session.key, BootPhase.HANDED_OFF)
    await restarted.flush()

    assert [s.phase for s in await store.recent(10)] == [BootPhase.HANDED_OFF]


async def test_a_failing_database_costs_one_line_and_nothing_is_lost(
    ledger: Ledger, store: SessionStore, engine: DatabaseEngine
):
    session = ledger.start("token", "image", HERE, "192.0.2.9")
    async with engine.begin() as connection:
        await connection.execute(text("ALTER TABLE events RENAME TO gone"))
    with capture_logs() as logs:
        await ledger.flush()
        ledger.advance(session.key, BootPhase.FAILED, "cable")
        await ledger.flush()
    async with engine.begin() as connection:
        await connection.execute(text("ALTER TABLE gone RENAME TO events"))
    await ledger.flush()

    [stored] = await store.recent(10)
    events = (await store.events([stored.id]))[stored.id]

    assert [line["event"] for line in logs].count("ledger.not_written") == 1
    assert stored.phase is BootPhase.FAILED
    assert [event.phase for event in events] == [
        BootPhase.CREATED,
        BootPhase.STUB_STARTED,
        BootPhase.FAILED,
    ]


async def test_a_new_database_gets_all_boots_that_go_on(
    ledger: Ledger, store: SessionStore, engine: DatabaseEngine
):
    session = ledger.start("token", "image", HERE, "192.0.2.9")
    fetch = ledger.fetch(session.key, "image.iso", "http", 1000)
    fetch.sent(300)
    await ledger.look()
    await ledger.flush()
    before = await store.recent(10), await store.events([session.id])
    async with engine.begin() as connection:
        for table in ("transfers", "events", "sessions"):
            await connection.execute(text(f"DELETE FROM {table}"))

    await ledger.write_anew()
    ledger.advance(session.key, BootPhase.HANDED_OFF)
    await ledger.flush()

    [boot] = await store.recent(10)
    events = (await store.events([session.id]))[session.id]
    assert boot.id == before[0][0].id
    assert events[:-1] == before[1][session.id]
    assert events[-1].phase is BootPhase.HANDED_OFF
    assert [t.sent_bytes for t in (await store.transfers([session.id]))[session.id]] == [300]


async def test_what_stands_still_expires(store: SessionStore):
    ledger = Ledger(store, expire_after=timedelta(0))
    waiting = ledger.start("token", "image", HERE, "192.0.2.9")
    booted = ledger.start("other", "image", HERE, "192.0.2.9")
    ledger.advance(booted.key, BootPhase.HANDED_OFF)
    await ledger.flush()

    ledger.expire()
    await ledger.flush()

    phases = {s.token: s.phase for s in await store.recent(10)}
    assert phases == {"token": BootPhase.EXPIRED, "other": BootPhase.HANDED_OFF}
    assert ledger.find(waiting.key, "") is None
    assert ledger.find(booted.key, "") is None


async def test_a_session_is_found_by_the_beginning_of_its_id(ledger: Ledger, store: SessionStore):
    session = ledger.start("token", "image", HERE, "192.0.2.9")
    ledger.start("token", "image", THERE, "192.0.2.9")
    await ledger.flush()

    assert (await store.by_id(session.id[:8])) is not None
    assert (await store.by_id("")) is None
    assert (await store.by_id("%")) is None


async def test_a_flush_that_is_cancelled_loses_nothing(
    ledger: Ledger, store: SessionStore, monkeypatch: pytest.MonkeyPatch
):
    """A server that stops cancels its flushing task wherever it is."""
    session = ledger.open("token", "image")
    at_work, save = asyncio.Event(), store.save

    async def slow_save(*batch: Any) -> None:
        at_work.set()
        await asyncio.sleep(0.05)
        await save(*batch)

    monkeypatch.setattr(store, "save", slow_save)
    flushing = asyncio.create_task(ledger.flush())
    await at_work.wait()
    flushing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await flushing
    monkeypatch.undo()
    await ledger.flush()

    assert [boot.id for boot in await store.recent(10)] == [session.id]
    assert [event.phase for event in (await store.events([session.id]))[session.id]]


async def test_who_reads_waits_for_what_is_being_written(
    ledger: Ledger, store: SessionStore, monkeypatch: pytest.MonkeyPatch
):
    session = ledger.open("token", "image")
    at_work, go_on, save = asyncio.Event(), asyncio.Event(), store.save

    async def held_save(*batch: Any) -> None:
        at_work.set()
        await go_on.wait()
        await save(*batch)

    monkeypatch.setattr(store, "save", held_save)
    flushing = asyncio.create_task(ledger.flush())
    await at_work.wait()
    reading = asyncio.create_task(ledger.written())
    await asyncio.sleep(0)
    go_on.set()

    assert await (await reading).by_id(session.id) is not None
    await flushing


async def test_a_machine_is_found_without_a_look_at_all_others(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
):
    """4,000 machines behind one address, with one stub: each asks for its script twice."""
    compared = 0

    def counted(session: BootSession, machine: Machine, address: str) -> bool:
        nonlocal compared
        compared += 1
        return is_same_machine(session, machine, address)

    monkeypatch.setattr(tracker, "is_same_machine", counted)
    monkeypatch.setattr(ledger_module, "is_same_machine", counted)
    machines = [Machine(mac=f"52:54:00:00:{n >> 8:02x}:{n & 255:02x}") for n in range(4000)]

    boots = [ledger.start("token", "image", machine, "192.0.2.9") for machine in machines]
    again = [ledger.start("token", "image", machine, "192.0.2.9") for machine in machines]

    assert [boot.key for boot in again] == [boot.key for boot in boots]
    assert compared <= 2 * len(machines)
    assert ledger.find("token", "192.0.2.9") == boots[-1]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param(HERE, HERE, id="by MAC"),
        pytest.param(Machine(uuid="u"), Machine(uuid="u"), id="by UUID"),
        pytest.param(Machine(uuid="u"), replace(HERE, uuid="u"), id="a MAC comes later"),
        pytest.param(replace(HERE, uuid="u"), Machine(uuid="u"), id="a MAC came before"),
        pytest.param(Machine(), Machine(), id="by address"),
        pytest.param(Machine(), HERE, id="a name comes later"),
        pytest.param(HERE, Machine(), id="a name came before"),
    ],
)
async def test_a_machine_that_asks_again_goes_on_with_its_boot(
    ledger: Ledger, before: Machine, after: Machine
):
    ledger.start("token", "image", THERE, "192.0.2.10")
    first = ledger.start("token", "image", before, "192.0.2.9")
    ledger.start("token", "image", replace(THERE, mac="52:54:00:00:00:03"), "192.0.2.11")

    assert ledger.start("token", "image", after, "192.0.2.9").key == first.key


async def test_a_boot_that_was_opened_for_any_machine_is_taken_by_the_first(ledger: Ledger):
    waiting = ledger.open("token", "image", replace(HERE, mac="52:54:00:00:00:aa"), "192.0.2.1")

    assert ledger.start("token", "image", THERE, "192.0.2.10").key == waiting.key
    assert ledger.start("token", "image", HERE, "192.0.2.9").key != waiting.key


async def test_a_boot_that_has_ended_is_found_no_more(ledger: Ledger):
    first = ledger.start("token", "image", HERE, "192.0.2.9")
    ledger.advance(first.key, BootPhase.FAILED, "cable")

    assert ledger.find("token", "192.0.2.9") is None
    assert ledger.start("token", "image", HERE, "192.0.2.9").key != first.key
