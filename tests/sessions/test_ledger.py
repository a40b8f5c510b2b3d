"""The ledger: live sessions, and what of them reaches the database."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from structlog.testing import capture_logs

from bootserver.database import open_database
from bootserver.model import BootPhase, Firmware, Machine, TransferEnd
from bootserver.sessions.ledger import Ledger
from bootserver.sessions.store import SessionStore

HERE = Machine(mac="52:54:00:00:00:01", firmware=Firmware.BIOS, memory_mib=1024)
THERE = Machine(mac="52:54:00:00:00:02")
DAY = timedelta(days=1)


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[AsyncEngine]:
    async with open_database(f"sqlite+aiosqlite:///{tmp_path}/ledger.db") as engine:
        yield engine


@pytest.fixture
def store(engine: AsyncEngine) -> SessionStore:
    return SessionStore(engine)


@pytest.fixture
def ledger(store: SessionStore) -> Ledger:
    return Ledger(store, expire_after=DAY)


async def test_a_boot_is_read_back_as_it_was_written(ledger: Ledger, store: SessionStore):
    session = ledger.start("token", "image", HERE, "192.0.2.9")
    ledger.expect(session.key, 1000)
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
    ledger: Ledger, store: SessionStore, engine: AsyncEngine
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

    async def slow_save(*batch: object) -> None:
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
