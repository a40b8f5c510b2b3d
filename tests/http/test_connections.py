"""The connections of a plane: who has to go, who may stay, who makes way, who waits."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from aiohttp import web
from structlog.testing import capture_logs

from bootserver import log as log_module
from bootserver.config import LimitsConfig
from bootserver.http.connections import Connections
from bootserver.http.port import HttpPort
from bootserver.limits import OTHERS, Limit, ServerLimits, within
from bootserver.log import Gathered

LONG_S = 30
REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
BIG_BYTES = 8 << 20  # more than the kernels of both ends take


@dataclass
class Plane:
    """A plane with a page, one that answers when it is let, and a big one."""

    number: int
    limits: ServerLimits
    go_on: asyncio.Event
    asked: asyncio.Semaphore

    @asynccontextmanager
    async def client(
        self, send: bytes = b"", address: str = "127.0.0.1"
    ) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        """A connection from that address that has sent this."""
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", self.number, local_addr=(address, 0)
        )
        try:
            if send:
                writer.write(send)
            yield reader, writer
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def until_used(self, count: int) -> None:
        """Returns when there are so many connections."""
        async with asyncio.timeout(LONG_S):
            while self.limits.connections.used != count:
                await asyncio.sleep(0.01)


@asynccontextmanager
async def plane_with(tls: ssl.SSLContext | None = None, **values: Any) -> AsyncIterator[Plane]:
    limits = ServerLimits(LimitsConfig(**values))
    go_on, asked = asyncio.Event(), asyncio.Semaphore(0)

    async def page(_request: web.Request) -> web.Response:
        return web.Response(text="here")

    async def slow(_request: web.Request) -> web.Response:
        asked.release()
        await go_on.wait()
        return web.Response(text="at last")

    async def big(_request: web.Request) -> web.Response:
        return web.Response(body=bytes(BIG_BYTES))

    app = web.Application()
    app.add_routes([web.get("/", page), web.get("/slow", slow), web.get("/big", big)])
    pool = Connections(limits.config, limits.connections, limits.connections_per_address)
    port = HttpPort(app, pool, grace_s=1, tls=tls)
    number = await port.start("127.0.0.1", 0)
    try:
        yield Plane(number, limits, go_on, asked)
    finally:
        go_on.set()
        await port.stop()


async def until_ended(reader: asyncio.StreamReader) -> bytes:
    """What comes until the server ends the connection."""
    got = b""
    async with asyncio.timeout(LONG_S):
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(1 << 16):
                got += data
    return got


async def answer(reader: asyncio.StreamReader) -> bytes:
    """The body of the next answer."""
    async with asyncio.timeout(LONG_S):
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 "), head
        length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
        return await reader.readexactly(length)


async def is_open(reader: asyncio.StreamReader) -> bool:
    """True if the server has not ended the connection by now."""
    try:
        async with asyncio.timeout(0.05):
            return bool(await reader.read(1))
    except TimeoutError:
        return True
    except ConnectionError:
        return False


# ---- Time ----


@pytest.mark.parametrize("sent", [b"", b"GET / HT", REQUEST[:-2]], ids=["nothing", "some", "half"])
async def test_who_sends_no_whole_header_has_to_go(sent: bytes):
    async with plane_with(header_s=0.2) as plane, plane.client(sent) as (reader, _):
        assert await until_ended(reader) == b""
        await plane.until_used(0)


async def test_one_byte_at_a_time_is_no_way_to_stay():
    async with plane_with(header_s=0.3) as plane, plane.client() as (reader, writer):

        async def drip() -> None:
            writer.write(b"GET / HTTP/1.1\r\nX-Slow: ")
            while not writer.is_closing():
                writer.write(b"x")
                await asyncio.sleep(0.02)

        dripping = asyncio.create_task(drip())
        assert await until_ended(reader) == b""
        dripping.cancel()


async def test_the_next_header_of_a_connection_has_its_time_too():
    async with plane_with(header_s=0.3) as plane, plane.client(REQUEST) as (reader, writer):
        assert await answer(reader) == b"here"
        writer.write(b"GET / HTTP/1.1\r\nX-Half:")
        assert await until_ended(reader) == b""


async def test_who_rests_too_long_between_two_requests_has_to_go():
    async with plane_with(idle_s=0.2) as plane, plane.client(REQUEST) as (reader, _):
        assert await answer(reader) == b"here"
        assert await until_ended(reader) == b""


async def test_an_answer_may_take_longer_than_all_of_that():
    async with (
        plane_with(header_s=0.1, idle_s=0.1) as plane,
        plane.client(REQUEST.replace(b"/", b"/slow", 1)) as (reader, _),
    ):
        async with asyncio.timeout(LONG_S):
            await plane.asked.acquire()
        await asyncio.sleep(0.5)
        plane.go_on.set()
        assert await answer(reader) == b"at last"


async def test_a_handshake_that_never_ends_has_to_go():
    async with plane_with(tls=ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), header_s=0.2) as plane:
        async with plane.client(b"\x16\x03\x01\x02") as (reader, _):
            await plane.until_used(1)
            assert await until_ended(reader) == b""
        await plane.until_used(0)


async def test_who_takes_nothing_of_an_answer_is_cut_off():
    async with (
        plane_with(stalled_s=0.2, idle_s=60) as plane,
        plane.client(REQUEST.replace(b"/", b"/big", 1)) as (reader, _),
    ):
        await plane.until_used(1)
        await plane.until_used(0)
        got = await until_ended(reader)

    assert len(got) < BIG_BYTES


async def test_a_reader_that_is_slow_but_goes_on_gets_all():
    async with (
        plane_with(stalled_s=0.4, idle_s=0.4, header_s=0.2) as plane,
        plane.client(REQUEST.replace(b"/", b"/big", 1)) as (reader, _),
    ):
        got = await reader.readuntil(b"\r\n\r\n")
        for _ in range(20):
            got = await reader.readexactly(BIG_BYTES // 20)
            await asyncio.sleep(0.05)
        rest = await reader.readexactly(BIG_BYTES - 20 * (BIG_BYTES // 20))

    assert not any(got + rest)


# ---- Number ----


async def test_who_has_waited_longest_makes_way():
    async with (
        plane_with(connections=2, connections_per_address=2) as plane,
        plane.client() as (
            first,
            _,
        ),
    ):
        await plane.until_used(1)
        async with plane.client() as (second, _):
            await plane.until_used(2)
            async with plane.client(REQUEST) as (third, _):
                assert await answer(third) == b"here"
                assert await until_ended(first) == b""
                assert await is_open(second)
        assert plane.limits.connections_per_address.refused == 1


async def test_a_crowd_from_one_address_displaces_itself():
    async with contextlib.AsyncExitStack() as crowd, plane_with(connections=5) as plane:
        other, writer = await crowd.enter_async_context(plane.client(address="127.0.0.2"))
        await plane.until_used(1)
        for _ in range(20):
            await crowd.enter_async_context(plane.client())
        async with plane.client(REQUEST) as (reader, _):
            assert await answer(reader) == b"here"
        writer.write(REQUEST)
        assert await answer(other) == b"here"


async def test_who_is_being_answered_never_makes_way():
    slow = REQUEST.replace(b"/", b"/slow", 1)
    async with plane_with(connections=2) as plane, plane.client(slow) as (busy, _):
        async with asyncio.timeout(LONG_S):
            await plane.asked.acquire()
        for _ in range(5):
            async with plane.client(REQUEST) as (reader, _):
                assert await answer(reader) == b"here"
        plane.go_on.set()
        assert await answer(busy) == b"at last"


async def test_while_all_are_busy_a_new_one_waits_for_its_turn():
    slow = REQUEST.replace(b"/", b"/slow", 1)
    async with plane_with(connections=1) as plane, plane.client(slow) as (busy, _):
        async with asyncio.timeout(LONG_S):
            await plane.asked.acquire()
        with capture_logs() as logs:
            async with plane.client(REQUEST) as (late, _):
                while not logs:
                    await asyncio.sleep(0.01)
                plane.go_on.set()
                assert await answer(busy) == b"at last"
                assert await answer(late) == b"here"

    assert [line["event"] for line in logs] == ["connections.full"]


async def test_a_client_that_has_left_has_its_place_until_its_request_is_dealt_with():
    slow = REQUEST.replace(b"/", b"/slow", 1)
    async with plane_with(connections=1) as plane:
        async with plane.client(slow):
            async with asyncio.timeout(LONG_S):
                await plane.asked.acquire()
        await asyncio.sleep(0.1)  # the server notices
        with capture_logs() as logs:
            async with plane.client(REQUEST) as (late, _):
                answering = asyncio.create_task(answer(late))
                while not logs and not answering.done():
                    await asyncio.sleep(0.01)
                assert not answering.done()
                plane.go_on.set()
                assert await answering == b"here"
        await plane.until_used(0)


async def test_one_address_cannot_take_what_is_there_for_others():
    slow = REQUEST.replace(b"/", b"/slow", 1)
    async with plane_with(connections=10, connections_per_address=1) as plane:
        async with plane.client(slow) as (busy, _):
            async with asyncio.timeout(LONG_S):
                await plane.asked.acquire()
            async with plane.client(REQUEST) as (reader, _):
                assert await until_ended(reader) == b""
            async with plane.client(REQUEST, "127.0.0.2") as (reader, _):
                assert await answer(reader) == b"here"
            plane.go_on.set()
            assert await answer(busy) == b"at last"
        refused = plane.limits.connections_per_address.refused

    assert refused == 1


async def test_want_of_descriptors_is_one_line_and_passes(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("bootserver.http.connections.NO_DESCRIPTOR_S", 0.05)
    accept, failures = socket.socket.accept, iter([True] * 5)

    def starved(listener: socket.socket) -> Any:
        if next(failures, False):
            raise OSError(errno.EMFILE, "Too many open files")
        return accept(listener)

    with capture_logs() as logs:
        async with plane_with() as plane, plane.client() as (waiting, _):
            await plane.until_used(1)
            monkeypatch.setattr(socket.socket, "accept", starved)
            async with plane.client(REQUEST) as (reader, _):
                assert await answer(reader) == b"here"
            assert await until_ended(waiting) == b""  # it made way

    assert [(line["event"], line["log_level"]) for line in logs] == [
        ("connections.no_descriptor", "error")
    ]


# ---- What is no HTTP ----


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 a TLS greeting\r\n\r\n",
        b"GET /<script>alert(1)</script>\x00 HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nX: \x1b[31m\x00\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"GET / HTTP/1.1\r\nX: " + b"a" * 100_000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\x99\r\nConnection: close\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a/b\r\nConnection: close\r\n\r\n",
    ],
)
async def test_what_makes_no_sense_is_refused_without_an_echo(sent: bytes):
    with capture_logs() as logs:
        async with plane_with() as plane, plane.client(sent) as (reader, _):
            head, _, body = (await until_ended(reader)).partition(b"\r\n\r\n")

    assert head.startswith(b"HTTP/1.0 400 ") or head.startswith(b"HTTP/1.1 400 ")
    assert b"text/plain" in head
    assert body.decode() in (
        "this is no HTTP request that can be answered here\n",
        "the Host header names no host\n",
    )
    assert all(line["log_level"] == "warning" and "exc_info" not in line for line in logs)


async def test_nonsense_in_numbers_is_one_line_with_their_number(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(log_module, "GATHER_S", 0.2)
    with capture_logs() as logs:
        async with plane_with() as plane:
            for _ in range(20):
                async with plane.client(b"nonsense\r\n\r\n") as (reader, _):
                    await until_ended(reader)
            async with asyncio.timeout(LONG_S):
                while 1 + sum(line.get("more", 0) for line in logs) < 20:
                    await asyncio.sleep(0.05)

    assert len(logs) < 20
    assert {line["event"] for line in logs} == {"http.bad_request"}


async def test_equal_events_are_gathered(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(log_module, "GATHER_S", 0.05)
    said: list[dict[str, Any]] = []

    def say(**values: Any) -> None:
        said.append(values)

    gathered: Callable[..., None] = Gathered(say)
    for number in range(5):
        gathered(number=number)
    at_once = list(said)
    async with asyncio.timeout(LONG_S):
        while len(said) < 2:
            await asyncio.sleep(0.01)

    assert at_once == [{"number": 0}]
    assert said[1] == {"number": 4, "more": 4}


# ---- Descriptors ----


def test_with_descriptors_enough_nothing_is_lowered():
    assert within(1 << 20, LimitsConfig(), 256) == (LimitsConfig(), 256)


@pytest.mark.parametrize("descriptors", [1, 100, 256, 1024, 4096, 10_000])
def test_lowered_limits_keep_within_the_descriptors(descriptors: int):
    limits, transfers = within(descriptors, LimitsConfig(), 256)

    assert 2 * limits.connections + limits.admin_connections + 2 * transfers <= max(
        descriptors - OTHERS, 6
    )
    assert min(limits.connections, limits.connections_per_address, transfers) >= 1
    assert limits.watchers <= limits.admin_connections // 2


def test_a_thousand_descriptors_serve_two_hundred_machines():
    limits, _ = within(1024, LimitsConfig(), 256)

    assert limits.connections >= 250


def test_a_limit_counts_what_it_refuses():
    limit = Limit(1, "are watching", "close some")

    with limit.place(), pytest.raises(Exception, match="1 are watching already"), limit.place():
        pass

    assert (limit.used, limit.refused) == (0, 1)
