"""A ledger of a million boots: every page comes out of an index, never of a look at all boots."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator, Awaitable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from bootserver.database import DatabaseEngine, open_database
from bootserver.model import BootPhase
from bootserver.sessions.store import SessionStore

BOOTS = 1_000_000
MACHINES = 2_000
FIRST_AT = 1_600_000_000  # a boot every 100 s from then on

# 2,000 machines take turns; of 40 images and the phases some are rare, as in life.
FILL = f"""
CREATE TEMP TABLE numbers AS
    WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < {BOOTS - 1})
    SELECT i, printf('52:54:00:00:%02x:%02x', (i * 7 % {MACHINES}) / 256, i * 7 % {MACHINES} % 256)
        AS mac FROM n;
INSERT INTO sessions (id, key, token, image, created_at, machine, address, phase, phase_at,
                      image_bytes, sent_bytes, error, recipe, method, stalled, machine_name)
    SELECT printf('%012x', i), printf('%032x', i),
        't', CASE WHEN i % 10 THEN 'daily' ELSE printf('image-%d', i / 10 % 40) END,
        {FIRST_AT} + i * 100.0,
        '{{"mac": "' || mac || '", "uuid": "", "serial": "", "asset": "", "manufacturer": "ACME", '
        || '"product": "Box", "firmware": "uefi", "architecture": "x64", "memory_mib": 8192}}',
        '192.0.2.9', CASE WHEN i = {BOOTS - 1} THEN 'fetching'
        WHEN i * 2654435761 % 4294967296 / 65536 % 100 = 0 THEN 'failed' ELSE 'os_up' END,
        {FIRST_AT} + i * 100.0 + 60, 281000000, 281000000, '', 'debian-live',
        'kernel', '', mac
    FROM numbers;
INSERT INTO events (session, phase, at, detail)
    SELECT id, 'created', created_at, '' FROM sessions
    UNION ALL SELECT id, 'os_up', phase_at, '' FROM sessions;
INSERT INTO transfers (session, number, name, protocol, started_at, size_bytes, progress_at,
                       ended_at, sent_bytes, outcome, stalled_s, retransmits, link)
    SELECT id, 1, 'image.iso', 'http', created_at, 281000000, phase_at, phase_at, 281000000,
        'complete', 0.0, 0, '' FROM sessions;
INSERT INTO machines (name, uuid, machine, address, words, seen_at, session, image)
    SELECT machine_name, '', machine, address, machine_name || ' acme box uefi x64 192.0.2.9',
        max(created_at), id, image FROM sessions GROUP BY machine_name;
INSERT INTO booted_images SELECT image, max(created_at) FROM sessions GROUP BY image;
"""

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("million") / "ledger.db"

    async def make() -> None:
        async with open_database(f"sqlite+aiosqlite:///{path}"):
            pass

    asyncio.run(make())
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(f"PRAGMA synchronous = OFF; BEGIN; {FILL} COMMIT;")
    return path


@pytest.fixture
async def engine(database: Path) -> AsyncIterator[DatabaseEngine]:
    async with open_database(f"sqlite+aiosqlite:///{database}") as engine:
        yield engine


@contextmanager
def statements_of(engine: DatabaseEngine) -> Iterator[list[tuple[str, Any]]]:
    """What the database is asked meanwhile."""
    asked: list[tuple[str, Any]] = []

    def note(_connection, _cursor, statement, parameters, _context, _many) -> None:
        asked.append((statement, parameters))

    event.listen(engine.engine.sync_engine, "before_cursor_execute", note)
    yield asked
    event.remove(engine.engine.sync_engine, "before_cursor_execute", note)


def plans(database: Path, asked: list[tuple[str, Any]]) -> list[str]:
    """How SQLite does it, step by step."""
    with closing(sqlite3.connect(database)) as connection:
        return [
            row[3]
            for statement, parameters in asked
            for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)
        ]


def walks(steps: list[str]) -> list[str]:
    """The steps that look at every row of a large table, in no useful order."""
    large = ("sessions", "events", "transfers")
    return [
        step
        for step in steps
        if step.startswith("SCAN")
        and step.split()[1] in large
        and "USING INDEX ix_sessions_created_at" not in step  # newest first, up to the limit
    ]


LATER = datetime.fromtimestamp(FIRST_AT + BOOTS * 40, UTC)
PAGES: dict[str, dict[str, Any]] = {
    "newest": {},
    "older": {"before": LATER},
    "one machine": {"machine": "52:54:00:00:00:07"},
    "one image": {"image": "image-7", "before": LATER},
    "failed ones": {"phases": [BootPhase.FAILED]},
    "under way": {"phases": [BootPhase.FETCHING, BootPhase.FETCHED]},
    "under way with an image": {"image": "daily", "phases": [BootPhase.FETCHING]},
    "search for a machine": {"search": "00:00:07"},
    "search for some": {"search": ":07"},
    "search for all": {"search": "acme"},
    "search for all, older": {"search": "acme", "before": LATER},
    "search for an image": {"search": "image-7"},
    "search for nothing": {"search": "there is no such thing"},
    "search, failed": {"search": "acme", "phases": [BootPhase.FAILED]},
}


@pytest.mark.parametrize("page", list(PAGES))
async def test_a_page_is_found_by_an_index(engine: DatabaseEngine, database: Path, page: str):
    store = SessionStore(engine)
    await store.recent(50, **PAGES[page])  # once for SQLAlchemy, which keeps the statement

    with statements_of(engine) as asked:
        began = time.process_time()
        boots = await store.recent(50, **PAGES[page])
        listed_s = time.process_time() - began
        ids = [boot.id for boot in boots]
        await store.events(ids)
        await store.transfers(ids)
        print(
            f"{page}: {len(boots)} boots, {listed_s * 1e3:.1f} ms to find, with "
            f"events and transfers {(time.process_time() - began) * 1e3:.1f} ms of CPU"
        )
    steps = plans(database, asked)

    assert len(boots) == (0 if "nothing" in page else 1 if "under way" in page else 50)
    assert [boot.created_at for boot in boots] == sorted(
        (boot.created_at for boot in boots), reverse=True
    )
    assert steps
    assert walks(steps) == []


async def test_machines_counts_and_a_restart_need_no_look_at_all_boots(
    engine: DatabaseEngine, database: Path
):
    store = SessionStore(engine)
    asks: dict[str, Awaitable[object]] = {
        "machines": store.machines(100),
        "last_of": store.last_of("52:54:00:00:00:07"),
        "by_id": store.by_id("00"),
        "unfinished": store.unfinished(datetime.fromtimestamp(FIRST_AT + (BOOTS - 5) * 100, UTC)),
    }
    with statements_of(engine) as asked:
        for name, asking in asks.items():
            began = time.process_time()
            await asking
            print(f"{name}: {(time.process_time() - began) * 1e3:.1f} ms of CPU")
    steps = plans(database, asked)
    with statements_of(engine) as asked:
        began = time.process_time()
        assert await store.count() == BOOTS
        print(f"count: {(time.process_time() - began) * 1e3:.1f} ms of CPU")
    [counting] = plans(database, asked)

    assert walks(steps) == []
    assert counting.startswith("SCAN sessions USING COVERING INDEX")
