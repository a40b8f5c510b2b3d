"""What the ledger follows of a boot under way: files, stalls, the end, and who watches."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from bootserver.database import open_database
from bootserver.model import (
    REDIRECTION,
    BootPhase,
    BootPlan,
    BootSession,
    Machine,
    Method,
    TransferEnd,
    Way,
)
from bootserver.sessions import diagnosis, live, summary
from bootserver.sessions.bus import Bus
from bootserver.sessions.diagnosis import TcpFacts
from bootserver.sessions.ledger import Ledger
from bootserver.sessions.store import SessionStore

HERE = Machine(mac="52:54:00:00:00:01")
DAY = timedelta(days=1)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SessionStore]:
    async with open_database(f"sqlite+aiosqlite:///{tmp_path}/ledger.db") as engine:
        yield SessionStore(engine)


@pytest.fixture
def bus() -> Bus:
    return Bus()


@pytest.fixture
def ledger(store: SessionStore, bus: Bus) -> Ledger:
    return Ledger(store, expire_after=DAY, bus=bus)


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever does not move this very moment stands still."""
    monkeypatch.setattr(diagnosis, "STILL_S", 0.0)


def begin(ledger: Ledger) -> BootSession:
    session = ledger.start("token", "image", HERE, "192.0.2.9")
    ledger.advance(session.key, BootPhase.FETCHING)
    return session


async def transfers(ledger: Ledger, store: SessionStore, session: BootSession):
    await ledger.flush()
    return (await store.transfers([session.id]))[session.id]


async def test_each_file_is_a_transfer_with_its_bytes_and_its_end(
    ledger: Ledger, store: SessionStore
):
    session = begin(ledger)
    kernel = ledger.fetch(session.key, "tree/vmlinuz", "http", 100)
    kernel.sent(60)
    kernel.sent(40)
    ledger.fetched(session.key, kernel, TransferEnd.COMPLETE)
    initrd = ledger.fetch(session.key, "tree/initrd", "tftp", 900)
    initrd.sent(10)
    ledger.fetched(session.key, initrd, TransferEnd.CLIENT_LEFT)

    first, second = await transfers(ledger, store, session)

    assert (first.number, first.name, first.protocol) == (1, "tree/vmlinuz", "http")
    assert (first.sent_bytes, first.size_bytes, first.outcome) == (100, 100, "complete")
    assert first.started_at <= first.progress_at <= first.ended_at
    assert (second.number, second.name, second.protocol) == (2, "tree/initrd", "tftp")
    assert (second.sent_bytes, second.outcome) == (10, "client_left")
    assert ledger.find(session.key, "").sent_bytes == 110


async def test_what_never_had_a_byte_is_no_transfer(ledger: Ledger, store: SessionStore):
    session = begin(ledger)
    looked = ledger.fetch(session.key, "image.iso", "tftp", 100)
    ledger.fetched(session.key, looked, TransferEnd.CLIENT_LEFT)

    assert await transfers(ledger, store, session) == []


async def test_ranges_of_a_file_are_one_transfer_and_a_new_try_is_another(
    ledger: Ledger, store: SessionStore
):
    session = begin(ledger)
    for is_range in (False, True, True, False):
        fetch = ledger.fetch(session.key, "image.iso", "http", 100, is_range=is_range)
        fetch.sent(10)
        ledger.fetched(session.key, fetch, TransferEnd.COMPLETE)

    first, second = await transfers(ledger, store, session)

    assert (first.sent_bytes, second.sent_bytes) == (30, 10)
    assert ledger.find(session.key, "").sent_bytes == 40


async def test_ranges_side_by_side_are_one_transfer_with_what_they_left_out(
    ledger: Ledger, store: SessionStore
):
    session = begin(ledger)
    for start in (4000, 0, 8000):
        both = [ledger.fetch(session.key, "a", "http", 9999, is_range=True) for _ in range(2)]
        for place, fetch in enumerate(both):
            fetch.sent(100)
            fetch.note_part(start + 100 * place, start + 100 * place + 100)
        for fetch in both:
            ledger.fetched(session.key, fetch, TransferEnd.COMPLETE)

    [transfer] = await transfers(ledger, store, session)

    assert (transfer.requests, transfer.sent_bytes) == (6, 600)
    assert (transfer.first_byte, transfer.last_byte, transfer.holes) == (0, 8199, 2)
    assert transfer.ended_at is None


async def test_a_run_of_ranges_ends_when_nothing_comes_of_it_for_a_while(
    ledger: Ledger, store: SessionStore, monkeypatch: pytest.MonkeyPatch
):
    clock = [100.0]
    monkeypatch.setattr(live, "monotonic", lambda: clock[0])
    session = begin(ledger)
    for pause_s in (0.5, 60, 0.5):
        fetch = ledger.fetch(session.key, "a", "http", 100, is_range=True)
        fetch.sent(10)
        ledger.fetched(session.key, fetch, TransferEnd.COMPLETE)
        clock[0] += pause_s
        await ledger.look()
    [under_way] = await transfers(ledger, store, session)
    clock[0] += live.PAUSE_S
    await ledger.look()

    [ended] = await transfers(ledger, store, session)

    assert (under_way.outcome, under_way.sent_bytes) == ("", 30)
    assert (ended.outcome, ended.requests, ended.stalled_s) == ("complete", 3, 0.0)
    assert ended.ended_at == ended.progress_at


async def test_a_run_of_ranges_is_over_once_the_machine_has_it_all(
    ledger: Ledger, store: SessionStore
):
    session = begin(ledger)
    for start in (50, 0):
        fetch = ledger.fetch(session.key, "a", "http", 100, is_range=True)
        fetch.sent(50)
        fetch.note_part(start, start + 50)
        ledger.fetched(session.key, fetch, TransferEnd.COMPLETE)

    [transfer] = await transfers(ledger, store, session)

    assert (transfer.outcome, transfer.requests, transfer.holes) == ("complete", 2, 0)


async def test_a_range_beside_a_whole_download_is_a_transfer_of_its_own(
    ledger: Ledger, store: SessionStore
):
    session = begin(ledger)
    whole = ledger.fetch(session.key, "a", "http", 100)
    whole.sent(10)
    part = ledger.fetch(session.key, "a", "http", 100, is_range=True)
    part.sent(1)
    for fetch in (whole, part):
        ledger.fetched(session.key, fetch, TransferEnd.COMPLETE)

    assert [t.sent_bytes for t in await transfers(ledger, store, session)] == [10, 1]


async def test_a_boot_keeps_so_many_transfers_and_counts_all_bytes(
    ledger: Ledger, store: SessionStore, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(live, "TRANSFERS_MAX", 3)
    session = begin(ledger)
    for number in range(5):
        fetch = ledger.fetch(session.key, f"tree/{number}", "http", 10)
        fetch.sent(10)
        await ledger.look()
        ledger.fetched(session.key, fetch, TransferEnd.COMPLETE)

    assert len(await transfers(ledger, store, session)) == 3
    assert ledger.find(session.key, "").sent_bytes == 50


async def test_pauses_and_what_tcp_sent_again_are_counted(
    ledger: Ledger, store: SessionStore, monkeypatch: pytest.MonkeyPatch
):
    clock = [100.0]
    monkeypatch.setattr(live, "monotonic", lambda: clock[0])
    again = [7]  # before this file
    session = begin(ledger)
    fetch = ledger.fetch(
        session.key,
        "image.iso",
        "http",
        100,
        ask_tcp=lambda: TcpFacts(0, 0, again[0], 0.0, 1448, 65_000),
    )
    for seconds in (0, 0.9, 3, 0.5):
        clock[0] += seconds
        fetch.sent(1)
    again[0] = 12
    clock[0] += 2
    ledger.fetched(session.key, fetch, TransferEnd.CLIENT_LEFT)

    [transfer] = await transfers(ledger, store, session)

    assert transfer.stalled_s == 5.0
    assert transfer.retransmits == 5


async def test_a_machine_that_reads_a_redirected_disc_now_and_then_waits_for_nothing(
    ledger: Ledger, store: SessionStore, monkeypatch: pytest.MonkeyPatch
):
    clock = [100.0]
    monkeypatch.setattr(live, "monotonic", lambda: clock[0])
    session = begin(ledger)
    fetch = ledger.fetch(session.key, "stub.iso", REDIRECTION, 100, counts=False)
    for _ in range(3):
        clock[0] += 20
        fetch.sent(1)
    ledger.fetched(session.key, fetch, TransferEnd.COMPLETE)

    [transfer] = await transfers(ledger, store, session)

    assert (transfer.sent_bytes, transfer.stalled_s) == (3, 0.0)


async def test_the_rate_of_the_last_seconds_tells_the_link(
    ledger: Ledger, store: SessionStore, monkeypatch: pytest.MonkeyPatch
):
    clock = [100.0]
    monkeypatch.setattr(live, "monotonic", lambda: clock[0])
    session = begin(ledger)
    fetch = ledger.fetch(session.key, "image.iso", "http", 281_000_000)
    fetch.sent(50_000_000)  # into the kernel's buffers, at once
    for _ in range(15):
        await ledger.look()
        fetch.sent(1_100_000)
        clock[0] += 1

    [transfer] = await transfers(ledger, store, session)

    assert transfer.link == "about 1.1 MB/s: the link is at 10 Mb/s"
    assert ledger.find(session.key, "").stalled == transfer.link


async def test_the_speed_of_now_is_that_of_the_last_five_seconds(
    ledger: Ledger, store: SessionStore, monkeypatch: pytest.MonkeyPatch
):
    clock = [100.0]
    monkeypatch.setattr(live, "monotonic", lambda: clock[0])
    session = begin(ledger)
    fetch = ledger.fetch(session.key, "image.iso", "http", 281_000_000)
    fetch.sent(1)
    await ledger.look()
    [unknown] = await transfers(ledger, store, session)
    for megabytes in (80, 80, 80, 80, 1, 2, 3, 4, 5):
        clock[0] += 1
        fetch.sent(megabytes * 1_000_000)
        await ledger.look()

    [transfer] = await transfers(ledger, store, session)
    ledger.fetched(session.key, fetch, TransferEnd.CLIENT_LEFT)
    [ended] = await transfers(ledger, store, session)

    assert unknown.recent_bytes_per_s is None
    assert transfer.recent_bytes_per_s == 3_000_000
    assert ended.recent_bytes_per_s is None


async def test_a_stall_is_said_once_and_cleared_when_it_moves(
    ledger: Ledger, store: SessionStore, at_once: None, monkeypatch: pytest.MonkeyPatch
):
    session = begin(ledger)
    closed = TcpFacts(0, 0, 0, 0.0, 1448, 0)
    fetch = ledger.fetch(session.key, "image.iso", "http", 100, ask_tcp=lambda: closed)
    fetch.sent(1)
    with capture_logs() as logs:
        for _ in range(3):
            await ledger.look()
        await ledger.flush()
        [stalled] = await store.recent(1)
        monkeypatch.setattr(diagnosis, "STILL_S", 10.0)
        fetch.sent(1)
        await ledger.look()
        await ledger.flush()
        [moving] = await store.recent(1)

    assert "receive window is closed" in stalled.stalled
    assert moving.stalled == ""
    assert [line["event"] for line in logs] == ["boot.stalled", "boot.moves_again"]
    assert logs[0]["cause"] == "window_closed"


async def test_a_boot_that_fails_while_it_stands_keeps_the_cause(ledger: Ledger, at_once: None):
    session = begin(ledger)
    fetch = ledger.fetch(session.key, "image.iso", "http", 100)
    fetch.sent(1)
    await ledger.look()
    with capture_logs() as logs:
        ledger.advance(session.key, BootPhase.FAILED, "the machine started over")

    [line] = [line for line in logs if line["event"] == "boot.summary"]
    assert line["stalled"].startswith("image.iso stands at")
    assert line["error"] == "the machine started over"


async def test_one_line_sums_up_a_boot(ledger: Ledger):
    session = begin(ledger)
    ledger.set_plan(session.key, BootPlan("debian-live", Way(Method.KERNEL), image_bytes=100))
    fetch = ledger.fetch(session.key, "image.iso", "http", 100)
    fetch.sent(100)
    ledger.fetched(session.key, fetch, TransferEnd.COMPLETE)
    with capture_logs() as logs:
        ledger.advance(session.key, BootPhase.HANDED_OFF)
        await ledger.look()
        assert not any(line["event"] == "boot.summary" for line in logs)
        ledger.advance(session.key, BootPhase.OS_UP)
        await ledger.look()

    [line] = [line for line in logs if line["event"] == "boot.summary"]
    assert {name: line[name] for name in ("session", "machine", "image", "recipe", "method")} == {
        "session": session.id,
        "machine": HERE.mac,
        "image": "image",
        "recipe": "debian-live",
        "method": "kernel",
    }
    assert (line["outcome"], line["bytes"], line["transfers"]) == ("os_up", 100, 1)
    assert {"created_s", "fetching_s", "handed_off_s", "os_up_s", "total_s"} <= line.keys()
    assert session.key not in str(logs)


async def test_a_boot_of_which_no_more_comes_is_summed_up_after_its_hand_off(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(summary, "MORE_WITHIN", timedelta(0))
    session = begin(ledger)
    with capture_logs() as logs:
        ledger.advance(session.key, BootPhase.HANDED_OFF)
        for _ in range(3):
            await ledger.look()

    assert [line["event"] for line in logs] == ["boot.handed_off", "boot.summary"]


async def test_what_the_system_fetches_after_its_hand_off_can_stall_and_is_waited_for(
    ledger: Ledger, at_once: None, monkeypatch: pytest.MonkeyPatch
):
    session = begin(ledger)
    ledger.advance(session.key, BootPhase.HANDED_OFF)
    monkeypatch.setattr(summary, "MORE_WITHIN", timedelta(0))
    fetch = ledger.fetch(session.key, "tree/root.squashfs", "http", 100, counts=False)
    fetch.sent(1)
    with capture_logs() as logs:
        await ledger.look()
        stalled = ledger.find(session.key, "").stalled
        ledger.fetched(session.key, fetch, TransferEnd.CLIENT_LEFT)
        await ledger.look()

    assert stalled.startswith("tree/root.squashfs stands at")
    assert [line["event"] for line in logs] == [
        *("boot.stalled", "boot.moves_again", "boot.summary")
    ]


async def test_after_the_server_was_killed_a_boot_goes_on_with_all_that_was_written(
    ledger: Ledger, store: SessionStore
):
    session = begin(ledger)
    fetch = ledger.fetch(session.key, "image.iso", "http", 100)
    fetch.sent(40)
    await ledger.look()
    await ledger.flush()

    restarted = Ledger(store, expire_after=DAY)
    await restarted.load()
    again = restarted.fetch(session.key, "image.iso", "http", 100)
    again.sent(100)
    restarted.fetched(session.key, again, TransferEnd.COMPLETE)
    await restarted.flush()

    broken, whole = (await store.transfers([session.id]))[session.id]
    assert (broken.outcome, broken.sent_bytes, broken.ended_at) == (
        "server_left",
        40,
        broken.progress_at,
    )
    assert (whole.number, whole.outcome) == (2, "complete")
    assert (await store.by_id(session.id)).sent_bytes == 140


async def test_who_watches_sees_each_event_at_once_and_bytes_once_a_look(ledger: Ledger, bus: Bus):
    watching = bus.subscribe()
    session = begin(ledger)
    fetch = ledger.fetch(session.key, "image.iso", "http", 100)
    for _ in range(50):
        fetch.sent(1)
    await ledger.look()
    await ledger.look()
    ledger.fetched(session.key, fetch, TransferEnd.COMPLETE)
    watching_all: list[dict[str, Any]] = []
    async with asyncio.timeout(30):
        while len(watching_all) < 6:
            watching_all.append((await anext(watching))["boot"])
    waiting = asyncio.ensure_future(anext(watching))
    await asyncio.sleep(0)

    assert not waiting.done()
    waiting.cancel()
    assert [(boot["phase"], boot["sent_bytes"]) for boot in watching_all] == [
        ("created", 0),
        ("stub_started", 0),
        ("fetching", 0),
        ("fetching", 50),
        ("fetching", 50),
        ("fetching", 50),
    ]
    assert watching_all[-1]["transfers"][0]["outcome"] == "complete"
    assert session.key not in str(watching_all)


async def test_no_event_is_lost_for_the_store_however_many_watch(
    ledger: Ledger, store: SessionStore, bus: Bus
):
    slow = [bus.subscribe(limit=5) for _ in range(500)]
    sessions = [
        ledger.start(f"token{n}", "image", Machine(mac=f"52:54:00:00:00:{n:02x}"), "192.0.2.9")
        for n in range(200)
    ]
    for session in sessions:
        ledger.advance(session.key, BootPhase.FETCHING)
        ledger.advance(session.key, BootPhase.HANDED_OFF)
    await ledger.flush()

    events = await store.events(session.id for session in sessions)

    assert {tuple(event.phase.value for event in kept) for kept in events.values()} == {
        ("created", "stub_started", "fetching", "handed_off")
    }
    assert all(subscription.was_dropped for subscription in slow)
    assert not bus.is_watched


async def test_a_thousand_boots_in_one_second_drop_nobody_who_reads(ledger: Ledger, bus: Bus):
    sessions = [
        ledger.start(
            f"token{n}", "image", Machine(mac=f"52:54:00:00:{n >> 8:02x}:{n & 255:02x}"), ""
        )
        for n in range(1000)
    ]
    for session in sessions:
        ledger.fetch(session.key, "image.iso", "http", 100).sent(1)
    seen: set[str] = set()
    with bus.subscribe() as watching:

        async def watch() -> None:
            async for message in watching:
                seen.add(message["boot"]["id"])

        task = asyncio.create_task(watch())
        await asyncio.sleep(0)
        await ledger.look()
        async with asyncio.timeout(30):
            while len(seen) < 1000 and not watching.was_dropped:
                await asyncio.sleep(0.01)

    await task
    assert not watching.was_dropped
    assert seen == {session.id for session in sessions}
