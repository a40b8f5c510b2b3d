"""The event stream: what comes, and what becomes of those who do not read."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import socket
import sys
from collections.abc import AsyncIterator
from types import SimpleNamespace

import aiohttp
import pytest

from bootserver.config import PROJECT, Config
from bootserver.http.api import events as events_module
from bootserver.http.api.images import ImageList, image_list
from bootserver.http.api.services import AdminServices
from bootserver.model import BootPhase
from tests.fixtures.admin import EVENT_S, NO_TIMEOUT, PC, Admin, event_of, running_admin
from tests.fixtures.isos import make_iso
from tests.fixtures.processes import child

WATCHERS, DOWNLOADS, SLOW = 500, 200, 20
OVER = [BootPhase.HANDED_OFF]


@pytest.fixture
async def admin(config: Config) -> AsyncIterator[Admin]:
    make_iso(config.images.path / "rescue.iso", bios=True, pad_bytes=1 << 20)
    async with running_admin(config) as admin:
        yield admin


@pytest.fixture
async def impatient_admin(config: Config) -> AsyncIterator[Admin]:
    make_iso(config.images.path / "rescue.iso", bios=True, pad_bytes=1 << 20)
    limits = config.limits.model_copy(update={"stalled_s": 2})
    async with running_admin(config.model_copy(update={"limits": limits})) as admin:
        yield admin


async def test_each_phase_of_a_boot_is_an_event_at_once(admin: Admin):
    async with admin.events() as events:
        session = admin.ledger.start("token", "rescue", PC, "192.0.2.9")
        admin.ledger.advance(session.key, BootPhase.FETCHING)
        boots = [await event_of(events, "boot")]
        while boots[-1]["phase"] != "fetching":
            boots.append(await event_of(events, "boot"))

    assert {boot["id"] for boot in boots} == {session.id}
    assert [phase["phase"] for phase in boots[-1]["phases"]] == [
        "created",
        "stub_started",
        "fetching",
    ]


async def test_an_event_is_never_ahead_of_what_the_api_answers(admin: Admin):
    async with admin.events() as events:
        session = admin.ledger.start("token", "rescue", PC, "192.0.2.9")
        admin.ledger.advance(session.key, BootPhase.HANDED_OFF)
        boot = await event_of(events, "boot")
        while boot["phase"] != "handed_off":
            boot = await event_of(events, "boot")

        one = await admin.ask(f"/boots/{session.id}")
        [listed] = (await admin.ask("/boots"))["boots"]
        [exported] = await admin.ask("/boots/export?format=json")
        _, _, page = await admin.raw(f"{admin.url}/boots/{session.id}")

    assert {one["phase"], listed["phase"], exported["phase"]} == {"handed_off"}
    assert b"Handed off" in page


async def test_a_library_that_does_not_change_is_not_described_again(
    admin: Admin, monkeypatch: pytest.MonkeyPatch
):
    looks, described = 0, 0

    async def counted_sleep(_: float) -> None:
        nonlocal looks
        looks += 1
        await asyncio.sleep(0)

    def counted(parts: AdminServices) -> ImageList:
        nonlocal described
        described += 1
        return image_list(parts)

    monkeypatch.setattr(events_module, "image_list", counted)
    monkeypatch.setattr(events_module, "asyncio", SimpleNamespace(sleep=counted_sleep))
    with admin.services.bus.subscribe() as watcher:
        telling = asyncio.create_task(events_module.tell_of_images(admin.services))
        async with asyncio.timeout(EVENT_S):
            while looks < 10:
                await asyncio.sleep(0)
            before = described
            make_iso(admin.services.config.images.path / "second.iso")
            await admin.look_again()
            message = await anext(watcher)
        telling.cancel()

    assert before == 0
    assert [image["id"] for image in message["images"]["images"]] == ["rescue", "second"]


async def test_events_are_numbered_and_named(admin: Admin):
    async with admin.http.get(f"{admin.url}/api/v1/events", timeout=NO_TIMEOUT) as answer:
        admin.ledger.start("token", "rescue", PC, "192.0.2.9")
        lines: list[bytes] = []
        async with asyncio.timeout(EVENT_S):
            while b"data" not in b"".join(lines):
                lines.append(await answer.content.readline())

    text = b"".join(lines).decode()
    assert text.startswith("retry: 2000\n\nid: 1\nevent: boot\ndata: {")


async def test_a_quiet_stream_has_a_comment_now_and_then(
    admin: Admin, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(events_module, "HEARTBEAT_S", 0.05)
    async with admin.http.get(f"{admin.url}/api/v1/events", timeout=NO_TIMEOUT) as answer:
        await answer.content.readuntil(b"\n\n")
        async with asyncio.timeout(EVENT_S):
            comment = await answer.content.readuntil(b"\n\n")

    assert comment.startswith(b":")


async def test_a_watcher_that_leaves_is_forgotten(admin: Admin):
    async with admin.events():
        assert (await admin.ask("/status"))["watchers"] == 1
    async with asyncio.timeout(EVENT_S):
        while (await admin.ask("/status"))["watchers"]:
            admin.ledger.start("token", "rescue", PC, "192.0.2.9")
            await asyncio.sleep(0.02)


async def test_too_many_watchers_are_told_so(admin: Admin):
    admin.services.limits.watchers.max = 1
    async with admin.events():
        problem = await admin.ask("/events", expect=503)

    assert "watching already" in problem["detail"]


async def test_a_stopping_server_waits_for_no_watcher(config: Config):
    async with aiohttp.ClientSession() as http:
        async with running_admin(config) as admin:
            answer = await http.get(f"{admin.url}/api/v1/events", timeout=NO_TIMEOUT)
            await answer.content.readuntil(b"\n\n")
        async with asyncio.timeout(EVENT_S):
            rest = await answer.content.read()

    assert b"event" not in rest


async def sleeper(admin: Admin) -> socket.socket:
    """A watcher that asks for the stream and then takes nothing more."""
    host, port = admin.url.removeprefix("http://").split(":")
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(client, (host, int(port)))
    await loop.sock_sendall(client, b"GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
    return client


async def until_cut_off(client: socket.socket) -> None:
    """Returns when the server has broken the connection off, in the middle of the stream."""
    loop = asyncio.get_running_loop()
    last = b""
    while data := await loop.sock_recv(client, 1 << 20):
        last = data
    assert not last.endswith(b"0\r\n\r\n")


@pytest.mark.slow
async def test_nobody_waits_for_slow_watchers_and_the_ledger_misses_nothing(
    impatient_admin: Admin,
):
    """500 watchers, 20 more that sleep, 200 machines: each fetches the image by HTTP."""
    admin = impatient_admin
    stub = await admin.ask("/stubs", "POST", expect=201, json={"image": "rescue"})
    size_bytes = (admin.services.config.images.path / "rescue.iso").stat().st_size

    async def machine(number: int, http: aiohttp.ClientSession) -> str:
        """Boots: script, image, hand-off; returns the image's digest as it arrived."""
        mac = f"52-54-00-00-{number >> 8:02x}-{number & 255:02x}"
        base = f"{admin.boot_url}/b/{stub['token']}"
        query = {"mac": mac, "platform": "pcbios", "dimms": "0004......."}
        async with http.get(f"{base}/boot.ipxe", params=query) as answer:
            script = await answer.text()
        key = script.partition("/b/")[2].partition("/")[0]
        base = f"{admin.boot_url}/b/{key}"
        digest = hashlib.sha256()
        async with http.get(f"{base}/image.iso", headers={"User-Agent": "iPXE/1"}) as answer:
            async for data in answer.content.iter_any():
                digest.update(data)
        async with http.get(f"{base}/phase/handoff") as answer:
            assert answer.status == 200
        return digest.hexdigest()

    sleepers = [await sleeper(admin) for _ in range(SLOW)]
    writer = asyncio.create_task(admin.ledger.run())
    try:
        # In a process of their own: reading for 500 is as much work as sending.
        async with child(
            *(sys.executable, "-m", "tests.fakes.watchers"),
            *(f"{admin.url}/api/v1/events", str(WATCHERS), str(DOWNLOADS)),
            cwd=PROJECT,
            stdout=asyncio.subprocess.PIPE,
        ) as watching:
            assert watching.stdout is not None
            assert await asyncio.wait_for(watching.stdout.readline(), 60) == b"ready\n"
            async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
                digests = await asyncio.gather(*(machine(n, http) for n in range(DOWNLOADS)))
            told = await asyncio.wait_for(watching.stdout.read(), 120)
        async with asyncio.timeout(EVENT_S):
            while (await admin.ask("/status"))["watchers"]:  # the sleepers: until all is full
                admin.services.bus.publish({"type": "job", "job": {"id": secrets.token_hex(2000)}})
                await asyncio.sleep(0.01)
        async with asyncio.timeout(EVENT_S):
            await asyncio.gather(*map(until_cut_off, sleepers))
        async with asyncio.timeout(EVENT_S):
            store = await admin.ledger.written()
            while len(await store.recent(None, phases=OVER)) < DOWNLOADS:
                await asyncio.sleep(0.1)
    finally:
        writer.cancel()
        for client in sleepers:
            client.close()
    boots = await store.recent(None)
    events = await store.events(boot.id for boot in boots)

    image = hashlib.sha256((admin.services.config.images.path / "rescue.iso").read_bytes())
    assert set(digests) == {image.hexdigest()}
    assert len(boots) == DOWNLOADS
    for boot in boots:
        assert boot.sent_bytes == size_bytes
        assert [event.phase.value for event in events[boot.id]] == [
            "created",
            "stub_started",
            "script_served",
            "fetching",
            "fetched",
            "handed_off",
        ]
    assert told.decode() == f"{WATCHERS} saw all\n"
