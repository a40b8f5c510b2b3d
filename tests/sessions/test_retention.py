"""The ledger forgets by itself what is too old or too much, and goes on if it cannot."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import text
from structlog.testing import capture_logs
from structlog.typing import EventDict

from bootserver.database import DatabaseEngine, open_database
from bootserver.model import BootPhase, Machine
from bootserver.sessions import retention
from bootserver.sessions.ledger import Ledger
from bootserver.sessions.store import SessionStore

EVENT_S = 30


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[DatabaseEngine]:
    async with open_database(f"sqlite+aiosqlite:///{tmp_path}/ledger.db") as engine:
        yield engine


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "PRUNE_INTERVAL_S", 0.01)


async def kept_pruned(
    store: SessionStore, ledger: Ledger, until: Callable[[list[EventDict]], bool]
) -> list[EventDict]:
    """Keeps one boot, until the log says what is waited for."""
    with capture_logs() as logs:
        task = asyncio.create_task(retention.keep_pruned(store, ledger, 1, 0))
        async with asyncio.timeout(EVENT_S):
            while not until(logs):
                await asyncio.sleep(0.01)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    return logs


async def boot(ledger: Ledger, number: int, end: BootPhase) -> str:
    session = ledger.start("token", "rescue", Machine(mac=f"52:54:00:00:00:0{number}"), "")
    ledger.advance(session.key, end)
    await ledger.flush()
    return session.id


async def test_all_but_the_newest_go_and_those_that_go_on_stay(engine: DatabaseEngine):
    store = SessionStore(engine)
    ledger = Ledger(store, expire_after=timedelta(days=1))
    going_on = await boot(ledger, 1, BootPhase.FETCHING)
    await boot(ledger, 2, BootPhase.FAILED)
    newest = await boot(ledger, 3, BootPhase.FAILED)

    logs = await kept_pruned(store, ledger, bool)

    assert [session.id for session in await store.recent(None)] == [newest, going_on]
    assert [(line["event"], line["boots"]) for line in logs] == [("ledger.pruned", 1)]


async def test_a_database_that_fails_is_a_line_and_tried_again(engine: DatabaseEngine):
    store = SessionStore(engine)
    ledger = Ledger(store, expire_after=timedelta(days=1))
    await boot(ledger, 1, BootPhase.FAILED)
    await boot(ledger, 2, BootPhase.FAILED)
    async with engine.begin() as connection:
        await connection.execute(text("ALTER TABLE sessions RENAME TO away"))

    logs = await kept_pruned(store, ledger, lambda logs: len(logs) >= 2)
    async with engine.begin() as connection:
        await connection.execute(text("ALTER TABLE away RENAME TO sessions"))
    later = await kept_pruned(store, ledger, bool)

    assert {line["event"] for line in logs} == {"ledger.not_pruned"}
    assert later[0]["event"] == "ledger.pruned"
