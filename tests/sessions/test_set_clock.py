"""A wall clock that is set, in the middle of a boot or between two runs, spoils no duration."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from bootserver import clock
from bootserver.clock import Clock
from bootserver.database import open_database
from bootserver.model import BootPhase, BootSession, Machine
from bootserver.sessions.ledger import Ledger
from bootserver.sessions.shape import BootJson, boot_json
from bootserver.sessions.store import SessionStore

HERE = Machine(mac="52:54:00:00:00:01")
HOUR = timedelta(hours=1)
YEARS = timedelta(days=20 * 365)


@dataclass
class Host:
    """A host whose time passes as a test says; its wall clock can be set."""

    wall: datetime = datetime(2026, 1, 1, 12, tzinfo=UTC)
    passed_s: float = 1000.0

    def wait(self, seconds: float) -> None:
        self.wall += timedelta(seconds=seconds)
        self.passed_s += seconds

    def start_server(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Another run of the server, which reads the wall clock once."""
        monkeypatch.setattr(clock, "CLOCK", Clock(lambda: self.wall, lambda: self.passed_s))


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Host:
    host = Host()
    host.start_server(monkeypatch)
    return host


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SessionStore]:
    async with open_database(f"sqlite+aiosqlite:///{tmp_path}/ledger.db") as engine:
        yield SessionStore(engine)


def new_ledger(store: SessionStore) -> Ledger:
    return Ledger(store, expire_after=12 * HOUR)


async def recorded(store: SessionStore, session: BootSession) -> BootJson:
    boot = await store.by_id(session.id)
    assert boot is not None
    return boot_json(boot, (await store.events([boot.id]))[boot.id])


def test_the_time_goes_on_while_the_wall_clock_is_set(host: Host):
    began = clock.now()
    host.wait(5)
    host.wall += YEARS

    assert clock.now() - began == timedelta(seconds=5)


def test_the_wall_clock_is_followed_when_it_is_asked_for(host: Host):
    host.wait(5)
    host.wall -= HOUR

    assert clock.CLOCK.set_right() == -3600
    assert clock.now() == host.wall
    assert clock.CLOCK.passed_s() == 5


@pytest.mark.parametrize("step", [YEARS, HOUR * 24, -HOUR * 24])
async def test_a_boot_lives_and_is_measured_whatever_the_wall_clock_does(
    host: Host, store: SessionStore, step: timedelta
):
    ledger = new_ledger(store)
    session = ledger.start("token", "image", HERE, "192.0.2.9")
    host.wait(3)
    ledger.advance(session.key, BootPhase.FETCHING)
    host.wall += step
    host.wait(4)
    ledger.expire()
    await ledger.look()
    alive = ledger.find(session.key, "")
    ledger.advance(session.key, BootPhase.HANDED_OFF)
    await ledger.flush()
    boot = await recorded(store, session)

    assert alive is not None
    assert boot["total_seconds"] == 7.0
    assert [phase["seconds"] for phase in boot["phases"]] == [0.0, 0.0, 3.0, 4.0]


async def test_a_boot_expires_by_the_time_that_passed(host: Host, store: SessionStore):
    ledger = new_ledger(store)
    session = ledger.start("token", "image", HERE, "192.0.2.9")
    host.wait(12 * 3600 + 1)
    host.wall -= YEARS

    ledger.expire()

    assert ledger.find(session.key, "") is None


@pytest.mark.parametrize("step", [YEARS, -YEARS])
async def test_a_clock_that_was_set_between_two_runs_gives_no_absurd_duration(
    host: Host, store: SessionStore, monkeypatch: pytest.MonkeyPatch, step: timedelta
):
    ledger = new_ledger(store)
    session = ledger.start("token", "image", HERE, "192.0.2.9")
    host.wait(3)
    ledger.advance(session.key, BootPhase.FETCHING)
    await ledger.flush()

    host.wall += step
    host.start_server(monkeypatch)
    restarted = new_ledger(store)
    await restarted.load()
    host.wait(4)
    restarted.advance(session.key, BootPhase.HANDED_OFF)
    await restarted.flush()
    boot = await recorded(store, session)

    seconds = [phase["seconds"] for phase in boot["phases"]]
    assert min(seconds) >= 0
    assert 3 <= boot["total_seconds"] <= 3 + 12 * 3600
    assert boot["phase"] == ("expired" if step > HOUR else "handed_off")


async def test_the_wall_clock_is_taken_up_only_while_no_boot_is_measured(
    host: Host, store: SessionStore
):
    ledger = new_ledger(store)
    session = ledger.start("token", "image", HERE, "192.0.2.9")
    host.wall += YEARS
    before = clock.now()
    ledger.follow_clock()
    during = clock.now()
    ledger.advance(session.key, BootPhase.FAILED)
    with capture_logs() as logs:
        ledger.follow_clock()

    assert during == before
    assert clock.now() == host.wall
    assert logs == [
        {"event": "clock.was_set", "by_s": YEARS.total_seconds(), "log_level": "warning"}
    ]
