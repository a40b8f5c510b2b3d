"""What people and machines are answered while the database cannot be used."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, closing, contextmanager

import pytest
from sqlalchemy import event
from structlog.testing import capture_logs

from bootserver import database as database_module
from bootserver.config import Config
from tests.fixtures.admin import EVENT_S, Admin, running_admin
from tests.fixtures.isos import make_iso

PROFILE = {"mac": "52:54:00:00:00:01", "image": "rescue"}


@pytest.fixture
async def admin(config: Config, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Admin]:
    monkeypatch.setattr(database_module, "BUSY_TIMEOUT_MS", 50)
    make_iso(config.images.path / "rescue.iso", bios=True)
    async with running_admin(config) as admin:
        yield admin


@contextmanager
def locked(config: Config) -> Iterator[None]:
    """Another process writes, and does not come to an end."""
    with closing(sqlite3.connect(config.state.path / "bootserver.db")) as other:
        other.execute("BEGIN IMMEDIATE")
        yield


@contextmanager
def unreadable(config: Config) -> Iterator[None]:
    """What is read is not there: any error of the database's at reading."""
    tables = ("sessions", "stubs", "profiles", "amt_hosts")
    with closing(sqlite3.connect(config.state.path / "bootserver.db")) as other:
        for table in tables:
            other.execute(f"ALTER TABLE {table} RENAME TO {table}_gone")
        yield
        for table in tables:
            other.execute(f"ALTER TABLE {table}_gone RENAME TO {table}")


@asynccontextmanager
async def all_taken(admin: Admin) -> AsyncIterator[None]:
    """Others use the database, as many as can at once."""
    async with AsyncExitStack() as held:
        for _ in range(database_module.TURNS):
            await held.enter_async_context(admin.services.profiles._engine.connect())
        yield


async def test_a_write_is_refused_with_a_problem_and_taken_later(admin: Admin, config: Config):
    with capture_logs() as logs, locked(config):
        status, headers, _ = await admin.raw("/profiles", "POST", json=PROFILE)
        problem = await admin.ask("/profiles", "POST", expect=503, json=PROFILE)
    await admin.ask("/profiles", "POST", expect=201, json=PROFILE)

    assert (status, headers["Retry-After"]) == (503, "5")
    assert headers["Content-Type"].startswith("application/problem+json")
    assert "database is locked" in problem["detail"]
    assert "another program" in problem["hint"]
    assert "http.failed" not in [line["event"] for line in logs]


@pytest.mark.parametrize("path", ["/api/v1/boots", "/api/v1/status", "/", "/metrics"])
async def test_what_needs_the_database_says_so(admin: Admin, config: Config, path: str):
    with capture_logs() as logs, unreadable(config):
        status, _, body = await admin.raw(admin.url + path)
    again, _, _ = await admin.raw(admin.url + path)

    assert (status, again) == (503, 200)
    assert b"the database cannot be used" in body
    assert "http.failed" not in [line["event"] for line in logs]


async def test_a_machine_is_told_and_asks_again_and_a_boot_goes_on(admin: Admin, config: Config):
    token = (await admin.ask("/stubs", "POST", expect=201, json={"image": "rescue"}))["token"]
    url = f"{admin.boot_url}/b/{token}"
    first = await admin.raw(f"{url}/boot.ipxe?platform=pcbios")
    session = admin.ledger.find(token, "127.0.0.1")
    assert session is not None
    with unreadable(config):
        told = await admin.raw(f"{url}/boot.ipxe?platform=pcbios&mac=52-54-00-00-00-09")
        image = await admin.raw(f"{admin.boot_url}/b/{session.key}/image.iso")
        beacon = await admin.raw(f"{admin.boot_url}/b/{session.key}/phase/handoff")
        unknown = await admin.raw(f"{admin.boot_url}/b/{'0' * 32}/image.iso")

    assert first[0] == told[0] == 200
    assert b"the database cannot be used" in told[2]
    assert b"goto " in told[2] or b"chain" in told[2]
    assert image[2] == (config.images.path / "rescue.iso").read_bytes()
    assert beacon[0] == 200
    assert unknown[0] == 503


async def test_more_than_there_are_connections_wait_for_one(admin: Admin):
    """As machines do that all call at once."""
    stub = await admin.ask("/stubs", "POST", expect=201, json={"image": "rescue"})
    async with all_taken(admin):
        asked = asyncio.create_task(admin.raw(f"{admin.boot_url}/b/{stub['token']}/boot.ipxe"))
        await asyncio.wait({asked}, timeout=0.2)
        assert not asked.done()

    status, _, script = await asked

    assert status == 200
    assert b"image.iso" in script


async def test_waiting_without_end_is_said_in_words(
    config: Config, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(database_module, "QUEUE_S", 0.1)
    async with running_admin(config) as admin, all_taken(admin):
        problem = await admin.ask("/profiles", expect=503)

    assert problem["detail"] == "the database is busy: no connection was free for 0.1 seconds"


@pytest.mark.parametrize("path", ["/", "/api/v1/boots", "/b/{token}/boot.ipxe"])
async def test_nothing_is_read_for_clients_that_have_left(admin: Admin, path: str):
    """Or clients that ask and leave, again and again, have the server read for hours."""
    token = (await admin.ask("/stubs", "POST", expect=201, json={"image": "rescue"}))["token"]
    path, url = path.format(token=token), admin.boot_url if "token" in path else admin.url
    limits, reads = admin.services.limits, []
    sync_engine = admin.services.profiles._engine.engine.sync_engine
    event.listen(sync_engine, "before_cursor_execute", lambda *said: reads.append(said[2]))
    async with all_taken(admin):
        for _ in range(50):
            host, port = url.removeprefix("http://").split(":")
            _, writer = await asyncio.open_connection(host, int(port))
            writer.write(b"GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n" % path.encode())
            await admin.raw(f"{url}/healthz")  # the server has the request before it
            writer.close()
            await writer.wait_closed()
        await admin.raw(f"{url}/healthz")  # and has noticed
        reads.clear()
    async with asyncio.timeout(EVENT_S):
        while limits.connections.used + limits.admin_connections.used > 2:  # of `admin` itself
            await asyncio.sleep(0.01)

    assert reads == []
